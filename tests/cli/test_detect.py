"""`detect` on files of one's own: dirty tables, pictures, recordings, runs; and what is refused."""

import csv
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradlogp.baselines.detectors import DETECTORS, PICTURES
from gradlogp.cli import main


def table(path: Path, n: int, share: float, seed: int) -> np.ndarray:
    """Rows of amounts, ages and rates that go together, and which of them do not."""
    random = np.random.RandomState(seed)
    age, bad = random.normal(40, 10, n), random.rand(n) < share
    amount = np.exp(random.normal(3, 0.5, n)) * np.where(bad, 8, 1)
    rate = age / 10 + random.normal(0, 0.3, n) + np.where(bad, 4, 0)
    kind = random.choice(["a", "b", "c"], n)
    rows = zip(range(n), amount, age, rate, kind, strict=True)
    path.write_text(
        "number,amount,age,rate,kind\n" + "".join(f"{','.join(map(str, r))}\n" for r in rows)
    )
    return bad


def detect(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[Any, list[dict[str, str]]]:
    """The JSON result, and the rows of scores.csv."""
    assert main(["detect", *map(str, words), "--json"]) == 0
    with Path("scores.csv").open() as file:
        return json.loads(capsys.readouterr().out), list(csv.DictReader(file))


def flags(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([row["flagged"] == "1" for row in rows])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("new", [["new.csv"], []], ids=["new rows", "its own rows"])
def test_the_obvious_call_is_right_on_a_dirty_table(
    new: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = table(Path("train.csv"), 1000, 0.03, 1)
    if new:
        bad = table(Path("new.csv"), 1000, 0.03, 2)
    result, rows = detect(capsys, "train.csv", *new, "--ignore", "number")
    flagged = flags(rows)
    assert flagged[bad].mean() > 0.85 and flagged[~bad].mean() < 0.025
    assert result["flagged"] == flagged.sum() and 0.02 < result["outliers"] < 0.06
    assert [row["row"] for row in rows] == [str(i + 1) for i in range(1000)]
    why = [row["because"].split(" ")[0] for row in np.array(rows)[flagged & bad]]
    assert np.isin(why, ["amount", "rate", "age"]).mean() > 0.95
    assert "number" not in "".join(row["because"] for row in rows)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_holes_hide_no_outlier(share: float, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of 300 rows with missing cells and 9 outliers, and the same table whole."""
    random = np.random.RandomState(3)
    x = 3 * (random.normal(size=(300, 5)) + random.normal(size=(300, 1))) + 10
    bad = np.arange(300) % 33 == 32
    x[bad, np.arange(9) % 5] = [29, 200, 31, -9, 30, 200, 28, -10, 32]
    kinds, rate = random.choice(["a", "b"], 300), {}
    for name, holes in (("whole", 0.0), ("holes", share)):
        gone = (random.rand(300, 6) < holes) & ~bad[:, None]
        cells = np.where(gone, "", np.column_stack([x.astype(str), kinds]))
        lines = ["a,b,c,d,e,kind", *map(",".join, cells)]
        Path(f"{name}.csv").write_text("\n".join(lines) + "\n")
        _, rows = detect(capsys, f"{name}.csv")
        rate[name] = flags(rows)[bad].mean()
        normal = flags(rows)[~bad]
        assert normal.mean() < 0.01 + 4 * (0.01 * 0.99 / len(normal)) ** 0.5
        scores = np.array([float(row["score"]) for row in rows])
        assert (scores[bad][:, None] > scores[~bad]).mean() > 0.98
    assert rate["holes"] >= rate["whole"] - 1 / 9 and rate["whole"] > 0.85


def test_a_hole_is_no_outlier(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor where no row that was learned from has one; and it is said."""
    table(Path("train.csv"), 200, 0, 1)
    Path("new.csv").write_text("amount,age,rate,kind\n,40,4,a\n20,,4,a\n20,40,4,\n20,40,4,z\n")
    _, rows = detect(capsys, "train.csv", "new.csv", "--ignore", "number")
    assert not flags(rows[:3]).any()


def test_a_clean_table_is_flagged_as_often_as_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    table(Path("train.csv"), 1000, 0, 1)
    table(Path("new.csv"), 4000, 0, 2)
    _, rows = detect(capsys, "train.csv", "new.csv", "--ignore", "number", "--share", "0.05")
    # binomial error of the threshold's 1000 rows and of the 4000 new ones
    error = (0.05 * 0.95 * (1 / 1000 + 1 / 4000)) ** 0.5
    assert abs(flags(rows).mean() - 0.05) / error <= 4


@pytest.mark.parametrize("detector", ["neighbours", "isolation_forest", "mahalanobis"])
def test_any_detector_of_the_table(detector: str, capsys: pytest.CaptureFixture[str]) -> None:
    table(Path("train.csv"), 200, 0, 1)
    Path("new.csv").write_text("rate,age,amount,kind\n4.1,40,20,a\n9,40,900,b\n")
    words = ("train.csv", "new.csv", "--ignore", "number", "--detector", detector)
    result, rows = detect(capsys, *words)
    assert result["detector"] == detector
    assert float(rows[1]["score"]) > float(rows[0]["score"])


@pytest.mark.parametrize("detector", [d for d in DETECTORS if d not in PICTURES])
def test_no_detector_minds_the_units_of_the_columns(
    detector: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same table in other units: the same scores, and what measures distances finds an outlier
    in the smallest column.
    """
    x = np.random.RandomState(0).normal(size=(120, 3))
    x[7, 0] = 9.0
    found = []
    for units in (np.ones(3), 2.0 ** np.array([-12, 0, 12])):
        cells = [",".join(map(repr, row)) for row in (x * units).tolist()]
        Path("train.csv").write_text("\n".join(["a,b,c", *cells]))
        _, rows = detect(capsys, "train.csv", "--detector", detector)
        found.append(np.array([float(row["score"]) for row in rows]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)
    distances = ("noised_energy", "neighbours", "mahalanobis", "one_class_svm")
    assert detector not in distances or found[1].argmax() == 7


def test_what_is_unlike_in_a_new_table_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    table(Path("train.csv"), 200, 0, 1)
    Path("new.csv").write_text("number,amount,age,rate,kind\n1,,40,4,z\n2,20,40,4,a\n")
    assert main(["detect", "train.csv", "new.csv"]) == 0
    said = capsys.readouterr().out
    assert (
        "1 missing value of amount is filled in from the other columns" in said
        and "never learned: z" in said
    )


def picture(path: Path, seed: int, block: bool = False) -> None:
    random = np.random.RandomState(seed)
    x = np.linspace(0, 100, 16)[None] + random.normal(60, 8, (16, 16))
    x[4:6, 10:12] += 150 * block
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(x.clip(0, 255).astype(np.uint8)).save(path)


def test_pictures_and_the_pixels_that_speak(capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(60):
        picture(Path(f"good/{i:02d}.png"), i)
    for i in range(6):
        picture(Path(f"new/{i}.png"), 100 + i, block=i == 2)
    _, rows = detect(capsys, "good", "new", "--share", "0.02")
    assert max(rows, key=lambda row: float(row["score"]))["file"] == "new/2.png"
    assert rows[2]["flagged"] == "1" and rows[2]["because"].startswith("rows 4-5 columns 10-11")


def test_a_wrong_file_is_one_line_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(20):
        picture(Path(f"good/{i:02d}.png"), i)
    picture(Path("new/1.png"), 99)
    Path("new/2.png").write_bytes(b"no picture")
    assert main(["detect", "good", "new"]) == 2
    out, err = capsys.readouterr()
    assert out.count("cannot read the picture new/2.png") == 1 and "1 file could not be read" in err
    assert len(Path("scores.csv").read_text().splitlines()) == 2


def sound(path: Path, hertz: float, seed: int) -> None:
    random = np.random.RandomState(seed)
    t = np.arange(4000) / 8000
    x = 0.3 * np.sin(2 * np.pi * hertz * t + random.rand()) + random.normal(0, 0.01, 4000)
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((x * 32767).astype("<i2").tobytes())


def test_recordings_and_the_bands_that_speak(capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(40):
        sound(Path(f"good/{i:02d}.wav"), 440, i)
    sound(Path("new/a.wav"), 440, 100)
    sound(Path("new/b.wav"), 2000, 101)
    _, rows = detect(capsys, "good", "new", "--share", "0.02")
    assert float(rows[1]["score"]) > 2 * float(rows[0]["score"])
    assert rows[1]["flagged"] == "1" and " Hz " in rows[1]["because"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("nowhere", "nowhere does not exist"),
        ("empty", "expected a folder of pictures"),
        ("train.csv --out scores.txt", "ends in .csv"),
        ("train.csv --out train.csv", "would take the place of what is read"),
        ("train.csv --detector isolation", "did you mean 'isolation_forest'?"),
        ("train.csv --share 0.7", "--share"),
        ("train.csv --ignore nothing", "no column 'nothing'; there are number, amount"),
        ("train.csv short.csv", "no column 'age'"),
        ("train.csv text.csv", "expected numbers in the column age, found 'old'"),
        ("file.txt", "expected a table"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table(Path("train.csv"), 50, 0, 1)
    Path("short.csv").write_text("number,amount,rate,kind\n1,2,3,a\n")
    Path("text.csv").write_text("number,amount,age,rate,kind\n1,2,old,3,a\n")
    Path("file.txt").write_text("nothing")
    Path("empty").mkdir()
    assert main(["detect", *words.split()]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not Path("scores.csv").exists()
