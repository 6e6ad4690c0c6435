"""Contrastive divergence on the Gaussian energy a x^2 / 2, whose gradient in `a` is known: (E_data[x^2] - E_model[x^2]) / 2."""

import pytest
import torch
from torch import nn

from gradlogp.core.batch import Batch
from gradlogp.objectives import ContrastiveDivergence, FromData, FromProposal
from gradlogp.samplers import Langevin

N = 50_000


class Precision(nn.Module):
    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, x):
        return self.a * x.square().sum(1) / 2


def gradient(a: float, data_var: float, starts, steps: int, h: float = 0.1) -> tuple[float, float]:
    """The gradient of the loss in `a`, and its standard error over 40 groups of examples."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(N, 1, generator=g, dtype=torch.float64) * data_var**0.5
    model = Precision(a)
    value = ContrastiveDivergence(Langevin(h), starts, steps, regularise=0.0)(model, Batch(x), g).value
    groups = torch.stack([torch.autograd.grad(v.mean(), model.a, retain_graph=True)[0] for v in value.chunk(40)])
    return float(groups.mean()), float(groups.std() / 40**0.5)


def exact(a: float):
    """Chains that start from the model's own law (of the discretised chain) stay there."""
    var = 1 / a / (1 - 0.1 * a / 2)
    return FromProposal(lambda batch, g: torch.randn(batch.x.shape, generator=g, dtype=torch.float64) * var**0.5), var


@pytest.mark.parametrize(("a", "data_var"), [(1.0, 2.0), (2.0, 0.5), (0.5, 0.5)])
def test_with_exact_chains_the_gradient_is_the_likelihoods(a, data_var):
    starts, model_var = exact(a)
    value, error = gradient(a, data_var, starts, steps=3)
    assert abs(value - (data_var - model_var) / 2) / error < 4


def test_cd_k_follows_the_chain_from_the_data():
    """After k steps from the data the chains' variance is r^2k v + (1 - r^2k) v_model, with r = 1 - h a."""
    a, data_var, k, h = 1.0, 3.0, 4, 0.1
    value, error = gradient(a, data_var, FromData(), k, h)
    r2k, model_var = (1 - h * a) ** (2 * k), 1 / a / (1 - h * a / 2)
    chain_var = r2k * data_var + (1 - r2k) * model_var
    assert abs(value - (data_var - chain_var) / 2) / error < 4
    assert abs(value - (data_var - model_var) / 2) / error > 20  # CD-4 is biased, and the test can see it


def test_negatives_carry_no_gradient_and_weights_stay_trainable():
    model = Precision(1.0)
    loss = ContrastiveDivergence(Langevin(0.1), FromData(), 2)(model, Batch(torch.ones(4, 1, dtype=torch.float64)),
                                                               torch.Generator().manual_seed(0))
    assert loss.value.requires_grad and model.a.requires_grad
    assert all(not v.requires_grad for v in loss.info.values())
    assert loss.info["gap"] == pytest.approx(float(loss.info["energy_chains"] - loss.info["energy_data"]))
