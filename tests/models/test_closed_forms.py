"""Models whose energy, score or log Z can be written down."""

import math

import pytest
import torch
from torch import nn

from gradlogp.core.fields import as_field
from gradlogp.models import (
    AutoencoderEnergy,
    QuadraticEnergy,
    ResidualEnergy,
    SigmaScaled,
    VectorScore,
    autoencoder_energy,
)
from gradlogp.models.nets.refine import InstanceNormPlus
from gradlogp.models.nets.wave import WaveNet


def stirred(model, size=0.3):
    torch.manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(size * torch.randn_like(p))
    return model


@pytest.mark.parametrize("rank", [None, 0, 2, 5])
def test_a_quadratic_energy_is_the_gaussian_that_it_says(rank):
    """-E - log Z is the Gaussian's log-density, and the score is -P (x - mu): both ways of writing
    P.
    """
    torch.manual_seed(0)
    energy = stirred(QuadraticEnergy(5, rank).double())
    energy.requires_grad_(False)
    density = torch.distributions.MultivariateNormal(energy.mean, precision_matrix=energy.precision)
    x = torch.randn(7, 5, dtype=torch.float64)
    torch.testing.assert_close(
        -energy(x) - energy.log_z(), density.log_prob(x), atol=1e-10, rtol=1e-10
    )
    torch.testing.assert_close(
        as_field(energy).score(x), -(x - energy.mean) @ energy.precision, atol=1e-10, rtol=1e-10
    )
    assert energy.log_z() != pytest.approx(
        2.5 * math.log(2 * math.pi) - torch.logdet(energy.precision).item(), abs=0.01
    )


def test_log_z_is_learned_from():
    """Maximum likelihood by log Z alone, without a chain: the gradient of log Z in log d is -1/2
    for each dimension.
    """
    energy = QuadraticEnergy(4, rank=0)
    (gradient,) = torch.autograd.grad(energy.log_z(), energy.log_diagonal)
    torch.testing.assert_close(gradient, torch.full((4,), -0.5))


def test_a_rank_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="between 0 and its 3 dimensions, got 4"):
        QuadraticEnergy(3, rank=4)


def test_the_logits_are_the_joint_energies_of_all_classes_negated():
    model = ResidualEnergy((1, 8, 8), (4, 8), 8, classes=3)
    x = torch.randn(4, 1, 8, 8)
    joint = torch.stack([model(x, torch.full((4,), c)) for c in range(3)], 1)
    torch.testing.assert_close(model.logits(x), -joint)
    torch.testing.assert_close(model(x), -model.logits(x).logsumexp(1))  # the marginal energy
    with pytest.raises(ValueError, match="no logits"):
        ResidualEnergy((1, 8, 8), (4,), 8).logits(x)


def test_spectral_norm_bounds_the_gain_of_every_layer():
    torch.manual_seed(0)
    model = ResidualEnergy((1, 9), (4, 8), 8, spectral=True)
    for _ in range(30):
        model(torch.randn(2, 1, 9))  # the power iteration, in training mode
    weights = [
        m.weight.flatten(1) for m in model.trunk.modules() if isinstance(m, (nn.Linear, nn.Conv1d))
    ]
    assert len(weights) == 7 and all(
        torch.linalg.matrix_norm(w, 2).item() == pytest.approx(1, abs=0.02) for w in weights
    )


def test_an_autoencoder_has_energy_zero_where_it_reconstructs_and_the_squared_error_over_t_elsewhere():
    """With f(x) = x / |x| and g(z) = z on the sphere, E = (|x| - 1)^2 / T."""
    energy = AutoencoderEnergy(nn.Identity(), nn.Identity(), temperature=0.25)
    x = torch.randn(6, 3, dtype=torch.float64)
    on = x / x.norm(dim=1, keepdim=True)
    torch.testing.assert_close(energy(on), torch.zeros(6, dtype=torch.float64), atol=1e-10, rtol=0)
    torch.testing.assert_close(energy(x), (x.norm(dim=1) - 1) ** 2 / 0.25, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(
        as_field(energy).score(x), -2 * (x - on) / 0.25, atol=1e-10, rtol=1e-10
    )


def test_an_autoencoders_energy_sums_over_the_pixels():
    energy = AutoencoderEnergy(nn.Flatten(), nn.Unflatten(1, (1, 4, 4)), sphere=False)
    assert energy(torch.randn(2, 1, 4, 4)).tolist() == [0, 0]
    silent = AutoencoderEnergy(nn.Flatten(), lambda z: torch.zeros(len(z), 1, 4, 4), sphere=False)
    assert silent(torch.ones(2, 1, 4, 4)).tolist() == [16, 16]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 7), (2, 33), (1, 5, 6, 7), (4,)])
def test_an_autoencoder_takes_any_size_and_its_latent_lies_on_the_sphere(shape):
    model = autoencoder_energy(shape, 5, (4, 8), 8)
    x = torch.randn(3, *shape)
    z = model.encode(x)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(3))
    assert model.decode(z).shape == x.shape
    torch.testing.assert_close(model.latent_field().energy(z), model.latent_field().energy(3 * z))
    assert model.latent_field().score(z).shape == (3, 5)


@pytest.mark.parametrize("sizes", [(6,), (4, 5), (3, 4, 2)])
def test_instance_norm_plus_normalises_each_channel_and_keeps_what_its_mean_was(sizes):
    """Plain instance norm gives the same for h and for h with other channel means; this one does
    not.
    """
    torch.manual_seed(0)
    norm, h = InstanceNormPlus(3), 2 * torch.randn(2, 3, *sizes)
    row = torch.zeros(2, dtype=torch.long)
    means = h.flatten(2).mean(2)
    apart = (means - means.mean(1, keepdim=True)) / means.std(1, keepdim=True, correction=0)
    out = norm(h, row).flatten(2)
    torch.testing.assert_close(
        out.mean(2), apart, atol=1e-3, rtol=1e-3
    )  # alpha = 1: what each mean was, in deviations
    torch.testing.assert_close(out.std(2, correction=0), torch.ones(2, 3), atol=1e-3, rtol=1e-3)
    moved = h + torch.tensor([0.0, 1.0, 5.0]).reshape(1, 3, *[1] * len(sizes))
    assert (norm(moved, row).flatten(2) - out).abs().max() > 0.1
    plain = torch.nn.functional.instance_norm
    torch.testing.assert_close(plain(moved), plain(h), atol=1e-4, rtol=1e-3)


def test_a_class_has_its_own_gains():
    norm, h = InstanceNormPlus(3, classes=2), torch.randn(2, 3, 6)
    with torch.no_grad():
        norm.gains[1] *= 2
    out = [norm(h, torch.full((2,), c)) for c in range(2)]
    torch.testing.assert_close(out[1], 2 * out[0])


def test_a_scaled_score_is_the_networks_output_over_sigma():
    model = SigmaScaled(lambda x, level, cond: x + 1).double()
    x = torch.randn(4, 2, dtype=torch.float64)
    for sigma in (0.01, 3.0):
        torch.testing.assert_close(
            model.field().at(sigma).score(x), (x + 1) / sigma, atol=1e-10, rtol=1e-10
        )


def test_a_wavenet_hears_both_ways_as_far_as_its_dilations_reach():
    net = stirred(WaveNet((1, 64), channels=4, layers=4, cycle=2)).double()  # 1, 2, 1, 2: reach 6
    x = torch.randn(1, 1, 64, dtype=torch.float64, requires_grad=True)
    (heard,) = torch.autograd.grad(net(x, torch.zeros(1, dtype=torch.float64))[0, 0, 30], x)
    assert heard[0, 0].nonzero().flatten().tolist() == list(range(24, 37))
    with pytest.raises(ValueError, match="needs waveforms"):
        WaveNet((1, 8, 8))


def test_a_vector_score_is_a_field_of_scores_without_an_energy():
    model, x = VectorScore(6, (8,), classes=2), torch.randn(3, 2, 3)
    field = model.field(torch.tensor([0, 1, 1]))
    assert field.score(x).shape == x.shape and not field.has_energy
