"""Voxels: both comparisons in miniature on slabs and balls, and their settings on the real shape."""

from dataclasses import replace

import pytest
import torch

from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.experiments.recipes.mixture import completed, fitted
from gradlogp.experiments.recipes.nets import Net, energy_of
from gradlogp.experiments.recipes.proposal import Proposal
from gradlogp.experiments.voxels import EBM_VOXELS, SCORE_VOXELS
from gradlogp.experiments.voxels.untrained import UNTRAINED
from gradlogp.harness import evaluate, fit, leaves, load, override, prepare
from gradlogp.harness.recipe import DataSpec, Target, specify
from gradlogp.harness.recovery import HIDDEN
from gradlogp.harness.trial import Context
from tests.contracts.test_data_and_recipes import TINY, made, untrained

FURNITURE = Target("modelnet10@16", "volume", (1, 16, 16, 16), 3310)


@pytest.mark.parametrize("comparison", [EBM_VOXELS, SCORE_VOXELS])
@pytest.mark.parametrize("preset", ["quick", "full", "gpu"])
def test_every_setting_of_the_presets_exists(comparison, preset, tmp_path):
    entries = prepare(comparison, FURNITURE, preset, tmp_path)
    assert [entry.method for entry in entries] == list(comparison.methods)


def test_a_descriptor_is_compared_by_overlap_recovers_and_is_probed(tmp_path, monkeypatch):
    monkeypatch.setattr("gradlogp.harness.cas.IMAGES", 64)
    data = made("volume")
    entries = {e.method: e for e in prepare(EBM_VOXELS, Target.of(data), "quick", tmp_path)}
    settings = entries["descriptor"].settings
    known = leaves(settings)
    tiny = TINY | {"evaluation.recover": "4", "evaluation.probe": "20"}
    recipe = override(settings, [f"{k}={v}" for k, v in tiny.items() if k in known])
    fit(recipe, data, tmp_path / "run").close()
    fitted = load(tmp_path / "run")
    x = fitted.spec.coordinates.to_model(data.train.scaled())
    torch.testing.assert_close(fitted.model.mean, x.mean(0))  # the Gaussian that it tilts
    rows = evaluate(fitted, data, untrained(data))
    assert {column.metric for column in EBM_VOXELS.headline} <= {r["metric"] for r in rows}
    recovered = [r for r in rows if r["metric"] == "recovery_error"]
    assert [(r["axes"]["hidden"], r["n"]) for r in recovered] == [("random", 4), ("block", 4)]
    assert (tmp_path / "run" / "samples" / "figure-nearest.png").stat().st_size > 0


def test_rows_have_no_reference():
    spec = DataSpec((5,), (1, 1), 1.0, "row")
    with pytest.raises(UserError, match="set reference=0"):
        energy_of(spec, Net(), reference=1.0)


@pytest.mark.parametrize("method", UNTRAINED)
def test_what_learns_nothing_fills_in(method, tmp_path):
    data = made("volume")
    settings = replace(UNTRAINED[method](Target.of(data)), examples=6)
    run = settings.into(tmp_path / "run", Context(data), Silent())
    rows = run.results()
    assert [(r["metric"], r["axes"]["hidden"]) for r in rows] == [
        ("recovery_error", "random"),
        ("recovery_error", "block"),
    ]
    assert all(0 <= r["value"] <= 1 for r in rows)
    assert (tmp_path / "run" / "samples" / "figure-recovery-block.png").stat().st_size > 0


def test_the_mixture_fills_in_what_is_hidden_and_keeps_the_rest():
    data = made("volume")
    model = fitted(Proposal(4, 3), data, 0)
    x = data.train.scaled(slice(0, 40))
    hidden = HIDDEN["random"](x, 0)
    filled = completed(model, specify(data).coordinates, 0)(x.masked_fill(hidden, 0), hidden)
    assert torch.equal(filled[~hidden], x[~hidden])
    halves = x.masked_fill(hidden, 0.5)
    assert (filled - x).square().mean() < 0.5 * (halves - x).square().mean()
