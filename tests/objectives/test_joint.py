"""A classifier as an energy: identities that hold to the last digit."""

import pytest
import torch
import torch.nn.functional as F

from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.models import ConvEnergy, MLPEnergy
from gradlogp.objectives import (
    JEM,
    ContrastiveDivergence,
    CrossEntropy,
    FromBuffer,
    FromData,
    FromNoise,
    ReplayBuffer,
)
from gradlogp.samplers import Langevin

B, CLASSES = 20, 4


def joint():
    torch.manual_seed(0)
    return MLPEnergy(5, (6,), CLASSES).double()


def batch():
    g = seeded(1)
    return Batch(
        torch.randn(B, 5, generator=g, dtype=torch.float64),
        torch.randint(CLASSES, (B,), generator=g),
    )


def test_linear_joint_energies_under_cross_entropy_are_softmax_regression():
    g = seeded(0)
    x, y = batch()
    w, b = (
        torch.randn(*s, generator=g, dtype=torch.float64).requires_grad_()
        for s in ((CLASSES, 5), (CLASSES,))
    )
    energy = lambda x: x @ w.T + b  # E(x, y), every y
    ours = CrossEntropy()(lambda x: -energy(x), Batch(x, y), g).value.mean()
    gw, gb = torch.autograd.grad(ours, (w, b))
    error = F.one_hot(y, CLASSES) - (-energy(x).detach()).softmax(
        1
    )  # softmax regression's residual, by hand
    assert torch.allclose(gw, error.T @ x / B, atol=1e-12, rtol=0)
    assert torch.allclose(gb, error.mean(0), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "model", [MLPEnergy(5, (6,), CLASSES), ConvEnergy((1, 8, 8), (4, 8), 8, CLASSES)]
)
def test_the_marginal_energy_is_minus_logsumexp_of_the_logits(model):
    model, x = (
        model.double(),
        torch.randn(B, *((5,) if isinstance(model, MLPEnergy) else (1, 8, 8)), dtype=torch.float64),
    )
    logits = model.logits(x)
    each = torch.stack([model(x, torch.full((B,), y)) for y in range(CLASSES)], 1)
    assert torch.allclose(logits, -each, atol=1e-12, rtol=0)
    assert torch.allclose(model(x), -logits.logsumexp(1), atol=1e-12, rtol=0)


def contrastive(starts):
    return ContrastiveDivergence(Langevin(0.1), starts, 2)


def test_marginal_is_class_given_data_plus_data():
    model, fed = joint(), batch()
    value = JEM(contrastive(FromData()), weight=0.5)(model, fed, seeded(2)).value
    parts = (
        CrossEntropy()(model.logits, fed, seeded(2)).value
        + 0.5 * contrastive(FromData())(model, Batch(fed.x), seeded(2)).value
    )
    assert torch.equal(value, parts)


def test_conditional_is_class_given_data_plus_data_given_class():
    model, fed = joint(), batch()
    value = JEM(contrastive(FromData()), "conditional")(model, fed, seeded(2)).value
    parts = (
        CrossEntropy()(model.logits, fed, seeded(2)).value
        + contrastive(FromData())(model, fed, seeded(2)).value
    )
    assert torch.equal(value, parts)
    assert not torch.equal(value, JEM(contrastive(FromData()))(model, fed, seeded(2)).value)


def test_marginal_chains_ignore_the_classes_of_their_buffer():
    def value(classes):
        buffer = ReplayBuffer(
            B, (5,), lambda x, g: x.zero_(), seeded(0), 0.0, classes, dtype=torch.float64
        )
        return JEM(contrastive(FromBuffer(buffer)))(joint(), batch(), seeded(2)).value

    assert torch.equal(value(torch.arange(CLASSES)), value(None))


def test_its_memory_is_that_of_its_chains():
    buffer = ReplayBuffer(
        B, (5,), lambda x, g: x.normal_(generator=g), seeded(0), dtype=torch.float64
    )
    objective = JEM(contrastive(FromBuffer(buffer)))
    objective(joint(), batch(), seeded(1))
    assert torch.equal(objective.state()["x"], buffer.x)


def test_what_cannot_be_is_refused():
    noise = FromNoise(lambda x, g: x.normal_(generator=g))
    with pytest.raises(ValueError, match="marginal"):
        JEM(contrastive(noise), "both")
    with pytest.raises(ValueError, match="has none"):
        JEM(contrastive(noise))(lambda x: x.sum(1), batch(), seeded(0))
    with pytest.raises(ValueError, match="needs a class"):
        JEM(contrastive(noise))(joint(), Batch(batch().x), seeded(0))
