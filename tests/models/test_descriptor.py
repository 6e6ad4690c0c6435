"""A tilted Gaussian: what is left where the tilt is nothing, and where it is linear."""

import pytest
import torch

from gradlogp.core.random import seeded
from gradlogp.models.descriptor import DescriptorEnergy


def build(**more):
    torch.manual_seed(0)
    return DescriptorEnergy((1, 6, 6, 6), 0.5, (4, 8), 8, **more).double()


def test_without_a_tilt_it_is_its_reference():
    model, x = build(), torch.randn(3, 1, 6, 6, 6, generator=seeded(0), dtype=torch.float64)
    with torch.no_grad():
        model.head.linear.weight.zero_()
        model.head.linear.bias.zero_()
    torch.testing.assert_close(model(x), x.flatten(1).square().sum(1) / (2 * 0.25))
    torch.testing.assert_close(model.field().score(x), -x / 0.25)


def test_the_energy_is_the_references_plus_the_networks_with_classes_too():
    model = build(classes=3)
    x = torch.randn(3, 1, 6, 6, 6, generator=seeded(0), dtype=torch.float64)
    y = torch.tensor([2, 0, 1])
    about = 2 * x.flatten(1).square().sum(1)
    torch.testing.assert_close(model(x, y) - about, -model.logits(x).gather(1, y[:, None])[:, 0])


def test_a_reference_has_a_deviation():
    with pytest.raises(ValueError, match="is positive, got 0"):
        DescriptorEnergy((1, 6, 6, 6), 0.0)


def test_centred_it_is_a_gaussian_at_the_mean_of_the_data():
    """Its score is 0 there, and its log-density falls by 1/2 at one deviation along one entry."""
    model = build()
    with torch.no_grad():
        model.head.linear.weight.zero_()
    x = torch.randn(7, 1, 6, 6, 6, generator=seeded(0), dtype=torch.float64)
    model.centre(x)
    mean = x.mean(0, keepdim=True)
    torch.testing.assert_close(model.field().score(mean), torch.zeros_like(mean))
    aside = mean.clone()
    aside[..., 0] += 0.5 / 6  # 36 entries by 1/6 of a deviation each: one deviation in all
    rise = model(aside) - model(mean)
    torch.testing.assert_close(rise.detach(), torch.tensor([0.5], dtype=torch.float64))
