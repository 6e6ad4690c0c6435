r"""The Metropolis rule, and the step size that it tunes.

A proposal x' is taken with probability :math:`\alpha = \min(1, e^\rho)`, where :math:`\rho` is the
log of :math:`p(x')q(x \mid x') / p(x)q(x' \mid x)`: one number for each chain. An energy of inf or
NaN is a rejection.

Robbins and Monro's recursion moves the log step size until the mean of :math:`\alpha` is the target
a,

.. math:: \log\epsilon_m = \log\epsilon_{m-1} + m^{-\kappa} (\alpha_m - a),

and then stops for good, since a chain that goes on adapting does not keep the law. Dual averaging,
which keeps the mean of a wide swing instead, ends above its target where the acceptance falls off a
cliff. Each chain tunes a step size of its own: chains stay independent, each may explore another
law than the next, and a sample does not depend on its batch.

References: Metropolis et al. (1953); Hastings (1970); Andrieu & Thoms (2008), A Tutorial on
Adaptive MCMC.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gradlogp.core.fields import Field, column
from gradlogp.core.random import Randomness, uniform_

KAPPA = 0.6  # between 1/2 and 1: the step size goes anywhere, and settles


class Tuning(NamedTuple):
    """The log step size of each chain, [B], and the steps of tuning taken."""

    log_step: Tensor
    taken: int = 0


class MetropolisState(NamedTuple):
    """x [B, *shape], its energy [B] and score, the memory for noise, and the step size of each
    chain.
    """

    x: Tensor
    energy: Tensor
    score: Tensor
    noise: Tensor
    tuning: Tuning


def check_digits(energy: Tensor, move: Tensor | float = 0.0) -> Tensor:
    """`energy` [B] as it is; ValueError where its last digit is coarser than a quarter of a nat,
    and a hundredth of what a step may change it by, `move`: a test would see no differences, and
    take all.

    In float32 that is from 2 million on: a constant of 1e8 left MALA on N(0, 1) with variance 1.28.
    """
    coarse = torch.finfo(energy.dtype).eps * energy.abs()
    if bool((coarse > torch.as_tensor(0.01 * move).clamp(min=0.25)).any()):
        raise ValueError(
            f"energies of {float(energy.abs().max()):.3g} in {energy.dtype} are whole steps of"
            f" {float(coarse.max()):.2g} apart, too coarse for a Metropolis test; subtract the"
            " constant in the energy itself, or compute it in float64."
        )
    return energy


def begin(field: Field, x: Tensor, step_size: float) -> MetropolisState:
    """A chain at x; ValueError where the energy of some start is not finite, since such a chain
    might never leave it, or has no digits to compare.
    """
    energy, score = field.energy_and_score(x)
    if bad := int((~energy.isfinite()).sum()):
        raise ValueError(
            f"expected a finite energy at every start, got inf or NaN at {bad} of {len(x)}; start"
            " where p > 0."
        )
    check_digits(energy, step_size * score.flatten(1).square().sum(1))
    return MetropolisState(
        x.clone(),
        energy,
        score,
        torch.empty_like(x),
        Tuning(torch.full_like(energy, math.log(step_size))),
    )


def tuned(tuning: Tuning, accept: Tensor, target: float, adapt: int) -> Tuning:
    """One step of Robbins and Monro; the step size is frozen after `adapt` of them."""
    m = tuning.taken + 1
    return tuning if m > adapt else Tuning(tuning.log_step + m**-KAPPA * (accept - target), m)


def acceptance(log_ratio: Tensor, energy: Tensor) -> Tensor:
    """The probability of acceptance, [B], of proposals of that `energy`: 0 where it is not
    finite.
    """
    return torch.where(energy.isfinite(), log_ratio.clamp(max=0).exp().nan_to_num(0), 0)


def decide(log_ratio: Tensor, energy: Tensor, generator: Randomness) -> tuple[Tensor, Tensor]:
    """(the probability of acceptance [B], whether it was accepted [B]) of proposals of that
    `energy`.
    """
    accept = acceptance(log_ratio, energy)
    return accept, uniform_(torch.empty_like(accept), generator) < accept


def choose(keep: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """The new row where `keep` [B], else the old."""
    return torch.where(column(keep, new), new, old)


def moved(chain: Any, weight: Tensor, rows: Tensor | None = None) -> Any:
    """The chain on `weight` [B] times its energy, at the x of `rows` [B]; memory and step sizes
    stay in their row.
    """
    order = slice(None) if rows is None else rows
    cached = {
        name: v[order] * column(weight, v)
        for name in ("energy", "score")
        if (v := getattr(chain, name, None)) is not None
    }
    return chain._replace(x=chain.x[order], **cached)


def stretched(chain: Any, sampler: Any, temperature: Tensor) -> Any:
    """The chain with its step sizes, where it has any, grown as the sampler's scale with
    `temperature` [B].
    """
    if (tuning := getattr(chain, "tuning", None)) is None:
        return chain
    return chain._replace(
        tuning=tuning._replace(log_step=tuning.log_step + sampler.scaling * temperature.log())
    )


def check_tuning(
    name: str, step_size: float, adapt: int, target: float, mass: Tensor | None
) -> None:
    if step_size <= 0 or adapt < 0 or not 0 < target < 1:
        raise ValueError(
            f"{name} needs step_size > 0, adapt >= 0 steps and a target acceptance in (0, 1), got"
            f" {step_size}, {adapt} and {target}; adapt=0 leaves the step size as it is."
        )
    if mass is not None and not bool((mass > 0).all()):
        raise ValueError(
            f"every mass is positive, got a smallest of {float(mass.min())}; inverse variances do"
            " well."
        )


def root_inverse(mass: Tensor | None, x: Tensor) -> Tensor | float:
    """M^(-1/2), which carries whitened momenta N(0, I) to velocities in x."""
    if mass is not None and mass.shape not in (x.shape, x.shape[1:]):
        raise ValueError(
            f"expected a mass for each coordinate, shape {list(x.shape[1:])}, got"
            f" {list(mass.shape)}."
        )
    return 1.0 if mass is None else mass.to(x).rsqrt()
