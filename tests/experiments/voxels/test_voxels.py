"""Voxels: both comparisons in miniature on slabs and balls, and their settings on the real shape."""

import pytest

from gradlogp.experiments.voxels import EBM_VOXELS, SCORE_VOXELS
from gradlogp.harness import evaluate, fit, leaves, load, override, prepare
from gradlogp.harness.recipe import Target
from tests.contracts.test_data_and_recipes import TINY, made, untrained

FURNITURE = Target("modelnet10@16", "volume", (1, 16, 16, 16), 3310)


@pytest.mark.parametrize("comparison", [EBM_VOXELS, SCORE_VOXELS])
@pytest.mark.parametrize("preset", ["quick", "full", "gpu"])
def test_every_setting_of_the_presets_exists(comparison, preset, tmp_path):
    entries = prepare(comparison, FURNITURE, preset, tmp_path)
    assert [entry.method for entry in entries] == list(comparison.methods)


def test_samples_are_compared_by_overlap_and_stand_beside_their_nearest(tmp_path):
    data = made("volume")
    (entry, *_) = prepare(SCORE_VOXELS, Target.of(data), "quick", tmp_path)
    known = leaves(entry.settings)
    recipe = override(entry.settings, [f"{k}={v}" for k, v in TINY.items() if k in known])
    fit(recipe, data, tmp_path / "run").close()
    found = {r["metric"] for r in evaluate(load(tmp_path / "run"), data, untrained(data))}
    shown = {column.metric for column in SCORE_VOXELS.headline}
    assert shown <= found
    assert (tmp_path / "run" / "samples" / "figure-nearest.png").stat().st_size > 0
