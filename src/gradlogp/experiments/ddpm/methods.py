"""Seven diffusion models, each of which differs from DDPM in one choice, an eighth with the
histogram of each pixel wired in, a ninth with their Gaussian, and two closed forms that any
likelihood must beat.

All have one trunk, one budget of training examples, and chains of equally many levels.

References: Ho et al. (2020), arXiv 2006.11239, table 2 (losses and variances: eps with the simple
loss has the best pictures, the bound the best likelihood); Nichol & Dhariwal (2021), arXiv
2102.09672, table 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor

from gradlogp.core.random import seeded
from gradlogp.experiments.recipes.diffusion import (
    ddpm,
    ddpm_gaussian,
    ddpm_hybrid,
    ddpm_linear,
    ddpm_marginals,
    ddpm_v,
    ddpm_vlb,
    ddpm_weighted,
    ddpm_x0,
)
from gradlogp.harness.compare import Maker
from gradlogp.harness.likelihood import gaussian_bits, grid, histogram_bits, words
from gradlogp.harness.recipe import Target
from gradlogp.harness.record import Recorder
from gradlogp.harness.trial import Context, Trial
from gradlogp.metrics import Measure
from gradlogp.metrics.base import standard_error


@dataclass(frozen=True)
class ClosedForm(Trial):
    """Bits per dimension of the first `weighed` test pictures under a density in closed form."""

    weighed: int = 100

    def measure(self, each: Tensor, protocol: str) -> Measure:
        error = standard_error(each)
        value = float(each.mean())
        return Measure("bits_per_dim", value, error, len(each), "lower", protocol, unit="bits")


@final
@dataclass(frozen=True)
class Histogram(ClosedForm):
    def perform(self, context: Context, recorder: Recorder) -> None:
        with recorder.training():
            test = context.data.test[slice(0, self.weighed)]
            each = histogram_bits(context.data.train, test)
        recorder.add(
            self.measure(each, "a histogram for each pixel, one more count for each number")
        )


@final
@dataclass(frozen=True)
class GaussianBits(ClosedForm):
    def perform(self, context: Context, recorder: Recorder) -> None:
        with recorder.training():
            test = context.data.test[slice(0, self.weighed)]
            bins = grid(test)
            x = bins.dequantise(test.x, seeded(self.seed, "dequantise"))
            each = gaussian_bits(context.data.train, x, bins)
        recorder.add(self.measure(each, f"one Gaussian of all pixels; {words(bins)}"))


def pixel_histogram(target: Target, preset: str = "quick", seed: int = 0) -> Histogram:
    """A histogram for each pixel alone: what any model of pictures must beat."""
    return Histogram("pixel_histogram", target.name, preset, seed)


def pixel_gaussian(target: Target, preset: str = "quick", seed: int = 0) -> GaussianBits:
    """One Gaussian of all pixels, with its whole covariance."""
    return GaussianBits("pixel_gaussian", target.name, preset, seed)


METHODS: Mapping[str, Maker] = {
    "ddpm_hybrid": ddpm_hybrid,
    "ddpm": ddpm,
    "ddpm_vlb": ddpm_vlb,
    "ddpm_marginals": ddpm_marginals,
    "ddpm_gaussian": ddpm_gaussian,
    "ddpm_weighted": ddpm_weighted,
    "ddpm_v": ddpm_v,
    "ddpm_x0": ddpm_x0,
    "ddpm_linear": ddpm_linear,
    "pixel_histogram": pixel_histogram,
    "pixel_gaussian": pixel_gaussian,
}
