"""Waveforms: the comparison in miniature on tones, and its settings on the real shape."""

from dataclasses import replace

import pytest
import torch

from gradlogp.core.progress import Silent
from gradlogp.data import Dataset, Split
from gradlogp.experiments.audio import COMPARISON
from gradlogp.experiments.audio.voices import voices
from gradlogp.experiments.recipes.nets import WaveShape
from gradlogp.harness import leaves, override, prepare
from gradlogp.harness.fit import build
from gradlogp.harness.kinds.waveform import Waveform
from gradlogp.harness.recipe import Target, specify
from gradlogp.harness.trial import Context
from gradlogp.tasks import generate
from tests.contracts.test_data_and_recipes import TINY

UNET = ("net.channels=2,2,2",)
WAVENET = ("net.kind=WaveShape", "net.channels=4", "net.layers=2", "net.cycle=2")
NETWORKS = [("score_wave", UNET), ("score_wave", WAVENET), ("diffwave", UNET), ("wave_gan", UNET)]
SPOKEN = Target("fsdd", "waveform", (1, 4096), 2400)


@pytest.mark.parametrize("preset", ["quick", "full", "gpu"])
def test_every_setting_of_the_presets_exists(preset, tmp_path):
    entries = prepare(COMPARISON, SPOKEN, preset, tmp_path)
    assert [entry.method for entry in entries] == list(COMPARISON.methods)


def spoken(n=60, length=1024):
    """A low or a high tone of any phase, as loud as speech."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    phase = 6.28 * torch.rand(n, 1, generator=g)
    x = 0.2 * torch.sin((0.2 + 0.8 * y[:, None]) * torch.arange(length) + phase)[:, None]
    split = Split(x, y, 1)
    return Dataset("tones", split, split, split, ("low", "high"), kind="waveform", rate=8000)


@pytest.mark.parametrize(("method", "network"), NETWORKS)
def test_a_method_draws_waveforms(method, network):
    data = spoken()
    spec = specify(data)
    assert spec.coordinates == Waveform(8000)
    settings = override(COMPARISON.methods[method](Target.of(data)), network)
    known = {key for key in leaves(settings) if not key.startswith("net.")}
    recipe = override(settings, [f"{k}={v}" for k, v in TINY.items() if k in known])
    learner = build(recipe, spec, "cpu")
    cond = torch.zeros(3, dtype=torch.long) if recipe.conditional else None
    x = generate(recipe.sampling(learner.model, spec), 3, 0, cond)
    assert x.shape == (3, 1, 1024) and x.abs().max() <= 1


def test_on_a_gpu_the_network_is_a_wavenet(tmp_path):
    (entry, *_) = prepare(COMPARISON, SPOKEN, "gpu", tmp_path)
    assert entry.settings.net == WaveShape(64, 24)


def test_the_diffusion_differs_from_the_score_in_levels_loss_and_sampler_alone():
    score, diffusion = (COMPARISON.methods[name](SPOKEN) for name in ("score_wave", "diffwave"))
    same = replace(
        diffusion,
        experiment=score.experiment,
        levels=score.levels,
        weight=score.weight,
        sampler=score.sampler,
    )
    assert same == score


def test_waveforms_are_compared_by_their_spectra():
    x = spoken().train.scaled()
    same = {m.metric: float(m) for m in Waveform(8000).compared(x, x.flip(0))}
    apart = {
        m.metric: float(m)
        for m in Waveform(8000).compared(x[::2].repeat(2, 1, 1), x[1::2].repeat(2, 1, 1))
    }
    assert same["fd_spectrum"] < 1e-6 and same["ndb"] == 0
    assert apart["fd_spectrum"] > 1 and apart["ndb"] > 0.5


def test_a_speaker_is_left_out(tmp_path, monkeypatch):
    """What is asked for is FSDD without the speaker, of the same length."""
    data = replace(spoken(), name="fsdd@1024")
    asked = []
    monkeypatch.setattr(
        "gradlogp.data.load",
        lambda name, root: asked.append(name) or data,
    )
    settings = override(voices(Target.of(data)), ["speakers='theo',", "passes=1", "batch=16"])
    rows = settings.into(tmp_path / "run", Context(data), Silent()).results()
    assert asked == ["fsdd:theo@1024"]
    assert [(r["metric"], r["axes"]) for r in rows] == [
        ("accuracy", {"left_out": "nobody"}),
        ("accuracy", {"left_out": "theo"}),
    ]


def test_the_nearest_clip_is_the_one_that_sounds_alike():
    """Of a low and a high tone, whatever their phase: entry by entry a tone is far from itself."""
    low, high = (torch.sin(step * torch.arange(1024.0))[None, None] for step in (0.2, 1.0))
    late = torch.sin(0.2 * torch.arange(1024.0) + 3.14)[None, None]
    kind = Waveform(8000)
    near = torch.cdist(kind.alike(late), kind.alike(torch.cat([high, low])))
    assert int(near.argmin()) == 1
    assert float((late - low).norm()) > float((late - high).norm())
