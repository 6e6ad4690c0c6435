r"""What all methods of restoring share, and what one posterior sample is worth.

All see the same test pictures under the same noise, :math:`y = x_0 + \sigma\varepsilon` on [0, 1].
The estimate with the least squared error is the posterior mean.

**The 3 dB rule.** A posterior sample x is as far from its mean as the truth is, and independent of
it given y, so

.. math:: E\|x - x_0\|^2 = 2\, E\|E[x_0 \mid y] - x_0\|^2 ,

3.01 dB worse, and the mean of K samples :math:`1 + 1/K` times, .51 dB at K = 8. A model whose
sample loses less is too sure of itself. Where the mean of its samples is a better estimate than the
network's in one step, a sample must be held against that mean.

References: Efron (2011), Tweedie's Formula; Blau & Michaeli (2018), The Perception-Distortion
Tradeoff, theorem 2 (the factor of two).
"""

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gradlogp.baselines.wiener import noised
from gradlogp.core.random import seed_for
from gradlogp.harness.evaluate import denoising
from gradlogp.harness.recipe import Evaluation, Restoration, specify
from gradlogp.harness.record import Recorder
from gradlogp.harness.trial import Context, Trial
from gradlogp.metrics import Measure, image
from gradlogp.metrics.base import standard_error
from gradlogp.runs import Run

SHOWN = 8
SHOWN_AT = (0.3, 0.5, 1.0)  # pictures of the strips, and their noise
SAMPLES = 4  # posterior samples of each of SAMPLED pictures, whose own mean is the other yardstick
SAMPLED = 75
TWO = 10 * math.log10(2)
Estimate = Callable[[Tensor], Tensor]  # noisy pictures -> estimates, not yet clamped to [0, 1]


@final
@dataclass(frozen=True)
class PosteriorSample:
    """How to draw one posterior sample of noisy pictures, how that comes about, and whether every
    call draws anew.
    """

    draw: Estimate
    says: str
    anew: bool = False


@final
@dataclass(frozen=True)
class Estimator:
    """How to restore at one level: the estimate, how it comes about, network evaluations for a
    picture, and a posterior sample or none.
    """

    estimate: Estimate
    says: str
    evaluations: int = 1
    sample: PosteriorSample | None = None


@dataclass(frozen=True)
class Denoise(Trial):
    """What all share: restore `pictures` test pictures at every sigma, and keep the error of each."""

    pictures: int = 300
    sigmas: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)

    @abc.abstractmethod
    def learn(self, context: Context, recorder: Recorder) -> Callable[[float], Estimator]:
        """sigma -> how to restore there, after whatever there is to learn."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        estimator_at = self.learn(context, recorder)
        estimators = {sigma: estimator_at(sigma) for sigma in self.sigmas}
        clean = context.data.test.scaled(slice(0, self.pictures))
        estimates = self._denoise(context, recorder, estimators, len(clean))
        recorder.save(clean=clean[:SHOWN])
        for sigma, estimate in estimates.items():
            self._keep(recorder, sigma, estimate, clean)
            if (sample := estimators[sigma].sample) is not None:
                self._sampled(recorder, sample, sigma, estimate, clean)

    def _denoise(
        self,
        context: Context,
        recorder: Recorder,
        estimators: Mapping[float, Estimator],
        count: int,
    ) -> dict[float, Tensor]:
        """Rows of the harness's restoration metrics, and the estimates at each level."""
        found: dict[float, Tensor] = {}

        def restoration(sigma: float) -> Restoration:
            estimator = estimators[sigma]

            def restore(noisy: Tensor) -> Tensor:
                found[sigma] = estimator.estimate(noisy)
                return found[sigma].clamp(0, 1)

            says = f"{estimator.says}, clamped to [0, 1]"
            return Restoration(restore, says, estimator.evaluations)

        evaluation = Evaluation(denoise=count, sigmas=self.sigmas)
        kind = specify(context.data).coordinates
        run, listener = recorder.run, recorder.listener
        rows = denoising(
            restoration,
            context.data,
            evaluation,
            seed_for("noise", self.seed),
            kind,
            run.picture,
            listener,
        )
        recorder.rows += [{**r, "seed": self.seed} for r in rows]
        return found

    def _keep(self, recorder: Recorder, sigma: float, estimate: Tensor, clean: Tensor) -> None:
        shown = {"shown": estimate[:SHOWN].clamp(0, 1)} if sigma in SHOWN_AT else {}
        recorder.save({"noise": sigma}, mse=mse(estimate.clamp(0, 1), clean), **shown)

    def _sampled(
        self,
        recorder: Recorder,
        sample: PosteriorSample,
        sigma: float,
        estimate: Tensor,
        clean: Tensor,
    ) -> None:
        """Rows of one posterior sample, and of what it loses to the estimate."""
        noisy = noised(clean, sigma, seed_for("noise", self.seed))
        drawn = sample.draw(noisy)
        of_mean, of_sample = mse(estimate, clean), mse(drawn, clean)
        psnr = image.psnr(clean, drawn.clamp(0, 1))
        recorder.add(psnr, axes={"noise": sigma, "of": "one sample"})
        recorder.add(loss_of_a_sample(of_mean, of_sample, sample.says), axes={"noise": sigma})
        shown = {"sample": drawn[:SHOWN].clamp(0, 1)} if sigma in SHOWN_AT else {}
        recorder.save({"noise": sigma}, mean_mse=of_mean, sample_mse=of_sample, **shown)
        if sample.anew:
            against_their_own_mean(recorder, sample, sigma, noisy[:SAMPLED], clean[:SAMPLED])


def against_their_own_mean(
    recorder: Recorder, sample: PosteriorSample, sigma: float, noisy: Tensor, clean: Tensor
) -> None:
    """What a sample loses to the mean of infinitely many of its kind: a row, and arrays."""
    draws = torch.stack([sample.draw(noisy) for _ in range(SAMPLES)])
    bias, variance = bias_and_variance(draws, clean)
    says = f"{sample.says}, {SAMPLES} of them for their own mean,"
    loss = loss_of_a_sample(bias, bias + variance, says)
    recorder.add(loss, axes={"noise": sigma, "to": "their own mean"})
    recorder.save({"noise": sigma}, own_bias=bias, own_variance=variance)


def mse(x: Tensor, clean: Tensor) -> Tensor:
    """The mean squared error of each picture, [n]."""
    return (x - clean).square().flatten(1).mean(1)


def decibels(better: Tensor, worse: Tensor) -> tuple[float, float]:
    """10 log10 of the ratio of two paired mean errors, both [n], and its standard error (delta
    method).
    """
    ratio = float(worse.mean() / better.mean())
    error = standard_error(worse / worse.mean() - better / better.mean()) or 0.0
    return 10 * math.log10(ratio), 10 / math.log(10) * error


def bias_and_variance(samples: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
    """Of samples [K, n, *shape], both [n], unbiased: the squared error of the mean of infinitely
    many, their variance about it.
    """
    variance = samples.var(0).flatten(1).mean(1)
    return mse(samples.mean(0), clean) - variance / len(samples), variance


def loss_of_a_sample(mean: Tensor, sample: Tensor, says: str) -> Measure:
    """What one posterior sample loses to the mean, in dB; 3.01 where the model's posterior is
    right.
    """
    value, stderr = decibels(mean, sample)
    protocol = (
        f"dB, the ratio of mean squared errors, not clamped, of {says} to the estimate; 3.01 for"
        " the true posterior and its mean, paired standard error"
    )
    return Measure("sample_loss", value, stderr, len(mean), "higher", protocol, reference=TWO)


def learned_in(recorder: Recorder, run: Run) -> None:
    """The cost of the inner run is that of the trial."""
    spent = run.status()
    keys = ("seconds", "images", "evaluations", "parameters")
    recorder.run.mark("trained", **{key: spent.get(key) for key in keys})


def unclamped(x: Tensor) -> Tensor:
    """From model coordinates to [0, 1], which an estimate with squared error to judge may leave."""
    return (x + 1) / 2
