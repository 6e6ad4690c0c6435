"""Every kind of data x every recipe: trained, saved, loaded, sampled, evaluated and reported, in
miniature. A new data set, kind or recipe is tested by being listed.
"""

import html
import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from gradlogp import reports
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.data import Dataset, Split
from gradlogp.experiments import RECIPES
from gradlogp.harness import (
    KINDS,
    Evaluator,
    Target,
    evaluate,
    fit,
    leaves,
    load,
    override,
    specify,
)

N, CLASSES = 48, 2
TINY = {
    "training.images": "64",
    "training.batch": "16",
    "training.log_every": "2",
    "training.checkpoint_every": "4",
    "net.channels": "4,8",
    "net.width": "8",
    "net.blocks": "1",
    "net.patch": "1",
    "latent": "3",
    "decoder": "8,4",
    "buffer.capacity": "32",
    "chain_steps": "2",
    "generate_steps": "3",
    "sampler.levels": "4",
    "posterior.steps": "2",
    "posterior.samples": "1",
    "posterior.weights": "1,",
    "evaluation.samples": "12",
    "evaluation.trial": "4",
    "evaluation.denoise": "4",
    "evaluation.steps": "2,",
    "evaluation.sigmas": "0.3,",
}


def pictures(g: torch.Generator, y: torch.Tensor) -> torch.Tensor:
    """Bright on the left or on the right."""
    x = 0.2 * torch.rand(len(y), 3, 8, 8, generator=g)
    x[y == 0, :, :, :4] += 0.7
    x[y == 1, :, :, 4:] += 0.7
    return x


def grids(g: torch.Generator, y: torch.Tensor) -> torch.Tensor:
    """A slab or a ball of occupied voxels."""
    axis = torch.linspace(-1, 1, 8)
    radius = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt()
    ball = (radius < 0.8).float()
    slab = (axis.abs() < 0.4).float()[:, None, None].expand(8, 8, 8)
    keep = (torch.rand(len(y), 8, 8, 8, generator=g) > 0.05).float()
    return (torch.where(y[:, None, None, None] == 1, ball, slab) * keep)[:, None]


def tones(g: torch.Generator, y: torch.Tensor) -> torch.Tensor:
    """A low or a high tone, at any phase."""
    time = torch.linspace(0, 1, 64)
    phase = 6.28 * torch.rand(len(y), 1, generator=g)
    return 0.5 * torch.sin(6.28 * (3 + 6 * y[:, None]) * time + phase)[:, None]


def rows(g: torch.Generator, y: torch.Tensor) -> torch.Tensor:
    """Five columns in units far from one another, one of them constant."""
    x = torch.randn(len(y), 5, generator=g) + 2 * y[:, None]
    return x * torch.tensor([1e-3, 1.0, 50.0, 1e4, 0.0]) + torch.tensor([0.0, 3.0, -9.0, 1e5, 7.0])


MADE = {"picture": pictures, "volume": grids, "waveform": tones, "row": rows, "caption": pictures}


def halves(shape: tuple[int, ...], g: torch.Generator, y: torch.Tensor) -> torch.Tensor:
    """Of any shape: one class is brighter in the first half of its entries."""
    x = torch.rand(len(y), math.prod(shape), generator=g)
    x[y == 1, : x.shape[1] // 2] += 1
    return x.reshape(-1, *shape)


def made(kind: str) -> Dataset:
    g = torch.Generator().manual_seed(0)
    y = torch.arange(3 * N) % CLASSES
    make = MADE.get(kind) or partial(halves, KINDS[kind].smallest)
    x = make(g, y)
    parts = [Split(x[i : i + N], y[i : i + N], 1) for i in range(0, 3 * N, N)]
    return Dataset(f"made {kind}s", *parts, classes=("a", "b"), kind=kind)


def untrained(data: Dataset) -> Evaluator:
    spec = specify(data)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = spec.coordinates.network(spec.shape, spec.classes)
    return Evaluator(network.eval().requires_grad_(False), spec.coordinates, 1.0, 0.5, "untrained")


def tiny(name: str, data: Dataset):
    recipe = RECIPES[name](Target.of(data), "quick", 0)
    known = leaves(recipe)
    if not known["evaluation.sigmas"]:  # what cannot restore is not asked to
        del known["evaluation.sigmas"]
    return override(recipe, [f"{k}={v}" for k, v in TINY.items() if k in known])


@pytest.fixture(params=KINDS)
def data(request: pytest.FixtureRequest) -> Dataset:
    return made(request.param)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradlogp.harness.cas.IMAGES", 64)


def test_every_kind_goes_into_model_coordinates_and_back(data):
    spec = specify(data)
    kind, x = spec.coordinates, data.train.scaled()
    model = kind.to_model(x)
    torch.testing.assert_close(kind.from_model(model), x, rtol=1e-5, atol=1e-5)
    assert abs(float(model.std()) - spec.std) < 1e-6
    if kind.bounds is not None:
        low, high = kind.bounds
        assert low <= float(model.min()) and float(model.max()) <= high
    noise = kind.gain * torch.full_like(x, 1e-3) * kind.unit(x)  # a step in the data's own range
    moved = kind.to_model(x + 1e-3 * kind.unit(x)) - model
    torch.testing.assert_close(moved, noise / kind.unit(x), rtol=0.1, atol=2e-4)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_every_kind(name, data, tmp_path):
    recipe = tiny(name, data)
    if name == "ddpm_marginals" and data.kind != "volume":
        with pytest.raises(UserError, match="set bins"):  # these examples are no whole numbers
            fit(recipe, data, tmp_path / "run")
        assert not (tmp_path / "run").exists()
        return
    fit(recipe, data, tmp_path / "run").close()
    fitted = load(tmp_path / "run")
    assert fitted.recipe == recipe
    x, asked = fitted.draw(6, seed=1)
    assert x.shape == (6, *data.shape) and x.isfinite().all()
    assert (asked is not None) == recipe.conditional
    again, _ = load(tmp_path / "run").draw(6, seed=1, batch=4)
    torch.testing.assert_close(x, again, rtol=1e-3, atol=1e-3)
    for suffix in fitted.spec.coordinates.suffixes:
        path = tmp_path / f"samples{suffix}"
        fitted.spec.coordinates.write(path, x, asked)
        assert path.stat().st_size > 0
    if kind := fitted.spec.coordinates.single:
        fitted.spec.coordinates.write_each(tmp_path / "each", x, asked, first=9)
        names = sorted(path.name[:4] + path.suffix for path in (tmp_path / "each").iterdir())
        assert names == [f"{9 + i:04d}{kind}" for i in range(6)]
    found = evaluate(fitted, data, untrained(data), Silent())
    metrics = {row["metric"] for row in found}
    assert {"fd", "precision", "coverage", "cas"} <= metrics
    assert all(row["value"] == row["value"] for row in found), "a number that is none"
    text = reports.write(tmp_path / "run").read_text(encoding="utf-8")
    assert recipe.title() in html.unescape(text) and "img" in text


def test_the_files_of_a_run_are_the_same_for_every_kind(data, tmp_path):
    """Previews, films and arrays: whatever reads run folders need not know the kind."""
    recipe = tiny("ebm", data)
    fit(recipe, data, tmp_path / "run").close()
    evaluate(load(tmp_path / "run"), data, untrained(data), Silent())
    samples = tmp_path / "run" / "samples"
    for name in ("final.png", "chain-noise.png", "chain-data.png", "denoise-0.3.png"):
        assert (samples / name).stat().st_size > 0
    with np.load(samples / "final.npz") as arrays:
        assert arrays["samples"].shape == (12, *data.shape)
    films = json.loads((samples / "films.json").read_text())
    assert list(films) == ["chain-noise", "chain-data"]
    stored = json.loads(Path(tmp_path / "run" / "config.json").read_text())["config"]["spec"]
    assert stored["kind"] == data.kind and stored["shape"] == list(data.shape)
