"""Data of one's own: voxels, waveforms, tables, arrays, and whatever yields examples."""

import builtins
import math

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data import fixtures

from gradlogp.core.errors import UserError
from gradlogp.data import Column, Columns, Dataset, load, write_table
from gradlogp.data.adbench import read_table
from gradlogp.data.voxels import read_binvox, resized, touched
from gradlogp.data.waves import read_wave


def whole(data):
    return torch.cat([data.train.x, data.validation.x, data.test.x])


# --- volumes ---


def test_binvox_is_written_and_read(tmp_path):
    grid = (np.random.default_rng(0).random((5, 6, 7)) < 0.3).astype(np.uint8)
    (tmp_path / "a.binvox").write_bytes(fixtures.binvox(grid))
    assert (read_binvox(tmp_path / "a.binvox") == grid).all()


def test_a_box_fills_its_cells(tmp_path):
    """1 x 2 x 4 in 16 a side: 3.75 x 7.5 x 15 cells between its corners, so 4 x 8 x 16 are filled."""
    (tmp_path / "a.off").write_text(fixtures.OFF)
    (tmp_path / "b.stl").write_bytes(fixtures.stl())
    (tmp_path / "c.binvox").write_bytes(fixtures.binvox(fixtures.ball(16)))
    np.savez(tmp_path / "d.npz", np.stack([fixtures.ball(12)] * 2))
    data = load(f"voxels:{tmp_path}@16")
    assert len(whole(data)) == 5 and data.kind == "volume" and data.shape == (1, 16, 16, 16)
    boxes = [x[0] for x in whole(data) if x[0].bool().any(0).any(0).all()]  # as long as the grid
    assert len(boxes) == 2 and not data.notes
    for box in boxes:
        assert box.sum() == 4 * 8 * 16 and box[6:10, 4:12].all()


def test_a_surface_has_no_holes_however_large_its_triangles():
    full = touched(np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]], float), 32)
    z = full.any((0, 1)).nonzero()[0]
    assert len(z) == 1
    i, j = np.mgrid[:32, :32]
    assert full[:, :, z[0]][i + j < 31].all() and not full[:, :, z[0]][i + j > 33].any()


def test_a_mesh_that_is_not_closed_is_counted(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.off").write_text(fixtures.OFF)
    lines = fixtures.OFF.replace("8 12 0", "8 11 0").splitlines()[:-1]
    (tmp_path / "4.off").write_text("\n".join(lines) + "\n")
    data = load(f"voxels:{tmp_path}@16")
    assert "1 of 5 meshes are not closed" in data.notes[0]


def test_grids_of_other_sizes_are_padded_or_take_the_fullest_cell():
    x = torch.zeros(1, 1, 30, 20, 30, dtype=torch.uint8)
    x[0, 0, 0, 0, 29] = 1
    assert resized(x, 32)[0, 0].nonzero().tolist() == [[1, 6, 30]]
    assert resized(x, 16)[0, 0].nonzero().tolist() == [[0, 3, 15]]
    assert resized(torch.ones(1, 1, 8, 8, 8), 16).sum() == 512


BAD_VOXELS = {  # what is wrong: (a file's name, what it holds, a fragment of what we say)
    "cut": ("a.binvox", fixtures.binvox(fixtures.ball(8))[:-1], "promises 512 cells, but"),
    "header": ("a.binvox", b"#binvox 1\ndata\n", "expected a binvox header with its dim"),
    "huge": ("a.binvox", b"#binvox 1\ndim 9999 9999 9999\ndata\n", "1 to 512 cells a side"),
    "empty": ("a.binvox", fixtures.binvox(np.zeros((4, 4, 4), np.uint8)), "a grid in it is empty"),
    "a text": ("a.off", b"hello", "a.off: cannot be read as a mesh"),
    "no faces": ("a.off", b"OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "a.off: cannot be read as a mesh"),
}


@pytest.mark.parametrize("case", BAD_VOXELS)
def test_a_bad_volume_gets_one_clear_line(tmp_path, case):
    name, content, fragment = BAD_VOXELS[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=fragment) as caught:
        load(f"voxels:{tmp_path}")
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_an_empty_folder_and_another_size(tmp_path):
    with pytest.raises(UserError, match="expected at least 3 volumes .*found 0"):
        load(f"voxels:{tmp_path}")
    with pytest.raises(UserError, match="got a size of 20"):
        load(f"voxels:{tmp_path}@20")
    np.savez(tmp_path / "a.npz", np.full((4, 4, 4), 0.5))
    with pytest.raises(UserError, match=r"a.npz: expected cells of 0 and 1 in arr_0"):
        load(f"voxels:{tmp_path}")


# --- waveforms ---


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_width_of_wav_is_read_in_its_scale(tmp_path, width):
    wanted = np.sin(np.arange(200) / 7) / 2
    (tmp_path / "a.wav").write_bytes(fixtures.wav(wanted, 16_000, width))
    clip = read_wave(tmp_path / "a.wav")
    assert clip.rate == 16_000 and clip.samples.shape == (1, 200)
    assert np.abs(clip.samples[0] - wanted).max() <= max(2.0 ** (1 - 8 * width), 1e-7)


@pytest.mark.parametrize(("form", "subtype"), [("WAV", "FLOAT"), ("FLAC", "PCM_24")])
def test_floats_and_flac_are_read_too(tmp_path, form, subtype):
    path = tmp_path / f"a.{form.lower()}"
    path.write_bytes(fixtures.sound(form, subtype))
    assert np.abs(read_wave(path).samples[0] - np.sin(np.arange(300) / 9) / 2).max() < 1e-6


def test_mixed_rates_and_stereo_are_brought_together_and_it_is_said(tmp_path):
    """A tone of 500 Hz is one of 500 Hz at each rate, and a quarter and a half make three eighths."""
    for i, rate in enumerate((8000, 16_000, 8000, 44_100)):
        tone = np.sin(2 * np.pi * 500 * np.arange(rate // 4) / rate) / 2
        (tmp_path / f"{i}.wav").write_bytes(fixtures.wav(tone, rate))
    stereo = np.stack([np.full(2000, 0.25), np.full(2000, 0.5)], 1)
    (tmp_path / "4.wav").write_bytes(fixtures.wav(stereo))
    data = load(f"waves:{tmp_path}@1024")
    assert data.rate == 8000 and data.kind == "waveform" and data.shape == (1, 1024)
    said = " ".join(data.notes)
    assert "1 clips of several channels are averaged" in said
    assert "2 of 5 clips are resampled to 8,000 Hz" in said and "5 are cut after these" in said
    power = torch.fft.rfft(whole(data)[:, 0]).abs()
    assert sorted(power.argmax(1).tolist()) == [0] + [64] * 4  # 500 Hz of 8000 / 1024 a bin
    (flat,) = whole(data)[power.argmax(1) == 0]
    assert torch.allclose(flat, torch.tensor(0.375))


def test_the_usual_length_holds_three_quarters(tmp_path):
    for i, n in enumerate((100, 200, 300, 5000)):
        (tmp_path / f"{i}.wav").write_bytes(fixtures.wav(np.full(n, 0.5)))
    data = load(f"waves:{tmp_path}")
    assert data.shape == (1, 512) and sorted((whole(data) != 0).sum((1, 2)).tolist()) == [
        100,
        200,
        300,
        512,
    ]
    assert load(f"waves:{tmp_path}@64,4000").rate == 4000


BAD_WAVES = {
    "cut": (fixtures.wav(np.zeros(99))[:-7], r"a.wav: .*promises 99 samples, but 95 follow"),
    "no samples": (fixtures.wav(np.zeros(0)), "a.wav: expected a recording, got 0 samples"),
    "a text": (b"hello", "a.wav: cannot be read as a recording"),
}


@pytest.mark.parametrize("case", BAD_WAVES)
def test_a_bad_recording_gets_one_clear_line(tmp_path, case):
    content, fragment = BAD_WAVES[case]
    for name in "abc":
        (tmp_path / f"{name}.wav").write_bytes(content)
    with pytest.raises(UserError, match=fragment) as caught:
        load(f"waves:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_no_recordings_and_odd_options(tmp_path):
    with pytest.raises(UserError, match="expected at least 3 WAV or FLAC files, found 0"):
        load(f"waves:{tmp_path}")
    with pytest.raises(UserError, match="of 1 to 1,048,576 samples and 100 to 400,000 Hz"):
        load(f"waves:{tmp_path}@0")


# --- tables ---


def table(path, text: str):
    path.write_text(text)
    return path


def rows(n: int, line) -> str:
    return "".join(line(i) + "\n" for i in range(n))


def test_numbers_and_categories_are_told_apart(tmp_path):
    path = table(tmp_path / "people.csv", fixtures.CSV)
    data = load(f"csv:{path}@kind")
    assert (data.kind, data.classes) == ("row", ("a", "b"))
    assert data.columns.names == ("age", "weight", "colour", "unit")
    age, weight, colour, unit = data.columns.members
    assert age.whole and not weight.whole and colour.categories == ("", "blue", "red")
    assert unit.constant == "kg" and unit.width == 0 and data.shape == (5,)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [91, 13, 26]
    assert data.train.x[:, 0].mean().item() == pytest.approx(age.mean)
    assert data.train.x[:, 1].std(correction=0).item() == pytest.approx(weight.std)
    said = " ".join(data.notes)
    assert "left out name: 130 different texts" in said and "unit is kg in every row" in said


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_are_written_back_as_they_were(tmp_path, ending):
    """With missing numbers, missing categories, a constant, large whole numbers and quoted texts."""
    text = "a,b,c,d\n" + rows(
        40, lambda i: f'{"" if i % 4 == 1 else i / 8},{10**9 + i},"{("x, y", "", "z")[i % 3]}",7'
    )
    data = load(f"csv:{table(tmp_path / 'in.csv', text)}")
    write_table(tmp_path / f"out.{ending}", whole(data), data.columns)
    again = load(f"csv:{tmp_path}/out.{ending}")
    assert again.columns.names == ("a", "b", "c", "d")
    first, second = (x[x[:, 2].argsort()] for x in (whole(data), whole(again)))
    assert torch.allclose(first[:, 1:], second[:, 1:], rtol=0, atol=0)
    there = first[:, 1] == 0  # the mean that fills is that of other training rows
    assert torch.equal(first[there], second[there])
    missing = data.columns.cells(whole(data))[0].count(None)
    assert missing == 10 and "10 missing values of a are filled" in " ".join(data.notes)


def test_rows_with_holes_and_rows_with_marks_tell_the_same():
    columns = Columns(
        (
            Column("a", missing=True),
            Column("b", ("", "x", "y")),
            Column("c", constant=3),
            Column("d"),
            Column("e", ("", "7")),
        )
    )
    x = torch.tensor([[1.5, 0, 0, 1, 0, 9, 0, 1], [2.5, 1, 1, 0, 0, 8, 1, 0]])
    holed = columns.holed(x)
    nan = math.nan
    expected = torch.tensor([[1.5, 1, 0, 9, 1], [nan, nan, nan, 8, nan]])
    assert torch.equal(holed.isnan(), expected.isnan()) and holed[0].equal(expected[0])
    assert columns.unmarked.width == holed.shape[1] == columns.unmarked.unmarked.width
    marked = columns.unmarked.marked
    assert marked.marked == marked and marked.unmarked == columns.unmarked
    assert [column.width for column in marked.members] == [2, 3, 0, 2, 2]


def test_generated_rows_are_brought_to_their_columns(tmp_path):
    columns = Columns(
        (
            Column("n", whole=True),
            Column("c", ("", "x")),
            Column("m", missing=True),
            Column("k", constant=3),
        )
    )
    x = torch.tensor([[1.6, 0.2, 0.7, 0.1, 0.2], [-0.2, 0.9, 0.3, 5.0, 0.8]])
    assert columns.cells(x) == [[2, 0], ["x", None], [0.1, None], [3, 3]]
    write_table(tmp_path / "x.csv", x, columns)
    assert (tmp_path / "x.csv").read_text().replace('"', "") == "n,c,m,k\n2,x,0.1,3\n0,,,3\n"
    with pytest.raises(UserError, match="expected a name that ends in .csv or .parquet"):
        write_table(tmp_path / "x.xls", x, columns)
    with pytest.raises(ValueError, match=r"expected rows \(n, 5\)"):
        columns.cells(x[:, :4])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_and_encodings_are_found(tmp_path, separator):
    text = f"größe{separator}b\n" + rows(12, lambda i: f"{i}{separator}{i * i}")
    for encoding in ("utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be"):
        (tmp_path / "x.csv").write_bytes(text.encode(encoding))
        assert load(f"csv:{tmp_path}/x.csv").columns.names == ("größe", "b")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_spreadsheet_s_decimal_commas_are_numbers(tmp_path, separator):
    text = separator.join("abc") + "\n"
    text += rows(12, lambda i: separator.join([f"{i},5", f"-0,{i:02d}", f"1{i % 3}.04.2024"]))
    data = load(f"csv:{table(tmp_path / 'x.csv', text)}")
    assert [column.categories for column in data.columns.members[:2]] == [(), ()]
    assert sorted(whole(data)[:, 0].tolist()) == [i + 0.5 for i in range(12)]


def test_texts_of_which_every_row_has_its_own_are_no_categories(tmp_path):
    """Names, and what looks like a number to a person: said, with one of them."""
    text = "name,amount,share,kind,x\n" + rows(
        60, lambda i: f'row {i},"1,{100 + i}.5",{i / 7:.1f}%,{"ab"[i % 2]},{i}'
    )
    data = load(f"csv:{table(tmp_path / 'x.csv', text)}")
    assert data.columns.names == ("kind", "x")
    said = " ".join(data.notes)
    assert "60 different texts in 60 rows, such as '1,100.5', are not categories" in said
    assert all(f"left out {name}:" in said for name in ("name", "amount", "share"))


BAD_TABLES = {  # what is wrong: (the text, the name's end, a fragment of what we say)
    "no header": (rows(12, lambda i: f"{i},{i}"), "", r"first line holds values \(0, \.\.\.\)"),
    "no header, categories": (
        rows(12, lambda i: f"{i / 7:.2f},,{'ab'[i % 2]},{'true' if i % 3 else 'false'}"),
        "",
        "first line holds values",
    ),
    "no header, commas": (
        rows(12, lambda i: f"{i},5;{'ab'[i % 2]}"),
        "",
        "first line holds values",
    ),
    "one name twice": ("a,a\n" + rows(12, lambda i: f"{i},{i}"), "", "two columns are named 'a'"),
    "too few": ("a\n1\n2\n", "", "expected 10 rows .* found 2 rows"),
    "ragged": (
        "a,b\n" + rows(12, lambda i: "1,2,3" if i == 7 else "1,2"),
        "",
        "Expected 2 columns",
    ),
    "empty": ("", "", "cannot be read as a table"),
    "infinite": (
        "a\n" + rows(12, lambda i: "inf" if i == 3 else f"{i}"),
        "",
        "row 4 of a is infin",
    ),
    "constant": ("a,b\n" + rows(12, lambda i: "1,2"), "", "every column is constant"),
    "no label": ("a,b\n" + rows(12, lambda i: f"{i},2"), "@c", "no column 'c' .* there are a, b"),
    "missing label": (
        "a,b\n" + rows(12, lambda i: f"{i},{'' if i == 5 else i % 2}"),
        "@b",
        "the label b is missing in 1 rows, the first row 6",
    ),
    "real label": (
        "a,b\n" + rows(12, lambda i: f"{i},{i / 7}"),
        "@b",
        "expected 2 to 100 classes in the column b, found 12",
    ),
    "rare class": (
        "a,b\n" + rows(42, lambda i: f"{i},{'x' if i < 20 else 'y' if i < 41 else 'z'}"),
        "@b",
        "the class z has no example to learn from",
    ),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_gets_one_clear_line(tmp_path, case):
    text, end, fragment = BAD_TABLES[case]
    table(tmp_path / "x.csv", text)
    with pytest.raises(UserError, match=fragment) as caught:
        load(f"csv:{tmp_path}/x.csv{end}")
    assert "x.csv" in str(caught.value) and "\n" not in str(caught.value)


# --- arrays ---

RNG = np.random.default_rng(0)
ARRAYS = {  # what is saved: (it, the kind it is, the shape of an example)
    "rows": ({"X": RNG.normal(size=(30, 4)), "y": np.arange(30) % 2}, "row", (4,)),
    "small letters": ({"x": RNG.normal(size=(30, 4))}, "row", (4,)),
    "whole numbers": ({"data": RNG.integers(0, 9, (30, 4))}, "row", (4,)),
    "grey": ({"images": RNG.integers(0, 256, (30, 6, 5), dtype=np.uint8)}, "picture", (1, 6, 5)),
    "channels last": ({"x": RNG.random((30, 6, 5, 3)).astype("f4")}, "picture", (3, 6, 5)),
    "big-endian": ({"x": RNG.random((30, 1, 6, 5)).astype(">f4")}, "picture", (1, 6, 5)),
    "samples": ({"samples": RNG.random((30, 3, 6, 5)).astype("f4")}, "picture", (3, 6, 5)),
    "sounds": ({"x": RNG.uniform(-1, 1, (30, 1, 64))}, "waveform", (1, 64)),
    "volumes": ({"x": RNG.random((30, 1, 4, 4, 4)) < 0.5}, "volume", (1, 4, 4, 4)),
    "one of any name": ({"stuff": RNG.normal(size=(30, 2))}, "row", (2,)),
    "texts for labels": (
        {"x": RNG.normal(size=(30, 2)), "labels": np.array(["b", "a"] * 15)},
        "row",
        (2,),
    ),
    "labels (n, 1)": (
        {"x": RNG.normal(size=(30, 2)), "Y": np.arange(30)[:, None] % 3},
        "row",
        (2,),
    ),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_are_read_by_their_names_and_shapes(tmp_path, case):
    arrays, kind, shape = ARRAYS[case]
    np.savez(tmp_path / "a.npz", **arrays)
    data = load(f"npz:{tmp_path}/a.npz")
    assert (data.kind, data.shape) == (kind, shape)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [21, 3, 6]
    if data.train.labels is not None:
        assert data.train.labels.max() == len(data.classes) - 1
    assert whole(data).double().sum() == pytest.approx(
        float(next(iter(arrays.values())).astype(float).sum())
    )


def test_published_splits_are_kept(tmp_path):
    x = RNG.integers(0, 256, (50, 6, 6), dtype=np.uint8)
    y = np.arange(50) % 5
    np.savez(tmp_path / "a.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    data = load(f"npz:{tmp_path}/a.npz")
    assert sorted(map(tuple, data.test.x.flatten(1).tolist())) == sorted(
        map(tuple, x[40:].reshape(10, -1).tolist())
    )
    assert (len(data.train), len(data.validation)) == (36, 4)


BAD_ARRAYS = {
    "no name": ({"a": np.ones(3), "b": np.ones(3)}, "expected an array x or X"),
    "NaN": ({"x": np.full((9, 2), np.nan)}, "9 of 9 examples hold NaN"),
    "one dimension": ({"x": np.ones(9)}, r"expected rows \(n, d\), pictures .*got .9."),
    "dates": ({"x": np.zeros((9, 2), "M8[s]")}, "expected numbers"),
    "few labels": ({"x": np.eye(9), "y": np.arange(3)}, "a label for each of 9 examples, got"),
    "real labels": ({"x": np.eye(9), "y": np.arange(9) / 2}, "labels of whole numbers or texts"),
    "scaled": ({"x": RNG.normal(size=(9, 3, 4, 4))}, "bytes 0..255, or of floats in"),
    "loud": ({"x": np.full((9, 1, 20), 3.0)}, r"waveforms in \[-1, 1\]"),
    "half full": ({"x": np.full((9, 1, 4, 4, 4), 0.5)}, "volumes of cells 0 and 1"),
    "two": ({"x": np.eye(2)}, "at least 3 examples, found 2"),
    "complex": ({"x": np.ones((9, 2), complex)}, "expected numbers"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_get_one_clear_line(tmp_path, case):
    arrays, fragment = BAD_ARRAYS[case]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=fragment) as caught:
        load(f"npz:{tmp_path}/a.npz")
    assert "a.npz" in str(caught.value) and "\n" not in str(caught.value)


# --- detection tables as people have them ---

X = RNG.normal(size=(50, 3))
Y = np.r_[np.zeros(40), np.ones(10)]


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": X, "y": Y},
        {"X": X, "y": Y[:, None]},
        {"X": X, "Y": Y.astype(bool)},
        {"X": X, "y": np.where(Y == 1, -1, 1)},
        {"X": X.astype("f2"), "y": Y.astype("u1")},
    ],
)
def test_detection_tables_are_read_as_people_save_them(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    data = read_table(tmp_path / "a.npz")
    assert data.test.labels.sum() == 10 and len(data.train) == 16
    found = data.test.x[data.test.labels == 1].sort(0).values
    assert torch.allclose(found, torch.from_numpy(X[40:]).float().sort(0).values, atol=1e-2)
    assert bool(data.notes) == bool((arrays.get("y", Y) < 0).any())


def test_detection_tables_that_cannot_be_understood_say_how(tmp_path):
    lost = X.copy()
    lost[7, 2] = np.nan
    np.savez(tmp_path / "a.npz", X=lost, y=Y)
    with pytest.raises(UserError, match="1 cells of X are missing .* row 7, column 2; leave"):
        read_table(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", X=X, y=np.where(Y == 1, 1, -1))
    with pytest.raises(UserError, match="most are -1, the anomaly of scikit-learn; save y as 0"):
        read_table(tmp_path / "a.npz")


# --- what others lay down ---


def test_torchvision_dotted_and_keras_files_are_read_alike(tmp_path):
    x = RNG.integers(0, 256, (50, 28, 28), dtype=np.uint8)
    y = (np.arange(50) % 10).astype(np.uint8)
    files = {
        "train-images-idx3-ubyte": fixtures.idx(x[:40]),
        "train-labels-idx1-ubyte": fixtures.idx(y[:40]),
        "t10k-images-idx3-ubyte": fixtures.idx(x[40:]),
        "t10k-labels-idx1-ubyte": fixtures.idx(y[40:]),
    }
    for folder in ("a/MNIST/raw", "b/raw", "c", "d", "e/FashionMNIST/raw"):
        (tmp_path / folder).mkdir(parents=True)
        for name, content in files.items():
            name = name.replace("-idx", ".idx") if folder == "c" else name
            if folder != "d":
                (tmp_path / folder / name).write_bytes(content)
    arrays = {"x_train": x[:40], "y_train": y[:40], "x_test": x[40:], "y_test": y[40:]}
    np.savez(tmp_path / "d" / "mnist.npz", **arrays)
    read = [load("mnist", tmp_path / name) for name in "abcd"]
    read.append(load("fashion_mnist", tmp_path / "e"))
    for data in read:
        assert torch.equal(data.train.x, read[0].train.x)
        assert torch.equal(data.test.labels, torch.from_numpy(y[40:]).long())
    np.savez(tmp_path / "d" / "mnist.npz", **(arrays | {"y_train": y[:39]}))
    with pytest.raises(UserError, match="has 40 images, but .*mnist.npz has 39 labels"):
        load("mnist", tmp_path / "d")


# --- Dataset.of ---

PIXELS = RNG.integers(0, 256, (30, 6, 5, 3), dtype=np.uint8)
CLASSES = np.arange(30) % 3


class MapStyle:
    """What PyTorch asks of a data set: a length and an index, no more."""

    def __len__(self):
        return 30

    def __getitem__(self, i):
        if not 0 <= i < 30:
            raise AssertionError("asked beyond its end")
        return torch.from_numpy(PIXELS[i]).permute(2, 0, 1) / 255, int(CLASSES[i])


ITEMS = {
    "an array": lambda: PIXELS,
    "a tensor": lambda: torch.from_numpy(PIXELS).permute(0, 3, 1, 2),
    "arrays and labels": lambda: (PIXELS, CLASSES),
    "a mapping": lambda: {"image": PIXELS, "label": CLASSES},
    "PyTorch": MapStyle,
    "a generator": lambda: ((x, y) for x, y in zip(PIXELS, CLASSES, strict=True)),
    "PIL": lambda: [
        (Image.fromarray(x), torch.tensor(y)) for x, y in zip(PIXELS, CLASSES, strict=True)
    ],
    "dictionaries": lambda: [
        {"image": Image.fromarray(x), "label": int(y)} for x, y in zip(PIXELS, CLASSES, strict=True)
    ],
    "captions": lambda: [(Image.fromarray(x), f"picture {i}") for i, x in enumerate(PIXELS)],
}


@pytest.mark.parametrize("case", ITEMS)
def test_a_data_set_is_made_of_what_one_has(case):
    data = Dataset.of("mine", ITEMS[case]())
    assert data.kind == ("caption" if case == "captions" else "picture")
    assert data.shape == (3, 6, 5) and [len(s) for s in (data.train, data.test)] == [21, 6]
    rest = torch.cat([s.scaled() for s in (data.train, data.validation, data.test)])
    place = {x.tobytes(): i for i, x in enumerate(PIXELS)}
    order = [place[(x * 255).round().byte().permute(1, 2, 0).numpy().tobytes()] for x in rest]
    assert sorted(order) == list(range(30))
    if data.train.labels is not None:
        assert data.train.labels.tolist() == CLASSES[order[:21]].tolist()
        assert data.classes == ("0", "1", "2")
    if data.train.captions:
        assert data.train.captions == tuple(f"picture {i}" for i in order[:21])


def test_other_kinds_and_a_test_part_of_ones_own():
    sound = Dataset.of("s", RNG.uniform(-1, 1, (30, 64)), kind="waveform", rate=8000)
    assert (sound.kind, sound.rate, sound.shape) == ("waveform", 8000, (1, 64))
    table = Dataset.of("t", X, test=X + 100)
    assert (len(table.train), len(table.validation), len(table.test)) == (45, 5, 50)
    assert table.columns.names == ("x1", "x2", "x3") and table.test.x.min() > 50
    named = Dataset.of("n", (X, Y.astype(int)), classes=("good", "bad"))
    assert named.classes == ("good", "bad") and named.kind == "row"
    heard = [{"audio": {"array": x, "sampling_rate": 8000}} for x in RNG.uniform(-1, 1, (9, 50))]
    assert Dataset.of("h", heard, kind="waveform").shape == (1, 50)


BAD_ITEMS = {
    "nothing": (list, {}, "there are no examples"),
    "a number": (lambda: 3, {}, "expected arrays, a data set"),
    "unlike": (lambda: [np.eye(3), np.eye(4)], {}, "example 0 has shape .3, 3., but example 1 .4"),
    "texts": (lambda: ["a", "b"], {}, "example 0: expected numbers"),
    "no value": (lambda: [{"u": 1}] * 3, {}, "expected one of image, .* among its keys, found u"),
    "some labels": (lambda: [{"x": X[0], "y": 1}, {"x": X[0]}], {}, "example 1 has no label, but"),
    "few labels": (lambda: (X, np.arange(3)), {}, "a label for each of 50"),
    "negative": (lambda: (X, np.full(50, -1)), {}, "expected labels 0, 1"),
    "few names": (
        lambda: (X, np.arange(50) % 3),
        {"classes": ("a",)},
        "1 classes, but a label is 2",
    ),
    "NaN": (lambda: X * np.nan, {}, "50 of 50 examples hold NaN"),
    "six": (lambda: np.zeros((3, 1, 1, 1, 1, 1)), {}, "expected rows"),
    "unlike test": (lambda: X, {"test": X[:, :2]}, "the test examples are"),
    "a rare class": (
        lambda: (X[:42], np.arange(42) // 41),
        {},
        "the class 1 has no example to learn",
    ),
    "not a volume": (lambda: X, {"kind": "volume"}, "expected a volume an example"),
}


@pytest.mark.parametrize("case", BAD_ITEMS)
def test_what_does_not_fit_gets_one_clear_line(case):
    make, more, fragment = BAD_ITEMS[case]
    with pytest.raises(UserError, match=fragment) as caught:
        Dataset.of("mine", make(), **more)
    assert "mine" in str(caught.value) and "\n" not in str(caught.value)


# --- extras ---

EXTRAS = {
    "soundfile": ("audio", lambda d: load(f"waves:{d}")),
    "soxr": ("audio", lambda d: load(f"waves:{d}@64,4000")),
    "trimesh": ("voxels", lambda d: load(f"voxels:{d}")),
    "pyarrow": ("tables", lambda d: load(f"csv:{d}/x.csv")),
}


@pytest.mark.parametrize("package", EXTRAS)
def test_a_package_that_is_not_there_is_asked_for(tmp_path, monkeypatch, package):
    for i in range(3):
        (tmp_path / f"{i}.wav").write_bytes(fixtures.wav(np.full(99, 0.1)))
    if package == "soundfile":
        (tmp_path / "a.flac").write_bytes(fixtures.sound("FLAC", "PCM_16"))
    (tmp_path / "a.off").write_text(fixtures.OFF)
    table(tmp_path / "x.csv", fixtures.CSV)
    there = builtins.__import__

    def without(name, *more, **others):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return there(name, *more, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    extra, call = EXTRAS[package]
    with pytest.raises(UserError, match=rf"needs {package}, .*pip install 'gradlogp\[{extra}\]'"):
        call(tmp_path)
