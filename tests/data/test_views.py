"""Views and files of volumes and waveforms: areas in closed form, and there and back."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from gradlogp.core.errors import UserError
from gradlogp.data import views
from gradlogp.data.voxels import read_binvox, write_binvox
from gradlogp.data.waves import read_wave, write_wave


@pytest.mark.parametrize("azimuth", [0.3, 1.9, 4.0])
def test_a_cube_covers_its_projected_area(azimuth):
    """A cube of side S seen along f covers S^2 (|f_1| + |f_2| + |f_3|)."""
    size, side = 8, 160
    view = views.shaded(torch.ones(1, 1, size, size, size), azimuth, side)[0, 0]
    pixel = (views.ZOOM * size * math.sqrt(3) / side) ** 2
    covered = float((view > views.PAPER * views.INK[0] + 1e-6).sum()) * pixel / size**2
    assert abs(covered - float(views._axes(azimuth)[2].abs().sum())) < 0.04


def test_what_is_above_is_shown_above_and_an_empty_grid_is_dark():
    x = torch.zeros(3, 1, 6, 6, 6)
    x[0, ..., 5] = 1
    x[1, ..., 0] = 1
    high, low, empty = views.shaded(x)[:, 0]
    rows = torch.arange(len(high)).float()[:, None]
    lit = [(view > empty + 1e-6).float() for view in (high, low)]
    centre = [float((rows * one).sum() / one.sum()) for one in lit]
    assert centre[0] < 48 < centre[1]
    assert len(empty.unique()) == 1


def test_a_corner_is_darker_than_an_open_face():
    x = torch.zeros(2, 1, 8, 8, 8)
    x[:, ..., 0] = 1
    x[1, :, 4:, :, 1:4] = 1
    flat, stepped = views.shaded(x)[:, 2]
    top = flat.max()
    assert ((stepped < flat - 1e-3) & (flat == top)).any()


def test_a_turntable_turns(tmp_path):
    x = torch.zeros(3, 1, 5, 5, 5)
    x[..., 0, :, :] = 1
    views.turntable(tmp_path / "x.gif", x, columns=2)
    with Image.open(tmp_path / "x.gif") as film:
        assert film.n_frames == views.FRAMES and film.size == (2 * views.TURNED,) * 2
        first = np.asarray(film.convert("L")).copy()
        film.seek(3)
        assert (np.asarray(film.convert("L")) != first).mean() > 0.02
    with pytest.raises(UserError, match="ends in .gif"):
        views.turntable(tmp_path / "x.png", x)


def test_binvox_there_and_back(tmp_path):
    grid = (np.random.default_rng(0).random((3, 4, 5)) > 0.4).astype(np.uint8)
    for i, cells in enumerate((grid, np.ones((9, 9, 9), np.uint8), 0 * grid)):  # runs beyond 255
        write_binvox(tmp_path / f"{i}.binvox", cells)
        np.testing.assert_array_equal(read_binvox(tmp_path / f"{i}.binvox"), cells)


def test_waveforms_there_and_back(tmp_path):
    tone = np.sin(np.arange(500) / 5).astype(np.float32) * 1.2
    write_wave(tmp_path / "x.wav", tone, 11025)
    clip = read_wave(tmp_path / "x.wav")
    assert clip.rate == 11025
    np.testing.assert_allclose(clip.samples[0], tone.clip(-1, 1), atol=1e-4)
