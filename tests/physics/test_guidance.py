"""Guidance on mixtures, where p(class | x, sigma) is known at every level."""

import pytest
import torch

from gradlogp.core.fields import NoisyField
from gradlogp.core.guidance import EnergyGuided, Guided, class_energy
from gradlogp.core.kernel import run
from gradlogp.core.random import seeded
from gradlogp.core.targets import GaussianMixture, gaussian
from gradlogp.samplers import DPMSolver


def double(*rows):
    return torch.tensor(rows, dtype=torch.float64)


MEANS = double([-1.0, 0.0], [1.5, 1.0])
STDS = double([0.6, 0.8], [0.9, 0.5])
WEIGHTS = double(0.4, 0.6)
MIXTURE = GaussianMixture(MEANS, STDS, WEIGHTS)
PARTS = [gaussian(MEANS[k].tolist(), STDS[k].tolist()) for k in range(2)]
X = torch.randn(7, 2, generator=seeded(1), dtype=torch.float64) * 2


def logits(x, sigma):
    """log w_k N(x; mu_k, s_k^2 + sigma^2): minus the energies E(x, class) of a joint energy model."""
    return torch.stack(
        [w.log() - part.energy(x, sigma) for w, part in zip(WEIGHTS, PARTS, strict=True)], 1
    )


def full(value):
    return torch.full(
        (len(X),), value, dtype=torch.long if isinstance(value, int) else torch.float64
    )


@pytest.mark.parametrize("sigma", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("k", [0, 1])
def test_bayes_rule(sigma, k):
    """grad log p(x | y) = grad log p(x) + grad log p(y | x), at every level."""
    guided = EnergyGuided(MIXTURE, class_energy(logits, full(k)))
    torch.testing.assert_close(
        guided.denoise(X, sigma), PARTS[k].denoise(X, sigma), atol=3e-10 * max(1, sigma**2), rtol=0
    )
    torch.testing.assert_close(
        guided.at(sigma).score(X), PARTS[k].at(sigma).score(X), atol=3e-10, rtol=0
    )
    torch.testing.assert_close(
        guided.denoise(X, full(sigma)), guided.denoise(X, sigma), atol=1e-10, rtol=0
    )


def test_a_guided_energy_is_an_energy():
    """-log p(x) - w log p(y | x), which a Metropolis test can use."""
    field = EnergyGuided(MIXTURE, class_energy(logits, full(1)), 2.5).at(0.7)
    exact = MIXTURE.energy(X, 0.7) - 2.5 * logits(X, full(0.7)).log_softmax(1)[:, 1]
    assert field.has_energy
    torch.testing.assert_close(field.energy(X), exact, atol=1e-12, rtol=0)


def test_more_weight_is_surer_of_the_class():
    start = 50 * torch.randn(400, 2, generator=seeded(2), dtype=torch.float64)
    share = {}
    for weight in (0.0, 1.0, 4.0):
        guided = EnergyGuided(
            MIXTURE, class_energy(logits, torch.ones(400, dtype=torch.long)), weight
        )
        end = run(DPMSolver(levels=15), guided, start, 15, seeded(0))
        share[weight] = float(logits(end, 1e-3 * torch.ones(400)).softmax(1)[:, 1].mean())
    assert share[0.0] < 0.7 < 0.9 < share[1.0] < share[4.0]


class Counted(NoisyField):
    calls = 0

    def denoise(self, x, sigma):
        self.calls += 1
        return MIXTURE.denoise(x, sigma)


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
def test_classifier_free_guidance_has_one_convention(weight):
    """(1 + w) conditional - w marginal; w = 0 is off and costs nothing."""
    marginal = Counted()
    found = Guided(PARTS[1], marginal, weight).denoise(X, 0.8)
    exact = (1 + weight) * PARTS[1].denoise(X, 0.8) - weight * MIXTURE.denoise(X, 0.8)
    torch.testing.assert_close(found, exact, atol=1e-12, rtol=0)
    assert marginal.calls == (weight > 0)


def test_classifier_free_guidance_is_classifier_guidance_with_one_more():
    """Where p(y | x) is the fields' own: weight w of the one is 1 + w of the other."""
    free = Guided(PARTS[1], MIXTURE, 1.5)
    by_class = EnergyGuided(MIXTURE, class_energy(logits, full(1)), 2.5)
    torch.testing.assert_close(free.denoise(X, 0.8), by_class.denoise(X, 0.8), atol=1e-9, rtol=0)


def test_an_interval_guides_inside_and_costs_nothing_outside():
    marginal = Counted()
    limited = Guided(PARTS[1], marginal, 2.0, interval=(0.5, 2.0))
    always = Guided(PARTS[1], MIXTURE, 2.0)
    for sigma in (0.1, 5.0):
        assert torch.equal(limited.denoise(X, sigma), PARTS[1].denoise(X, sigma))
    assert marginal.calls == 0
    assert torch.equal(limited.denoise(X, 1.0), always.denoise(X, 1.0))
    mixed = limited.denoise(X, double(*[0.1, 1.0, 5.0, 1.0, 0.1, 1.0, 5.0]))
    torch.testing.assert_close(mixed[[0, 4]], PARTS[1].denoise(X[[0, 4]], 0.1), atol=1e-12, rtol=0)
    torch.testing.assert_close(mixed[[1, 3]], always.denoise(X[[1, 3]], 1.0), atol=1e-12, rtol=0)


def test_rescaling_brings_back_the_contrast_of_the_conditional_field():
    contrast = lambda phi: Guided(PARTS[1], MIXTURE, 4.0, rescale=phi).denoise(X, 2.0).std(1)
    torch.testing.assert_close(contrast(1.0), PARTS[1].denoise(X, 2.0).std(1), atol=1e-12, rtol=0)
    torch.testing.assert_close(
        contrast(0.5), (contrast(0.0) + contrast(1.0)) / 2, atol=1e-12, rtol=0
    )
    with pytest.raises(ValueError, match="rescale is a share"):
        Guided(PARTS[1], MIXTURE, 4.0, rescale=2.0)
