"""A score measured level by level: with its Gaussian wired in it begins at the best linear score."""

from types import SimpleNamespace

import pytest
import torch

from gradlogp import data
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.experiments.recipes import RECIPES, by_level
from gradlogp.harness import fit, load, override
from gradlogp.harness.recipe import DataSpec
from gradlogp.harness.record import Recorder
from gradlogp.models import GaussianScore, TwoValued
from tests.targets import CIFAR10, DIGITS

CHANGES = (
    "net.channels=8,",
    "training.images=64",
    "training.learning_rate=1e-6",
    "covariance=true",
)


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The rows of a network that has hardly learned, and its fitted run."""
    recipe = override(RECIPES["ncsn_from_noise"](DIGITS), (*CHANGES, "evaluation.levels=4"))
    digits = data.load("digits")
    fitted = load(fit(recipe, digits, tmp_path_factory.mktemp("levels") / "run").path)
    recorder = Recorder(fitted.run, 0, Silent())
    by_level.study(fitted, digits, recorder)
    return recorder.rows, fitted


def rows_of(rows, metric, weights=by_level.AVERAGED):
    return [r for r in rows if r["metric"] == metric and r["axes"]["weights"] == weights]


def test_it_begins_at_the_best_linear_score(studied):
    rows, _ = studied
    shares = rows_of(rows, "level_share")
    assert [r["axes"]["level"] for r in shares] == pytest.approx(
        [10.0, 1.71, 0.2924, 0.05], rel=1e-3
    )
    for r in shares:  # of test pictures, whose covariance is not quite that of the training part
        assert r["value"] == pytest.approx(1, abs=0.06)


def test_length_and_loss_are_one_number(studied):
    rows, _ = studied
    for r in rows_of(rows, "score_length"):
        assert abs(r["value"] - r["reference"]) < 0.05


def test_averaged_and_last_weights_are_both_measured_and_the_averaged_stay(studied):
    rows, fitted = studied
    assert len(rows_of(rows, "level_loss")) == len(rows_of(rows, "level_loss", by_level.LAST)) == 4
    kept = fitted.run.load("ema")[0]
    assert all(torch.equal(kept[name], x) for name, x in fitted.model.state_dict().items())
    assert (fitted.run.path / "samples" / "figure-levels.png").is_file()


def test_examples_too_large_for_a_covariance_are_not_measured_and_that_is_said():
    recipe = override(RECIPES["ncsn_from_noise"](DIGITS), ("evaluation.levels=4",))
    fitted = SimpleNamespace(recipe=recipe, spec=DataSpec((3, 64, 64), (), 0.5))
    said = []
    recorder = SimpleNamespace(rows=[], listener=SimpleNamespace(say=said.append))
    by_level.study(fitted, None, recorder)
    assert not recorder.rows and "of 12,288 numbers is beyond the 4,096" in said[0]


def test_natural_pictures_have_it_by_default_and_voxels_another():
    recipe = RECIPES["ncsn_from_noise"](CIFAR10)
    assert recipe.covariance and recipe.uncertainty
    with pytest.raises(UserError, match="two ways of one"):
        override(recipe, ("two_valued=true",))
    with pytest.raises(UserError, match=r"for net\.kind=unet"):
        override(recipe, ("net.kind=wavenet",))


def test_rows_have_it_too_and_examples_of_many_numbers_are_told_to_leave_it():
    recipe = override(RECIPES["ncsn_from_noise"](CIFAR10), ("net.channels=8,",))
    assert isinstance(recipe.model(DataSpec((6,), (), 1.0, "row")), GaussianScore)
    two = override(recipe, ("covariance=false", "two_valued=true"))
    assert isinstance(two.model(DataSpec((6,), (), 1.0, "row")), TwoValued)
    with pytest.raises(UserError, match="at most 4,096 numbers, got 12,288; set covariance=false"):
        recipe.accept(DataSpec((3, 64, 64), (), 0.5), lambda: torch.zeros(0))
