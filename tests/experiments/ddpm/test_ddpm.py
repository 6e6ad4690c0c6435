"""Diffusion models in one comparison, on the digits and in miniature: bits, distances, figures."""

import importlib
import json
from dataclasses import replace

import pytest
import torch

from gradlogp import data
from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.random import seeded
from gradlogp.experiments.ddpm import COMPARISON
from gradlogp.experiments.recipes.diffusion import (
    ddpm,
    ddpm_gaussian,
    ddpm_hybrid,
    ddpm_marginals,
)
from gradlogp.harness import Evaluator, Target, override, prepare, run_comparison, specify
from gradlogp.harness.fit import build
from gradlogp.harness.kinds import Picture
from gradlogp.metrics import frechet
from gradlogp.models import ConvClassifier
from gradlogp.runs import Run, read_results
from tests.targets import DIGITS

DRAWN = ["ddpm_hybrid", "ddpm", "ddpm_vlb", "ddpm_marginals"]
FEW = {name: COMPARISON.methods[name] for name in (*DRAWN, "pixel_histogram", "pixel_gaussian")}
MINIATURE = replace(COMPARISON, methods=FEW)
TINY = [
    "training.images=320",
    "training.batch=32",
    "evaluation.samples=40",
    "evaluation.trial=20",
    "evaluation.snapshots=2",
    "net.channels=4,8",
    "levels=6",
    "sampler.levels=6",
    "weighed=20",
]
CHANGES = [f"{name}:{change}" for name in DRAWN for change in TINY]


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def distances(x, data, evaluator, asked=None):
    """The Frechet distance alone of all that samples are judged by."""
    real = evaluator.features(data.test.scaled(slice(0, len(x))))
    return [frechet.fd(real, evaluator.features(x), evaluator.name)]


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    torch.manual_seed(0)
    classifier = ConvClassifier((1, 8, 8), 10, (4, 8), 8).eval().requires_grad_(False)
    evaluator = Evaluator(classifier, Picture(), 1.0, 0.1, "untrained")
    out = tmp_path_factory.mktemp("compare") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradlogp.harness.compare._evaluator", lambda *_: evaluator)
        for room in ("evaluate", "reference"):
            module = importlib.import_module(f"gradlogp.harness.{room}")
            patch.setattr(module, "measure_samples", distances)
        patch.setattr("gradlogp.experiments.recipes.walks.STEPS", (2, 4))
        entries = prepare(MINIATURE, Target.of(digits), "quick", out, (0,), CHANGES)
        run_comparison("ddpm", MINIATURE, digits, entries, out, CHANGES)
    return out


def found(path):
    return {
        (row["metric"], *row.get("axes", {}).items()): row["value"]
        for row in Run.open(path).results()
    }


@pytest.mark.parametrize("method", DRAWN)
def test_every_model_has_bits_and_distances_by_variance_steps_and_share(folder, method):
    rows = found(folder / method)
    own = "large" if method == "ddpm" else "learned"
    expected = {("bits_per_dim",), ("bits_per_dim", ("share", 0.5)), ("fd", ("share", 1.0))}
    expected |= {(m, ("variance", v)) for m in ("bits_per_dim", "fd") for v in ("small", own)}
    assert expected | {("fd", ("ddim", n)) for n in (2, 4)} <= rows.keys()
    assert rows["bits_per_dim",] == rows["bits_per_dim", ("variance", own)]
    assert rows["bits_per_dim",] == rows["bits_per_dim", ("share", 1.0)]


def test_the_closed_forms_and_the_gains_stand_beside_them(folder):
    rows = read_results(folder)
    simple, bound = (found(folder / name) for name in ("ddpm", "ddpm_vlb"))
    gains = {row["metric"]: row["value"] for row in rows if row.get("axes") == {"over": "ddpm"}}
    assert gains == {
        "bits_gain": pytest.approx(simple["bits_per_dim",] - bound["bits_per_dim",]),
        "fd_gain": pytest.approx(simple["fd",] - bound["fd",]),
    }
    histogram = found(folder / "pixel_histogram")["bits_per_dim",]
    assert histogram < found(folder / "pixel_gaussian")["bits_per_dim",]
    captions = json.loads((folder / "samples" / "figures.json").read_text())
    assert all((folder / "samples" / name).exists() for name in captions) and len(captions) == 2


@pytest.mark.parametrize("method", [m for m in COMPARISON.methods if m.startswith("ddpm")])
def test_every_loss_is_finite_at_the_start(method, digits):
    """At the start the network says 0, which the simple loss of eps scores with a half for each
    entry.
    """
    recipe = override(COMPARISON.methods[method](DIGITS, "quick", 0), TINY)
    spec = specify(digits)
    learner = build(recipe, spec, "cpu")
    x0 = spec.coordinates.to_model(digits.train.scaled(slice(0, 512)))
    loss = learner.objective(learner.model, Batch(x0), seeded(0)).value.detach()
    assert loss.shape == (512,) and bool(loss.isfinite().all())
    if method == "ddpm":
        assert float(loss.mean()) == pytest.approx(32, abs=4 * 32 * (2 / 512 / 64) ** 0.5)


def test_a_variance_that_is_never_learned_is_refused():
    with pytest.raises(UserError, match="loss=bound or loss=hybrid"):
        replace(ddpm(DIGITS), variance="learned")
    with pytest.raises(UserError, match="learns the variance"):
        replace(ddpm_hybrid(DIGITS), variance="small")


def test_the_walk_begins_with_the_scale_of_whitened_data_and_the_coarsest_noise(digits):
    recipe = override(ddpm(DIGITS), TINY)
    spec = specify(digits)
    sampling = recipe.sampling(recipe.model(spec), spec)
    x = sampling.prior(torch.empty(4000, 1, 8, 8), seeded(0))
    expected = (1 + recipe.sampler.ladder[0] ** 2) ** 0.5
    assert float(x.std()) == pytest.approx(expected, rel=4 / (2 * x.numel()) ** 0.5)


def test_levels_at_equal_ratios_end_at_the_bottom():
    recipe = ddpm_marginals(DIGITS)
    levels = torch.tensor(recipe.ladder(9), dtype=torch.float64)
    ratio = (recipe.bottom / recipe.top) ** (1 / 8)
    torch.testing.assert_close(levels, recipe.top * ratio ** torch.arange(9, dtype=torch.float64))
    with pytest.raises(UserError, match="between 0 and that"):
        replace(recipe, bottom=60.0)


def test_histograms_of_what_has_none_are_refused(digits):
    with pytest.raises(UserError, match="needs bins"):
        replace(ddpm_marginals(DIGITS), bins=None)
    spec = specify(digits)
    x = spec.coordinates.to_model(digits.train.scaled())
    ddpm_marginals(DIGITS).accept(spec, lambda: x)
    with pytest.raises(UserError, match="set bins"):
        replace(ddpm_marginals(DIGITS), bins=256).accept(spec, lambda: x)


def test_one_thing_alone_is_wired_in_and_no_covariance_of_large_pictures(digits):
    with pytest.raises(UserError, match="set one of them false"):
        replace(ddpm_gaussian(DIGITS), bins=17, marginals=True)
    spec = replace(specify(digits), shape=(3, 64, 64))
    with pytest.raises(UserError, match="at most 4,096 numbers, got 12,288"):
        ddpm_gaussian(DIGITS).accept(spec, lambda: torch.zeros(1))


@pytest.mark.parametrize(("gaussian", "histogram"), [(5.2, 1.6), (4.8, 7.9)])
def test_the_charts_of_bits_hold_both_closed_forms(monkeypatch, gaussian, histogram):
    bits = {"pixel_gaussian": gaussian, "pixel_histogram": histogram}
    drawing = importlib.import_module("gradlogp.experiments.ddpm.summary")
    monkeypatch.setattr(drawing, "mean", lambda paths, metric: bits[paths])
    assert drawing.top_of_bits({name: name for name in bits}) > max(gaussian, histogram)
