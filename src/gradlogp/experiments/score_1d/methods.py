r"""Score matching on the line, where the answer is known: explicit, implicit, sliced, finite
differences, denoising.

Each objective fits the score of a Gaussian and of a mixture twice: with a line, :math:`s(x) = ax +
b`, whose minimiser is known in closed form, and with a perceptron. Explicit matching must find
:math:`a = -1/s^2`; implicit, sliced and finite-difference matching the maximum-likelihood :math:`a
= -1/\widehat{var}` *of the sample*, to the last digit; denoising the score of the noised law,
:math:`a = -1/(\widehat{var} + \sigma^2)`, up to the noise that was drawn.

The perceptron's error is the root mean square of :math:`s_\theta - s` over the middle 99.73 % of
the law (three standard deviations to each side of a Gaussian), in units of 1 / s, and the relative
one :math:`E_p|s_\theta - s|^2 / E_p|s|^2`. A kernel density estimate is the rival without a
network.

References: Hyvarinen (2005), section 3; Vincent (2011), eq. 11; Song et al. (2019), arXiv
1905.07088; Pang et al. (2020), arXiv 2007.03317.
"""

import abc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import Field, Score
from gradlogp.core.random import seeded
from gradlogp.core.targets import GaussianMixture
from gradlogp.data import Split
from gradlogp.data.laws import LAWS, column_of
from gradlogp.harness import figures
from gradlogp.harness.evaluate import Rows
from gradlogp.harness.table import Table
from gradlogp.harness.trial import Context, Cost, Recorder, Trial, items
from gradlogp.metrics import Measure
from gradlogp.models import VectorScore, mlp_score
from gradlogp.objectives import (
    DenoisingScoreMatching,
    ExplicitScoreMatching,
    FiniteDifferenceScoreMatching,
    ImplicitScoreMatching,
    LogNormal,
    Objective,
    SingleLevel,
    SlicedScoreMatching,
)
from gradlogp.runs import write_json

Matching = Literal[
    "explicit", "implicit", "sliced", "sliced_plain", "finite_difference", "denoising"
]
LEVELS = (0.05, 0.1, 0.3, 1.0)  # at which a noise-conditional score is measured


def grid(law: GaussianMixture, sigma: float = 0.0) -> Tensor:
    """201 points over the middle 99.73 % of the law, three standard deviations to each side for a
    Gaussian, [201, 1].
    """
    std = (law.stds**2 + sigma**2).sqrt()
    wide = torch.linspace(
        float((law.means - 5 * std).min()),
        float((law.means + 5 * std).max()),
        20_001,
        dtype=torch.float64,
    )
    below = (law.weights * torch.special.ndtr((wide[:, None] - law.means[:, 0]) / std[:, 0])).sum(1)
    low, high = (float(wide[torch.searchsorted(below, q)]) for q in (0.00135, 0.99865))
    return torch.linspace(low, high, 201, dtype=torch.float64)[:, None]


def moments(law: GaussianMixture) -> tuple[float, float]:
    mean = (law.weights[:, None] * law.means).sum(0)
    var = (law.weights[:, None] * (law.stds**2 + law.means**2)).sum(0) - mean**2
    return float(mean), float(var.sqrt())


class Line(nn.Module):
    """s(x) = a x + b, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.zeros((), dtype=torch.float64)) for _ in range(2))

    def field(self, cond: Tensor | None = None) -> Score:
        return Score(lambda x: self.a * x + self.b)


@dataclass(frozen=True)
class _OnTheLine(Trial):
    """What all share: measure a fitted score on both laws."""

    @abc.abstractmethod
    def fits(self, recorder: Recorder, cost: Cost, law: str, context: Context) -> "Fit":
        """Fit the score of one law."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        found: dict[str, Fit] = {}
        with recorder.training() as cost:
            for law in LAWS:
                found[law] = self.fits(recorder, cost, law, context)
        for law, fit in found.items():
            measure(recorder, law, fit, column_of(context.data.test, law))
        recorder.save(
            **{
                f"{key} {law}": value
                for law, fit in found.items()
                for key, value in arrays(law, fit).items()
            }
        )


@dataclass(frozen=True)
class Fit:
    """A fitted score, the noise level of the law that it was fitted to, and how its error fell:
    (seconds, steps, error).
    """

    score: Callable[[Tensor], Tensor]
    sigma: float = 0.0
    curve: Sequence[tuple[float, float, float]] = ()
    at: Callable[[float], Callable[[Tensor], Tensor]] | None = None


def rmse(score: Callable[[Tensor], Tensor], law: GaussianMixture, sigma: float = 0.0) -> float:
    """Root mean square error on the grid, in units of 1 / s."""
    x = grid(law, sigma)
    with torch.no_grad():
        return float((score(x) - law.score(x, sigma)).square().mean().sqrt()) * math.sqrt(
            moments(law)[1] ** 2 + sigma**2
        )


def measure(recorder: Recorder, law: str, fit: Fit, test: Tensor) -> None:
    exact = LAWS[law]
    protocol = (
        "RMS error of the score over the middle 99.73 % of the law, 201 points, in units of 1 / s"
    )
    clean = f"{protocol}, against the score of the law itself"
    recorder.add(Measure("rmse", rmse(fit.score, exact), None, 201, "lower", clean), name=law)
    if fit.sigma > 0:
        noised = f"{protocol}, against the score of the law with noise {fit.sigma:g}"
        recorder.add(
            Measure("rmse", rmse(fit.score, exact, fit.sigma), None, 201, "lower", noised),
            name=f"{law} noised",
        )
    with torch.no_grad():
        error = (fit.score(test) - exact.score(test)).square()
        size = exact.score(test).square().mean()
    recorder.add(
        Measure(
            "relative",
            float(error.mean() / size),
            float(error.std() / size / len(test) ** 0.5),
            len(test),
            "lower",
            f"E|error|^2 / E|score|^2 over {len(test)} test draws, standard error over draws",
        ),
        name=law,
    )
    for sigma in LEVELS if fit.at else ():
        value = rmse(fit.at(sigma), exact, sigma) if fit.at else math.nan
        recorder.add(
            Measure(
                "rmse",
                value,
                None,
                201,
                "lower",
                f"{protocol}, against the score with noise {sigma:g}",
            ),
            name=f"{law} at {sigma:g}",
        )


def arrays(law: str, fit: Fit) -> dict[str, Tensor]:
    """x, the fitted and the exact score there, [201] each; of a fit at all levels, at each of them;
    and how the error fell.
    """
    exact = LAWS[law]
    curve = torch.tensor(list(fit.curve) or [(0.0, 0.0, math.nan)], dtype=torch.float64)
    found = {"": (grid(exact), fit.score, 0.0)}
    if fit.at is not None:
        found |= {f" at {sigma:g}": (grid(exact, sigma), fit.at(sigma), sigma) for sigma in LEVELS}
    with torch.no_grad():
        return {"curve": curve} | {
            key + at: value[:, 0]
            for at, (x, score, sigma) in found.items()
            for key, value in {"x": x, "score": score(x), "exact": exact.score(x, sigma)}.items()
        }


@final
@dataclass(frozen=True)
class ScoreMatching(_OnTheLine):
    """One objective; `sigma` is the noise of denoising score matching, `epsilon` the step of finite
    differences.
    """

    matching: Matching = "implicit"
    sigma: float = 0.1
    epsilon: float = 0.1
    conditional: bool = False  # on the noise level: one network for all levels
    hidden: tuple[int, ...] = (64, 64)
    steps: int = 2000
    batch: int = 1024
    learning_rate: float = 5e-3

    def objective(self, law: GaussianMixture) -> Objective:
        if self.matching == "explicit":
            return ExplicitScoreMatching(law.at(0.0))
        if self.matching == "denoising":
            return DenoisingScoreMatching(
                LogNormal(-1.0, 1.5) if self.conditional else SingleLevel(self.sigma)
            )
        if self.matching == "finite_difference":
            return FiniteDifferenceScoreMatching(epsilon=self.epsilon)
        sliced = SlicedScoreMatching(variance_reduced=self.matching == "sliced")
        return ImplicitScoreMatching() if self.matching == "implicit" else sliced

    def fits(self, recorder: Recorder, cost: Cost, law: str, context: Context) -> Fit:
        x = column_of(context.data.train, law)
        if not self.conditional:
            self._line(recorder, law, x)
        return self._perceptron(recorder, cost, law, context.data.train)

    def _line(self, recorder: Recorder, law: str, x: Tensor) -> None:
        """Fit a line to all draws by a quasi-Newton method, and hold it against its closed form."""
        model, objective = Line(), self.objective(LAWS[law])
        optimizer = torch.optim.LBFGS(
            model.parameters(),
            max_iter=100,
            tolerance_grad=1e-13,
            tolerance_change=1e-16,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = objective(model, Batch(x), seeded(self.seed, "line", law)).value.mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        slope, said = self._slope(law, x)
        error = abs(float(model.a.detach()) - slope)
        protocol = f"|a - a*| of the line a x + b fitted to {len(x)} draws; a* is {said}"
        recorder.add(Measure("slope_error", error, None, len(x), "lower", protocol), name=law)

    def _slope(self, law: str, x: Tensor) -> tuple[float, str]:
        var = float(x.var(unbiased=False))
        if self.matching == "denoising":
            return (
                -1 / (var + self.sigma**2),
                "-1 / (sample variance + sigma^2), and the noise drawn is a sample too",
            )
        if self.matching == "explicit":
            s = LAWS[law].score(x)
            return (
                float(((x - x.mean()) * s).mean()) / var,
                "the regression of the exact score on x",
            )
        return -1 / var, "-1 / sample variance, the maximum-likelihood value"

    def _perceptron(self, recorder: Recorder, cost: Cost, law: str, train: Split) -> Fit:
        x = column_of(train, law).float()
        exact = LAWS[law]
        generator = seeded(self.seed, "perceptron", law)
        torch.manual_seed(seeded(self.seed, "weights", law).initial_seed())
        model: Any = (
            mlp_score(1, moments(exact)[1], 64, 2)
            if self.conditional
            else VectorScore(1, self.hidden)
        )
        objective = self.objective(exact)
        optimizer = torch.optim.Adam(model.parameters(), self.learning_rate)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        sigma = self.sigma if self.matching == "denoising" and not self.conditional else 0.0
        level = min(LEVELS) if self.conditional else 0.0
        curve = []
        began = time.perf_counter()
        score = scored(model, level)
        recorder.listener.begin(f"{self.experiment} {law}", self.steps)
        for step in range(self.steps):
            batch = x[torch.randint(len(x), (self.batch,), generator=generator)]
            optimizer.zero_grad()
            objective(model, Batch(batch), generator).value.mean().backward()
            optimizer.step()
            decay.step()
            if (step + 1) % 50 == 0:
                curve.append(
                    (time.perf_counter() - began, step + 1.0, rmse(score, exact, sigma or level))
                )
                recorder.listener.advance(50)
        recorder.listener.end()
        cost.parameters += sum(p.numel() for p in model.parameters())
        cost.images += self.steps * self.batch
        cost.evaluations += self.steps * self.batch
        return Fit(score, sigma, curve, (lambda s: scored(model, s)) if self.conditional else None)


def scored(model: Any, sigma: float) -> Callable[[Tensor], Tensor]:
    """A float32 network as a function of float64 draws; at one level where it knows levels."""
    field: Field = model.field().at(sigma) if sigma else model.field()
    return lambda x: field.score(x.float()).double()


@final
@dataclass(frozen=True)
class KernelDensity(_OnTheLine):
    """The score of a Gaussian kernel density estimate of `draws` draws; the bandwidth is chosen by
    validation likelihood.
    """

    draws: int = 2000
    bandwidths: tuple[float, ...] = (0.03, 0.05, 0.08, 0.12, 0.2, 0.3)

    def fits(self, recorder: Recorder, cost: Cost, law: str, context: Context) -> Fit:
        x = column_of(context.data.train, law)[: self.draws]
        held_out = column_of(context.data.validation, law)[:1000]
        estimate = min(
            (kernels(x, h) for h in self.bandwidths), key=lambda k: float(k.energy(held_out).mean())
        )
        cost.parameters += len(x)
        return Fit(lambda y: torch.cat([estimate.score(part) for part in y.split(500)]))


def kernels(x: Tensor, bandwidth: float) -> GaussianMixture:
    return GaussianMixture(x, torch.full_like(x, bandwidth), x.new_full((len(x),), 1 / len(x)))


def summary(folder: Path, runs: Mapping[str, Sequence[Path]]) -> Rows:
    """Scores over the exact one, and errors as they fell, of all contenders together."""
    found = {name: items(paths[0]) for name, paths in runs.items()}
    path = folder / "samples" / "figure-scores.png"
    with figures.sheet(path, columns=2, rows=2) as axes:
        for axis, law in zip(axes, LAWS, strict=False):
            first = next(iter(found.values()))
            axis.plot(
                first[f"x {law}"],
                first[f"exact {law}"],
                color=figures.INK,
                linewidth=4,
                alpha=0.25,
                label="exact",
            )
            series = {
                name: (kept[f"x {law}"].tolist(), kept[f"score {law}"].tolist())
                for name, kept in found.items()
            }
            figures.lines(
                axis, series, "x", "score", f"{law}: the learned scores over the exact one"
            )
        for axis, law in zip(axes[2:], LAWS, strict=True):
            curves = {
                name: kept[f"curve {law}"]
                for name, kept in found.items()
                if kept[f"curve {law}"].isfinite().all()
            }
            series = {
                name: (curve[:, 1].tolist(), curve[:, 2].tolist()) for name, curve in curves.items()
            }
            figures.lines(
                axis,
                series,
                "updates",
                "RMS error, in 1 / s",
                f"{law}: the error as it fell",
                log="xy",
            )
    caption = (
        "Learned scores over the exact one, and how their errors fell; denoising is held against"
        " the noised law's score, which is what it learns."
    )
    write_json(
        path.with_name("figures.json"),
        {path.name: caption} | _by_level(path.with_name("figure-levels.png"), found),
    )
    return []


def _by_level(path: Path, found: Mapping[str, Mapping[str, Tensor]]) -> dict[str, str]:
    """The score of the network that knows noise levels, over the exact ones; nothing where no
    contender does.
    """
    knowing = next(
        (name for name, kept in found.items() if any(" at " in key for key in kept)), None
    )
    if knowing is None:
        return {}
    kept = found[knowing]
    with figures.sheet(path, columns=2) as axes:
        for axis, law in zip(axes, LAWS, strict=True):
            learned = {
                f"noise {s:g}": (
                    kept[f"x at {s:g} {law}"].tolist(),
                    kept[f"score at {s:g} {law}"].tolist(),
                )
                for s in LEVELS
            }
            for i, sigma in enumerate(LEVELS):
                axis.plot(
                    kept[f"x at {sigma:g} {law}"],
                    kept[f"exact at {sigma:g} {law}"],
                    linewidth=5,
                    alpha=0.25,
                    color=figures.colour(i)["color"],
                )
            figures.lines(
                axis, learned, "x", "score", f"{law}: one network, {len(LEVELS)} levels of noise"
            )
    return {
        path.name: (
            f"The score that {knowing} learned (thin) over the exact one (wide), at each level of"
            " noise."
        )
    }


def _trial(
    name: str, matching: Matching, says: str, **settings: Any
) -> Callable[[str, str, int], ScoreMatching]:
    def make(dataset: str = "laws", preset: str = "quick", seed: int = 0) -> ScoreMatching:
        steps = {"quick": 2000, "full": 10_000, "gpu": 10_000}[preset]
        return ScoreMatching(
            name, dataset, preset, seed, matching=matching, steps=steps, **settings
        )

    make.__doc__ = says
    return make


def kernel_density(dataset: str = "laws", preset: str = "quick", seed: int = 0) -> KernelDensity:
    """The score of a kernel density estimate: the rival without a network."""
    return KernelDensity("kernel_density", dataset, preset, seed)


TRIALS: dict[str, Callable[[str, str, int], Trial]] = {
    "esm": _trial(
        "esm",
        "explicit",
        "Explicit score matching: told the exact score, the yardstick of the others.",
    ),
    "ism": _trial("ism", "implicit", "Implicit score matching, with the exact derivative."),
    "ssm": _trial(
        "ssm",
        "sliced_plain",
        "Sliced score matching; on the line the same as implicit, direction by direction.",
    ),
    "ssm_vr": _trial("ssm_vr", "sliced", "Sliced score matching, its variance reduced."),
    "fd_ssm": _trial(
        "fd_ssm",
        "finite_difference",
        "Finite-difference sliced score matching: no second derivatives.",
    ),
    "dsm_1d": _trial(
        "dsm_1d",
        "denoising",
        "Denoising score matching at one noise level: learns the score of the noised law.",
    ),
    "dsm_levels": _trial(
        "dsm_levels",
        "denoising",
        "Denoising score matching, one network for all levels.",
        conditional=True,
    ),
    "kernel_density": kernel_density,
}
TABLES = (
    Table("Error of the fitted line's slope", ("slope_error *",)),
    Table("Squared error weighted by the law, relative to the score's", ("relative *",)),
    Table("Gaussian: error of one network for all levels, by noise level", ("rmse gaussian at *",)),
    Table("Mixture: error of one network for all levels, by noise level", ("rmse mixture at *",)),
    Table("Error against the noised law, which is what one noise level learns", ("rmse * noised",)),
)
