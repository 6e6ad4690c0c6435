"""Anomaly scores on Gaussians, where each is known in closed form: its value, its order, or its
AUROC.
"""

import math

import pytest
import torch

from gradlogp.core.errors import UserError
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
    errors = detect.denoising_errors(gaussian, x[:3], LEVELS, seeded(0), draws=4000)
    for i, s in enumerate(LEVELS):
        bias = (s**2 / (V + s**2)) ** 2 * x[:3].square().sum(1)
        noise = (V * s / (V + s**2)) ** 2
        error = ((2 * D * noise**2 + 4 * noise * bias) / 4000).sqrt()
        z = (errors[:, i] - bias - D * noise) / error
        assert z.abs().max() < 4, (s, z)


def of_each(name, x):
    """Every score here of examples x."""
    normal = math.sqrt(V) * torch.randn(200, D, generator=seeded("normal"))
    norms = detect.score_norms(gaussian, normal, LEVELS)
    errors = detect.denoising_errors(gaussian, normal, LEVELS, seeded(1))
    return {
        "energy": lambda: detect.energy(field, x),
        "gradient_norm": lambda: detect.gradient_norm(gaussian, x, 1.0),
        "score_norms": lambda: detect.score_norms(gaussian, x, LEVELS),
        "denoising_errors": lambda: detect.denoising_errors(gaussian, x, LEVELS, seeded(0), 2),
        "relative": lambda: detect.relative(
            detect.denoising_errors(gaussian, x, LEVELS, seeded(0)), errors
        ),
        "path_energy": lambda: detect.path_energy(gaussian, x, torch.zeros(D), 1.0),
        "typicality": lambda: detect.typicality(
            detect.energy(field, x), detect.energy(field, normal)
        ),
        "mixture": lambda: detect.NormMixture(norms[:100], norms[100:]).score(
            detect.score_norms(gaussian, x, LEVELS)
        ),
        "neighbours": lambda: detect.NormNeighbours(norms).score(
            detect.score_norms(gaussian, x, LEVELS)
        ),
    }[name]()


EACH = (
    "energy",
    "gradient_norm",
    "score_norms",
    "denoising_errors",
    "relative",
    "path_energy",
    "typicality",
    "mixture",
    "neighbours",
)


@pytest.mark.parametrize("name", EACH)
def test_a_score_is_the_examples_own(name, monkeypatch):
    """Whatever comes beside it, in whatever order, in batches of whatever size."""
    x = math.sqrt(V) * torch.randn(50, D, generator=seeded("own"))
    whole = of_each(name, x)
    assert len(whole) == 50 and not torch.allclose(whole[0], whole[1])
    order = torch.randperm(50, generator=seeded("order"))
    assert torch.allclose(of_each(name, x[order]), whole[order], rtol=1e-5)
    assert torch.allclose(of_each(name, x[7:8]), whole[7:8], rtol=1e-5)
    assert name == "mixture" or len(of_each(name, x[:0])) == 0
    monkeypatch.setattr(detect, "BATCH", 7)
    assert torch.allclose(of_each(name, x), whole, rtol=1e-5)


@pytest.mark.parametrize("of", ["size", "denoising", "path"])
def test_sums_are_taken_in_float64(of):
    """A large entry beside many small ones: float32 loses them."""
    x = torch.cat([torch.full((1, 1), 1e4), torch.full((1, 100_000), 1e-1)], 1)
    exact = 1e8 + 100_000 * float(x[0, 1]) ** 2
    nothing = Denoiser(lambda x, sigma: torch.zeros_like(x))
    one = type("One", (), {"field": lambda self, cond: Energy(lambda x: x.square().sum(1) / 2)})()
    found = {
        "size": lambda: detect.size(x).square(),
        "denoising": lambda: detect.denoising_errors(nothing, x, (1.0,), seeded(0))[:, 0],
        "path": lambda: 2 * detect.path_energy(one, x, torch.zeros(100_001), nodes=1),
    }[of]()
    assert found.dtype == torch.float64
    assert float(found) == pytest.approx(exact, rel=1e-9)


def test_normal_examples_without_error_are_no_measure():
    errors = torch.tensor([[1.0, 2.0]])
    assert detect.relative(errors, torch.tensor([[1.0, 0.0]])).isfinite().all()
    with pytest.raises(UserError, match="some error, but all have none; take larger"):
        detect.relative(errors, torch.zeros(3, 2))
    for one in (lambda: detect.NormMixture(errors, errors), lambda: detect.NormNeighbours(errors)):
        with pytest.raises(UserError, match="two of them at least, got 1"):
            one().score(errors)


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
