"""Annealed Langevin dynamics on pictures, along two fields: the exact score of the noised training
pictures, where all that is wrong is the sampler, and a network's score.

What counts is the Frechet distance at equal evaluations, along geometric ladders from few levels to
those of technique 2, along other ladders, with and without the last step.

References: Song & Ermon (2019), arXiv 1907.05600, algorithm 1; Song & Ermon (2020), arXiv
2006.09011, techniques 1, 2 and 4; Jolicoeur-Martineau et al. (2021), arXiv 2009.05475 (consistent
annealing; the last step: FID 31.75 without, 10.87 with it).
"""

import abc
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from gradlogp import tasks
from gradlogp.core.errors import UserError
from gradlogp.core.fields import NoisyField
from gradlogp.core.random import Randomness, normal_
from gradlogp.core.targets import Empirical
from gradlogp.experiments.langevin_study.recursion import ExactRecursion
from gradlogp.experiments.langevin_study.settings import Setting, variants
from gradlogp.experiments.recipes.score import ncsn
from gradlogp.harness.compare import Maker
from gradlogp.harness.fit import fit, load
from gradlogp.harness.kinds import Kind
from gradlogp.harness.recipe import Target, specify
from gradlogp.harness.record import Cost, Recorder
from gradlogp.harness.settings import Choices, chosen
from gradlogp.harness.trial import Context, Trial
from gradlogp.metrics import Measure, frechet
from gradlogp.samplers import Annealed

SHOWN = ("L=10 T=1", "L=40 T=1", "consistent L=40", "down to .3", "down to .3 not denoised")
MORE_CHAINS: Choices = {"any": {"full": ("chains=200000",), "gpu": ("chains=200000",)}}
MORE_SAMPLES: Choices = {"any": {"full": ("samples=2000",), "gpu": ("samples=2000",)}}
IMAGES: Choices = {
    "any": {"quick": ("images=64000",), "full": ("images=500000",), "gpu": ("images=4000000",)},
    "small": {"full": ("images=200000",)},
}


@dataclass(frozen=True)
class OnPictures(Trial):
    """Frechet distance of samples against the ladder. Subclasses say which field the chains follow."""

    samples: int = 500

    @abc.abstractmethod
    def field(self, context: Context, recorder: Recorder, cost: Cost) -> NoisyField:
        """The field that the chains follow."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        with recorder.training() as cost:
            field = self.field(context, recorder, cost)
        data, evaluator = context.data, context.evaluator
        assert evaluator is not None, "samples are measured"
        kind = specify(data).coordinates
        n = min(self.samples, len(data.test))
        real = evaluator.features(data.test.scaled(slice(0, n)))
        for setting in variants(math.prod(data.shape)):
            how = sampling(field, setting.sampler, data.shape, kind)
            began = time.perf_counter()
            x = tasks.generate(how, n, self.seed, listener=recorder.listener)
            seconds = (time.perf_counter() - began) / n
            fd = frechet.fd(real, evaluator.features(x), evaluator.name)
            _record(recorder, setting, fd, seconds)
            if setting.name in SHOWN:
                _preview(recorder, setting, fd, x, kind)


def sampling(
    field: NoisyField, sampler: Annealed, shape: Sequence[int], kind: Kind
) -> tasks.Sampling[NoisyField]:
    """How to draw examples, in their own range, along the levels of `sampler`."""

    def prior(x: Tensor, generator: Randomness) -> Tensor:
        return normal_(x, generator).mul_(sampler.ladder[0])

    return tasks.Sampling(lambda cond: field, sampler, prior, sampler.steps, shape, kind.from_model)


def _record(recorder: Recorder, setting: Setting, fd: Measure, seconds: float) -> None:
    steps = setting.sampler.steps
    recorder.add(fd, axes={"setting": setting.name}, seconds=seconds, evaluations=steps)
    axes = {"setting": setting.name, "family": setting.family}
    recorder.save(axes, fd=torch.tensor(float(fd)), evaluations=torch.tensor(steps))


def _preview(recorder: Recorder, setting: Setting, fd: Measure, x: Tensor, kind: Kind) -> None:
    caption = f"{setting.name}: {setting.sampler.steps} evaluations, FD {float(fd):.3g}"
    path = recorder.figure(setting.name.replace(" ", "-").replace("=", ""), caption)
    kind.preview(path, x[:50], columns=10)


@final
@dataclass(frozen=True)
class EmpiricalScore(OnPictures):
    """The exact score of `examples` noised training pictures: what is wrong with its samples is the
    sampler's doing.
    """

    examples: int = 2000

    def field(self, context: Context, recorder: Recorder, cost: Cost) -> NoisyField:
        kind = specify(context.data).coordinates
        return Empirical(kind.to_model(context.data.train.scaled(slice(0, self.examples))))


@final
@dataclass(frozen=True)
class LearnedScore(OnPictures):
    """A noise-conditional network trained on `images` pictures in a run folder of its own,
    `network`; or `model`, a run folder or zoo:NAME, as it is.
    """

    images: int = 100_000
    model: str = ""

    def field(self, context: Context, recorder: Recorder, cost: Cost) -> NoisyField:
        fitted = load(self.model or self._trained(context, recorder), "cpu")
        field = fitted.sampling().field(None)
        if fitted.spec != specify(context.data) or not isinstance(field, NoisyField):
            raise UserError(
                f"learned_score.model={self.model}: expected a score of {context.data.name}, got"
                f" {fitted.recipe.experiment} of {fitted.run.config['data']['name']}; name another"
                " run."
            )
        spent = fitted.run.status()
        cost.parameters = spent["parameters"]
        cost.images = spent["images"]
        cost.evaluations = spent["evaluations"]
        return field

    def _trained(self, context: Context, recorder: Recorder) -> Path:
        recipe = ncsn(Target.of(context.data), "quick", self.seed)
        recipe = replace(recipe, training=replace(recipe.training, images=self.images))
        path = recorder.run.path / "network"
        fit(recipe, context.data, path, recorder.listener).close()
        return path


def learned_score(target: Target, preset: str = "quick", seed: int = 0) -> LearnedScore:
    """Annealed Langevin on a network's score, along the same ladders."""
    trial = LearnedScore("learned_score", target.name, preset, seed)
    trial = chosen(trial, MORE_SAMPLES, target.families, preset)
    return chosen(trial, IMAGES, target.families, preset)


def empirical_score(target: Target, preset: str = "quick", seed: int = 0) -> EmpiricalScore:
    """Annealed Langevin on the exact score of noised training pictures: the sampler's own error."""
    trial = EmpiricalScore("empirical_score", target.name, preset, seed)
    return chosen(trial, MORE_SAMPLES, target.families, preset)


def exact_recursion(target: Target, preset: str = "quick", seed: int = 0) -> ExactRecursion:
    """Chains on Gaussians, held against the exact recursion of their variance."""
    trial = ExactRecursion("exact_recursion", target.name, preset, seed)
    return chosen(trial, MORE_CHAINS, target.families, preset)


METHODS: Mapping[str, Maker] = {
    "learned_score": learned_score,
    "empirical_score": empirical_score,
    "exact_recursion": exact_recursion,
}
