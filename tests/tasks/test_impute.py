"""Missing entries of many examples, each with its own: the conditional mean of a Gaussian."""

import pytest
import torch
from torch import Tensor

from gradlogp.core.fields import Denoiser, Energy
from gradlogp.core.random import normal_, seeded
from gradlogp.samplers import ConsistentAnnealedLangevin, Langevin
from gradlogp.tasks import Sampling, impute
from gradlogp.tasks.impute import Chains
from tests.tasks.test_inpaint import PROCESS, RHO, denoise, energy, noise

CHAIN = Sampling(lambda cond: Energy(energy), Langevin(0.1), noise, 60, (2,))
LEVELS = Sampling(
    lambda cond: Denoiser(denoise), ConsistentAnnealedLangevin(PROCESS, 5), normal_, 5, (2,)
)


def rows(n: int) -> tuple[Tensor, Tensor]:
    """Rows with a known cell k, in turn the first and the second, and 99 in the missing one."""
    known = torch.linspace(-2, 2, n, dtype=torch.float64)
    first = torch.arange(n) % 2 == 0
    free = torch.stack([~first, first], 1)
    return torch.where(free, 99.0, known[:, None]), free


def test_masked_chains_find_the_conditional_mean_of_a_gaussian() -> None:
    """Correlation rho, known cell k: E[h | k] = rho k; noise of the last level moves it little."""
    n = 400
    x = torch.tensor([[1.5, 99.0]], dtype=torch.float64).repeat(n, 1)
    known = torch.tensor([[True, False]]).expand(n, 2)
    chains = Chains(bottom=0.05, levels=16, steps=20, count=4)
    found = chains.mean(Denoiser(denoise), x, known, 1.0, seeded(3))
    assert (found[:, 0] == 1.5).all(), "what is known is kept"
    z = (found[:, 1].mean() - RHO * 1.5) / (found[:, 1].std() / n**0.5)
    assert abs(float(z)) < 4 and abs(float(found[:, 1].mean()) - RHO * 1.5) < 0.05


@pytest.mark.parametrize("how", [CHAIN, LEVELS], ids=["chain", "levels"])
def test_each_example_gets_its_own_conditional_mean(how: Sampling[object]) -> None:
    """Regressed on what is known, missing entries have the slope rho; chains through levels end at
    .97 of it (by recursion), those of an energy where they cannot be told from it.
    """
    n, count = 100, 8
    y, free = rows(n)
    x = impute(how, y, free, count, seed=0)  # type: ignore[arg-type]
    assert torch.equal(x[~free], y[~free])
    k, h = y[~free], x[free]
    slope = float((k * h).sum() / k.square().sum())
    error = ((1 - RHO**2) / count / float(k.square().sum())) ** 0.5
    assert 0.965 * RHO - 4 * error < slope < RHO + 4 * error
    assert float((h - slope * k).var()) < 2 * (1 - RHO**2) / count, "the mean of eight completions"


@pytest.mark.parametrize("how", [CHAIN, LEVELS], ids=["chain", "levels"])
def test_an_example_is_completed_the_same_in_any_batch(how: Sampling[object]) -> None:
    y, free = rows(7)
    whole = impute(how, y, free, 3, seed=5)  # type: ignore[arg-type]
    parts = impute(how, y, free, 3, seed=5, batch=2)  # type: ignore[arg-type]
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-10)
    assert len(whole[free].unique()) == 7
