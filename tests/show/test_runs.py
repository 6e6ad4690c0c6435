"""Films and ladders of runs: the chains are those that are drawn, the ladder is the score's own."""

import numpy as np
import pytest
import torch
from PIL import Image

from gradlogp import show
from gradlogp.cli import main
from gradlogp.core.errors import UserError
from gradlogp.data.picture import tiled
from gradlogp.harness import load
from tests.bridges.conftest import energy_run as energy_run, score_run as score_run


def test_a_film_ends_at_the_samples_of_the_seed(score_run):
    film = show.film(score_run, n=4, seed=3, frames=4)
    x, _ = load(score_run).draw(4, seed=3)
    assert film.frames[-1].tobytes() == tiled(x, 2, 1, gap=1).tobytes()
    assert film.frames[0].tobytes() != film.frames[-1].tobytes()


def test_a_small_picture_is_magnified_by_a_whole_number(energy_run, tmp_path):
    film = show.film(energy_run, n=4, frames=3)
    assert film.scale == 14 and film.frames[0].width == 2 * 8 + 1
    with Image.open(film.save(tmp_path / "film.gif")) as there:
        assert there.width == 14 * film.frames[0].width


def test_a_ladder_holds_the_posterior_mean_of_each_level(score_run):
    fitted = load(score_run)
    x = torch.rand(2, *fitted.spec.shape, generator=torch.Generator().manual_seed(0))
    picture = show.ladder(fitted, x, levels=3)
    cells = np.asarray(picture.image)
    assert cells.shape == (4 * 18 - 2, 3 * 18 - 2)  # two rows an example, 8 pixels twice as large
    sigma = sorted(fitted.sampling().sampler.ladder)[0]
    eps = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert sigma < 0.2 and eps.shape == x.shape
    noised = cells[:16, :16][::2, ::2] / 255  # with the least noise, an example is nearly itself
    assert np.abs(noised - x[0, 0].numpy()).mean() < sigma
    assert np.abs(cells[:16, -16:][::2, ::2] / 255 - x[0, 0].numpy()).mean() > 0.2


def test_a_model_without_levels_has_no_ladder(energy_run):
    with pytest.raises(UserError, match="no noise levels, so it has no ladder"):
        show.ladder(energy_run)


def test_examples_of_another_shape_are_refused(score_run):
    with pytest.raises(UserError, match=r"expected examples \[1, 8, 8\], got \[1, 9, 9\]"):
        show.ladder(score_run, torch.zeros(1, 1, 9, 9))


def test_the_verb_shows_a_run(score_run, tmp_path, capsys):
    out = tmp_path / "film.webp"
    assert main(["show", str(score_run), "--n", "4", "--out", str(out)]) == 0
    assert "4 chains of ncsn_class" in capsys.readouterr().out
    assert main(["show", str(score_run), "--as", "ladder", "--out", str(tmp_path / "l.png")]) == 0
    assert main(["show", str(score_run), "--as", "chains"]) == 2


def test_a_model_that_comes_along_is_shown_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    film = show.film("zoo:mnist-ebm", n=4, frames=3)
    assert film.frames[0].width == 2 * 28 + 1 and film.scale == 4
