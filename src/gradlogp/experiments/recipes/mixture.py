"""The mixture of principal components alone: what chains that begin at its draws have before their
first step. It is fitted in closed form, so whatever a network adds to it stands beside it.
"""

import time
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from gradlogp.core.random import seed_for, seeded
from gradlogp.data import Dataset
from gradlogp.experiments.recipes.proposal import Proposal
from gradlogp.harness.evaluate import measure_samples, save_samples
from gradlogp.harness.kinds import Kind
from gradlogp.harness.recipe import Evaluation, Target, specify
from gradlogp.harness.record import Recorder
from gradlogp.harness.recovery import COMPLETIONS, Fill, recovered
from gradlogp.harness.trial import Context, Trial
from gradlogp.models import PrincipalMixture


@final
@dataclass(frozen=True)
class MixtureAlone(Trial):
    """The mixture that chains may begin at, and the samples of it that are measured."""

    proposal: Proposal = field(default_factory=lambda: Proposal(400))
    evaluation: Evaluation = field(default_factory=Evaluation)

    def perform(self, context: Context, recorder: Recorder) -> None:
        assert context.evaluator is not None, "samples are measured"
        with recorder.training() as cost:
            model = fitted(self.proposal, context.data, self.seed)
            cost.parameters = sum(p.numel() for p in model.parameters())
            cost.images = len(context.data.train)
        n = min(self.evaluation.samples, len(context.data.test))
        began = time.perf_counter()
        x = drawn(model, context.data, n, seed_for("samples", self.seed))
        seconds = (time.perf_counter() - began) / n
        save_samples(recorder.run, context.evaluator.kind, x)
        measures = measure_samples(x, context.data, context.evaluator)
        recorder.add(*measures, seconds=seconds, evaluations=1)
        recoverable = min(self.evaluation.recover, len(context.data.test))
        if recoverable:
            kind = specify(context.data).coordinates
            fill = completed(model, kind, seed_for("restoration", self.seed))
            recovered(fill, context.data, recoverable, kind, recorder)


def fitted(proposal: Proposal, data: Dataset, seed: int) -> PrincipalMixture:
    """The mixture of the training part of `data`."""
    model = PrincipalMixture(data.shape, proposal.components, proposal.rank)
    examples = specify(data).coordinates.to_model(data.train.scaled())
    return model.fit(examples, seeded(seed, "closed form"))


def drawn(model: PrincipalMixture, data: Dataset, n: int, seed: int) -> Tensor:
    """Where n chains would begin, in the data's own range."""
    x = model.fill_(torch.empty(n, *data.shape), seeded(seed, "draws"), residual=False)
    return specify(data).coordinates.from_model(x)


def completed(model: PrincipalMixture, kind: Kind, seed: int) -> Fill:
    """The mean of a few draws given what is shown: where the chains that complete it begin."""

    def fill(x: Tensor, hidden: Tensor) -> Tensor:
        generator = seeded(seed, "draws")
        y = kind.to_model(x)
        drawn = [model.complete_(y.clone(), hidden, generator) for _ in range(COMPLETIONS)]
        return torch.where(hidden, kind.from_model(torch.stack(drawn).mean(0)), x)

    return fill


def mixture(target: Target, preset: str = "quick", seed: int = 0) -> MixtureAlone:
    """A mixture of principal components, fitted in closed form: where the chains of `ebm` begin on
    larger pictures.
    """
    proposal = Proposal(400).of(target)
    return MixtureAlone("mixture", target.name, preset, seed, proposal=proposal)
