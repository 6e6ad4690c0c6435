"""Predictor-corrector: what the corrector's chain converges to, with and without the Metropolis
test.
"""

import math

import pytest
import torch

from gradlogp.core.fields import Denoiser
from gradlogp.core.kernel import run
from gradlogp.core.noise import VariancePreserving
from gradlogp.core.random import seeded
from gradlogp.core.targets import GaussianMixture, gaussian
from gradlogp.samplers import DDIM, Ancestral, DPMSolver, PredictorCorrector, ReverseSDE
from tests.physics.impulses import final_std, final_variance

COARSE = DDIM(levels=(2.0, 0.5), denoise=False)


def test_a_plain_corrector_converges_to_the_biased_distribution_of_its_step():
    """V / (1 - h / 2V) at the level of variance V = s^2 + t^2, with h = 2 (snr t)^2."""
    v, h = 0.01 + 0.25, 2 * (0.7 * 0.5) ** 2
    assert final_variance(PredictorCorrector(COARSE, 60, snr=0.7), 0.1) == pytest.approx(
        v / (1 - h / (2 * v)), rel=1e-9
    )
    assert v / (1 - h / (2 * v)) > 1.8 * v


def test_an_adjusted_corrector_samples_the_distribution_of_its_level():
    g, n = seeded(0), 8000
    x = 2 * torch.randn(n, 1, generator=g, dtype=torch.float64)
    accepted = []
    end = run(
        PredictorCorrector(COARSE, 40, snr=0.7, adjusted=True),
        gaussian([0.0], [0.1]),
        x,
        1,
        g,
        watch=lambda i, state, info: accepted.append(info.accept),
    )
    z = lambda variance: abs(float(end.var()) / variance - 1) / math.sqrt(2 / n)
    assert z(0.26) < 4 < z(0.26 / (1 - 0.245 / 0.52)) and 0.4 < float(accepted[0].mean()) < 0.95


def test_an_adjusted_corrector_finds_the_weights_of_a_mixture_down_a_coarse_ladder():
    density = GaussianMixture(
        torch.tensor([[-1.0], [1.5]], dtype=torch.float64),
        torch.tensor([[0.3], [0.5]], dtype=torch.float64),
        torch.tensor([0.3, 0.7], dtype=torch.float64),
    )
    g, n = seeded(1), 8000
    x = 4 * torch.randn(n, 1, generator=g, dtype=torch.float64)
    walk = Ancestral(levels=(4.0, 2.0, 1.0, 0.7), denoise=False)
    exact = density.sample(200_000, g)
    exact += 0.7 * torch.randn(exact.shape, generator=g, dtype=torch.float64)
    end = run(PredictorCorrector(walk, 40, snr=0.7, adjusted=True), density, x, 3, g)
    for statistic in (lambda x: (x < 0).double(), lambda x: x, lambda x: x**2):
        a, b = statistic(end), statistic(exact)
        assert abs(float(a.mean() - b.mean())) < 4 * math.sqrt(
            float(a.var()) / n + float(b.var()) / 200_000
        )


@pytest.mark.parametrize(
    "predictor",
    [
        lambda n: ReverseSDE(VariancePreserving(), n, method="reverse_diffusion"),
        lambda n: Ancestral(levels=n),
        lambda n: DPMSolver(levels=n),
    ],
)
def test_it_is_exact_as_the_levels_grow(predictor):
    errors = [
        abs(final_std(PredictorCorrector(predictor(n)), 0.5) / 0.5 - 1) for n in (50, 100, 200, 400)
    ]
    assert errors[3] < 0.01 and errors[3] < errors[2] / 1.4 < errors[1] / 1.9


def test_corrections_mend_the_under_dispersion_of_their_predictor():
    plain = Ancestral(levels=200)
    before, after = (
        abs(final_std(s, 0.5) / 0.5 - 1) for s in (plain, PredictorCorrector(plain, 2))
    )
    assert after < before / 2


def test_it_counts_its_evaluations_and_refuses_a_metropolis_test_without_an_energy():
    assert PredictorCorrector(Ancestral(levels=10), 3).evaluations == 10 + 9 * 3
    assert PredictorCorrector(Ancestral(levels=10), 3, adjusted=True).evaluations == 10 + 9 * 4
    with pytest.raises(ValueError, match="has scores only"):
        run(
            PredictorCorrector(adjusted=True),
            Denoiser(lambda x, sigma: x),
            torch.ones(2, 1),
            1,
            seeded(0),
        )
