"""Two-sample tests by classifiers: a coin for equal laws, known accuracies for Gaussians apart."""

import math

import pytest
import torch

from gradlogp.metrics.classes import class_probability, inception_score
from gradlogp.metrics.two_sample import c2st, one_nn


def pair(shift, n=500, d=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    real = torch.randn(n, d, generator=g)
    fake = torch.randn(n, d, generator=g)
    fake[:, 0] += shift
    return real, fake


@pytest.mark.parametrize("test", [one_nn, c2st])
def test_equal_distributions_are_a_coin(test):
    got = test(*pair(0.0))
    assert abs(got.value - 0.5) < 4 * got.stderr and got.reference == 0.5


def test_copies_fall_below_a_half():
    real, _ = pair(0.0)
    assert one_nn(real, real + 1e-4).value < 0.05


def test_c2st_is_the_accuracy_of_the_best_line():
    """Two unit Gaussians at distance D are told apart with Phi(D / 2)."""
    got = c2st(*pair(2.0, 2000))
    exact = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    assert abs(got.value - exact) < 4 * got.stderr + 0.003


def test_far_apart_is_told_apart():
    assert one_nn(*pair(50.0)).value == 1 == c2st(*pair(50.0)).value


def test_the_inception_score_counts_classes():
    sure = 50.0 * torch.eye(10)[torch.arange(200) % 10]
    assert inception_score(sure).value == pytest.approx(10, abs=1e-6)
    assert inception_score(sure[::10]).value == pytest.approx(1, abs=1e-6)
    assert inception_score(torch.zeros(50, 10)).value == pytest.approx(1, abs=1e-9)
    half = torch.log(torch.tensor([[0.75, 0.25], [0.25, 0.75]])).repeat(50, 1)
    mutual = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    assert inception_score(half).value == pytest.approx(math.exp(mutual))


def test_class_probability_is_the_mean_of_the_largest_probability():
    """Logits of two classes at distance a: max p = 1 / (1 + exp(-|a|))."""
    apart = torch.tensor([0.0, 2.0, -3.0], dtype=torch.float64)
    found = class_probability(torch.stack([torch.zeros(3, dtype=torch.float64), apart], 1))
    each = 1 / (1 + (-apart.abs()).exp())
    assert abs(found.value - float(each.mean())) < 1e-12
    assert abs(found.stderr - float(each.std() / 3**0.5)) < 1e-12 and found.trivial == 0.5
