"""Arrays are found again by their name and axes, whatever these are."""

import pytest
import torch

from gradlogp.core.progress import Silent
from gradlogp.harness.record import Items, Recorder
from gradlogp.runs import Run

AXES = (
    {"protocol": "one-class", "class": 3},
    {"protocol": "one-class", "class": 4},
    {"protocol": "cross", "learned": "mnist", "against": "kmnist"},
    {"noise": 0.1},
)


@pytest.fixture
def found(tmp_path):
    with Run.create(tmp_path / "r", {}, {}) as run:
        recorder = Recorder(run, 0, Silent())
        for i, axes in enumerate(AXES):
            recorder.keep(axes, score=torch.full((2,), float(i)))
        recorder.save(right=torch.tensor([True, False]))
    return Items.read(tmp_path / "r" / "items.npz")


def test_what_was_kept_is_found_by_its_axes(found):
    for i, axes in enumerate(AXES):
        assert found.at("score", dict(reversed(axes.items()))).tolist() == [i, i]
    assert found["right"].tolist() == [True, False] and "score" not in found
    with pytest.raises(KeyError):
        found.at("score", {"noise": 0.2})


def test_axes_are_listed_as_saved_and_by_what_they_hold(found):
    assert found.axes("score") == list(AXES) and found.axes("right") == []
    assert found.axes("score", {"protocol": "one-class"}) == list(AXES[:2])
    assert found.axes("score", {"class": 4}) == [AXES[1]]
