"""Two ways to guide, at every scale, and rivals that are told the class from the start.

Classifier-free guidance has one network that knows the class and, of the examples shown without
one, the marginal; the Gaussian of each class, which may be wired into it, stands beside it alone.
Classifier guidance has a network that never heard of classes, and a classifier of noised examples
beside it. Accuracy is that of the evaluation classifier, which neither ever saw. Scale 0 is the
network without guidance; for the classifier that means no class at all, and scale 1 is Bayes' rule.

References: Dhariwal & Nichol (2021), arXiv 2105.05233 (classifier guidance); Ho & Salimans (2022),
arXiv 2207.12598 (without one); Kynkaanniemi et al. (2024), arXiv 2404.07724 (the interval); Miyato
& Koyama (2018), arXiv 1802.05637 (the projection critic).
"""

import abc
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

from torch import Tensor

from gradlogp import tasks
from gradlogp.baselines.conditional_gan import conditional_gan
from gradlogp.baselines.decoder import Decode, OnePass
from gradlogp.baselines.gan import Adversarial
from gradlogp.core.fields import Denoiser, NoisyField
from gradlogp.core.guidance import EnergyGuided, Guided
from gradlogp.core.noise import EDM
from gradlogp.core.random import Randomness, from_seed, normal_
from gradlogp.data import Dataset
from gradlogp.experiments.guidance.toy import GaussianPair
from gradlogp.experiments.recipes.energy import ebm_class
from gradlogp.experiments.recipes.score import ncsn, ncsn_class
from gradlogp.harness.compare import Maker
from gradlogp.harness.recipe import Target, classes_asked, specify
from gradlogp.harness.record import Cost, Recorder
from gradlogp.harness.settings import Choices, chosen
from gradlogp.harness.trial import Context, Trial, fitted_inside, trained
from gradlogp.metrics import Measure, classes, frechet, prdc
from gradlogp.models import NoisyGaussians, noisy_classifier
from gradlogp.objectives import LogNormal, NoisedCrossEntropy
from gradlogp.samplers import DPMSolver
from gradlogp.training import Training

SCALES = (0.0, 0.5, 1.0, 2.0, 4.0)
INTERVAL = (0.2, 3.0)  # in model coordinates
Guide = Callable[[Tensor, float], NoisyField]  # (classes [B], scale) -> the guided field
BUDGETS: Choices = {
    "any": {
        "quick": ("images=64000", "samples=400"),
        "full": ("images=600000",),
        "gpu": ("images=6000000",),
    },
    "small": {"any": ("samples=360",), "quick": ("images=32000",), "full": ("images=100000",)},
}

WALKS: Choices = {"cifar10": {"any": ("process.sigma_min=0.05", "process.sigma_max=50.0")}}


class Asked(NamedTuple):
    """Samples x [n, *shape] in the data's own range, and the classes that were asked for, [n]."""

    x: Tensor
    classes: Tensor


@dataclass(frozen=True)
class Conditional(Trial):
    """A method that draws a class on demand. images: training examples of each of its networks."""

    images: int = 64_000
    samples: int = 1000

    def measure(self, asked: Asked, context: Context) -> list[Measure]:
        """Accuracy, Frechet distance, precision, recall, density and coverage."""
        evaluator = context.evaluator
        assert evaluator is not None, "samples are measured"
        real = evaluator.features(context.data.test.scaled(slice(0, len(asked.x))))
        features = evaluator.features(asked.x)
        seen = evaluator.labels(asked.x)
        return [
            classes.agreement(seen, asked.classes, evaluator.accuracy),
            frechet.fd(real, features, evaluator.name),
            *prdc.prdc(real, features, network=evaluator.name).values(),
        ]


@dataclass(frozen=True)
class Guiding(Conditional):
    """Guidance at every scale. scale: of the first table; process, levels: of the walk from noise."""

    scale: float = 1.0
    process: EDM = EDM(0.02, 20.0)  # noqa: RUF009 (frozen)
    levels: int = 16

    def evaluations(self, scale: float) -> int:
        """Of the networks, for a sample."""
        return self.levels * (2 if scale else 1)

    @abc.abstractmethod
    def guide(self, context: Context, recorder: Recorder, cost: Cost) -> Guide: ...

    def perform(self, context: Context, recorder: Recorder) -> None:
        with recorder.training() as cost:
            guide = self.guide(context, recorder, cost)
        for scale in dict.fromkeys((*SCALES, self.scale)):
            asked = self.measured(guide, scale, context, recorder, {"scale": scale})
            _keep(recorder, f"scale-{scale:g}", asked, context.data)
            if scale == self.scale:
                recorder.add(*self.measure(asked, context))
        self.more(guide, context, recorder)

    def more(self, guide: Guide, context: Context, recorder: Recorder) -> None:
        """Anything else that is measured."""

    def measured(
        self,
        guide: Guide,
        scale: float,
        context: Context,
        recorder: Recorder,
        axes: Mapping[str, Any],
    ) -> Asked:
        began = time.perf_counter()
        asked = self.draw(guide, scale, context, recorder)
        seconds = (time.perf_counter() - began) / len(asked.x)
        found = self.measure(asked, context)
        recorder.add(*found, axes=axes, seconds=seconds, evaluations=self.evaluations(scale))
        return asked

    def draw(self, guide: Guide, scale: float, context: Context, recorder: Recorder) -> Asked:
        """The same noise at every scale."""
        spec = specify(context.data)
        n = min(self.samples, len(context.data.test))
        sampler = DPMSolver(self.process, self.levels)

        def field(cond: Tensor | None) -> NoisyField:
            assert cond is not None, "a class is asked for"
            return guide(cond, scale)

        def prior(x: Tensor, generator: Randomness) -> Tensor:
            return normal_(x, generator).mul_(sampler.ladder[0])

        how = tasks.Sampling(
            field, sampler, prior, sampler.steps, spec.shape, spec.coordinates.from_model
        )
        cond = classes_asked(spec, n)
        x = tasks.generate(how, n, self.seed + 1, cond, listener=recorder.listener)
        return Asked(x, cond)


def _keep(recorder: Recorder, name: str, asked: Asked, data: Dataset) -> None:
    """One sample of each class."""
    first = [int((asked.classes == c).nonzero()[0]) for c in range(len(data.classes))]
    recorder.save({"scale": float(name.split("-")[1])}, shown=asked.x[first])


class WithoutClassifier(Guiding):
    """By the difference of two models, in an interval of the levels as well."""

    def more(self, guide: Guide, context: Context, recorder: Recorder) -> None:
        def within(cond: Tensor, scale: float) -> NoisyField:
            return replace(guide(cond, scale), interval=INTERVAL)  # type: ignore[type-var]

        for scale in SCALES[1:]:
            self.measured(within, scale, context, recorder, {"interval_scale": scale})


@final
@dataclass(frozen=True)
class ClassifierFree(WithoutClassifier):
    def guide(self, context: Context, recorder: Recorder, cost: Cost) -> Guide:
        recipe = ncsn_class(Target.of(context.data), "quick", self.seed)
        model: Any = fitted_inside(recorder, recipe, context.data, cost, self.images).model
        return lambda cond, scale: Guided(model.field(cond), model.field(None), scale)


@final
@dataclass(frozen=True)
class ClassGaussians(WithoutClassifier):
    def guide(self, context: Context, recorder: Recorder, cost: Cost) -> Guide:
        spec, train = specify(context.data), context.data.train
        mixture = NoisyGaussians(spec.shape, spec.std, spec.classes)
        mixture.fit(spec.coordinates.to_model(train.scaled()), train.labels)
        whole = Denoiser(mixture.denoise)
        return lambda cond, scale: Guided(Denoiser(mixture.denoise, cond), whole, scale)

    def evaluations(self, scale: float) -> int:
        return 0


@final
@dataclass(frozen=True)
class ByClassifier(Guiding):
    scale: float = 2.0

    def guide(self, context: Context, recorder: Recorder, cost: Cost) -> Guide:
        recipe = ncsn(Target.of(context.data), "quick", self.seed)
        model: Any = fitted_inside(recorder, recipe, context.data, cost, self.images).model
        classifier = self._classifier(context, recorder, cost)
        return lambda cond, scale: EnergyGuided(model.field(), classifier.energy(cond), scale)

    def _classifier(self, context: Context, recorder: Recorder, cost: Cost) -> Any:
        """A classifier of noised examples, trained at the levels of the walk."""
        spec, train = specify(context.data), context.data.train
        model = from_seed(self.seed, lambda: noisy_classifier(spec.shape, spec.classes, spec.std))
        middle = math.log(self.process.sigma_min * self.process.sigma_max) / 2
        training = Training(self.images, learning_rate=2e-3)
        x = spec.coordinates.to_model(train.scaled())
        cost.add(model, self.images)
        loss = NoisedCrossEntropy(LogNormal(middle, 1.5))
        return trained(recorder, "classifier", model, loss, x, train.labels, training)


@final
@dataclass(frozen=True)
class ConditionalGAN(Conditional):
    """latent: entries of the code."""

    latent: int = 32

    def perform(self, context: Context, recorder: Recorder) -> None:
        spec, train = specify(context.data), context.data.train
        with recorder.training() as cost:
            model = from_seed(
                self.seed,
                lambda: conditional_gan(spec.shape, spec.classes, self.latent, (16, 32, 64)),
            )
            cost.add(model, self.images, each=4)
            x = spec.coordinates.to_model(train.scaled())
            training = Training(self.images, learning_rate=1e-3, beta1=0.0)
            game = Adversarial("hinge")
            model = trained(recorder, "network", model, game, x, train.labels, training)
        n = min(self.samples, len(context.data.test))
        cond = classes_asked(spec, n)
        how = tasks.Sampling(
            lambda cond: OnePass(model, cond),
            Decode(),
            normal_,
            1,
            (self.latent,),
            spec.coordinates.from_model,
        )
        asked = Asked(tasks.generate(how, n, self.seed + 1, cond), cond)
        recorder.add(*self.measure(asked, context), evaluations=1)
        _keep(recorder, "scale-0", asked, context.data)


def _budgeted(trial: Any, target: Target, preset: str) -> Any:
    return chosen(trial, BUDGETS, target.families, preset)


def _guiding(trial: Any, target: Target, preset: str) -> Any:
    return chosen(_budgeted(trial, target, preset), WALKS, target.families, preset)


def classifier_free(target: Target, preset: str = "quick", seed: int = 0) -> ClassifierFree:
    """A score network that is told the class, guided away from its own marginal; first at scale 1."""
    return _guiding(ClassifierFree("classifier_free", target.name, preset, seed), target, preset)


def by_classifier(target: Target, preset: str = "quick", seed: int = 0) -> ByClassifier:
    """A score network that knows no class, guided by a classifier of noised examples; first at
    scale 2.
    """
    return _guiding(ByClassifier("by_classifier", target.name, preset, seed), target, preset)


def class_gaussians(target: Target, preset: str = "quick", seed: int = 0) -> ClassGaussians:
    """The Gaussian of each class alone, in closed form, guided as classifier_free is."""
    return _guiding(ClassGaussians("class_gaussians", target.name, preset, seed), target, preset)


def cgan(target: Target, preset: str = "quick", seed: int = 0) -> ConditionalGAN:
    """A conditional adversarial network with a projection critic."""
    return _budgeted(ConditionalGAN("conditional_gan", target.name, preset, seed), target, preset)


def gaussian_pair(target: Target, preset: str = "quick", seed: int = 0) -> GaussianPair:
    """Two Gaussians with exact scores: what guidance does where nothing is learned."""
    return GaussianPair("gaussian_pair", target.name, preset, seed)


METHODS: Mapping[str, Maker] = {
    "classifier_free": classifier_free,
    "by_classifier": by_classifier,
    "conditional_gan": cgan,
    "ebm_class": ebm_class,
    "class_gaussians": class_gaussians,
    "gaussian_pair": gaussian_pair,
}
