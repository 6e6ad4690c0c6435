"""Features are what the last layer reads; probabilities are those of the joint energy."""

import pytest
import torch

from gradlogp.core.errors import UserError
from gradlogp.models import MLPEnergy, PrincipalMixture, Proposed
from gradlogp.models.score import mlp_score, unet_score
from gradlogp.tasks import embed, probabilities

X = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_an_energy_is_a_line_in_its_features() -> None:
    model = MLPEnergy(5, (8, 6)).double()
    features = embed(model, X, batch=3)
    line = features @ model.head.linear.weight[0] + model.head.linear.bias[0]
    torch.testing.assert_close(line, model(X), rtol=0, atol=1e-10)


def test_a_denoiser_is_a_line_in_its_features() -> None:
    model, sigma = mlp_score(5, 0.5, 8, 2).double(), 0.3
    torch.nn.init.normal_(model.net.head.weight)  # begins at zero
    out = model.net.head(embed(model, X, sigma, batch=3))
    total = sigma**2 + 0.5**2
    expected = 0.5**2 / total * X + sigma * 0.5 / total**0.5 * out
    found = model(X, torch.full((7,), sigma, dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_the_middle_of_a_unet_knows_the_level_and_not_the_neighbours() -> None:
    model = unet_score((1, 8, 8), 0.5, (4, 6), 1, 1).double()
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    features = embed(model, x, 0.5)
    assert features.shape == (3, 6)
    torch.testing.assert_close(embed(model, x[1:2], 0.5), features[1:2], rtol=0, atol=1e-10)
    assert not torch.allclose(embed(model, x, 2.0), features)


@pytest.mark.parametrize("model", [MLPEnergy(5, (8, 6)), mlp_score(5, 0.5, 8, 2)])
def test_a_mixture_beside_a_model_changes_no_feature(model: torch.nn.Module) -> None:
    proposed = Proposed(model, PrincipalMixture((5,), 2, 1))
    assert torch.equal(embed(proposed, X.float()), embed(model, X.float()))


def test_a_model_without_features_is_refused() -> None:
    with pytest.raises(UserError, match="no features"):
        embed(torch.nn.Linear(5, 1), X)


def test_probabilities_are_bayes_rule_of_the_joint_energy() -> None:
    model = MLPEnergy(5, (8, 6), classes=3).double()
    p = probabilities(model.logits, X, batch=2)
    classes = [torch.full((7,), y) for y in range(3)]
    joint = torch.stack([(-model(X, y)).exp() for y in classes], 1)
    torch.testing.assert_close(p, joint / joint.sum(1, keepdim=True), rtol=0, atol=1e-10)
