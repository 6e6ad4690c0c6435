"""Anomaly scores on Gaussians, where each is known in closed form: its value, its order, or its
AUROC.
"""

import math

import pytest
import torch

from gradlogp.core.fields import Denoiser, Energy
from gradlogp.core.random import seeded
from gradlogp.metrics.detection import auroc
from gradlogp.tasks import detect

V, D = 2.0, 6  # N(0, V I) in D dimensions
LEVELS = (0.3, 1.0, 3.0)
gaussian = Denoiser(lambda x, sigma: V / (V + sigma[:, None] ** 2) * x)
field = Energy(lambda x: x.square().sum(1) / (2 * V))


@pytest.fixture
def x():
    return math.sqrt(V) * torch.randn(4000, D, dtype=torch.float64, generator=seeded("detect"))


def test_energy_and_gradient_norm_of_a_gaussian(x):
    assert torch.allclose(detect.energy(field, x), x.square().sum(1) / (2 * V), atol=1e-12)
    assert torch.allclose(detect.gradient_norm(field, x), x.norm(dim=1) / V, atol=1e-12)


def test_the_auroc_of_the_energy_is_known_for_a_wider_gaussian(x):
    """Two dimensions: |x|^2 is exponential, and P(F > 1) of variances 1 and r is r / (1 + r)."""
    normal = x[:, :2]
    wide = 2 * x[2000:, 2:4]  # variances V and 4 V
    measure = auroc(detect.energy(field, normal[:2000]), detect.energy(field, wide))
    assert abs(measure.value - 4 / 5) < 4 * measure.stderr
    shifted = auroc(
        detect.energy(Energy(lambda x: -x[:, 0]), normal[:2000] / math.sqrt(V)),
        detect.energy(Energy(lambda x: -x[:, 0]), normal[2000:] / math.sqrt(V) - 1),
    )
    assert (
        abs(shifted.value - 0.5 * math.erfc(-1 / 2)) < 4 * shifted.stderr
    )  # Phi(1 / sqrt 2) at distance 1


def test_score_norms_are_those_of_clean_examples(x):
    norms = detect.score_norms(gaussian, x, LEVELS)
    exact = torch.stack([s * x.norm(dim=1) / (V + s**2) for s in LEVELS], 1)
    assert torch.allclose(norms, exact, atol=1e-12)
    assert not torch.allclose(norms, exact / torch.tensor(LEVELS), rtol=0.1)  # without MSMA's sigma


def test_denoising_errors_have_their_closed_form_mean_at_each_example(x):
    """(sigma^2 x / (V + sigma^2))^2 summed, plus D (V sigma / (V + sigma^2))^2 of noise."""
    few = x[:3].repeat_interleave(4000, 0)
    errors = detect.denoising_errors(gaussian, few, LEVELS, seeded(0), draws=2).unflatten(
        0, (3, 4000)
    )
    for i, s in enumerate(LEVELS):
        bias = (s**2 / (V + s**2)) ** 2 * x[:3].square().sum(1)
        expected = bias + D * (V * s / (V + s**2)) ** 2
        z = (errors[:, :, i].mean(1) - expected) / (errors[:, :, i].std(1) / 4000**0.5)
        assert z.abs().max() < 4, (s, z)


def test_relative_errors_are_one_on_average_where_normal(x):
    errors = detect.denoising_errors(gaussian, x, LEVELS, seeded(0))
    assert float(detect.relative(errors, errors).mean()) == pytest.approx(1, abs=1e-12)
    scaled = errors * torch.tensor([1.0, 100.0, 0.01])
    assert torch.allclose(
        detect.relative(scaled, scaled), detect.relative(errors, errors), atol=1e-12
    )


@pytest.mark.parametrize("sigma", LEVELS)
def test_path_energy_is_the_difference_of_log_densities(x, sigma):
    reference = torch.full((D,), 0.3, dtype=torch.float64)
    exact = (x.square().sum(1) - reference.square().sum()) / (2 * (V + sigma**2))
    assert torch.allclose(
        detect.path_energy(gaussian, x, reference, sigma, nodes=1), exact, atol=1e-10
    )


def test_path_energy_of_a_quartic_needs_two_nodes():
    quartic = Energy(lambda x: x.pow(4).sum(1))
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    zero = torch.zeros(1, dtype=torch.float64)
    assert torch.allclose(detect.path_energy(quartic, x, zero, nodes=2), x[:, 0] ** 4, atol=1e-10)
    assert not torch.allclose(detect.path_energy(quartic, x, zero, nodes=1), x[:, 0] ** 4, rtol=0.1)


def test_every_example_keeps_its_condition_whatever_the_batch(x):
    """A Gaussian whose variance is its class: batches of 1000 must not mix up 4000 conditions."""
    classes = torch.arange(len(x)) % 3
    model = Denoiser(
        lambda x, sigma, c: (c[:, None] + 1) / (c[:, None] + 1 + sigma[:, None] ** 2) * x, classes
    )
    asked = type("Asks", (), {"field": lambda self, cond: Denoiser(model.function, cond)})()
    exact = x.norm(dim=1) / (classes + 1 + 0.25)
    assert torch.allclose(detect.gradient_norm(asked, x, 0.5, classes), exact, atol=1e-12)
    work = detect.path_energy(asked, x, torch.zeros(D, dtype=torch.float64), 0.5, 1, classes)
    assert torch.allclose(work, x.square().sum(1) / (2 * (classes + 1.25)), atol=1e-10)


def test_typicality_is_small_on_the_shell_and_large_at_the_mode(x):
    """The mode is the likeliest point and not a typical one: -log p falls short of the entropy by D
    / 2 there.
    """
    nats = detect.energy(field, x)
    mode = detect.energy(field, torch.zeros(1, D, dtype=torch.float64))
    far = float(detect.typicality(mode, nats))
    assert abs(far - D / 2) < 4 * math.sqrt(D / 2 / len(x))
    assert far > float(detect.typicality(nats, nats).median())


def test_msma_orders_gaussians_by_how_far_their_norms_lie(x):
    """All norms of one Gaussian are multiples of |x|, so both find what is too near as well as what
    is too far.
    """
    norms = detect.score_norms(gaussian, x, (1.0,))
    mixture = detect.NormMixture(norms[:3000], norms[3000:])
    neighbours = detect.NormNeighbours(norms[:3000])
    for strange in (0.1 * x[:200], 3 * x[:200]):
        features = detect.score_norms(gaussian, strange, (1.0,))
        for model in (mixture, neighbours):
            assert auroc(model.score(norms[3000:]), model.score(features)).value > 0.9
    assert mixture.chosen in (1, 3, 6)
