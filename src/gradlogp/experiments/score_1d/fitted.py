r"""A fitted score on the line, held against the one that is known.

Its error is the root mean square of :math:`s_\theta - s` over the middle 99.73 % of the density
(three standard deviations to each side of a Gaussian), in units of 1 / s, and the relative one
:math:`E_p|s_\theta - s|^2 / E_p|s|^2`.

Reference: Hyvarinen (2005), Estimation of Non-Normalized Statistical Models by Score Matching, eq.
2 (the squared error of a score).
"""

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gradlogp.core.targets import GaussianMixture
from gradlogp.data.line import DENSITIES, column_of
from gradlogp.harness.record import Cost, Recorder
from gradlogp.harness.trial import Context, Trial
from gradlogp.metrics import Measure

LEVELS = (0.05, 0.1, 0.3, 1.0)  # at which a noise-conditional score is measured
POINTS = 201
TAIL = 0.00135  # of the density, left out at either end
PROTOCOL = (
    "RMS error of the score over the middle 99.73 % of the density, 201 points, in units of 1 / s,"
    " against the score"
)
Score = Callable[[Tensor], Tensor]  # draws [n, 1], float64 -> scores [n, 1]


@final
@dataclass(frozen=True)
class Fit:
    """A fitted score, the noise level of the density that it was fitted to, how its error fell as
    (seconds, steps, error), and, where it knows noise levels, the score at each.
    """

    score: Score
    sigma: float = 0.0
    curve: Sequence[tuple[float, float, float]] = ()
    at: Callable[[float], Score] | None = None

    def levels(self) -> dict[float, Score]:
        return {} if self.at is None else {sigma: self.at(sigma) for sigma in LEVELS}


def grid(density: GaussianMixture, sigma: float = 0.0) -> Tensor:
    """201 points over the middle 99.73 % of the density with noise sigma, three standard deviations
    to each side for a Gaussian, [201, 1].
    """
    std = (density.stds**2 + sigma**2).sqrt()
    low = float((density.means - 5 * std).min())
    high = float((density.means + 5 * std).max())
    wide = torch.linspace(low, high, 20_001, dtype=torch.float64)
    each = torch.special.ndtr((wide[:, None] - density.means[:, 0]) / std[:, 0])
    below = (density.weights * each).sum(1)
    low, high = (float(wide[torch.searchsorted(below, q)]) for q in (TAIL, 1 - TAIL))
    return torch.linspace(low, high, POINTS, dtype=torch.float64)[:, None]


def moments(density: GaussianMixture) -> tuple[float, float]:
    """Mean and standard deviation."""
    mean = (density.weights[:, None] * density.means).sum(0)
    square = (density.weights[:, None] * (density.stds**2 + density.means**2)).sum(0)
    return float(mean), float((square - mean**2).sqrt())


def rmse(score: Score, density: GaussianMixture, sigma: float = 0.0) -> float:
    """Root mean square error on the grid, in units of 1 / s."""
    x = grid(density, sigma)
    with torch.no_grad():
        error = float((score(x) - density.score(x, sigma)).square().mean().sqrt())
    return error * math.sqrt(moments(density)[1] ** 2 + sigma**2)


def relative(score: Score, density: GaussianMixture, x: Tensor) -> Measure:
    """E|error|^2 / E|score|^2 over draws x [n, 1]."""
    with torch.no_grad():
        exact = density.score(x)
        error = (score(x) - exact).square()
        size = exact.square().mean()
    says = f"E|error|^2 / E|score|^2 over {len(x)} test draws, standard error over draws"
    stderr = float(error.std() / size / len(x) ** 0.5)
    return Measure("relative", float(error.mean() / size), stderr, len(x), "lower", says)


@dataclass(frozen=True)
class OnTheLine(Trial):
    """What all methods share: fit the score of both densities, and measure it."""

    @abc.abstractmethod
    def fits(self, recorder: Recorder, cost: Cost, name: str, context: Context) -> Fit:
        """Fit the score of the density `name`."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        found: dict[str, Fit] = {}
        with recorder.training() as cost:
            for name in DENSITIES:
                found[name] = self.fits(recorder, cost, name, context)
        for name, fit in found.items():
            measure(recorder, name, fit, column_of(context.data.test, name))
            keep(recorder, name, fit)


def measure(recorder: Recorder, name: str, fit: Fit, test: Tensor) -> None:
    """The rows of one density: against its own score, the noised one's, and that at every level."""
    density = DENSITIES[name]

    def add(score: Score, sigma: float, of: str, **axes: object) -> None:
        value = rmse(score, density, sigma)
        said = Measure("rmse", value, None, POINTS, "lower", f"{PROTOCOL} {of}")
        recorder.add(said, axes={"density": name, **axes})

    add(fit.score, 0.0, "of the density itself")
    if fit.sigma > 0:
        of = f"of the density with noise {fit.sigma:g}"
        add(fit.score, fit.sigma, of, against="noised")
    recorder.add(relative(fit.score, density, test), axes={"density": name})
    for sigma, score in fit.levels().items():
        add(score, sigma, f"with noise {sigma:g}", noise=sigma)


def keep(recorder: Recorder, name: str, fit: Fit) -> None:
    """x, the fitted and the exact score there, [201] each; of a fit at all levels, at each of them;
    and how the error fell.
    """
    curve = torch.tensor(list(fit.curve) or [(0.0, 0.0, math.nan)], dtype=torch.float64)
    recorder.save({"density": name}, curve=curve, **_on_grid(name, fit.score))
    for sigma, score in fit.levels().items():
        recorder.save({"density": name, "noise": sigma}, **_on_grid(name, score, sigma))


def _on_grid(name: str, score: Score, sigma: float = 0.0) -> dict[str, Tensor]:
    density = DENSITIES[name]
    x = grid(density, sigma)
    with torch.no_grad():
        columns = {"x": x, "score": score(x), "exact": density.score(x, sigma)}
    return {key: value[:, 0] for key, value in columns.items()}
