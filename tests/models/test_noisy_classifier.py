"""The noise-aware classifier: its trunk sees unit variance at every level, and its head is linear."""

import pytest
import torch
from torch import nn

from gradlogp.core.random import seeded
from gradlogp.models.noisy_classifier import NoisyClassifier, noisy_classifier


class Seen(nn.Module):
    """Keeps what it is shown."""

    def forward(self, x):
        self.x = x
        return x.flatten(1)


@pytest.mark.parametrize("sigma", [0.01, 0.5, 3.0, 50.0])
def test_the_trunk_sees_unit_variance_at_every_level(sigma):
    torch.manual_seed(0)
    model = NoisyClassifier(Seen(), 8, 3, sigma_data=0.5)
    x0, noise = torch.randn(2, 20_000, 8, generator=seeded(0))
    model(0.5 * x0 + sigma * noise, torch.full((20_000,), sigma))
    variance = model.trunk.x.var()
    assert abs(variance - 1) / (2 / model.trunk.x.numel()) ** 0.5 < 4


def test_logits_are_linear_in_the_features_and_its_energy_is_that_of_the_label():
    torch.manual_seed(0)
    model = noisy_classifier((1, 8, 8), 3, 0.5, (4, 8), 8)
    x, sigma = torch.randn(4, 1, 8, 8, generator=seeded(0)), torch.linspace(0.1, 2, 4)
    logits = model.features(x, sigma) @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(x, sigma), logits)
    y = torch.tensor([0, 2, 1, 1])
    nats = -torch.log_softmax(logits, 1).gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(model.energy(y)(x, sigma), nats)
