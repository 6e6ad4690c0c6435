"""Masked chains sample the conditional law of a Gaussian: given b = 1.5 at correlation .8, mean 1.2
and variance .36.
"""

import pytest
import torch

from gradlogp.core.fields import Energy
from gradlogp.core.kernel import run
from gradlogp.core.random import Streams, seeded
from gradlogp.samplers import (
    HMC,
    MALA,
    NUTS,
    Langevin,
    Masked,
    ParallelTempering,
    PreconditionedLangevin,
    Underdamped,
)
from tests.physics.exact import DOUBLE, z_mean

RHO = 0.8
GIVEN = 1.5
N = 8000
PRECISION = torch.linalg.inv(torch.tensor([[1.0, RHO], [RHO, 1.0]], **DOUBLE))
FIELD = Energy(lambda x: ((x @ PRECISION.to(x)) * x).sum(1) / 2)
FIRST = torch.tensor([True, False])

SAMPLERS = {
    "langevin": (Langevin(0.02), 0.3703),
    "mala": (MALA(0.3), 0.36),
    "hmc": (HMC(0.4, 3), 0.36),
    "nuts": (NUTS(0.4), 0.36),
    "underdamped": (Underdamped(0.4, friction=2.0), 0.36),
}


def conditional(sampler, mask, x, steps=None):
    end = run(
        Masked(sampler, mask),
        FIELD,
        x,
        steps or (150 if isinstance(sampler, Langevin) else 25),
        seeded(0),
    )
    assert torch.equal(
        end[~mask.expand_as(end)], x[~mask.expand_as(x)]
    )  # pinned is pinned, to the bit
    return end


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_conditional_mean_and_variance(name):
    """Exact, up to Langevin's own bias: .36 / (1 - .02 / .72) = .3703."""
    sampler, variance = SAMPLERS[name]
    free = conditional(sampler, FIRST, torch.tensor([[0.0, GIVEN]], **DOUBLE).repeat(N, 1))[:, 0]
    assert (
        abs(z_mean(free, RHO * GIVEN)) < 4 and abs(z_mean((free - RHO * GIVEN) ** 2, variance)) < 4
    )
    assert abs(z_mean(free, 0.739)) > 20  # what replacement draws


def test_langevins_own_bias_is_all_the_bias():
    """Algebra, not luck: given noise, the free coordinate moves as Langevin on the conditional law,
    number for number.
    """
    x, h = torch.randn(50, 2, generator=seeded(1), **DOUBLE), 0.1
    masked = run(Masked(Langevin(h), FIRST), FIELD, x, 7, seeded(2))
    mean, var = RHO * x[:, 1:], 1 - RHO**2
    g, alone = seeded(2), x[:, :1].clone()
    for _ in range(7):
        z = torch.empty_like(x).normal_(generator=g)[:, :1]
        alone = alone - h * (alone - mean) / var + (2 * h) ** 0.5 * z
    assert (masked[:, :1] - alone).abs().max() < 1e-12


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_example_has_its_own_mask(name):
    """Odd rows free the first coordinate, even rows the second; the values pinned differ from row
    to row.
    """
    sampler, variance = SAMPLERS[name]
    mask = FIRST.repeat(N // 2, 1).repeat_interleave(2, 0)
    mask[1::2] = ~FIRST
    x = torch.linspace(-2, 2, N, **DOUBLE)[:, None].repeat(1, 2)
    end = conditional(sampler, mask, x)
    residual = end[mask] - RHO * x[~mask]
    assert abs(z_mean(residual, 0)) < 4 and abs(z_mean(residual**2, variance)) < 4


def test_a_mask_goes_with_preconditioners_tempering_and_streams():
    x = torch.tensor([[0.0, GIVEN]], **DOUBLE).repeat(400, 1)
    for sampler in (
        PreconditionedLangevin(0.05, adapt=20),
        ParallelTempering(MALA(0.2), (1.0, 2.0)),
    ):
        end = run(Masked(sampler, FIRST), FIELD, x, 60, Streams(0, 0, 400))
        assert torch.equal(end[:, 1], x[:, 1]) and abs(z_mean(end[:, 0], RHO * GIVEN)) < 4
    end = run(
        Masked(ParallelTempering(MALA(0.2), (1.0, 2.0)), FIRST.expand(400, 2)),
        FIELD,
        x,
        60,
        Streams(0, 0, 400),
    )
    assert torch.equal(end[:, 1], x[:, 1]) and abs(z_mean(end[:, 0], RHO * GIVEN)) < 4
    inside = ParallelTempering(Masked(MALA(0.2), FIRST.repeat(800, 1)), (1.0, 2.0))
    end = run(inside, FIELD, x, 60, Streams(0, 0, 400))
    assert torch.equal(end[:, 1], x[:, 1]) and abs(z_mean(end[:, 0], RHO * GIVEN)) < 4


def test_masks_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match=r"pass mask.bool\(\)"):
        Masked(MALA(0.1), torch.ones(2))
    with pytest.raises(
        ValueError,
        match=r"shape \[2\], for all, or \[5, 2\], for each its own, got \[5\]; expand it",
    ):
        Masked(MALA(0.1), torch.ones(5, dtype=torch.bool)).init(FIELD, torch.zeros(5, 2))
    assert (
        Masked(Langevin(0.1, noise_std=0.0), FIRST).kind == "generator"
        and Masked(MALA(0.1), FIRST).kind == "density"
    )
