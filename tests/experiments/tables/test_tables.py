"""Tables: what is hidden, and a whole comparison on a file of its own."""

import pytest
import torch

from gradlogp import data as readers
from gradlogp.core.errors import UserError
from gradlogp.data import Dataset
from gradlogp.experiments.tables import COMPARISON
from gradlogp.experiments.tables.common import Learned, imputation, means
from gradlogp.experiments.tables.methods import METHODS, SCOPES
from gradlogp.experiments.tables.problems import Problem, hide, problem
from gradlogp.harness import prepare, run_comparison
from gradlogp.harness.recipe import Target

TINY = (
    "score:training.images=640",
    "energy:training.images=640",
    *(f"{name}:width=8" for name in ("score", "energy")),
    *(f"{name}:chains.count=2" for name in ("score", "energy")),
    *(f"{name}:chains.levels=3" for name in ("score", "energy")),
    "rows=30",
)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_cells_are_hidden_by_columns_and_no_row_is_all_or_nothing():
    spans = (slice(0, 1), slice(1, 4), slice(4, 5))
    hidden = hide(torch.zeros(4000, 5), spans, 0.3, seeded(0))
    columns = torch.stack([hidden[:, span].float().mean(1) for span in spans], 1)
    assert ((columns == 0) | (columns == 1)).all(), "a category is hidden whole"
    assert (columns.sum(1) >= 1).all() and (columns.sum(1) <= 2).all()
    expected = (3 * 0.3 + 0.7**3 - 0.3**3) / 3  # clipped binomial, by symmetry
    stderr = (expected * (1 - expected) / 4000) ** 0.5
    assert ((columns.mean(0) - expected).abs() < 4 * stderr).all()


def test_nrmse_is_in_deviations_of_the_training_rows():
    x = torch.randn(300, 4, generator=seeded(1))
    spans = tuple(slice(i, i + 1) for i in range(4))
    one = Problem("made", x, x, x, x[:0], spans)
    off = imputation(one, lambda rows, known: torch.where(known, rows, x + 0.5), 0.3)
    assert abs(off.value - 0.5) < 1e-6 and off.stderr < 1e-6
    mean = imputation(one, lambda rows, known: torch.where(known, rows, 0.0), 0.3)
    assert abs(mean.value - 1) < 4 * mean.stderr


def test_means_are_over_tables_for_each_metric_and_share():
    rows = [
        {"metric": "nrmse", "value": v, "stderr": 0.1, "n": 5, "better": "lower", "protocol": "p"}
        | {"axes": {"table": t, **more}}
        for t, v, more in (("a", 1.0, {}), ("b", 3.0, {}), ("a", 7.0, {"hidden": 0.1}))
    ]
    first, second = means(rows)
    assert first.value == 2 and abs(first.stderr - 0.02**0.5 / 2) < 1e-12 and first.n == 10
    assert second.value == 7 and dict(second.axes) == {"hidden": 0.1}


def test_normal_rows_are_the_most_frequent_class_and_pictures_are_refused(tmp_path):
    data = readers.load(f"csv:{table(tmp_path)}@kind")
    one = problem(data, 1000)
    assert len(one.anomalies) == int((data.test.labels == data.classes.index("odd")).sum())
    torch.testing.assert_close(one.train.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    with pytest.raises(UserError, match="holds no rows"):
        problem(Dataset.of("pictures", torch.rand(30, 1, 4, 4)), 10)
    assert Learned().detect is None


def table(folder):
    """Two columns that depend on each other, a third that is one of three towns; few odd rows."""
    g = seeded(0)
    z = torch.randn(150, generator=g)
    other = z + 0.3 * torch.randn(150, generator=g)
    town = torch.randint(3, (150,), generator=g)
    odd = torch.arange(150) >= 130
    lines = [
        f"{a + 6 * o:.4f},{b:.4f},{'abc'[t]},{'odd' if o else 'usual'}"
        for a, b, t, o in zip(z.tolist(), other.tolist(), town.tolist(), odd.tolist(), strict=True)
    ]
    path = folder / "own.csv"
    path.write_text("\n".join(["height,weight,town,kind", *lines]) + "\n")
    return path


def test_a_whole_comparison_on_a_file_of_ones_own(tmp_path):
    data = readers.load(f"csv:{table(tmp_path)}@kind")
    out = tmp_path / "out"
    entries = prepare(COMPARISON, Target.of(data), "quick", out, (0,), TINY)
    rows = run_comparison("tables", COMPARISON, data, entries, out, TINY, workers=1)
    by = {(r["method"], r["metric"]): r["value"] for r in rows if not r.get("axes")}
    assert by["neighbours", "auroc"] > 0.9
    assert {m for m, metric in by if metric == "nrmse"} == set(METHODS) - {
        m for m, metric in by if metric == "auroc" and (m, "nrmse") not in by
    } - {"copula"}
    assert all(value == value for value in by.values())
    assert (out / "samples" / "figure-nrmse.png").stat().st_size > 0


def test_the_named_table_goes_with_four_others():
    made = METHODS["score"](Target("adbench:6_cardio", "row", (21,), 662))
    assert len(made.further) == 4 and len(SCOPES) == 1
    assert METHODS["score"](Target("csv:own.csv", "row", (5,), 100)).further == ()
