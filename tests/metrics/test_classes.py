"""Class shares, their entropy, and agreement with what was asked."""

import math

import pytest
import torch

from gradlogp.metrics.classes import agreement, class_entropy, class_shares


def test_shares_by_hand():
    assert class_shares(torch.tensor([0, 0, 2, 0]), 4).tolist() == [0.75, 0, 0.25, 0]


def test_entropy_in_nats():
    assert float(class_entropy(torch.arange(10).repeat(3))) == pytest.approx(math.log(10))
    assert float(class_entropy(torch.zeros(5, dtype=torch.long))) == 0
    assert float(class_entropy(torch.tensor([0, 0, 0, 1]))) == pytest.approx(
        2 * math.log(2) - 0.75 * math.log(3)
    )


def test_even_labels_meet_the_reference():
    """Miller's correction is 6 standard errors here: without it, or with twice it, the test fails."""
    g = torch.Generator().manual_seed(0)
    values = torch.tensor(
        [class_entropy(torch.randint(10, (200,), generator=g)).value for _ in range(300)]
    )
    z = (values.mean() - class_entropy(torch.zeros(200).long()).reference) / (
        values.std() / 300**0.5
    )
    assert z.abs() <= 4


def test_the_standard_error_of_the_entropy():
    g = torch.Generator().manual_seed(1)
    p = torch.tensor([0.7, 0.2, 0.1])
    runs = [
        class_entropy(torch.multinomial(p, 400, replacement=True, generator=g), 3)
        for _ in range(200)
    ]
    scatter = torch.tensor([float(r) for r in runs]).std()
    assert 0.8 < runs[0].stderr / scatter < 1.25


def test_agreement_and_its_binomial_error():
    got = agreement(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 3, 5]), on_real=0.99)
    assert (got.value, got.reference, got.n) == (0.75, 0.99, 4)
    assert got.stderr == pytest.approx(math.sqrt(0.75 * 0.25 / 4))


def test_what_is_not_a_label_is_refused():
    with pytest.raises(ValueError, match=r"integer labels of shape \[n\].*argmax"):
        agreement(torch.zeros(4, 10), torch.zeros(4).long())
    with pytest.raises(ValueError, match="one label per sample, but have 4 and 3"):
        agreement(torch.zeros(4).long(), torch.zeros(3).long())
    with pytest.raises(ValueError, match="labels 0 to 9, but holds 3 to 10"):
        class_entropy(torch.tensor([3, 10]))
    with pytest.raises(ValueError, match="at least one label"):
        class_shares(torch.zeros(0).long(), 10)
