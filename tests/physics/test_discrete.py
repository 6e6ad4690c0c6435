"""Pseudo-likelihood and ratio matching: by hand for two sites, and at rest at the true parameters,
by enumeration.
"""

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot, softplus

from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.models.rbm import binary_states
from gradlogp.objectives.discrete import PseudoLikelihood, RatioMatching

OBJECTIVES = [PseudoLikelihood, RatioMatching]


def normal(seed, *shape):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


class Ising(nn.Module):
    """E = -x' J x / 2 - a' x with a symmetric J of no diagonal."""

    def __init__(self, couplings, field):
        super().__init__()
        self.couplings = nn.Parameter(couplings)
        self.field_ = nn.Parameter(field)

    def forward(self, x):
        j = self.couplings.triu(1)
        return (
            -torch.einsum("bi,ij,bj->b", x.flatten(1), j, x.flatten(1)) - x.flatten(1) @ self.field_
        )


class Potts(nn.Module):
    def __init__(self, couplings, field):
        super().__init__()
        self.couplings = nn.Parameter(couplings)
        self.field_ = nn.Parameter(field)

    def forward(self, x):
        return -torch.einsum("bk,kl,bl->b", x[:, 0], self.couplings, x[:, 1]) - torch.einsum(
            "bik,ik->b", x, self.field_
        )


BITS = torch.cat(list(binary_states(4, torch.zeros((), dtype=torch.float64))))
CATEGORIES = one_hot(torch.cartesian_prod(torch.arange(3), torch.arange(3)), 3).double()
CASES = [
    pytest.param(lambda: Ising(normal(1, 4, 4), normal(2, 4)), BITS, (0.0, 1.0), id="bits"),
    pytest.param(
        lambda: Ising(normal(1, 4, 4), normal(2, 4)), 2 * BITS - 1, (-1.0, 1.0), id="spins"
    ),
    pytest.param(lambda: Potts(normal(3, 3, 3), normal(4, 2, 3)), CATEGORIES, None, id="potts"),
]


def gradient(objective, model, x, p):
    """Of the exact expectation over the law p of the states x."""
    value = (p * objective(model, Batch(x), seeded(0)).value).sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(model.parameters()))])


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("make", "x", "values"), CASES)
def test_the_true_parameters_are_at_rest_and_no_others(make, x, values, objective):
    model, wrong = make(), make()
    p = (-model(x)).softmax(0).detach()
    assert gradient(objective(values), model, x, p).abs().max() < 1e-10
    for name, factor in (("couplings", 2.0), ("couplings", 0.5), ("field_", 2.0)):
        wrong = make()
        getattr(wrong, name).data.mul_(factor)
        assert gradient(objective(values), wrong, x, p).abs().max() > 1e-3
        better, worse = (
            (p * objective(values)(m, Batch(x), seeded(0)).value).sum() for m in (model, wrong)
        )
        assert better < worse


def test_the_values_by_hand_for_two_sites():
    """E = -J x1 x2 - a1 x1 - a2 x2, at x = (1, 0): the first site's odds are e^a1, the second's
    e^(J + a2).
    """
    j = 0.7
    a1 = 0.3
    a2 = -0.4
    as_tensor = lambda values: torch.tensor(values, dtype=torch.float64)
    model = Ising(as_tensor([[0.0, j], [0.0, 0.0]]), as_tensor([a1, a2]))
    x = Batch(torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    one = as_tensor(-a1)
    two = as_tensor(j + a2)  # log-odds of having been otherwise
    assert (
        abs(PseudoLikelihood()(model, x, seeded(0)).value - softplus(one) - softplus(two)).max()
        < 1e-12
    )
    assert (
        abs(
            RatioMatching()(model, x, seeded(0)).value - one.sigmoid() ** 2 - two.sigmoid() ** 2
        ).max()
        < 1e-12
    )


def test_pseudo_likelihood_is_the_product_of_the_enumerated_conditionals():
    model = Potts(normal(3, 3, 3), normal(4, 2, 3))
    table = (-model(CATEGORIES)).softmax(0).reshape(3, 3)
    log_p = (table / table.sum(0)).log() + (table / table.sum(1, keepdim=True)).log()
    value = PseudoLikelihood(None)(model, Batch(CATEGORIES), seeded(0)).value
    torch.testing.assert_close(value, -log_p.flatten(), atol=1e-10, rtol=0)


def test_two_categories_are_a_binary_site():
    model = Ising(normal(1, 4, 4), normal(2, 4))
    hot = one_hot(BITS.long(), 2).double()
    for objective in OBJECTIVES:
        a = objective()(model, Batch(BITS), seeded(0)).value
        b = objective(None)(lambda x: model(x[..., 1]), Batch(hot), seeded(0)).value
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_subset_of_the_sites_is_unbiased(objective):
    model, n = Ising(normal(1, 4, 4), normal(2, 4)), 20_000
    x = BITS[[9]]
    whole = objective()(model, Batch(x), seeded(0)).value
    some = objective(subset=2)(model, Batch(x.expand(n, 4)), seeded(5)).value
    assert abs(some.mean() - whole) / (some.std() / n**0.5) < 4
    assert abs(some.mean() - whole / 2) / (some.std() / n**0.5) > 20
    torch.testing.assert_close(objective(subset=9)(model, Batch(x), seeded(0)).value, whole)


def test_images_and_fields():
    model = Ising(normal(1, 4, 4), normal(2, 4))
    images = BITS.reshape(-1, 1, 2, 2)
    a, b = (PseudoLikelihood()(model, Batch(x), seeded(0)) for x in (BITS, images))
    assert torch.equal(a.value, b.value)
    assert 0 < a.info["probability"] < 1 and a.info["per_site"] == pytest.approx(
        float(a.value.mean().detach()) / 4
    )


def test_what_cannot_be_is_refused():
    model = Ising(normal(1, 4, 4), normal(2, 4))
    with pytest.raises(ValueError, match="binarise x"):
        PseudoLikelihood()(model, Batch(BITS * 0.5), seeded(0))
    with pytest.raises(ValueError, match="None takes all"):
        RatioMatching(subset=0)
    with pytest.raises(ValueError, match="low < high"):
        RatioMatching((1.0, 1.0))
