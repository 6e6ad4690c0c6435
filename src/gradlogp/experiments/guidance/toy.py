r"""Guidance where everything is known: two Gaussians on a line, one for each class, of which one is
asked for.

With :math:`p_c = \mathcal N(c m, s^2)`, c = +1 or -1, all scores are closed forms, so what the
guided flow draws is exact but for the solver. On a line the flow keeps order, so it carries
quantiles to quantiles. It is not the tilted density :math:`p(x \mid c)^{1 + w} / p(x)^w` which the
guided score seems to promise: noise and tilting do not commute. At w = 0 both are :math:`\mathcal
N(m, s^2)`, the flow's but for the mean of its start, which is 0 and not m.

References: Ho & Salimans (2022), arXiv 2207.12598, section 3 and fig. 2 (toy mixtures); Du et al.
(2023), arXiv 2302.11552, section 3.2 (products do not commute with noise).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.fields import Denoiser, NoisyField, column
from gradlogp.core.guidance import Guided
from gradlogp.core.kernel import run
from gradlogp.core.noise import EDM
from gradlogp.core.random import seeded
from gradlogp.harness.record import Recorder
from gradlogp.harness.trial import Context, Trial
from gradlogp.metrics import Measure
from gradlogp.samplers import Heun

SCALES = (0.0, 0.5, 1.0, 2.0, 4.0)


class Moments(NamedTuple):
    """Mean, standard deviation, and the share on the asked class's side of 0."""

    mean: float
    std: float
    right: float


@final
@dataclass(frozen=True)
class GaussianPair(Trial):
    """Gaussians at +center and -center with standard deviation `std`; the class at +center is asked
    for. `quantiles` of the start are followed, down `levels` levels.
    """

    center: float = 1.0
    std: float = 0.7
    quantiles: int = 2001
    levels: int = 200

    def perform(self, context: Context, recorder: Recorder) -> None:
        with recorder.training():
            pass  # nothing is learned
        for scale in SCALES:
            axes = {"toy_scale": scale}
            drawn, tilted = self.drawn(scale), self.tilted(scale)
            found = {
                "drawn_mean": drawn.mean,
                "drawn_std": drawn.std,
                "tilted_mean": tilted.mean,
                "tilted_std": tilted.std,
                "agreement": drawn.right,
            }
            says = (
                f"{self.quantiles} quantiles through Heun over {self.levels} levels; exact scores"
            )
            recorder.add(
                *(_measure(name, value, self.quantiles, says) for name, value in found.items()),
                axes=axes,
            )

    def field(self, scale: float) -> Guided:
        return Guided(self._one_class(), self._both(), scale)

    def drawn(self, scale: float) -> Moments:
        """Of what the guided flow carries a normal density to."""
        sampler = Heun(EDM(1e-3, 80.0), self.levels)
        u = (torch.arange(self.quantiles, dtype=torch.float64) + 0.5) / self.quantiles
        start = (sampler.ladder[0] * torch.special.ndtri(u))[:, None]
        x = run(sampler, self.field(scale), start, sampler.steps, seeded(0))[:, 0]
        return Moments(float(x.mean()), float(x.std(correction=0)), float((x > 0).double().mean()))

    def tilted(self, scale: float) -> Moments:
        """Of p(x | c)^(1 + w) / p(x)^w, by a sum over a fine grid."""
        x = torch.linspace(-12, 12, 48_001, dtype=torch.float64) * self.std
        one = -((x - self.center) ** 2) / (2 * self.std**2)
        other = -((x + self.center) ** 2) / (2 * self.std**2)
        log = (1 + scale) * one - scale * torch.logaddexp(one, other)
        share = log.softmax(0)
        mean = float((share * x).sum())
        std = math.sqrt(float((share * (x - mean) ** 2).sum()))
        return Moments(mean, std, float(share[x > 0].sum()))

    def _one_class(self) -> NoisyField:
        return Denoiser(lambda x, level: self._mean(x, level, self.center))

    def _both(self) -> NoisyField:
        def denoise(x: Tensor, level: Tensor) -> Tensor:
            variance = column(self.std**2 + level**2, x)
            share = torch.sigmoid(2 * self.center * x / variance)
            right, wrong = (self._mean(x, level, c) for c in (self.center, -self.center))
            return share * right + (1 - share) * wrong

        return Denoiser(denoise)

    def _mean(self, x: Tensor, level: Tensor, center: float) -> Tensor:
        """E[x0 | x] of one Gaussian."""
        keep = column(self.std**2 / (self.std**2 + level**2), x)
        return center + keep * (x - center)


def _measure(name: str, value: float, n: int, protocol: str) -> Measure:
    better = "higher" if name == "agreement" else "none"
    return Measure(name, value, None, n, better, protocol)  # type: ignore[arg-type]
