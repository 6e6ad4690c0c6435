"""Class probabilities: calibrated ones reach the floor, bold ones miss by what they are too bold."""

import math

import pytest
import torch

from gradlogp.metrics.calibration import accuracy, ece, mcnemar, nll


def honest(n=4000, seed=0):
    """Logits, and labels drawn from their own probabilities."""
    g = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, 4, generator=g, dtype=torch.float64)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=g)[:, 0]


def test_honest_probabilities_reach_the_reference():
    logits, labels = honest()
    got = ece(logits, labels)
    assert got.reference < 0.03 and abs(got.value - got.reference) < 4 * got.stderr


def test_boldness_is_measured():
    """Always sure of class 0 with probability .9, right in 60 % of the cases: the gap is .3."""
    logits = torch.tensor([math.log(9.0), 0.0]).expand(1000, 2)
    labels = (torch.arange(1000) % 10 >= 6).long()
    assert ece(logits, labels).value == pytest.approx(0.3, abs=1e-7)
    assert accuracy(logits, labels).value == 0.6


def test_nll_is_the_mean_surprise():
    logits, labels = honest()
    p = logits.softmax(1)
    entropy = -(p * p.log()).sum(1).mean()
    got = nll(logits, labels)
    assert abs(got.value - entropy) < 4 * got.stderr and got.trivial == pytest.approx(math.log(4))


def test_mcnemar_by_hand():
    a = torch.tensor([1, 1, 1, 1, 1, 1, 0, 1]).bool()
    b = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1]).bool()
    assert mcnemar(a, b) == (5, 1, pytest.approx(2 * (1 + 6) / 64))
    assert mcnemar(a, a) == (0, 0, 1.0)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"logits \[n, classes\] and integer labels \[n\]"):
        accuracy(torch.zeros(3, 2), torch.zeros(4).long())
    with pytest.raises(ValueError, match="labels run from 0 to 1"):
        nll(torch.zeros(2, 2), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="one verdict each"):
        mcnemar(torch.ones(3).bool(), torch.ones(2).bool())
