"""Files of one's own and a trained run: inpaint, classify, embed, denoise, detect."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradlogp import data
from gradlogp.cli import main
from gradlogp.harness import load
from gradlogp.runs import Run

ENERGY = ["net.channels=8,8", "net.width=8", "chain_steps=3", "generate_steps=6"]
SCORE = ["net.channels=8,8", "sampler.levels=15", "training.images=640"]
SMALL = ["training.images=640", "buffer.capacity=128", "posterior.steps=3"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class-conditional energy and a score of the digits; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradlogp.cli.learn.unhealthy", lambda status: "")
        for name, settings in (("ebm_class", [*ENERGY, *SMALL]), ("ncsn", SCORE)):
            assert main(["train", name, "--out", str(folder / name), "--set", *settings]) == 0
    return folder


@pytest.fixture(autouse=True)
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy, the working directory, and test digits as files."""
    shutil.copytree(trained, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    for i, x in enumerate(data.load("digits").test.scaled(slice(0, 12))):
        Image.fromarray((x[0].numpy() * 255).astype(np.uint8)).save(f"mine/{i:02d}.png")


def run(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    """What the command prints with --json."""
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def lines(path: str) -> list[dict[str, str]]:
    with Path(path).open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["ebm_class", "ncsn"])
def test_a_hole_is_filled_in_several_ways(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("inpaint", f"runs/{name}", "mine/03.png", "--n", 3, "--resamples", 1)
    result = run(capsys, *words, "--hole", 4, "--out", "deep/x.png")
    assert result["missing"] == 16 and Path("deep/x-mean.png").exists()
    mean = np.asarray(Image.open("deep/x-mean.png").convert("L")).astype(float)
    given = np.asarray(Image.open("mine/03.png")).astype(float)
    outside = np.ones((8, 8), bool)
    outside[2:6, 2:6] = False
    assert abs(mean - given)[outside].max() <= 1 and abs(mean - given)[~outside].max() > 5


def test_a_mask_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 255
    Image.fromarray(mask).save("mask.png")
    words = ("inpaint", "runs/ebm_class", "mine/00.png", "--n", 2, "--mask", "mask.png")
    assert run(capsys, *words)["missing"] == 32


@pytest.mark.parametrize("hole", [8, 999])
def test_a_hole_lies_inside_the_picture(hole: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inpaint", "runs/ncsn", "mine/00.png", "--hole", str(hole)]) == 2
    assert f"--hole {hole}: expected a square inside the picture" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["classify", "embed"])
def test_what_no_file_holds_is_said_once(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "runs/ebm_class", "nope.png"]) == 2
    out, err = capsys.readouterr()
    assert (out + err).count("nope.png") == 1


def test_one_vector_is_one_and_its_fitting_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "runs/ncsn", "mine/00.png"]) == 0
    out = capsys.readouterr().out
    assert "1 vector of 8 numbers" in out and "8x8 grey -> as it is" in out


def test_a_place_of_an_export_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "runs/ncsn", "mine/00.png"]) == 2
    assert "PLACE mine/00.png: expected a folder" in capsys.readouterr().err


def test_an_energy_classifies_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "classify", "runs/ebm_class", "mine")
    assert result["by"] == "the energy's own p(y | x)" and result["n"] == 12
    rows = lines("classes.csv")
    for row in rows:
        p = {name[2:-1]: float(v) for name, v in row.items() if name.startswith("p(")}
        assert sum(p.values()) == pytest.approx(1, abs=1e-4) and row["class"] == max(p, key=p.get)
    assert [row["file"] for row in rows] == [f"mine/{i:02d}.png" for i in range(12)]


@pytest.mark.parametrize(("name", "width"), [("ebm_class", 8), ("ncsn", 8)])
def test_files_become_vectors(name: str, width: int, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "embed", f"runs/{name}", "mine/00.png", "mine/01.png")
    found = np.load("features.npz")
    assert found["features"].shape == (2, width) == (result["n"], result["width"])
    assert ("noise level" in result["by"]) == (name == "ncsn")
    run(capsys, "embed", f"runs/{name}", "mine/00.png", "--out", "x.csv")
    row = lines("x.csv")[0]
    assert [float(row[f"f{i + 1}"]) for i in range(width)] == pytest.approx(
        found["features"][0].tolist(), rel=1e-4, abs=1e-5
    )


@pytest.mark.parametrize("name", ["ebm_class", "ncsn"])
def test_a_folder_is_denoised(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "denoise", f"runs/{name}", "mine", "--sigma", "0.3", "--out", "clean")
    assert result["n"] == 12
    assert sorted(p.name for p in Path("clean").iterdir()) == [f"{i:02d}.png" for i in range(12)]


def test_samples_are_written_one_by_one_into_a_folder_and_denoised_from_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A sheet of them is no picture: whoever takes pictures says so, and how to have them."""
    words = ("sample", "runs/ebm_class", "--n", "3")
    assert main([*words, "--out", "sheet.png"]) == 0
    assert (
        "a sheet with all of them; --out FOLDER writes a .png for each" in capsys.readouterr().out
    )
    run(capsys, *words, "--first", 8, "--out", "new")
    names = [path.name for path in sorted(Path("new").iterdir())]
    assert names == ["0008-class8.png", "0009-class9.png", "0010-class0.png"]
    assert main([*words, "--out", "new"]) == 0
    assert "beside 3 other files that new holds" in capsys.readouterr().out
    for path in Path("new").glob("000[0-2]*"):
        path.unlink()
    assert main([*words, "--out", "runs/ncsn"]) == 2
    assert "that is a run folder; choose another" in capsys.readouterr().err
    run(capsys, *words, "--first", 8, "--out", "all.npz")
    x, written = np.load("all.npz")["samples"][1, 0], np.asarray(Image.open(f"new/{names[1]}"))
    assert written.shape == (8, 8) and abs(written / 255 - x).max() <= 1 / 255
    assert run(capsys, "denoise", "runs/ncsn", "new", "--sigma", 0.3, "--out", "clean")["n"] == 3
    for verb in ("denoise --sigma 0.1", "inpaint --hole 2", "classify", "embed", "detect"):
        verb, *more = verb.split()
        assert main([verb, "runs/ncsn", "sheet.png", *more]) == 2
        out, error = capsys.readouterr()
        assert "sheet.png: a sheet of 1 x 3 pictures of 8x8, not one of them" in out + error


@pytest.mark.parametrize("name", ["ebm_class", "ncsn"])
def test_a_run_scores_files_of_ones_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (8, 8), np.uint8)).save("mine/z.png")
    result = run(capsys, "detect", f"runs/{name}", "mine")
    assert result["n"] == 13 and result["detector"].startswith("its ")
    scores = [float(row["score"]) for row in lines("scores.csv")]
    assert len(set(scores)) == 13 and np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("inpaint runs/ncsn mine/00.png", "--mask PICTURE or --hole PIXELS"),
        ("inpaint runs/ncsn mine/00.png --hole 2 --mask mine/00.png", "one of the two"),
        ("inpaint runs/ncsn mine/00.png --mask black.png", "no pixel is white"),
        ("inpaint runs/ncsn mine/00.png --mask wide.png", "wide.png is 16x8 and mine/00.png 8x8"),
        ("inpaint runs/ncsn mine/00.png --hole 2 --out mine/00.png", "choose another name"),
        ("inpaint runs/ncsn a-mean.png --hole 2 --out a.png", "a-mean.png would take the place"),
        ("denoise runs/ncsn mine --sigma 0.1 --out mine", "choose another name"),
        ("classify runs/ncsn mine/00.png table.csv --out table.csv", "choose another name"),
        ("embed runs/ncsn mine/00.png table.csv --out table.csv", "choose another name"),
        ("detect runs/ncsn table.csv --out table.csv", "choose another name"),
        ("inpaint runs/ncsn nothing.png --hole 2", "cannot read the picture nothing.png"),
        ("classify runs/ncsn nothing.png", "nothing.png"),
        ("embed runs/ncsn mine --out x.txt", "ends in .npz or .csv"),
        ("denoise runs/ncsn empty --sigma 0.1", "found none"),
        ("detect runs/ncsn", "expected the files to score"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (8, 8)).save("black.png")
    Image.new("L", (8, 8)).save("a-mean.png")
    Image.new("L", (16, 8), 255).save("wide.png")
    Path("table.csv").write_text("a,b\n1,2\n")
    Path("empty").mkdir()
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_shards_are_the_samples_of_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("sample", "runs/ncsn", "--n", 10, "--batch", 4)
    run(capsys, *words, "--out", "all.npz")
    parts = []
    for i in (1, 2):
        run(capsys, *words, "--shard", f"{i}/2", "--out", f"{i}.npz")
        parts.append(np.load(f"{i}.npz")["samples"])
    assert [len(part) for part in parts] == [4, 6]
    assert (np.concatenate(parts) == np.load("all.npz")["samples"]).all()
    run(capsys, "sample", "runs/ncsn", "--n", 2, "--first", 5, "--out", "some.npz")
    some, whole = (np.load(name)["samples"] for name in ("some.npz", "all.npz"))
    np.testing.assert_allclose(some, whole[5:7], rtol=0, atol=1e-5)


def test_shards_are_measured_as_the_samples_of_one_process_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("sample", "runs/ncsn", "--n", 60, "--batch", 20)
    run(capsys, *words, "--out", "all.npz")
    names = [f"parts/{i}.npz" for i in (3, 1, 2)]  # in any order
    for name in names:
        run(capsys, *words, "--shard", f"{Path(name).stem}/3", "--out", name)
    before = Run.open("runs/ncsn").results()
    found = [
        run(capsys, "evaluate", "runs/ncsn", "--samples", *given) for given in (["all.npz"], names)
    ]
    assert found[0]["rows"] == found[1]["rows"] and "fd" in {r["metric"] for r in found[0]["rows"]}
    assert Run.open("runs/ncsn").results() == before


@pytest.mark.parametrize(
    ("shape", "names", "says"),
    [
        ((3, 1, 9, 9), ["a.npz"], "expected `samples` of shape [n, 1, 8, 8], got [3, 1, 9, 9]"),
        ((0, 1, 8, 8), ["a.npz"], "got [0, 1, 8, 8]"),
        (
            (3, 1, 8, 8),
            ["a.npz", "./a.npz"],
            "a.npz is given twice; name each file of samples once",
        ),
        ((3, 1, 8, 8), ["lost.npz"], "lost.npz"),
        ((3, 1, 8, 8), [], "--samples"),
        ((3, 1, 8, 8), ["bytes.npz"], "expected numbers in floating point, got uint8"),
    ],
)
def test_files_that_hold_no_samples_of_the_run_are_refused(
    shape: tuple[int, ...], names: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("a.npz", samples=np.zeros(shape, np.float32))
    np.savez("bytes.npz", samples=np.zeros((3, 1, 8, 8), np.uint8))
    assert main(["evaluate", "runs/ncsn", "--samples", *names]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--shard 0/2", "I/M"),
        ("--shard 3/2", "I/M"),
        ("--shard two", "I/M"),
        ("--n 10 --shard 1/2", "take a smaller --batch"),
        ("--n 1000000000000000000", "of memory"),
        ("--steps 1000000000000", "or less"),
    ],
)
def test_shards_and_numbers_that_are_none(
    words: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", "runs/ncsn", *words.split()]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_a_dry_run_says_what_training_takes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "ncsn", "--set", *SCORE, "--dry-run"]
    found = run(capsys, *words)["ncsn"]
    assert found["steps"] == 10 and found["parameters"] > 1000 and found["megabytes"] > 50
    # the whole command takes imports and samples as well
    assert found["seconds"] > found["seconds of training"] >= 0


@pytest.mark.parametrize(
    ("name", "changes", "shown"),
    [
        ("ebm", [], True),
        ("ddpm", [], False),
        ("ncsn", [], False),
        ("ncsn", ["net.kind=energy"], True),
    ],
)
def test_settings_of_energies_are_shown_where_there_are_energies(
    name: str, changes: list[str], shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", name, "--dry-run", "--set", *SCORE[2:], *changes)
    settings = run(capsys, *words)[name]["settings"]
    assert ("guard.max_energy" in settings) == ("guard.max_gap" in settings) == shown
    assert "guard.max_growth" in settings and "guard.patience" in settings


def test_a_batch_larger_than_the_data_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "ncsn", "--dry-run", "--set", *SCORE, "training.batch=2000"]
    assert main([*words, "training.images=4000"]) == 0
    said = capsys.readouterr().out
    assert "2,000 is cut to the 1,257 pictures that there are: 2 steps see 2,514, not 4,000" in said


def trained_for(capsys: pytest.CaptureFixture[str], images: int, code: int = 0) -> str:
    words = ["train", "ncsn", "--out", "runs/ncsn", "--set", *SCORE, f"training.images={images}"]
    assert main(words) == code
    out, err = capsys.readouterr()
    return out + err


def test_a_run_is_lengthened_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gradlogp.cli.learn.unhealthy", lambda status: "")
    said = trained_for(capsys, 1280)
    assert "from step 10 on it learns from 1,280 images, not 640" in said
    found = Run.open("runs/ncsn")
    assert found.status()["images"] == 1280 and found.latest()[0] == 20
    assert found.config["recipe"]["training"]["images"] == 1280
    assert "on it learns" not in trained_for(capsys, 1280)  # the same command again
    assert load(Path("runs/ncsn"))
    refused = trained_for(capsys, 640, 2)
    assert "has learned from 1,280 images already" in refused and refused.count("\n") == 1


def test_nothing_but_the_length_may_change(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "ncsn", "--out", "runs/ncsn", "--set", *SCORE[:2], "training.images=1280"]
    assert main([*words, "training.batch=32"]) == 2
    out, error = capsys.readouterr()
    assert "training.batch is 64 there and 32 here" in error and out == "", "refused, not begun"


def test_pictures_without_classes_are_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By features that no label taught, and by a Gaussian that 84 pictures can carry."""
    Path("photos").mkdir()
    for i, x in enumerate(data.load("digits").train.scaled(slice(0, 120))):
        Image.fromarray((x[0].numpy() * 255).astype(np.uint8)).save(f"photos/{i:03d}.png")
    monkeypatch.setattr("gradlogp.cli.learn.unhealthy", lambda status: "")
    few = ["evaluation.samples=10", "evaluation.denoise=2", "evaluation.sigmas=0.3,"]
    words = ["train", "ncsn", "--dataset", "folder:photos@8", "--out", "runs/photos"]
    assert main([*words, "--set", *SCORE, *few]) == 0
    capsys.readouterr()
    rows = {row["metric"]: row for row in run(capsys, "evaluate", "runs/photos")["rows"]}
    assert "fewer than 2 for each are rough" in rows["fd"]["protocol"]
    assert not {"inception_score", "class_entropy", "cas"} & set(rows)
    result = run(capsys, "likelihood", "runs/photos", "--n", 4, "--levels", 4)
    rows = {row["metric"]: row for row in result["rows"]}
    assert "shrunk" in rows["bits_per_dim_gaussian"]["protocol"]
    assert rows["bits_per_dim_gaussian"]["value"] < 8
