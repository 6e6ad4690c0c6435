"""Paired gains over Wiener's filter, and PSNR curves and strips of restored pictures of all
methods.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gradlogp.experiments.denoise.common import SHOWN_AT, TWO, decibels
from gradlogp.harness import figures
from gradlogp.harness.compare import Runs
from gradlogp.harness.record import Items, Rows, add_captions, row
from gradlogp.harness.trial import items
from gradlogp.metrics import Measure

AUTOENCODERS = ("dae", "dae_weighted")  # over which dsm is compared
NOISE = "noise on [0, 1]"
Kept = Mapping[str, Items]


class Strip(NamedTuple):
    """A row of pictures, by noise."""

    label: str
    pictures: Callable[[float], Tensor]


def summary(folder: Path, runs: Runs) -> Rows:
    """Tests and figures of the first seed."""
    kept = {name: items(paths[0]) for name, paths in runs.items()}
    sigmas = levels(kept["wiener"], "mse")
    samples = folder / "samples"
    captions = _curves(samples / "figure-psnr.png", kept, sigmas)
    captions |= _strips(samples / "figure-strips.png", kept)
    if any(found.axes("sample_mse") for found in kept.values()):
        captions |= _three_decibels(samples / "figure-3db.png", kept, sigmas)
    add_captions(samples / "figures.json", captions)
    others = [name for name in kept if name != "wiener"]
    rows = [_gain(kept, name, "wiener", s) for name in others for s in sigmas]
    over = [name for name in AUTOENCODERS if {"dsm", name} <= kept.keys()]
    return rows + [_gain(kept, "dsm", name, s) for name in over for s in sigmas]


def levels(found: Items, name: str) -> list[float]:
    """The levels of noise at which the array `name` was kept."""
    return [axes["noise"] for axes in found.axes(name)]


def gain(kept: Kept, method: str, over: str, sigma: float) -> tuple[float, float]:
    """In dB, and its standard error."""
    mine, theirs = (kept[name].at("mse", {"noise": sigma}) for name in (method, over))
    return decibels(mine, theirs)


def _gain(kept: Kept, method: str, over: str, sigma: float) -> dict[str, Any]:
    value, stderr = gain(kept, method, over, sigma)
    n = len(kept[over].at("mse", {"noise": sigma}))
    says = "dB of PSNR, the same pictures under the same noise, paired standard error"
    axes = {"over": over, "noise": sigma}
    measured = Measure("gain", value, stderr, n, "higher", says, axes=axes)
    return {"method": method, "seed": 0, **row(measured)}


def psnr(mse: Tensor) -> float:
    return -10 * math.log10(float(mse.mean()))


def _curves(path: Path, kept: Kept, sigmas: Sequence[float]) -> dict[str, str]:
    series = {
        name: (sigmas, [psnr(found.at("mse", {"noise": s})) for s in sigmas])
        for name, found in kept.items()
    }
    gains = {
        name: (sigmas, [gain(kept, name, "wiener", s)[0] for s in sigmas])
        for name in kept
        if name != "noisy"
    }
    with figures.sheet(path, columns=2, width=4.8, height=3.8) as (left, right):
        style: dict[str, Any] = {"log": "x", "markers": True}
        figures.lines(left, series, NOISE, "PSNR, dB", "restored pictures", **style)
        figures.lines(right, gains, NOISE, "gain, dB", "gain over Wiener's filter", **style)
        for axis in (left, right):
            _ticks(axis, sigmas)
        figures.one_legend((left, right))
    caption = (
        "PSNR of restored test pictures against the noise, and the gain over the best linear"
        " filter."
    )
    return {path.name: caption}


def _ticks(axis: Any, sigmas: Sequence[float]) -> None:
    axis.set_xticks(sigmas, [f"{s:g}" for s in sigmas])
    axis.minorticks_off()


def _strips(path: Path, kept: Kept) -> dict[str, str]:
    shown = [s for s in SHOWN_AT if s in levels(kept["wiener"], "shown")]
    clean = Strip("clean", lambda sigma: kept["wiener"]["clean"])
    order = sorted(kept, key=lambda name: name != "noisy")  # what was seen comes first
    strips = [clean, *(strip for name in order for strip in _of_one(name, kept[name]))]
    height = 0.42 * len(strips)
    with figures.sheet(path, columns=len(shown), width=3.6, height=height) as axes:
        for axis, sigma in zip(axes, shown, strict=True):
            _strip(axis, strips, sigma, labelled=sigma == shown[0])
    caption = (
        "The same test pictures, clean, noisy and restored by each; a sample is one draw from the"
        " posterior, not its mean."
    )
    return {path.name: caption}


def _of_one(name: str, found: Items) -> list[Strip]:
    """Its estimates and, where it draws them, its samples."""
    strips = [Strip(name, lambda sigma: found.at("shown", {"noise": sigma}))]
    if found.axes("sample"):
        strips.append(Strip(f"{name}, a sample", lambda s: found.at("sample", {"noise": s})))
    return strips


def _strip(axis: Any, strips: Sequence[Strip], sigma: float, labelled: bool) -> None:
    picture = stacked([strip.pictures(sigma) for strip in strips])
    axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
    side = len(picture) / len(strips)
    labels = [strip.label if labelled else "" for strip in strips]
    axis.set_yticks([side * (i + 0.5) for i in range(len(strips))], labels)
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.grid(False)
    axis.set_title(f"noise {sigma:g}")


def stacked(rows: Sequence[Tensor]) -> np.ndarray:
    """Rows of pictures [n, channels, height, width] as one picture, [h, w] or, in colour, [h, w,
    3], with a white rule under each row.
    """
    lines = [F.pad(torch.cat(list(row), 2), (0, 0, 0, 2), value=1.0) for row in rows]
    picture = torch.cat(lines, 1).clamp(0, 1)
    return (picture[0] if len(picture) == 1 else picture.permute(1, 2, 0)).numpy()


def _three_decibels(path: Path, kept: Kept, sigmas: Sequence[float]) -> dict[str, str]:
    sampled = {name: found for name, found in kept.items() if found.axes("sample_mse")}
    own = {name: found for name, found in sampled.items() if found.axes("own_bias")}
    series = {name: (sigmas, [_lost(found, s) for s in sigmas]) for name, found in sampled.items()}
    series |= {
        f"{name}, to the mean of its samples": (sigmas, [_lost_to_own(found, s) for s in sigmas])
        for name, found in own.items()
    }
    exact = "3.01 dB: a draw of the true posterior"
    with figures.sheet(path, width=5.2) as (axis,):
        axis.axhline(TWO, color=figures.INK, linewidth=4, alpha=0.2, label=exact)
        y = "what one sample loses, dB"
        figures.lines(axis, series, NOISE, y, "the 3 dB rule", log="x", markers=True)
        axis.legend(fontsize=7.5)
        _ticks(axis, sigmas)
    caption = (
        "What one posterior sample loses to the model's estimate; one of the true posterior has"
        " twice its mean squared error."
    )
    return {path.name: caption}


def _lost(found: Items, sigma: float) -> float:
    of = {"noise": sigma}
    return decibels(found.at("mean_mse", of), found.at("sample_mse", of))[0]


def _lost_to_own(found: Items, sigma: float) -> float:
    of = {"noise": sigma}
    bias = found.at("own_bias", of)
    return decibels(bias, bias + found.at("own_variance", of))[0]
