"""Fields and chains on the plane: what is drawn is where the walkers are, and it moves."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from gradlogp import show
from gradlogp.cli import main
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Energy, Score
from gradlogp.core.targets import Banana, gaussian
from gradlogp.models import MLPEnergy
from gradlogp.samplers import Langevin
from gradlogp.show.densities import density, names
from gradlogp.show.plane import SHADES, SIZE, _paper, _pixels, _walkers


def dots(frame):
    """Rows and columns of the pixels of a walker's dot."""
    return np.nonzero(np.asarray(frame) == SHADES + 1)


def test_names_are_those_of_the_densities_on_the_plane_and_a_first_word_will_do():
    assert {"ring_of_gaussians", "banana", "rings"} <= set(names())
    assert "ising" not in names()
    assert density("ring").step_size == density("ring_of_gaussians").step_size
    assert density("rings").name == "rings"
    with pytest.raises(
        UserError,
        match="density on the plane 'rang'; did you mean '(rings|banana|ring_of_gaussians)'",
    ):
        density("rang")


@pytest.mark.parametrize("std", [0.5, 2.0])
def test_the_step_is_a_quarter_of_the_inverse_of_the_stiffness(std):
    """The score of N(0, s^2) is -x / s^2, so its stiffness is 1 / s^2 everywhere."""
    found = density(gaussian([0.0, 0.0], [std, std])).step_size
    assert math.isclose(found, 0.25 * std**2, rel_tol=0.02)


@pytest.mark.parametrize(
    "what",
    [
        "grid",
        Banana(),
        torch.randn(50, 2, generator=torch.Generator().manual_seed(0)),
        MLPEnergy(dim=2),
        Energy(lambda x: x.square().sum(1)),
        Score(lambda x: -x),
        lambda x: x.square().sum(1) / 2,
    ],
    ids=["name", "target", "points", "model", "field", "score", "function"],
)
def test_whatever_has_a_field_on_the_plane_is_shown(what):
    picture = show.field(what)
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert np.asarray(picture.image).std() > 5
    film = show.chains(what, n=4, steps=3, frames=3)
    assert film.frames[0].tobytes() != film.frames[-1].tobytes()


def test_what_has_none_is_refused():
    for wrong in (object(), torch.zeros(3, 5)):
        with pytest.raises(UserError, match="expected the name of a density"):
            show.field(wrong)
    with pytest.raises(UserError, match="needs nothing but a step size"):
        show.chains("ring", "gibbs")
    with pytest.raises(UserError, match="the field has no noise levels"):
        show.chains(Score(lambda x: -x), "ddim", n=2, steps=2)
    with pytest.raises(UserError, match="without noise only"):
        show.field(Score(lambda x: -x), sigma=0.5)


def test_a_walker_is_drawn_where_it_is():
    """Up is up: the dot of a walker at 3/4 of the way right and up."""
    shown = density("ring")
    low, high = torch.tensor(shown.low), torch.tensor(shown.high)
    x = (low + 0.75 * (high - low))[None]
    at = _pixels(shown, x)
    frame = _walkers(_paper(shown), at, at)
    y, x = dots(frame)
    assert abs(x.mean() / SIZE - 0.75) < 0.01 and abs(y.mean() / SIZE - 0.25) < 0.01


def test_the_seed_decides_the_film_and_the_settings_change_it():
    def film(*changes, seed=0):
        return [
            f.tobytes()
            for f in show.chains("ring", n=5, steps=4, seed=seed, changes=changes).frames
        ]

    assert film() == film() != film(seed=1)
    assert film() != film("step_size=0.01")
    given = Langevin(density("ring").step_size)
    assert film() == [f.tobytes() for f in show.chains("ring", given, n=5, steps=4).frames]


def test_samplers_with_a_ladder_begin_wide_and_end_on_the_density():
    frames = show.chains("ring", "consistent_annealed_langevin", n=60, steps=40).frames

    def width(frame):
        y, x = dots(frame)
        return abs(np.hypot(x - SIZE / 2, y - SIZE / 2) - SIZE / 3.2).mean()

    assert 0 < width(frames[-1]) < 0.5 * width(frames[0])


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_a_film_is_written_in_each_format_with_every_frame(suffix, tmp_path):
    film = show.chains("ring", n=20, steps=6, frames=5)
    with Image.open(film.save(tmp_path / f"x.{suffix}")) as there:
        assert there.n_frames == len(film.frames) and there.size == (SIZE, SIZE)


def test_a_page_holds_the_film_and_escapes_its_caption(tmp_path):
    film = show.Film([Image.new("L", (2, 2))] * 2, 'a < "b"')
    page = film.save(tmp_path / "x.html").read_text()
    assert "data:image/gif;base64," in page and "a &lt; &quot;b&quot;" in page and "://" not in page
    with pytest.raises(UserError, match="a film is written as"):
        film.save(tmp_path / "x.mp4")
    with pytest.raises(UserError, match=r"a picture is written as \.png"):
        show.Picture(Image.new("L", (2, 2))).save(tmp_path / "x.gif")


def test_the_verb_shows_chains_of_a_density(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["show", "ring", "--sampler", "langevin", "--steps", "4", "--n", "5"]
    assert main([*words, "--out", "chains.gif"]) == 0
    assert "5 walkers of langevin on ring, 4 steps: chains.gif" in capsys.readouterr().out
    with Image.open("chains.gif") as film:
        assert film.n_frames > 1
    assert main(["show", "banana", "--as", "field"]) == 0
    assert (tmp_path / "field.png").exists()
    assert main(["show", "ring", "--as", "film"]) == 2
    assert main(["show", "ring", "--out", "x.txt"]) == 2
    assert main(["show", "nowhere"]) == 2
