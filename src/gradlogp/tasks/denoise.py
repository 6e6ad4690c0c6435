r"""Denoise: from :math:`y = x_0 + \sigma\varepsilon` to an estimate of x_0.

A noise-conditional score gives the posterior mean in one step (Tweedie), :math:`\hat x_0 = y +
\sigma^2 s(y, \sigma)`. An energy gives samples of the posterior, by Langevin dynamics on

.. math:: w\, E(x) + \|x - y\|^2 / 2\sigma^2,

and their mean is the estimate: a single posterior sample has twice the mean square error of the
posterior mean, 3 dB. An energy trained by short chains has no temperature of its own; `weight` w
supplies it, chosen on validation images.

References: Efron (2011), Tweedie's Formula; Robbins (1956), An Empirical Bayes Approach.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from gradlogp.core.conditioned import GaussianLikelihood
from gradlogp.core.fields import Field, NoisyField, Scaled, Sum
from gradlogp.core.inputs import check_numbers
from gradlogp.core.kernel import Sampler, run
from gradlogp.core.random import Streams

Choice = TypeVar("Choice")


def tweedie(field: NoisyField, y: Tensor, sigma: float) -> Tensor:
    """The posterior mean of x0 given y [B, *shape], [B, *shape], in one evaluation."""
    with torch.no_grad():
        return field.denoise(check_numbers(y, "y"), sigma)


def posterior_samples(
    energy: Field,
    sampler: Sampler[Field, Any],
    y: Tensor,
    sigma: float,
    weight: float,
    steps: int,
    samples: int,
    seed: int,
) -> Tensor:
    """`samples` posterior chains for each row of y [B, *shape], begun at y, [B, samples, *shape]."""
    start = check_numbers(y, "y").repeat_interleave(samples, 0)
    field = Sum((Scaled(energy, weight), GaussianLikelihood(start, sigma)))
    ends = run(sampler, field, start, steps, Streams(seed, 0, len(start), y.device))
    return ends.unflatten(0, (len(y), samples))


def posterior_path(
    energy: Field,
    sampler: Sampler[Field, Any],
    y: Tensor,
    sigma: float,
    weight: float,
    at: Sequence[int],
    samples: int,
    seed: int,
) -> Tensor:
    """The mean of the chains of `posterior_mean` after each number of steps in `at`, [len(at), B,
    *shape].
    """
    start = check_numbers(y, "y").repeat_interleave(samples, 0)
    means = {0: y}

    def keep(step: int, state: Any, info: Any) -> None:
        if step in at:
            means[step] = state.x.unflatten(0, (len(y), samples)).mean(1)

    run(
        sampler,
        Sum((Scaled(energy, weight), GaussianLikelihood(start, sigma))),
        start,
        max(at),
        Streams(seed, 0, len(start), y.device),
        watch=keep,
    )
    return torch.stack([means[step] for step in at])


def posterior_mean(
    energy: Field,
    sampler: Sampler[Field, Any],
    y: Tensor,
    sigma: float,
    weight: float,
    steps: int,
    samples: int,
    seed: int,
) -> Tensor:
    """The posterior mean for noisy y [B, *shape] by an energy: the mean of `samples` chains, begun
    at y.
    """
    return posterior_samples(energy, sampler, y, sigma, weight, steps, samples, seed).mean(1)


def choose(tried: Iterable[tuple[Choice, Tensor]], clean: Tensor) -> Choice:
    """The setting whose restoration of validation images is nearest to `clean` in mean square;
    `tried` are settings with theirs.

    The number of steps is such a setting: chains of an energy without a temperature of its own are
    nearest on the way, not where they end.
    """
    return min(
        ((float((x - clean).square().mean()), setting) for setting, x in tried),
        key=lambda found: found[0],
    )[1]
