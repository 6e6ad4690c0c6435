"""The models of the zoo: whole, small, what their cards say, and the same numbers again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gradlogp import zoo
from gradlogp.cli import main
from gradlogp.core.errors import UserError
from gradlogp.data.files import cache_folder, sha256
from gradlogp.experiments import RECIPES
from gradlogp.harness import load
from gradlogp.harness.located import is_run, located
from gradlogp.models import PrincipalMixture, Proposed
from gradlogp.runs import Run
from gradlogp.zoo import FOLDER, LOADED, MODELS, PACKED, ZOO, packed, unpack, unpacked
from gradlogp.zoo.reference import DRAWN, FEATURES, distance, reference, reference_of

MEGABYTES = 4.7  # of all that the zoo holds, of 5 that it may


def _flipped(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 255]) + content[-8:])


SPOILED: dict[str, Callable[[Path], object]] = {
    "lost": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:300]),
    "flipped": _flipped,
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_the_zoo_is_small_and_has_nothing_else() -> None:
    assert RECIPES and {path.name for path in FOLDER.iterdir() if path.is_dir()} - {
        "__pycache__"
    } == set(MODELS)
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.suffix != ".pyc")
    assert size < MEGABYTES * 1e6


@pytest.mark.parametrize("name", MODELS)
def test_a_card_says_what_is_there(name: str) -> None:
    model, run = MODELS[name], Run.open(FOLDER / name)
    card = (FOLDER / name / "README.md").read_text()
    assert sha256(FOLDER / name / PACKED) == model.sha256 and model.sha256 in card
    said = (model.says, model.bad_at, "Licence of the data", f"commit {run.about['commit']}")
    assert all(words in card for words in said)
    assert f"{model.fd:.2f} ± {model.stderr:.2f}" in card
    assert f"seed {run.config['recipe']['seed']}" in card
    assert f"{run.status()['seconds']:.0f} seconds" in card
    assert all(f"| {row['metric']} |" in card for row in run.results() if not row.get("axes"))


@pytest.mark.parametrize("name", MODELS)
def test_draws_are_as_far_from_the_data_as_the_card_says(name: str) -> None:
    fitted = load(f"{ZOO}{name}", "cpu")
    x, _ = fitted.draw(DRAWN, 0, batch=DRAWN)
    found = distance(x, reference_of(fitted.run.config["data"]["name"]))
    assert abs(found - MODELS[name].fd) <= 3 * MODELS[name].stderr


def test_the_distance_is_that_of_the_two_gaussians() -> None:
    """Draws moved by m along a principal component are m^2 further away than they were."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 1, 7, 7, generator=generator, dtype=torch.float64)
    held = reference(x)
    near = distance(x, held)
    moved = x + 3 * held["basis"][0].double().view(1, 7, 7)
    assert near < 1e-3 and held["basis"].shape == (FEATURES, 49)
    assert distance(moved, held) - near == pytest.approx(9, rel=2e-3)


def test_a_mixture_keeps_its_draws_when_packed() -> None:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.randn(3000, 20, generator=generator) @ torch.randn(20, 400, generator=generator)
    mixture = PrincipalMixture((1, 20, 20), 30, 4).fit(smooth.view(-1, 1, 20, 20), generator)
    given = Proposed(torch.nn.Linear(3, 2), mixture).state_dict()
    small = packed(given)
    assert "proposal.factors" not in small and small["proposal.basis"].shape == (64, 400)
    assert {x.dtype for x in small.values()} == {torch.float16}
    back = unpack(small)
    assert back.keys() == given.keys()
    for name, x in given.items():  # ten bits of mantissa
        torch.testing.assert_close(back[name], x, rtol=2e-3, atol=2e-3 * float(x.abs().max()))


def test_a_model_is_unpacked_once_and_reads_like_any_run(monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(MODELS))
    place = located(f"{ZOO}{name}")
    assert is_run(f"{ZOO}{name}") and is_run(place) and not is_run("nothing")
    Run.open(place).verify()
    monkeypatch.setattr(zoo, "_unpack", None)
    assert unpacked(name) == place


@pytest.mark.parametrize("file", LOADED)
@pytest.mark.parametrize("harm", SPOILED)
def test_a_file_that_was_lost_or_damaged_is_put_back_and_what_was_drawn_stays(
    tmp_path: Path, file: str, harm: str
) -> None:
    place = unpacked("digits-ncsn", tmp_path)
    before = (place / file).read_bytes()
    (place / "drawn.png").touch()
    SPOILED[harm](place / file)
    assert unpacked("digits-ncsn", tmp_path) == place
    assert (place / file).read_bytes() == before and (place / "drawn.png").exists()


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean zoo:digits-ebm"):
        load("zoo:digit-ebm")


@pytest.mark.parametrize("file", [PACKED, "config.json"])
@pytest.mark.parametrize("harm", SPOILED)
def test_a_file_of_the_package_that_is_not_what_it_was_is_one_line_that_says_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: str,
    harm: str,
) -> None:
    shutil.copytree(FOLDER / "digits-ncsn", tmp_path / "digits-ncsn")
    SPOILED[harm](tmp_path / "digits-ncsn" / file)
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    assert main(["sample", "zoo:digits-ncsn", "--out", str(tmp_path / "x.png")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{file} is missing or is not what" in line and "--force-reinstall" in line
    assert not list(cache_folder().rglob("config.json"))


def test_verbs_take_a_model_of_the_zoo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    run = "zoo:digits-ncsn"
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (8, 8), np.uint8)).save("x.png")
    for words in (
        f"sample {run} --n 4 --out x.npz",
        f"denoise {run} x.png --sigma 0.2",
        f"inpaint {run} x.png --hole 3 --n 2 --resamples 1 --out y.png",
        f"detect {run} x.png --out scores.csv",
        f"embed {run} x.png",
        f"export {run} small --to zoo",
    ):
        assert main(words.split()) == 0, words
    assert np.load("x.npz")["samples"].shape == (4, 1, 8, 8)
    assert (located(run) / "samples" / "denoised-x.png").is_file()
    made = (Path("small") / PACKED).read_bytes()
    assert len(made) == (FOLDER / "digits-ncsn" / PACKED).stat().st_size
    capsys.readouterr()
    assert main(["list", "zoo", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["zoo"]
    assert shown == {name: model.says for name, model in MODELS.items()}
