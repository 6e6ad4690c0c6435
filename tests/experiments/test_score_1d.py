"""Score matching on the line: every line lands on its closed form, and a perceptron beats a density
estimate.
"""

from dataclasses import replace

import pytest
import torch
from gradlogp.experiments.trial import Context, items

from gradlogp import data
from gradlogp.core.progress import Silent
from gradlogp.data.laws import LAWS, column_of
from gradlogp.experiments.score_1d import LEVELS, TRIALS, grid, moments, rmse, summary

LINES = [name for name in TRIALS if name not in ("kernel_density", "dsm_levels")]


@pytest.fixture(scope="module")
def laws():
    return data.load("laws")


def rows(name, laws, folder, **changes):
    trial = replace(TRIALS[name]("laws", "quick", 0), **changes)
    run = trial.into(folder, Context(laws), Silent())
    run.close()
    return {row["metric"]: row["value"] for row in run.results()}


def test_the_draws_follow_their_laws(laws):
    for name, law in LAWS.items():
        x, (mean, std) = column_of(laws.train, name), moments(law)
        assert abs(x.mean() - mean) < 4 * std / len(x) ** 0.5
        below = float((x < grid(law)[0]).double().mean())
        assert abs(below - 0.00135) < 4 * (0.00135 / len(x)) ** 0.5


def test_the_error_is_in_units_of_one_over_s():
    law = LAWS["gaussian"]
    assert rmse(lambda x: law.score(x) + 0.1, law) == pytest.approx(0.08)


@pytest.mark.parametrize("name", LINES)
def test_each_line_lands_on_its_closed_form(name, laws, tmp_path):
    found = rows(name, laws, tmp_path / name, steps=50, batch=32, hidden=(8,))
    for (
        law,
        exact,
    ) in LAWS.items():  # the targets of denoising, eps / sigma, have a spread of 1 / sigma = 10
        error = 10 / (moments(exact)[1] * len(laws.train) ** 0.5) if name == "dsm_1d" else 0.0
        assert found[f"slope_error {law}"] <= 1e-6 + 4 * error


def test_a_short_perceptron_already_beats_the_density_estimate(laws, tmp_path):
    torch.set_num_threads(1)
    mine = rows("ism", laws, tmp_path / "ism", steps=300, batch=256)
    other = rows("kernel_density", laws, tmp_path / "kde", draws=500)
    assert mine["rmse gaussian"] < other["rmse gaussian"]


def test_scores_at_every_level_are_kept_and_drawn(laws, tmp_path):
    rows("dsm_levels", laws, tmp_path / "dsm_levels", steps=2, batch=8)
    kept, law = items(tmp_path / "dsm_levels"), LAWS["mixture"]
    for sigma in LEVELS:
        assert torch.equal(
            kept[f"exact at {sigma:g} mixture"], law.score(grid(law, sigma), sigma)[:, 0]
        )
        assert kept[f"score at {sigma:g} mixture"].isfinite().all()
    summary(tmp_path, {"dsm_levels": [tmp_path / "dsm_levels"]})
    assert {path.name for path in (tmp_path / "samples").glob("*.png")} == {
        "figure-scores.png",
        "figure-levels.png",
    }
