"""One score network under every sampler, at equal evaluations: Frechet distance against what a
sample costs.

Each sampler takes the number of levels that spends the evaluations asked for, as near as it can,
and otherwise the settings that it comes with. The walk of the first table is the one that is best on
validation, drawn anew, so that the draws that won do not flatter it.

References: Song & Ermon (2019), arXiv 1907.05600 (annealed Langevin); Jolicoeur-Martineau et al.
(2021), arXiv 2009.05475 (the consistent variant); Song et al. (2021), arXiv 2011.13456 (predictor
and corrector); Song, Meng & Ermon (2021), arXiv 2010.02502 (DDIM); Karras et al. (2022), arXiv
2206.00364 (Heun); Lu et al. (2022), arXiv 2211.01095 (DPM-Solver++).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, final

from torch import Tensor

from gradlogp.core.noise import EDM, VarianceExploding
from gradlogp.core.random import seed_for
from gradlogp.experiments.recipes.score import ScoreRecipe, ncsn_from_noise
from gradlogp.harness.evaluate import measure_samples, save_samples
from gradlogp.harness.evaluator import Evaluator
from gradlogp.harness.fit import Fitted
from gradlogp.harness.recipe import Evaluation, Target
from gradlogp.harness.record import Recorder
from gradlogp.harness.trial import Context, Trial, fitted_inside
from gradlogp.metrics import frechet
from gradlogp.samplers import (
    DDIM,
    Ancestral,
    AnnealedLangevin,
    ConsistentAnnealedLangevin,
    DPMSolver,
    Heun,
    PredictorCorrector,
)

Build = Callable[[VarianceExploding, int], Any]  # (levels of noise, evaluations) -> a sampler


def dense(process: VarianceExploding) -> EDM:
    """EDM's spacing between the same ends."""
    return EDM(process.sigma_min, process.sigma_max)


SAMPLERS: Mapping[str, Build] = {
    "annealed Langevin": lambda p, n: AnnealedLangevin(p, max(2, n // 2), steps_per_level=2),
    "consistent annealed": lambda p, n: ConsistentAnnealedLangevin(p, n),
    "predictor-corrector": lambda p, n: PredictorCorrector(Ancestral(p, max(2, n // 2))),
    "ancestral": lambda p, n: Ancestral(p, n),
    "DDIM": lambda p, n: DDIM(p, n),
    "DPM-Solver++": lambda p, n: DPMSolver(dense(p), n),
    "Heun": lambda p, n: Heun(dense(p), max(2, (n + 1) // 2)),
}


def spent(sampler: Any) -> int:
    """Network evaluations of a sample; one a step where the sampler does not count them."""
    return int(getattr(sampler, "evaluations", sampler.steps))


class Walk(NamedTuple):
    """A sampler at a budget, and the Frechet distance of its samples to the validation part."""

    name: str
    sampler: Any
    on_validation: float

    @property
    def evaluations(self) -> int:
        return spent(self.sampler)


def best_of(walks: Sequence[Walk]) -> Walk:
    """The one whose samples are nearest to the validation part."""
    return min(walks, key=lambda walk: walk.on_validation)


@final
@dataclass(frozen=True)
class ByEverySampler(Trial):
    """recipe: of the score network; its own sampler gives the ends of the levels. budgets:
    evaluations of a sample that every sampler is asked to spend.
    """

    recipe: ScoreRecipe = field(
        default_factory=lambda: ncsn_from_noise(Target("mnist"))  # replaced by the maker
    )
    evaluation: Evaluation = field(default_factory=Evaluation)
    budgets: tuple[int, ...] = (10, 20, 40, 80)

    def perform(self, context: Context, recorder: Recorder) -> None:
        assert context.evaluator is not None, "samples are measured"
        with recorder.training() as cost:
            fitted = fitted_inside(recorder, self.recipe, context.data, cost)
        real = self._real(context)
        walks = [
            self._walk(fitted, name, evaluations, real, context.evaluator, recorder)
            for name in SAMPLERS
            for evaluations in self.budgets
        ]
        best = best_of(walks)
        n = min(self.evaluation.samples, len(context.data.test))
        x, seconds = drawn(fitted, best.sampler, n, seed_for("samples", self.seed))
        save_samples(recorder.run, context.evaluator.kind, x)
        found = measure_samples(x, context.data, context.evaluator)
        says = f"; {best.name}, {best.evaluations} evaluations, chosen on validation, drawn anew"
        told = (replace(each, protocol=each.protocol + says) for each in found)
        recorder.add(*told, seconds=seconds, evaluations=best.evaluations)

    def _real(self, context: Context) -> Mapping[str, Tensor]:
        """Features of equally many examples of the validation and the test part."""
        evaluator, data = context.evaluator, context.data
        assert evaluator is not None, "samples are measured"
        parts = {"validation": data.validation, "test": data.test}
        n = min(self.evaluation.samples, *map(len, parts.values()))
        return {
            part: evaluator.features(split.scaled(slice(0, n))) for part, split in parts.items()
        }

    def _walk(
        self,
        fitted: Fitted,
        name: str,
        evaluations: int,
        real: Mapping[str, Tensor],
        evaluator: Evaluator,
        recorder: Recorder,
    ) -> Walk:
        process: Any = self.recipe.sampler.process
        sampler = SAMPLERS[name](process, evaluations)
        n = len(real["test"])
        x, seconds = drawn(fitted, sampler, n, seed_for("snapshots", self.seed))
        features = evaluator.features(x)
        on = {part: frechet.fd(known, features, evaluator.name) for part, known in real.items()}
        axes = {"sampler": name, "at_most": evaluations}
        recorder.add(on["test"], axes=axes, seconds=seconds, evaluations=spent(sampler))
        return Walk(name, sampler, float(on["validation"]))


def drawn(fitted: Fitted, sampler: Any, n: int, seed: int) -> tuple[Tensor, float]:
    """n samples by another sampler than the recipe's own, and the seconds of each."""
    settings: Any = fitted.recipe
    recipe = replace(settings, sampler=sampler)
    began = time.perf_counter()
    x, _ = replace(fitted, recipe=recipe).draw(n, seed)
    return x, (time.perf_counter() - began) / n


def score(target: Target, preset: str = "quick", seed: int = 0) -> ByEverySampler:
    """A score network from pure noise, by the sampler and budget that are best on validation."""
    recipe = ncsn_from_noise(target, preset, seed)
    return ByEverySampler(
        "score", target.name, preset, seed, recipe=recipe, evaluation=recipe.evaluation
    )
