"""Langevin's laws on a Gaussian, its bias included: 64,000 independent chains give honest error
bars.
"""

import pytest
import torch

from gradlogp.core.fields import Energy, Score
from gradlogp.core.kernel import run
from gradlogp.core.random import seeded
from gradlogp.samplers import Langevin, PreconditionedLangevin

N = 64_000


def stationary_variance(h: float, var: float) -> float:
    """x' = x - h x / var + sqrt(2h) z: the variance that reproduces itself is var / (1 - h / (2
    var)); *biased* for h > 0.
    """
    return var / (1 - h / (2 * var))


def chains(sampler: Langevin, var: float, steps: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    energy = Energy(lambda x: x.square().sum(1) / (2 * var))
    start = torch.randn(N, 1, generator=g) * stationary_variance(sampler.step_size, var) ** 0.5
    return run(sampler, energy, start, steps, g)


def z_of_variance(x: torch.Tensor, var: float) -> float:
    return float((x.var() / var - 1) / (2 / x.numel()) ** 0.5)


@pytest.mark.parametrize(("h", "var"), [(0.3, 2.0), (0.5, 1.0), (0.05, 0.25)])
def test_the_stationary_variance_with_its_known_bias(h, var):
    x = chains(Langevin(h), var, 30)
    assert abs(z_of_variance(x, stationary_variance(h, var))) < 4


def test_the_usual_mistake_is_caught():
    """sqrt(h) for sqrt(2h) halves the injected variance; the row above must see it, and must see an
    unbiased claim too.
    """
    h, var = 0.3, 2.0
    wrong = chains(Langevin(h, noise_std=h**0.5), var, 30)
    assert abs(z_of_variance(wrong, stationary_variance(h, var))) > 20
    assert abs(z_of_variance(chains(Langevin(h), var, 30), var)) > 8


def test_the_chain_is_an_ar1_process():
    """Correlation of x_0 and x_k is (1 - h / var)^k."""
    h = 0.2
    var = 1.0
    k = 5
    g = torch.Generator().manual_seed(1)
    x = torch.randn(N, 1, generator=g) * stationary_variance(h, var) ** 0.5
    end = run(Langevin(h), Energy(lambda y: y.square().sum(1) / (2 * var)), x, k, g)
    rho = (1 - h / var) ** k
    measured = torch.corrcoef(torch.cat([x, end], 1).T)[0, 1]
    assert abs(measured - rho) / ((1 - rho**2) / N**0.5) < 4


def test_temperature_scales_the_variance():
    x = chains(Langevin(0.01, temperature=0.5), 1.0, 400)
    assert abs(z_of_variance(x, 0.5 / (1 - 0.005))) < 4


def test_noiseless_langevin_is_gradient_descent():
    x = run(
        Langevin(0.1, noise_std=0.0),
        Energy(lambda y: y.square().sum(1) / 2),
        torch.ones(1, 1, dtype=torch.float64),
        10,
        torch.Generator(),
    )
    assert abs(float(x) - 0.9**10) < 1e-12


def test_the_learned_preconditioner_is_one_over_the_root_mean_square_score_from_the_first_step_on():
    """Weights (1 - b) b^k that are scaled to sum to 1: with a score that does not change, nothing
    changes.
    """
    slope = torch.tensor([3.0, 0.2], dtype=torch.float64)
    sampler = PreconditionedLangevin(1e-3, adapt=4, decay=0.9, damping=0.5)
    field = Score(lambda x: slope.expand_as(x))
    seen = []
    run(
        sampler,
        field,
        torch.zeros(2, 2, dtype=torch.float64),
        6,
        seeded(0),
        lambda i, state, info: seen.append(state.preconditioner),
    )
    for p in seen:
        torch.testing.assert_close(p, (1 / (0.5 + slope)).expand(2, 2), atol=1e-12, rtol=0)
