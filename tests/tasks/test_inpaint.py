"""Completions of a Gaussian: the conditional law by an energy's chain, near it by a score's levels."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gradlogp.core.fields import Denoiser, Energy
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import normal_
from gradlogp.samplers import Ancestral, Langevin
from gradlogp.tasks import Sampling, inpaint
from gradlogp.tasks.inpaint import completing

RHO, SEEN = 0.8, 1.5
COVARIANCE = torch.tensor([[1, RHO], [RHO, 1]], dtype=torch.float64)
Y = torch.tensor([SEEN, 77.0], dtype=torch.float64)
FREE = torch.tensor([False, True])
MEAN, VARIANCE = RHO * SEEN, 1 - RHO**2


def energy(x: Tensor, cond: Tensor | None = None) -> Tensor:
    return (x @ COVARIANCE.inverse() * x).sum(1) / 2


def denoise(x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
    total = COVARIANCE + float(sigma[0]) ** 2 * torch.eye(2, dtype=torch.float64)
    return x @ total.inverse() @ COVARIANCE


def noise(x: Tensor, generator: object) -> Tensor:
    return normal_(x.double(), generator)  # type: ignore[arg-type]


CHAIN = Sampling(lambda cond: Energy(energy), Langevin(0.02), noise, 400, (2,))
PROCESS = VarianceExploding(0.05, 10.0)
LEVELS = Sampling(
    lambda cond: Denoiser(denoise),
    Ancestral(PROCESS, 30),
    lambda x, generator: noise(x, generator).mul_(10.0),
    30,
    (2,),
)


def test_an_energys_completions_have_the_conditional_distribution() -> None:
    n = 3000
    x = inpaint(CHAIN, Y, FREE, n, seed=0, batch=3000)
    assert (x[:, 0] == SEEN).all()
    assert abs(float(x[:, 1].mean()) - MEAN) / (VARIANCE / n) ** 0.5 <= 4
    # the step's own bias is under two in a hundred
    assert abs(float(x[:, 1].var()) / VARIANCE - 1) <= 0.02 + 4 * (2 / n) ** 0.5


def test_a_scores_completions_come_nearer_the_more_often_levels_are_gone_through() -> None:
    n = 2000
    once, often = (
        inpaint(LEVELS, Y, FREE, n, seed=0, batch=n, resamples=r)[:, 1].mean() for r in (1, 10)
    )
    error = (VARIANCE / n) ** 0.5
    assert once + 8 * error < often < MEAN + 4 * error and often > 1.05


@pytest.mark.parametrize("how", [CHAIN, LEVELS], ids=["chain", "levels"])
def test_a_completion_is_the_same_however_many_are_drawn(how: Sampling[object]) -> None:
    whole = inpaint(how, Y, FREE, 5, seed=3)
    some = inpaint(how, Y, FREE, 3, seed=3, batch=2)
    torch.testing.assert_close(some, whole[:3], rtol=0, atol=1e-10)
    assert (whole[:, 0] == SEEN).all() and len(whole[:, 1].unique()) == 5


@pytest.mark.parametrize("how", [CHAIN, LEVELS], ids=["chain", "levels"])
def test_completions_begin_where_the_way_to_draw_says_given_what_is_known(
    how: Sampling[object],
) -> None:
    def given(x: Tensor, free: Tensor, generator: object) -> Tensor:
        assert torch.equal(x[:, 0], torch.full((4,), SEEN).double()) and free[:, 1].all()
        return x.masked_fill(free, 9.0)

    way = completing(replace(how, given=given), Y, FREE)
    begun = way.prior(torch.empty(4, 2), torch.Generator())
    assert torch.equal(begun, torch.tensor([[SEEN, 9.0]], dtype=torch.float64).expand(4, 2))
