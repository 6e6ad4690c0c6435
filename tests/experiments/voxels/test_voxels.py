"""Voxels: both comparisons in miniature on slabs and balls, and their settings on the real shape."""

import pytest
import torch

from gradlogp.core.errors import UserError
from gradlogp.experiments.recipes.nets import Net, energy_of
from gradlogp.experiments.voxels import EBM_VOXELS, SCORE_VOXELS
from gradlogp.harness import evaluate, fit, leaves, load, override, prepare
from gradlogp.harness.recipe import DataSpec, Target
from tests.contracts.test_data_and_recipes import TINY, made, untrained

FURNITURE = Target("modelnet10@16", "volume", (1, 16, 16, 16), 3310)


@pytest.mark.parametrize("comparison", [EBM_VOXELS, SCORE_VOXELS])
@pytest.mark.parametrize("preset", ["quick", "full", "gpu"])
def test_every_setting_of_the_presets_exists(comparison, preset, tmp_path):
    entries = prepare(comparison, FURNITURE, preset, tmp_path)
    assert [entry.method for entry in entries] == list(comparison.methods)


def test_samples_are_compared_by_overlap_and_stand_beside_their_nearest(tmp_path, monkeypatch):
    monkeypatch.setattr("gradlogp.harness.cas.IMAGES", 64)
    data = made("volume")
    (entry, *_) = prepare(SCORE_VOXELS, Target.of(data), "quick", tmp_path)
    known = leaves(entry.settings)
    recipe = override(entry.settings, [f"{k}={v}" for k, v in TINY.items() if k in known])
    fit(recipe, data, tmp_path / "run").close()
    found = {r["metric"] for r in evaluate(load(tmp_path / "run"), data, untrained(data))}
    shown = {column.metric for column in SCORE_VOXELS.headline}
    assert shown <= found
    assert (tmp_path / "run" / "samples" / "figure-nearest.png").stat().st_size > 0


def test_a_descriptor_tilts_a_gaussian_at_the_mean_of_the_training_part(tmp_path):
    data = made("volume")
    entries = {e.method: e for e in prepare(EBM_VOXELS, Target.of(data), "quick", tmp_path)}
    known = leaves(entries["descriptor"].settings)
    changes = [f"{k}={v}" for k, v in TINY.items() if k in known]
    recipe = override(entries["descriptor"].settings, changes)
    fit(recipe, data, tmp_path / "run").close()
    fitted = load(tmp_path / "run")
    x = fitted.spec.coordinates.to_model(data.train.scaled())
    torch.testing.assert_close(fitted.model.mean, x.mean(0))


def test_rows_have_no_reference():
    spec = DataSpec((5,), (1, 1), 1.0, "row")
    with pytest.raises(UserError, match="set reference=0"):
        energy_of(spec, Net(), reference=1.0)
