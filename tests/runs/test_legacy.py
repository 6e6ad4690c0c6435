"""Folders of earlier versions are read as if today's had written them."""

import json
from pathlib import Path

import pytest

from gradlogp.core.errors import UserError
from gradlogp.runs import Run, read_comparison, read_results, write_json, write_results
from gradlogp.runs.legacy import modern_comparison, split
from gradlogp.runs.schema import SHAPES, wrong

NAMES = [
    ("fd", "fd", {}),
    ("1nna", "1nna", {}),
    ("energy_gap", "energy_gap", {}),
    ("denoise_psnr_0.3", "psnr", {"noise": 0.3}),
    ("denoise_ssim_1", "ssim", {"noise": 1}),
    ("fd after 20 steps", "fd", {"steps": 20}),
    ("retention from data after 1000 steps", "retention", {"start": "data", "steps": 1000}),
    ("fd from the buffer", "fd", {"start": "buffer"}),
    ("fd_gain of the buffer", "fd_gain", {"over": "ebm_no_buffer"}),
    ("fd_gain of the buffer over long chains", "fd_gain", {"over": "ebm_long_chains"}),
    ("energy held-out", "energy", {"of": "held-out"}),
    ("psnr single sample at noise 0.5", "psnr", {"of": "one sample", "noise": 0.5}),
    ("sample_loss at noise 0.1", "sample_loss", {"noise": 0.1}),
    (
        "sample_loss to their own mean at noise 0.1",
        "sample_loss",
        {"to": "their own mean", "noise": 0.1},
    ),
    ("gain_over_dae at noise 0.1", "gain", {"over": "dae", "noise": 0.1}),
    ("rmse gaussian", "rmse", {"density": "gaussian"}),
    ("rmse mixture noised", "rmse", {"density": "mixture", "against": "noised"}),
    ("rmse mixture at 0.05", "rmse", {"density": "mixture", "noise": 0.05}),
    ("deviation L=10 T=1 on 0.25", "deviation", {"setting": "L=10 T=1", "variance": 0.25}),
    ("growth at step 2.4", "growth", {"step": 2.4}),
    ("fd down to .3 not denoised", "fd", {"setting": "down to .3 not denoised"}),
    ("accuracy 3v5", "accuracy", {"task": "3v5"}),
    ("p against cnn_energy 3v5", "p", {"against": "cnn_energy", "task": "3v5"}),
    ("auroc fashion_mnist by energy", "auroc", {"against": "fashion_mnist", "by": "energy"}),
    ("auroc digit 3", "auroc", {"class": 3}),
    ("auprc held-out 8", "auprc", {"protocol": "held-out", "class": 8}),
    ("auroc one-class", "auroc", {"protocol": "one-class"}),
    (
        "auroc cross mnist to fashion_mnist",
        "auroc",
        {"protocol": "cross", "learned": "mnist", "against": "fashion_mnist"},
    ),
    ("auroc table 6_cardio", "auroc", {"protocol": "tables", "table": "6_cardio"}),
    ("rank tables", "rank", {"protocol": "tables"}),
    ("something new in words", "something", {"of": "new in words"}),
]


@pytest.mark.parametrize(("name", "metric", "axes"), NAMES, ids=[name for name, *_ in NAMES])
def test_words_glued_to_a_metric_become_axes(name: str, metric: str, axes: dict) -> None:
    assert split(name) == (metric, axes)


def test_a_bare_list_is_read_with_today_s_words(tmp_path: Path) -> None:
    row = {"metric": "denoise_psnr_0.3", "value": 21.0, "spread": 0.1, "floor": None}
    (tmp_path / "results.json").write_text(json.dumps([row | {"ceiling": 10.0, "n": 9}]))
    assert read_results(tmp_path) == [
        {"metric": "psnr", "axes": {"noise": 0.3}, "value": 21.0, "stderr": 0.1}
        | {"reference": None, "trivial": 10.0, "n": 9}
    ]


def test_rows_are_written_with_their_format_and_read_as_they_are(tmp_path: Path) -> None:
    rows = [
        {"metric": "psnr", "axes": {"noise": 0.3, "of": "single sample"}, "value": 21.0},
        {"metric": "fd after 20 steps", "value": 1.0},
    ]
    write_results(tmp_path, rows)
    content = json.loads((tmp_path / "results.json").read_text())
    assert content == {"format": 2, "rows": rows} and read_results(tmp_path) == rows
    write_json(tmp_path / "results.json", {"format": 3, "rows": []})
    with pytest.raises(UserError, match="format 3"):
        read_results(tmp_path)


def test_an_update_replaces_rows_of_the_same_metric_and_axes(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", {}) as run:
        run.write_results(
            [{"metric": "psnr", "axes": {"noise": s}, "value": 1.0} for s in (0.1, 0.2)]
        )
        run.update_results([{"metric": "psnr", "axes": {"noise": 0.2}, "value": 2.0}])
        run.update_results([{"metric": "fd", "value": 3.0}])
    assert [row["value"] for row in run.results()] == [1.0, 2.0, 3.0]


def test_a_comparison_is_read_whole_or_as_far_as_it_is(tmp_path: Path) -> None:
    note = {"comparison": "ebm", "methods": ["ebm"], "of another version": 1}
    write_json(tmp_path / "compare.json", note)
    assert read_comparison(tmp_path) == (note, [])
    write_results(tmp_path, [{"metric": "fd", "value": 1.0, "method": "ebm"}])
    assert read_comparison(tmp_path).rows[0]["method"] == "ebm"


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """Its files do not say whose they are."""
    import torch

    from gradlogp.runs import tensors

    with Run.create(tmp_path / "run", {"seed": 1}):
        config = tmp_path / "run" / "config.json"
        config.write_text(config.read_text().replace('"format": 2', '"format": 1'))
        (tmp_path / "run" / "state").mkdir()
        old = {"w": torch.ones(2)}
        tensors.write(tmp_path / "run" / "state" / "step-00000007.safetensors", old, {"step": 7})
        tensors.write(tmp_path / "run" / "ema.safetensors", old)
    earlier = Run.open(tmp_path / "run")
    found = earlier.latest()
    assert found is not None and found[0] == 7 and found[2] == {"step": 7}
    assert torch.equal(earlier.load("ema")[0]["w"], old["w"])


def test_the_columns_and_tables_of_an_earlier_comparison_are_read_as_today_s():
    old = {
        "comparison": "dsm",
        "methods": ["dsm"],
        "headline": ["fd", "denoise_psnr_0.5"],
        "tables": [
            {"title": "Steps", "metrics": ["fd after * steps"], "last": {"energy_gap": "gap"}},
            {"title": "Digits", "metrics": ["auroc one-class *"], "last": {}, "turned": True},
            {"title": "Data", "metrics": ["fd from data after * steps"]},
        ],
    }
    new = modern_comparison(old)
    assert wrong(new, SHAPES["compare.json"]) == ""
    assert [(c["metric"], c["axes"]) for c in new["headline"]] == [
        ("fd", {}),
        ("psnr", {"noise": 0.5}),
    ]
    steps, digits, data = new["tables"]
    assert (steps["metrics"], steps["over"], steps["where"]) == (["fd"], "steps", {})
    assert steps["last"] == [{"metric": "energy_gap", "axes": {}, "label": "gap"}]
    assert (digits["over"], digits["where"], digits["turned"]) == (
        "class",
        {"protocol": "one-class"},
        True,
    )
    assert (data["over"], data["where"]) == ("steps", {"start": "data"})
    assert modern_comparison(new) == new
