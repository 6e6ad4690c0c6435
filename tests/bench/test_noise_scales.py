"""The choice of noise: identities of loss and length against a Gaussian, and the page from rows."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gradlogp.bench import noise_geometry, noise_scales as bench
from gradlogp.core.fields import Denoiser
from gradlogp.core.random import normal_, seeded
from gradlogp.harness import Evaluator
from gradlogp.harness.kinds import Picture
from gradlogp.models import ConvClassifier
from gradlogp.reports import benches

DOCS = Path(__file__).parents[2] / "docs"
VARIANCES = torch.tensor([2.0, 0.5, 0.1, 0.01], dtype=torch.float64)


def exact():
    """The denoiser of N(0, diag(VARIANCES))."""

    def denoise(x, sigma):
        return x * VARIANCES / (VARIANCES + sigma[:, None] ** 2)

    return Denoiser(denoise)


@pytest.mark.parametrize("sigma", [0.05, 0.6, 5.0])
def test_on_a_gaussian_loss_and_length_are_those_of_the_closed_form(sigma):
    g = seeded(0, "noise scales", str(sigma))
    n = 20_000
    normal = torch.empty(2 * n, 4, dtype=torch.float64)
    clean, noise = normal_(normal, g).split(n)
    found = bench.at_level(exact(), clean * VARIANCES.sqrt(), sigma, noise)
    loss = bench.linear_loss(VARIANCES, sigma)
    for each, expected in ((found.loss, loss), (found.length, 1 - 2 * loss)):
        z = (each.mean() - expected) / (each.std() / math.sqrt(n))
        assert abs(float(z)) < 4


def test_a_score_of_nothing_costs_one_half_and_has_no_length():
    noise = torch.ones(4, 3, dtype=torch.float64)
    found = bench.at_level(Denoiser(lambda x, sigma: x), torch.zeros_like(noise), 0.3, noise)
    assert torch.allclose(found.loss, torch.full((4,), 0.5, dtype=torch.float64))
    assert not found.length.any()


def test_what_a_network_loses_is_paired_with_that_of_every_level():
    nothing = Denoiser(lambda x, sigma: x)
    x, noise = torch.zeros(10, 4, dtype=torch.float64), torch.ones(10, 4, dtype=torch.float64)
    rows = bench.losses({bench.ALL: exact(), "one": nothing}, x, noise, [0.6], VARIANCES)
    lost = {(r["network"], r["sigma"]): r["lost"] for r in rows}
    assert {sigma for _, sigma in lost} == set(bench.SINGLE)
    assert lost[bench.ALL, 0.6] == 0 and lost["one", 0.6] > 0


@pytest.mark.parametrize("dim", [64, 3072])
def test_the_ladder_of_technique_two_is_the_shortest_that_overlaps_by_half(monkeypatch, dim):
    span = math.log(10 / 0.05)
    monkeypatch.setattr(bench, "max_distance", lambda x: 10.0)
    monkeypatch.setattr(bench, "train_part", lambda data: None)
    found = bench.ladders(SimpleNamespace(shape=(dim,)), 0.05)
    (asked,) = (row for row in found if row["asked"])
    assert asked["overlap"] >= 0.5
    assert bench._ladder(asked["levels"] - 1, span, dim, False)["overlap"] < 0.5
    assert [row["overlap"] for row in found] == sorted(row["overlap"] for row in found)


def test_the_geometry_of_a_set_is_that_of_its_training_examples():
    (row,) = noise_geometry.rows(["digits"])
    assert row["dim"] == 64 and row["median"] < row["largest"] <= math.sqrt(4 * 64)
    assert f"| digits | 64 | {row['std']:.2f} |" in noise_geometry.page([row])


def test_every_network_is_measured_and_the_rows_make_a_page(monkeypatch):
    model = ConvClassifier((1, 8, 8), 10, (4, 8), 8).eval().requires_grad_(False)
    untrained = Evaluator(model, Picture(), 1.0, 0.1, "untrained")
    monkeypatch.setattr(bench, "evaluator_of", lambda data, path: untrained)
    monkeypatch.setattr(bench, "base_recipe", tiny)
    monkeypatch.setattr(bench, "SINGLE", (0.6,))
    monkeypatch.setattr(bench, "LEVELS", 2)
    rows = bench.rows("digits", images=64, examples=20)
    found = bench.by_kind(json.loads(json.dumps(rows)))
    networks = {bench.ALL, *(f"{sigma:g} alone" for sigma in bench.SINGLE)}
    assert {r["network"] for r in found["samples"]} == networks
    assert {r["network"] for r in found["loss"]} == networks
    assert "technique 1 would" in bench.page(rows)


def tiny(data, images, seed, made=bench.base_recipe):
    recipe = made(data, images, seed)
    return replace(
        recipe,
        net=replace(recipe.net, channels=(4, 8)),
        sampler=replace(recipe.sampler, levels=4),
        evaluation=replace(recipe.evaluation, trial=20),
    )


def test_the_committed_page_and_figure_are_those_of_the_committed_rows(tmp_path):
    rows = list(benches.read("noise-scales", DOCS / "results").rows)
    assert bench.page(rows).strip() in (DOCS / "noise-scales.md").read_text("utf-8")
    bench.figure(rows, tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 10_000
