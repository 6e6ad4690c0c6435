"""Score matching on the line: every line lands on its closed form, and a perceptron beats a density
estimate.
"""

from dataclasses import replace

import pytest
import torch

from gradlogp import data
from gradlogp.core.progress import Silent
from gradlogp.data.line import DENSITIES, column_of
from gradlogp.experiments.score_1d.fitted import LEVELS, grid, moments, rmse
from gradlogp.experiments.score_1d.methods import METHODS
from gradlogp.experiments.score_1d.summary import summary
from gradlogp.harness.recipe import Target
from gradlogp.harness.trial import Context, items

LINES = [name for name in METHODS if name not in ("kernel_density", "dsm_levels")]


@pytest.fixture(scope="module")
def draws():
    return data.load("laws")


def rows(name, examples, folder, /, **changes):
    trial = replace(METHODS[name](Target.of(examples), "quick", 0), **changes)
    run = trial.into(folder, Context(examples), Silent())
    run.close()
    return {(row["metric"], *row["axes"].values()): row["value"] for row in run.results()}


def test_the_draws_follow_their_densities(draws):
    for name, density in DENSITIES.items():
        x, (mean, std) = column_of(draws.train, name), moments(density)
        assert abs(x.mean() - mean) < 4 * std / len(x) ** 0.5
        below = float((x < grid(density)[0]).double().mean())
        assert abs(below - 0.00135) < 4 * (0.00135 / len(x)) ** 0.5


def test_the_error_is_in_units_of_one_over_s():
    density = DENSITIES["gaussian"]
    assert rmse(lambda x: density.score(x) + 0.1, density) == pytest.approx(0.08)


@pytest.mark.parametrize("name", LINES)
def test_each_line_lands_on_its_closed_form(name, draws, tmp_path):
    found = rows(name, draws, tmp_path / name, steps=50, batch=32, hidden=(8,))
    for density, exact in DENSITIES.items():
        # the targets of denoising, eps / sigma, have a standard deviation of 1 / sigma = 10
        error = 10 / (moments(exact)[1] * len(draws.train) ** 0.5) if name == "dsm_1d" else 0.0
        assert found["slope_error", density] <= 1e-6 + 4 * error


def test_a_short_perceptron_already_beats_the_density_estimate(draws, tmp_path):
    torch.set_num_threads(1)
    mine = rows("ism", draws, tmp_path / "ism", steps=300, batch=256)
    other = rows("kernel_density", draws, tmp_path / "kde", draws=500)
    assert mine["rmse", "gaussian"] < other["rmse", "gaussian"]


def test_scores_at_every_level_are_kept_and_drawn(draws, tmp_path):
    rows("dsm_levels", draws, tmp_path / "dsm_levels", steps=2, batch=8)
    kept, density = items(tmp_path / "dsm_levels"), DENSITIES["mixture"]
    for sigma in LEVELS:
        of = {"density": "mixture", "noise": sigma}
        exact = density.score(grid(density, sigma), sigma)[:, 0]
        assert torch.equal(kept.at("exact", of), exact)
        assert kept.at("score", of).isfinite().all()
    summary(tmp_path, {"dsm_levels": [tmp_path / "dsm_levels"]})
    assert {path.name for path in (tmp_path / "samples").glob("*.png")} == {
        "figure-scores.png",
        "figure-levels.png",
    }
