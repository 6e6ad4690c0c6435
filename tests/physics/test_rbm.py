"""Restricted Boltzmann machines of a few units: every sum that defines them can be written out."""

import math

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.fields import as_field
from gradlogp.core.random import seeded
from gradlogp.models.rbm import BernoulliRBM, GaussianRBM, binary_states, log_odds
from gradlogp.objectives import ContrastiveDivergence, FromData
from gradlogp.samplers.block import BlockGibbs

D, H = 6, 5


def normal(seed, *shape):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def bernoulli_rbm():
    return BernoulliRBM.of(normal(0, D, H), normal(1, D) / 2, normal(2, H) / 2)


def gaussian_rbm(d=3):
    return GaussianRBM.of(normal(0, d, H) / 2, normal(1, d), normal(2, d) / 3, normal(3, H) / 2)


def states(n):
    return torch.cat(list(binary_states(n, torch.zeros((), dtype=torch.float64))))


def test_log_z_by_hidden_visible_and_joint_enumeration():
    rbm = bernoulli_rbm()
    v, h = states(D), states(H)
    joint = (
        v @ rbm.visible_bias[:, None] + (h @ rbm.hidden_bias)[None] + v @ rbm.weight @ h.T
    )  # -E, [2^D, 2^H], by the definition
    truth = joint.flatten().logsumexp(0)
    for by in ("hidden", "visible", "joint"):
        assert abs(rbm.log_z(by) - truth) < 1e-10
    torch.testing.assert_close(-rbm(v), joint.logsumexp(1), atol=1e-10, rtol=0)
    torch.testing.assert_close(-rbm.hidden_energy(h), joint.logsumexp(0), atol=1e-10, rtol=0)
    pairs_v = v.repeat_interleave(len(h), 0)
    pairs_h = h.repeat(len(v), 1)
    torch.testing.assert_close(rbm.joint(pairs_v, pairs_h), -joint.flatten(), atol=1e-10, rtol=0)


def test_the_conditionals_are_those_of_the_joint_distribution():
    rbm = bernoulli_rbm()
    v, h = states(D), states(H)
    joint = (
        v @ rbm.visible_bias[:, None] + (h @ rbm.hidden_bias)[None] + v @ rbm.weight @ h.T
    ).exp()
    torch.testing.assert_close(
        rbm.hidden(v), joint @ h / joint.sum(1, keepdim=True), atol=1e-10, rtol=0
    )
    torch.testing.assert_close(
        rbm.visible(h), joint.T @ v / joint.sum(0)[:, None], atol=1e-10, rtol=0
    )


def test_a_gaussian_machines_log_z_by_quadrature():
    """One visible unit, exp(-F) summed over a fine grid; and the formula as published, in any
    dimension.
    """
    one = gaussian_rbm(1)
    grid = torch.linspace(-40, 40, 200_001, dtype=torch.float64)[:, None]
    quadrature = (-one(grid)).logsumexp(0) + math.log(80 / 200_000)
    assert abs(one.log_z() - quadrature) < 1e-10
    rbm = gaussian_rbm()
    h = states(H)
    mean = rbm.mean
    var = rbm.log_variance.exp()
    push = h @ rbm.weight.T
    gain = (mean * push / var + push**2 / (2 * var)).sum(1)
    published = (
        len(mean) / 2 * math.log(2 * math.pi)
        + var.sqrt().log().sum()
        + (h @ rbm.hidden_bias + gain).logsumexp(0)
    )
    assert abs(rbm.log_z() - published) < 1e-10


def test_a_gaussian_machines_log_z_by_importance_sampling():
    rbm, n = gaussian_rbm(), 200_000
    wide = 3.0
    v = wide * normal(4, n, 3)
    log_w = -rbm(v).detach() + (v**2 / (2 * wide**2)).sum(1) + 1.5 * math.log(2 * math.pi * wide**2)
    w = (log_w - rbm.log_z()).exp()
    assert abs(w.mean() - 1) / (w.std() / n**0.5) < 4


@pytest.mark.parametrize("batch", [1, 512])
def test_a_gaussian_machines_chains_keep_its_moments_at_any_batch(batch):
    """v is a mixture of 2^H Gaussians; from exact draws, a block-Gibbs step keeps its moments. An
    energy divided by the batch would heat the chains: then the variance given h would be `batch`
    times too large.
    """
    rbm, g = gaussian_rbm(), seeded(5)
    h = states(H)
    p = (-rbm.hidden_energy(h)).softmax(0).detach()
    means, var = rbm.visible(h).detach(), rbm.variance.detach()
    mean = p @ means
    truth = var + p @ (means - mean) ** 2
    runs = 16_384 // batch if batch > 1 else 2_000
    with torch.no_grad():
        start = rbm.sample(runs * batch, g)
        rows = [rbm.sample_visible(rbm.sample_hidden(part, g), g) for part in start.split(batch)]
    v = torch.cat(rows)
    z_mean = (v.mean(0) - mean) / (truth / len(v)) ** 0.5
    squares = (v - mean) ** 2
    z_var = (squares.mean(0) - truth) / (squares.std(0) / len(v) ** 0.5)
    assert z_mean.abs().max() < 4 and z_var.abs().max() < 4
    assert (
        (squares.mean(0) - 2 * truth) / (squares.std(0) / len(v) ** 0.5)
    ).abs().min() > 10  # a factor of two is seen


def test_given_h_the_visible_units_are_normal_and_given_v_the_hidden_ones_are_what_they_are_said_to_be():
    rbm, n = gaussian_rbm(), 40_000
    h, v = states(H)[19], normal(6, 1, 3)
    with torch.no_grad():
        drawn = rbm.sample_visible(h.expand(n, H), seeded(7))
        hidden = rbm.sample_hidden(v.expand(n, 3), seeded(8))
    mean, var = rbm.mean + rbm.weight @ h, rbm.log_variance.exp()
    assert ((drawn.mean(0) - mean) / (var / n) ** 0.5).abs().max() < 4
    assert ((drawn.var(0) / var - 1) / (2 / n) ** 0.5).abs().max() < 4
    p = (rbm.weight.T @ (v[0] / var) + rbm.hidden_bias).sigmoid()
    assert ((hidden.mean(0) - p) / (p * (1 - p) / n) ** 0.5).abs().max() < 4


def test_an_energy_does_not_depend_on_the_size_of_the_batch():
    for rbm in (bernoulli_rbm(), gaussian_rbm(D)):
        v = states(D)
        for one in (rbm, lambda x, rbm=rbm: rbm.joint(x, rbm.hidden(x))):
            torch.testing.assert_close(
                one(v), torch.cat([one(row[None]) for row in v]), atol=1e-10, rtol=0
            )


@pytest.mark.parametrize("make", [bernoulli_rbm, gaussian_rbm])
def test_the_free_energys_gradient_in_v(make):
    rbm = make()
    v = normal(9, 7, len(rbm.weight))
    if make is bernoulli_rbm:
        closed = rbm.visible_bias + rbm.hidden(v) @ rbm.weight.T
    else:
        closed = (rbm.mean - v + rbm.hidden(v) @ rbm.weight.T) / rbm.variance
    torch.testing.assert_close(as_field(rbm).score(v), closed, atol=1e-10, rtol=0)


def test_the_free_energys_gradient_in_the_weights():
    """Minus the mean over h given v of the statistics v h, v and h: what textbooks call the
    positive phase.
    """
    rbm, v = bernoulli_rbm(), states(D)[[5, 21, 40]]
    rbm(v).sum().backward()
    torch.testing.assert_close(rbm.weight.grad, -v.T @ rbm.hidden(v), atol=1e-10, rtol=0)
    torch.testing.assert_close(rbm.visible_bias.grad, -v.sum(0), atol=1e-10, rtol=0)
    torch.testing.assert_close(rbm.hidden_bias.grad, -rbm.hidden(v).sum(0), atol=1e-10, rtol=0)


def test_log_zs_gradient_is_minus_the_models_mean_of_the_energys():
    rbm = bernoulli_rbm()
    v = states(D)
    p = (-rbm(v)).softmax(0).detach()
    log_z = (-rbm.hidden_energy(states(H))).logsumexp(0)
    for of_z, of_f in zip(
        torch.autograd.grad(log_z, list(rbm.parameters())),
        torch.autograd.grad((p * rbm(v)).sum(), list(rbm.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(of_z, -of_f, atol=1e-10, rtol=0)


def test_exact_draws_follow_the_distribution():
    rbm, n = bernoulli_rbm(), 50_000
    places = 2.0 ** torch.arange(D - 1, -1, -1, dtype=torch.float64)
    counts = torch.bincount((rbm.sample(n, seeded(10)) @ places).long(), minlength=2**D)
    expected = n * (-rbm(states(D))).softmax(0)
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - (2**D - 1)) / (2 * (2**D - 1)) ** 0.5 < 4


@pytest.mark.parametrize("make", [bernoulli_rbm, lambda: gaussian_rbm(D)])
def test_a_tempered_machine_is_the_path_of_joint_energies(make):
    """Between the base, which h does not touch, and the machine itself: E_beta = beta E + (1 -
    beta) E_0 up to a constant.
    """
    rbm = make()
    base = (normal(11, D),) if make is bernoulli_rbm else (normal(11, D), normal(12, D) / 3)
    v = normal(13, 9, D)
    h = states(H)[3:12]
    beta = 0.3
    first = rbm.tempered(0.0, *base)
    wanted = beta * rbm.joint(v, h) + (1 - beta) * first.visible_energy(v)
    gap = rbm.tempered(beta, *base).joint(v, h) - wanted
    torch.testing.assert_close(gap, gap[:1].expand(9), atol=1e-10, rtol=0)
    torch.testing.assert_close(first.hidden(v), torch.full((9, H), 0.5, dtype=torch.float64))
    torch.testing.assert_close(rbm.tempered(1.0, *base)(v), rbm(v), atol=1e-10, rtol=0)


def test_images_keep_their_shape():
    torch.manual_seed(0)
    for rbm in (
        BernoulliRBM((1, 4, 4), 7),
        GaussianRBM((1, 4, 4), 7, variance=0.5, learn_variance=False),
    ):
        v = torch.rand(3, 1, 4, 4)
        assert (
            rbm(v).shape == (3,)
            and rbm.visible(rbm.hidden(v)).shape == v.shape
            and rbm.features(v).shape == (3, 7)
        )
        base = [torch.zeros(1, 4, 4)] * (2 if isinstance(rbm, GaussianRBM) else 1)
        assert rbm.tempered(0.5, *base).sample(2, seeded(0)).shape == (2, 1, 4, 4)
    assert not rbm.log_variance.requires_grad and rbm.variance.flatten()[0] == pytest.approx(0.5)


def test_base_rates():
    v = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(log_odds(v).sigmoid(), torch.tensor([4 / 5, 2 / 5]))


def test_what_cannot_be_is_refused():
    rbm = bernoulli_rbm()
    with pytest.raises(ValueError, match=r"build it with shape=\(1, 2\)"):
        rbm(torch.zeros(3, 1, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="one machine for each class"):
        rbm(states(D), torch.zeros(64))
    with pytest.raises(ValueError, match="tasks.ais"):
        BernoulliRBM((30,), 30).log_z()
    with pytest.raises(ValueError, match="only the hidden ones"):
        gaussian_rbm().log_z("visible")
    with pytest.raises(ValueError, match="got 'both'"):
        rbm.log_z("both")
    with pytest.raises(ValueError, match="variance is positive"):
        GaussianRBM((3,), 2, variance=0.0)


def test_contrastive_divergence_rests_at_the_true_machine():
    """From exact draws, a step of the chain keeps their law, so the gradient is 0 on average."""
    rbm, g = bernoulli_rbm(), seeded(14)
    objective = ContrastiveDivergence(BlockGibbs(), FromData(), steps=1, energy_l2=0.0)
    grads = []
    for _ in range(60):
        rbm.zero_grad()
        objective(rbm, Batch(rbm.sample(500, g)), g).value.mean().backward()
        grads.append(torch.cat([p.grad.flatten() for p in rbm.parameters()]))
    stack = torch.stack(grads)
    assert (stack.mean(0) / (stack.std(0) / 60**0.5)).abs().max() < 4
