"""Anomaly protocols: what is learned from and what is tested, seeds and sharing, and one small
comparison from end to end.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from gradlogp.experiments.trial import Context, Cost, items

from gradlogp import data, reports
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.experiments import (
    COMPARISONS,
    EXPERIMENTS,
    Comparison,
    anomaly,
    anomaly_energy,
    anomaly_score,
    compare,
)
from gradlogp.experiments.anomaly import Bank, Scope, judged, means, problems
from gradlogp.tasks import detect

SMALL = Scope(("one-class", "held-out"), one_class=(1, 2), held_out=(3,))
BUDGET = anomaly_score.Budget(
    640, 640, 640, 640, clusters=5, width=32, table_width=32, blocks=1, batch=64
)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def test_one_class_learns_one_digit_and_held_out_all_others(digits):
    found = {p.name: p for p in problems(Context(digits), SMALL)}
    assert list(found) == ["one-class 1", "one-class 2", "held-out 3"]
    one, other = found["one-class 1"], found["held-out 3"]
    labels, test = digits.train.labels, digits.test.labels
    assert (len(one.normal), len(other.normal)) == (
        int((labels == 1).sum()),
        int((labels != 3).sum()),
    )
    assert torch.equal(one.kind == 0, test == 1) and torch.equal(other.kind == 0, test != 3)
    assert one.normal.mean(0).abs().max() < 1e-5  # centred on normal examples alone
    thin = one.thinned(50)
    assert len(thin.test) == len(thin.kind) >= 50 and torch.equal(thin.test[1], one.test[7])


def test_tables_are_scaled_by_normal_training_rows(tmp_path, digits):
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(5, 3, (80, 2)), rng.normal(50, 1, (8, 2))]
    (tmp_path / "adbench").mkdir()
    np.savez(
        tmp_path / "adbench" / "1_t.npz", X=np.c_[x, np.ones(88)], y=np.r_[np.zeros(80), np.ones(8)]
    )
    [p] = problems(Context(digits, tmp_path), Scope(("tables",)))
    assert p.name == "table 1_t" and p.normal[:, :2].std(0).tolist() == pytest.approx(
        [1, 1], abs=1e-4
    )
    assert p.test.isfinite().all() and int(p.kind.sum()) == 8
    for name in (
        "level_energy",
        "contrastive_energy",
        "normalised_autoencoder",
        "msma_mixture",
        "denoising_error",
        "autoencoder_error",
    ):
        made = EXPERIMENTS[name]("mnist", "quick", 0)
        small = {"budget": BUDGET} if hasattr(made, "budget") else {"images": 640}
        small |= {"pretrain": 640} if hasattr(made, "pretrain") else {}
        scores = replace(made, **small).scores(p, Bank(tmp_path / "shared", Silent()), Cost())
        assert judged(p, scores)[0]["value"] > 0.95, name


def test_a_wrong_protocol_and_data_without_classes_are_refused(digits):
    with pytest.raises(
        UserError, match="the protocols are one-class, held-out, cross, tables, got one"
    ):
        Scope(("one",))
    bare = replace(digits, train=replace(digits.train, labels=None))
    with pytest.raises(UserError, match="need classes"):
        list(problems(Context(bare), SMALL))


def test_what_is_shared_is_made_once_and_never_stale(tmp_path):
    bank, made = Bank(tmp_path, Silent()), []

    def make():
        made.append(1)
        return {"x": torch.arange(3.0)}

    first, again, other = (bank("a b", [seed], make) for seed in (0, 0, 1))
    assert torch.equal(first["x"], again["x"]) and len(made) == 2 and float(other["seconds"]) >= 0


def test_means_are_over_classes_and_their_spread_is_that_of_the_mean():
    rows = [
        {"metric": f"auroc one-class {d}", "value": v, "stderr": 0.1, "n": 10, "protocol": "p"}
        for d, v in ((0, 0.8), (1, 0.6))
    ]
    [mean] = means(rows)
    assert (mean["metric"], mean["value"], mean["stderr"]) == (
        "auroc one-class",
        0.7,
        pytest.approx(0.1 / 2**0.5),
    )


def test_energies_of_clusters_are_compared_by_the_work_from_the_one_mean(digits, tmp_path):
    [problem] = problems(Context(digits), Scope(("held-out",), held_out=(3,)))
    bank = Bank(tmp_path, Silent())
    made = replace(EXPERIMENTS["level_energy"]("digits", "quick", 0), budget=BUDGET)
    model = made.network(problem, bank, Cost())
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight += 0.1 * torch.randn(weight.shape, generator=generator)
    cond = made.nearest(problem, problem.test, bank)
    level = made.level(problem)
    centre = made.centre(problem, cond, bank)
    assert (
        problem.test - centre
    ).square().mean() < 0.8 * problem.test.square().mean()  # the mean pictures of clusters
    found = made._energy(model, problem, bank)
    for c in cond.unique():
        x, mean = problem.test[cond == c], centre[cond == c]
        work = detect.path_energy(model, x - mean, -mean[0], level, 24, cond[cond == c])
        assert torch.allclose(found[cond == c], work, rtol=1e-3, atol=1e-3 * float(found.std()))
    assert made.level(problem) == pytest.approx(4 * problem.std)


def test_every_trial_of_both_comparisons_survives_json():
    from gradlogp.experiments.settings import from_dict, to_dict

    for name in (*anomaly_score.TRIALS, *anomaly_energy.TRIALS, *anomaly.BASELINES):
        made = EXPERIMENTS[name]("mnist", "full", 3)
        assert (
            from_dict(type(made), json.loads(json.dumps(to_dict(made))), "") == made
            and made.experiment == name
        )


def test_a_small_comparison_leaves_rows_paired_tests_and_figures(digits, tmp_path, monkeypatch):
    names = ("path_energy", "msma_neighbours", "ode_likelihood", "neighbour_1", "pca_32")
    for name in names:
        made = replace(EXPERIMENTS[name]("digits", "quick", 0), scope=SMALL)
        small = {"budget": BUDGET, "steps": 3, "likelihoods": 60} if hasattr(made, "budget") else {}
        shrunk = replace(made, **small)
        monkeypatch.setitem(EXPERIMENTS, name, lambda *_, shrunk=shrunk: shrunk)
    monkeypatch.setitem(
        COMPARISONS,
        "small",
        Comparison(names, "?", "digits", False, anomaly.HEADLINE, anomaly.summary),
    )
    rows = compare("small", digits, "quick", tmp_path / "c", listener=Silent())
    found = {(r["method"], r["metric"]): r for r in rows}
    assert (
        found["neighbour_1", "auroc one-class"]["value"]
        > 0.99
        > found["pca_32", "auroc held-out"]["value"]
    )
    assert "on the same test pictures" in found["path_energy", "lead held-out"]["protocol"]
    assert ("ode_likelihood", "lead held-out") not in found  # another test part: no pairs
    assert len(items(tmp_path / "c" / "path_energy")["one-class 1"]) == 360
    assert found["path_energy", "auprc held-out 3"]["trivial"] == pytest.approx(
        float((digits.test.labels == 3).float().mean())
    )
    captions = json.loads((tmp_path / "c" / "samples" / "figures.json").read_text())
    assert set(captions) == {
        "figure-one-class.png",
        "figure-held-out.png",
        "figure-score-norms.png",
    }
    assert (
        "nearest of 5 clusters; at 4 standard deviations"
        in found["path_energy", "auroc held-out 3"]["protocol"]
    )
    assert "clusters" not in found["path_energy", "auroc one-class 1"]["protocol"]
    assert "AUROC for each class" in reports.write(tmp_path / "c").read_text()
