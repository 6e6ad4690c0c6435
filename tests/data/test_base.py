"""The splits: disjoint, whole, the same every time, and fair to every class."""

import pytest
import torch

from gradlogp.data import DATASETS, Split, load
from gradlogp.data.base import cut, stratified_split


def numbered(n: int, classes: int | None = None) -> Split:
    """Images that carry their own number, so that we can see where each one went."""
    x = torch.arange(n).view(n, 1, 1, 1)
    labels = None if classes is None else torch.arange(n) * classes // n
    return Split(torch.cat([x // 256, x % 256], dim=3).byte(), labels)


def numbers(split: Split) -> list[int]:
    return (split.x[:, 0, 0, 0].int() * 256 + split.x[:, 0, 0, 1]).tolist()


@pytest.mark.parametrize("n", [3, 4, 10, 57, 1797])
@pytest.mark.parametrize("classes", [None, 3])
def test_every_image_is_in_one_split_and_its_label_goes_along(n, classes):
    whole = numbered(n, classes)
    parts = stratified_split(whole)
    assert sorted(number for part in parts for number in numbers(part)) == list(range(n))
    assert all(len(part) for part in parts)
    if classes:
        assert all(torch.equal(part.labels, whole.labels[numbers(part)]) for part in parts)


def test_the_split_is_7_1_2_in_every_class():
    train, validation, test = stratified_split(numbered(1000, classes=5))
    assert [part.labels.bincount().tolist() for part in (train, validation, test)] == [
        [140] * 5,
        [20] * 5,
        [40] * 5,
    ]


def test_the_first_images_of_a_split_are_a_mixture():
    assert stratified_split(numbered(1000, classes=5))[0].labels[:100].bincount().min() > 8


def test_a_cut_keeps_the_rest_and_is_the_same_every_time():
    train, validation = cut(numbered(600), 50)
    assert len(validation) == 50
    assert sorted(numbers(train) + numbers(validation)) == list(range(600))
    again = cut(numbered(600), 50)
    assert numbers(again[1]) == numbers(validation)
    assert numbers(validation)[:5] == [
        82,
        430,
        119,
        291,
        57,
    ]  # for good: results are compared across versions


def test_scaled_images_are_bytes_over_their_maximum():
    split = Split(torch.tensor([[[[0, 8, 16]]], [[[1, 2, 4]]]], dtype=torch.uint8), max_value=16)
    assert split.scaled().tolist() == [[[[0, 0.5, 1]]], [[[1 / 16, 1 / 8, 1 / 4]]]]
    assert split.scaled().dtype == torch.float32
    assert torch.equal(split.scaled(torch.tensor([1])), split.scaled(slice(1, 2)))


def test_digits_are_all_there_in_fair_shares():
    digits = load("digits")
    assert digits.shape == (1, 8, 8)
    assert [len(s) for s in (digits.train, digits.validation, digits.test)] == [1257, 180, 360]
    assert digits.test.labels.bincount(minlength=10).tolist() == pytest.approx([36] * 10, abs=2)
    assert digits.validation.labels.bincount(minlength=10).tolist() == pytest.approx(
        [18] * 10, abs=1
    )
    assert set(digits.checksums) == {"digits.csv.gz"}
    assert digits.classes[int(digits.train.labels[0])] == str(int(digits.train.labels[0]))


def test_digits_have_exactly_the_17_grey_levels_of_scikit_learn():
    from sklearn.datasets import load_digits

    digits = load("digits")
    x = torch.cat([s.scaled() for s in (digits.train, digits.validation, digits.test)])
    assert torch.equal(x.unique() * 16, torch.arange(17.0))
    ours = sorted(map(tuple, (x * 16).flatten(1).int().tolist()))
    assert ours == sorted(map(tuple, load_digits().data.astype(int).tolist()))


@pytest.mark.parametrize("name", DATASETS)
def test_digits_are_found_under_any_near_name(name):
    with pytest.raises(ValueError, match=f"unknown data set .* did you mean '{name}'"):
        load(name[:-1] + "_")
