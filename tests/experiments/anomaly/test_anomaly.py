"""Anomaly protocols: what is learned from and what is tested, seeds and sharing, and one small
comparison from end to end.
"""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gradlogp import data
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.core.random import seeded
from gradlogp.experiments.anomaly import SCORE_ANOMALY, problems as problems_module
from gradlogp.experiments.anomaly.common import means, record
from gradlogp.experiments.anomaly.levels import DRAWN
from gradlogp.experiments.anomaly.methods import ENERGIES, SCORES
from gradlogp.experiments.anomaly.networks import Budget, Learned
from gradlogp.experiments.anomaly.problems import CROSS, MADE, Scope, _alike, problems
from gradlogp.experiments.anomaly.summary import summary
from gradlogp.harness import prepare, run_comparison
from gradlogp.harness.recipe import Target
from gradlogp.harness.record import Cost, Recorder
from gradlogp.harness.settings import from_dict, to_dict
from gradlogp.harness.trial import Context, items
from gradlogp.metrics.detection import auroc
from gradlogp.models import GaussianScore, NoisyGaussian
from gradlogp.runs import Run
from gradlogp.runs.cache import Cache
from gradlogp.tasks import detect
from tests.targets import DIGITS

METHODS = {**SCORES, **ENERGIES}
MNIST = Target("mnist")
SMALL = Scope(("one-class", "held-out"), one_class=(1, 2), held_out=(3,))
BUDGET = Budget(640, 640, 640, 640, clusters=5, width=32, table_width=32, blocks=1, batch=64)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def test_one_class_learns_one_digit_and_held_out_all_others(digits):
    found = {p.name: p for p in problems(Context(digits), SMALL)}
    assert list(found) == ["one-class 1", "one-class 2", "held-out 3"]
    assert found["held-out 3"].axes == {"protocol": "held-out", "class": 3}
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
        made = METHODS[name](MNIST)
        small = {"budget": BUDGET} if hasattr(made, "budget") else {"images": 640}
        small |= {"pretrain": 640} if hasattr(made, "pretrain") else {}
        scores = replace(made, **small).scores(p, Cache(tmp_path / "shared"), Cost())
        with Run.create(tmp_path / name, {}, {}) as run:
            recorder = Recorder(run, 0, Silent())
            record(recorder, p, scores)
        first = recorder.rows[0]
        assert first["axes"] == {"protocol": "tables", "table": "1_t"}
        assert first["metric"] == "auroc" and first["value"] > 0.95, name


def test_other_pictures_are_made_or_brought_to_the_size_of_coloured_pictures():
    like = torch.zeros(500, 3, 32, 32)
    made = {name: make(like, seeded("strangers")) for name, make in MADE.items()}
    assert all(x.shape == like.shape and x.min() >= 0 and x.max() <= 1 for x in made.values())
    step = {name: float(x.diff(dim=3).abs().mean()) for name, x in made.items()}
    assert step["noise"] == pytest.approx(1 / 3, abs=0.01)  # of two independent U(0, 1)
    assert step["constant"] == 0
    assert 1 / 48 < step["smooth"] < 1 / 32  # at most a step of 1/3 in eight pixels
    assert float(made["constant"].std((1, 2, 3)).mean()) > 0.1  # channels differ
    grey = _alike(torch.rand(5, 1, 28, 28), like)
    assert grey.shape == (5, 3, 32, 32) and torch.equal(grey[:, 0], grey[:, 2])


def test_coloured_pictures_are_held_against_others(monkeypatch, digits):
    coloured = replace(digits, name="cifar10")
    monkeypatch.setattr(problems_module.readers, "load", lambda name, root: digits)
    [problem] = problems(Context(coloured), Scope(("cross",), test=50))
    assert problem.axes == {"protocol": "cross", "learned": "cifar10"}
    assert [k["against"] for k in problem.kinds] == list(CROSS["cifar10"])
    sizes = [int((problem.kind == i).sum()) for i in range(7)]
    assert len(set(sizes)) == 1 and sum(sizes) == len(problem.test)


def test_a_wrong_protocol_and_data_without_classes_are_refused(digits):
    with pytest.raises(
        UserError, match="the protocols are one-class, held-out, cross, tables, got one"
    ):
        Scope(("one",))
    bare = replace(digits, train=replace(digits.train, labels=None))
    with pytest.raises(UserError, match="need classes"):
        list(problems(Context(bare), SMALL))


def test_means_are_over_classes_and_their_error_is_that_of_the_mean():
    rows = [
        {
            "metric": "auroc",
            "axes": {"protocol": "one-class", "class": c},
            "value": v,
            "stderr": 0.1,
            "n": 10,
            "protocol": "p",
        }
        for c, v in ((0, 0.8), (1, 0.6))
    ]
    [mean] = means(rows)
    assert (mean.metric, mean.axes, mean.value, mean.stderr) == (
        "auroc",
        {"protocol": "one-class"},
        0.7,
        pytest.approx(0.1 / 2**0.5),
    )


def test_energies_of_clusters_are_compared_by_the_work_from_the_one_mean(digits, tmp_path):
    [problem] = problems(Context(digits), Scope(("held-out",), held_out=(3,)))
    made = replace(METHODS["level_energy"](Target.of(digits)), budget=BUDGET)
    learned = made.learned(problem, Cache(tmp_path), Cost())
    generator = torch.Generator().manual_seed(0)
    for weight in learned.network.parameters():
        weight += 0.1 * torch.randn(weight.shape, generator=generator)
    cond = learned.nearest(problem.test)
    level = made.level(problem)
    centre = learned.centre(cond)  # the mean pictures of clusters
    assert (problem.test - centre).square().mean() < 0.8 * problem.test.square().mean()
    found = made.score(learned)
    for c in cond.unique():
        x, mean, of = problem.test[cond == c], centre[cond == c], cond[cond == c]
        work = detect.path_energy(learned.network, x - mean, -mean[0], level, 24, of)
        assert torch.allclose(found[cond == c], work, rtol=1e-3, atol=1e-3 * float(found.std()))
    assert made.level(problem) == pytest.approx(4 * problem.std)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_survives_json(name):
    made = METHODS[name](MNIST, "full", 3)
    assert made.experiment == name
    assert from_dict(type(made), json.loads(json.dumps(to_dict(made)))) == made


def at(rows, method, metric, **axes):
    return next(r for r in rows if (r["method"], r["metric"], r["axes"]) == (method, metric, axes))


def test_a_small_comparison_leaves_rows_paired_tests_and_figures(digits, tmp_path):
    names = ("path_energy", "msma_neighbours", "ode_likelihood", "neighbour_1", "pca_32")
    methods = {name: SCORES[name] for name in names}
    comparison = replace(SCORE_ANOMALY, methods=methods)
    scope = ("scope.one_class=1,2", "scope.held_out=3,", "scope.test=0", "scope.train=0")
    small = (
        "budget.one_class=640",
        "budget.held_out=640",
        "budget.clusters=5",
        "budget.width=32",
        "budget.blocks=1",
        "budget.batch=64",
    )
    ours = [f"{name}:{change}" for name in names[:3] for change in small]
    flow = ("ode_likelihood:steps=3", "ode_likelihood:likelihoods=60")
    fewer = ("msma_neighbours:scope.protocols=one-class",)  # the others are compared all the same
    target, out = Target.of(digits), tmp_path / "c"
    entries = prepare(comparison, target, "quick", out, changes=[*scope, *ours, *flow, *fewer])
    rows = run_comparison("score_anomaly", comparison, digits, entries, out)
    neighbours = at(rows, "neighbour_1", "auroc", protocol="one-class")["value"]
    assert neighbours > 0.99 > at(rows, "pca_32", "auroc", protocol="held-out")["value"]
    lead = at(rows, "path_energy", "lead", protocol="held-out")
    assert "on the same test pictures" in lead["protocol"]
    # another test part: no pairs
    assert not [r for r in rows if r["method"] == "ode_likelihood" and r["metric"] == "lead"]
    kept = items(out / "path_energy")
    one = {"protocol": "one-class", "class": 1}
    assert len(kept.at("normal", one)) + len(kept.at("anomalous", one)) == 360
    auprc = at(rows, "path_energy", "auprc", protocol="held-out", **{"class": 3})
    assert auprc["trivial"] == pytest.approx(float((digits.test.labels == 3).float().mean()))
    captions = json.loads((out / "samples" / "figures.json").read_text())
    assert DRAWN[1]["class"] == 2 and set(captions) == {
        "figure-one-class.png",
        "figure-held-out.png",
        "figure-score-norms.png",
    }
    told = at(rows, "path_energy", "auroc", protocol="held-out", **{"class": 3})["protocol"]
    assert "nearest of 5 clusters; at 4 standard deviations" in told
    assert "clusters" not in at(rows, "path_energy", "auroc", **one)["protocol"]


def test_ranks_count_ties_half_and_figures_are_of_tables_and_of_other_data(tmp_path):
    """Two tables: a perfect method, one that is right half the time, and a tie with it."""
    scores = {"path_energy": (0.0, 1.0), "pca_32": (0.0, 0.0), "neighbour_1": (0.5, 0.5)}
    across = {"protocol": "cross", "learned": "mnist"}
    origin = {"name": "mnist", "classes": [], "checksums": {}}
    for name, (normal, anomalous) in scores.items():
        with Run.create(tmp_path / name, {"data": origin}, {}) as run:
            recorder = Recorder(run, 0, Silent())
            for table in ("a", "b"):
                axes = {"protocol": "tables", "table": table}
                recorder.keep(axes, normal=torch.full((4,), normal))
                recorder.keep(axes, anomalous=torch.full((3,), anomalous))
            recorder.keep(across, normal=torch.arange(4) * normal)
            recorder.keep({**across, "against": "noise"}, anomalous=torch.arange(3) + anomalous)
            recorder.save()
    rows = summary(tmp_path, {name: [tmp_path / name] for name in scores})
    ranks = [at(rows, name, "rank", protocol="tables")["value"] for name in scores]
    assert ranks == [1.0, 2.5, 2.5]
    assert at(rows, "path_energy", "place", protocol="tables")["value"] == 1.0
    assert at(rows, "path_energy", "lead", **across)["n"] == 1
    assert {path.name for path in (tmp_path / "samples").glob("*.png")} == {
        "figure-cross-mnist.png",
        "figure-tables.png",
    }


def test_the_gaussians_field_finds_other_digits(tmp_path, digits):
    [problem] = problems(Context(digits, tmp_path), Scope(("one-class",), one_class=(3,)))
    cost = Cost()
    found = SCORES["field_gaussian"](DIGITS).scores(problem, Cache(tmp_path), cost)
    assert auroc(found[problem.kind == 0], found[problem.kind == 1]).value > 0.97
    assert (cost.evaluations, cost.parameters) == (0, 0)


@pytest.mark.parametrize("added", [0.0, 2.0])
def test_the_relative_error_is_the_networks_over_the_gaussians(added, tmp_path, digits):
    """A network that adds nothing to the Gaussian has the logarithm of 1; one that adds twice the
    root mean squared error in every entry has, in the mean, that of about 5.
    """
    [problem] = problems(Context(digits, tmp_path), Scope(("one-class",), one_class=(3,)))
    method = replace(SCORES["relative_error"](DIGITS), budget=BUDGET, examples=200, draws=8)
    small = method.narrowed(problem)
    gaussian = NoisyGaussian((1, 8, 8), small.std)
    gaussian.fit(small.normal)
    network = GaussianScore(lambda x, *_: torch.full_like(x, added), gaussian, small.std)
    learned = Learned(small, network, None, False, lambda name, key, make: {})
    score = method.score(learned)[small.kind == 0]
    expected = math.log(1 + added**2)
    assert float(score.mean()) == pytest.approx(expected, abs=1e-6 if not added else 0.3)
