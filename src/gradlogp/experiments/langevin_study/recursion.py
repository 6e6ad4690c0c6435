r"""On a Gaussian every step is linear, so the variance that the chains must have is known to the
last digit: with data N(0, v) and step h at level sigma,

.. math:: V' = (1 - h/(v + \sigma^2))^2 V + 2h .

Measured over many chains it must agree within the error of a variance, :math:`V\sqrt{2/n}`; and
beyond :math:`h = 2(v + \sigma^2)` the factor exceeds 1 and the chains must leave.

Reference: Song & Ermon (2020), arXiv 2006.09011, proposition 3.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch

from gradlogp.core.kernel import run
from gradlogp.core.random import normal_, seeded
from gradlogp.core.targets import gaussian
from gradlogp.experiments.langevin_study.settings import Setting, settings
from gradlogp.harness import figures
from gradlogp.harness.record import Cost, Recorder
from gradlogp.harness.trial import Context, Trial
from gradlogp.metrics import Measure
from gradlogp.samplers import Annealed, Langevin

DIM = 784  # whose ladders are studied: those of pictures of 28x28
VARIANCES = (0.01, 0.25, 4.0)  # of the data
RATIOS = (0.25, 0.5, 1.5, 1.9, 2.1, 2.4)  # step sizes over sigma^2, stable below 2
WALKERS, STEPS = 1000, 100  # of the chains whose growth is measured


def expected_variance(sampler: Annealed, data: float) -> float:
    """The variance of chains on N(0, data) after a whole run from the top level, exactly."""
    var = sampler.ladder[0] ** 2
    for taken in range(sampler.steps):
        level = sampler.level(taken)
        sigma = sampler.ladder[-1] if level is None else sampler.ladder[level]
        step_size, tau = (sigma**2, 0.0) if level is None else sampler.rule(level)
        var = (1 - step_size / (data + sigma**2)) ** 2 * var + tau**2
    return var


@final
@dataclass(frozen=True)
class ExactRecursion(Trial):
    """Chains on Gaussians against the recursion; `chains` of them for each setting."""

    chains: int = 20_000

    def perform(self, context: Context, recorder: Recorder) -> None:
        recorder.trained(Cost())
        found = {
            data: [self._deviation(recorder, setting, data) for setting in settings(DIM)]
            for data in VARIANCES
        }
        worst = max(abs(z) for deviations in found.values() for z in deviations)
        says = "largest of the deviations of all settings, in standard errors"
        recorder.add(Measure("largest_deviation", worst, None, self.chains, "lower", says))
        growth = {ratio: self._growth(recorder, ratio) for ratio in RATIOS}
        self._draw(recorder, found, growth)

    def _deviation(self, recorder: Recorder, setting: Setting, data: float) -> float:
        sampler = setting.sampler
        expected = expected_variance(sampler, data)
        z = (self._variance(setting, data) / expected - 1) / math.sqrt(2 / self.chains)
        protocol = (
            f"measured over expected variance of {self.chains} chains on N(0, {data:g}), minus 1,"
            f" in standard errors; expected {expected:.5g}, {expected / data:.4g} of the data's"
        )
        says = "expected variance over the data's, minus 1, by the recursion"
        recorder.add(
            Measure("deviation", z, 1.0, self.chains, "lower", protocol),
            Measure("excess", expected / data - 1, None, 1, "lower", says),
            axes={"setting": setting.name, "variance": data},
            evaluations=sampler.steps,
        )
        return z

    def _variance(self, setting: Setting, data: float) -> float:
        sampler = setting.sampler
        generator = seeded(self.seed, "gaussian", setting.name, str(data))
        x = normal_(torch.empty(self.chains, 1, dtype=torch.float64), generator)
        start = x.mul_(sampler.ladder[0])
        end = run(sampler, gaussian([0.0], [math.sqrt(data)]), start, sampler.steps, generator)
        return float(end.square().mean())

    def _growth(self, recorder: Recorder, ratio: float) -> float:
        """ln |1 - h / sigma^2|, by which |x| grows in a step of h = ratio sigma^2, measured over
        100 steps.
        """
        generator = seeded(self.seed, "divergence")
        x = normal_(torch.empty(WALKERS, 1, dtype=torch.float64), generator)
        target = gaussian([0.0], [1.0]).at()
        end = run(Langevin(ratio, noise_std=0.0), target, x, STEPS, generator)
        growth = float((end.abs().mean() / x.abs().mean()).log() / STEPS)
        says = (
            f"ln growth of |x| in a step of h = {ratio} sigma^2 without noise; expected ln |1 -"
            f" {ratio}| = {math.log(abs(1 - ratio)):.6f}; above 0 the chain diverges"
        )
        measured = Measure("growth", growth, None, WALKERS, "lower", says)
        recorder.add(measured, axes={"step": ratio})
        return growth

    def _draw(
        self,
        recorder: Recorder,
        found: Mapping[float, Sequence[float]],
        growth: Mapping[float, float],
    ) -> None:
        caption = (
            f"Left: variance of {self.chains:,} chains against the exact recursion, for every"
            " sampler, on three Gaussians. Right: how |x| grows in a step, measured (dots) over ln"
            " |1 - h / sigma^2|; above 0 the chains leave."
        )
        path = recorder.figure("gaussian", caption)
        with figures.sheet(path, columns=2, height=3.6) as (left, right):
            _draw_deviations(left, found)
            _draw_growth(right, growth)


def _draw_deviations(axis: Any, found: Mapping[float, Sequence[float]]) -> None:
    names = [setting.name for setting in settings(DIM)]
    for i, (data, deviations) in enumerate(found.items()):
        label = f"data of variance {data:g}"
        rows = range(len(names))
        axis.plot(deviations, rows, "o", markersize=4, label=label, color=figures.COLOURS[i])
    axis.axvspan(-3, 3, color=figures.INK, alpha=0.06, linewidth=0)
    axis.set(xlabel="measured - expected variance, standard errors", xlim=(-4, 4))
    axis.set_yticks(range(len(names)), names)
    axis.legend(fontsize=7)


def _draw_growth(axis: Any, growth: Mapping[float, float]) -> None:
    ratios = torch.linspace(0.05, 2.6, 400)
    axis.plot(ratios, (1 - ratios).abs().log(), color=figures.COLOURS[0], linewidth=1.2)
    axis.plot(list(growth), list(growth.values()), "o", color=figures.COLOURS[1])
    axis.axhline(0, color=figures.INK, linewidth=0.8)
    axis.set(xlabel="step size / sigma^2", ylabel="ln growth of |x| in a step", ylim=(-3, 0.8))
