"""Files that ask for what they should not get: petabytes, pickles, pipes that never end."""

import os
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from tests.data import fixtures

from gradlogp.core.errors import UserError, printable
from gradlogp.data import DATASETS, load
from gradlogp.data.adbench import read_table
from gradlogp.data.npz import npz_names, read_npz
from gradlogp.data.picture import fit, read_picture

COLUMN = np.arange(3.0)


def npz(path, **members: bytes):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def npy(shape: str, descr: str = "'<f8'", body: bytes = b"") -> bytes:
    """A .npy with a header of one's own; its sha is right, whatever it says."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


HEADERS = {  # what the header says: (it, a fragment of what we say)
    "petabytes": (
        npy("(1000000000000000,)", body=bytes(24)),
        "promises 1000000000000000 of float64",
    ),
    "more than is there": (npy("(4,)", body=bytes(24)), "promises 4 of float64, 32 bytes"),
    "less than is there": (npy("(2,)", body=bytes(24)), "promises 2 of float64, 16 bytes"),
    "a negative size": (npy("(-3,)", body=bytes(24)), "x: cannot be read|promises|cannot be read"),
    "overflow": (npy(f"({2**62}, 4)", body=bytes(24)), "promises"),
    "objects": (npy("(3,)", "'|O'", b"cos\nsystem\n"), "Python objects, which are never unpickled"),
    "objects within": (npy("(3,)", "[('a', '|O')]", bytes(24)), "Python objects"),
    "code for a shape": (npy("__import__('os').system('true')"), "cannot be read"),
    "another magic": (b"\x93NUMPZ" + npy("(3,)")[6:], "cannot be read"),
    "no header": (b"", "cannot be read"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_is_held_against_what_is_there(tmp_path, case):
    content, fragment = HEADERS[case]
    with pytest.raises(UserError, match=fragment) as caught:
        read_npz(npz(tmp_path / "a.npz", x=content), ["x"])
    assert "a.npz" in str(caught.value) and "\n" not in str(caught.value)


def test_a_bomb_of_zeros_is_not_unpacked(tmp_path, monkeypatch):
    import gradlogp.data.files as files

    monkeypatch.setattr(files, "free_memory", lambda: 10_000_000)
    path = npz(tmp_path / "a.npz", x=npy("(2000000,)", body=bytes(16_000_000)))
    with pytest.raises(UserError, match=r"a.npz: 2000000 of float64 take 0.0 GiB .* are free"):
        read_npz(path, ["x"])


def test_strings_can_be_names_but_never_numbers(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.array([["a"], ["b"]]), y=np.zeros(2))
    assert npz_names(tmp_path / "a.npz") == ["X", "y"]
    with pytest.raises(UserError, match=r"a.npz: expected rows X \(n, d\) of numbers, got .*<U1"):
        read_table(tmp_path / "a.npz")
    with pytest.raises(UserError, match="a.npz: expected numbers"):
        load(f"npz:{tmp_path}/a.npz")


def test_an_array_that_is_not_there_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", b=COLUMN)
    with pytest.raises(UserError, match="a.npz: expected an array x, found b"):
        read_npz(tmp_path / "a.npz", ["x"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_never_waited_for(tmp_path):
    for name in ("x.png", "a.npz", "a.wav", "a.csv"):
        os.mkfifo(tmp_path / name)
    for name in (f"folder:{tmp_path}", f"waves:{tmp_path}", f"voxels:{tmp_path}"):
        with pytest.raises(UserError, match="not a regular file"):
            load(name)
    for name in (f"npz:{tmp_path}/a.npz", f"csv:{tmp_path}/a.csv"):
        with pytest.raises(UserError, match="not a regular file"):
            load(name)
    with pytest.raises(UserError, match=r"cannot read the picture .*x.png: not a regular file"):
        read_picture(tmp_path / "x.png")


def png(width: int, height: int) -> bytes:
    """The start of a PNG of that size: what a decoder sees before it takes memory."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + body + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"


@pytest.mark.parametrize("size", [(170_000_000, 1), (9_001, 9_001), (60_000, 60_000)])
def test_a_picture_of_too_many_pixels_is_not_decoded(tmp_path, size):
    (tmp_path / "x.png").write_bytes(png(*size))
    with pytest.raises(UserError, match=r"cannot read the picture .*x.png: .*pixels|exceeds"):
        read_picture(tmp_path / "x.png")


def test_a_picture_of_floats_is_named(tmp_path):
    Image.new("F", (4, 4)).save(tmp_path / "x.tif")
    with pytest.raises(UserError, match=r"x.tif: a picture of 32-bit floats does not say"):
        read_picture(tmp_path / "x.tif")


def test_odd_pictures_are_read_as_documented(tmp_path):
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    frames[0].save(tmp_path / "animated.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(np.full((4, 4), 257 * 90, np.uint16)).save(tmp_path / "deep.png")
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    turned = Image.new("L", (4, 2), 90)
    turned.putpixel((0, 0), 0)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned.save(tmp_path / "turned.png", exif=exif)
    shown = lambda name, shape: (fit(read_picture(tmp_path / name), shape)[0] * 255).round()
    assert shown("animated.gif", (1, 4, 4)).unique().tolist() == [10]  # its first frame
    assert shown("deep.png", (1, 4, 4)).unique().tolist() == [90]  # scaled, not clipped
    red = shown("print.jpg", (3, 4, 4))[:, 0, 0].tolist()
    assert red[0] > 200 and max(red[1:]) < 60
    assert shown("turned.png", (1, 2, 4))[0, 1, 3] == 0


# --- folders ---


def pictures(folder, n=10, start=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        Image.new("L", (5, 5), start + i).save(folder / f"{i}.png")


def test_a_linked_class_folder_counts_and_a_circle_ends(tmp_path):
    pictures(tmp_path / "elsewhere" / "cats")
    pictures(tmp_path / "mine" / "dogs", start=100)
    (tmp_path / "mine" / "cats").symlink_to(tmp_path / "elsewhere" / "cats")
    (tmp_path / "mine" / "dogs" / "again").symlink_to(tmp_path / "mine" / "dogs")
    data = load(f"folder:{tmp_path}/mine")
    assert data.classes == ("cats", "dogs")
    assert sum(len(part) for part in (data.train, data.validation, data.test)) == 20


def test_names_that_are_no_utf8_are_read_and_printed(tmp_path):
    strange = os.fsencode(tmp_path) + b"/m\xff"
    try:
        os.makedirs(strange + b"/c\xe9")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    pictures(tmp_path / "plain")
    for i in range(10):
        os.replace(tmp_path / "plain" / f"{i}.png", strange + b"/c\xe9/\xfe%d.png" % i)
    data = load("folder:" + os.fsdecode(strange))
    assert data.classes == ("c\\udce9",) and list(data.checksums) == ["m\\udcff"]
    with open(strange + b"/c\xe9/\xfe3.png", "wb") as file:
        file.write(b"no picture")
    with pytest.raises(UserError) as caught:
        load("folder:" + os.fsdecode(strange))
    str(caught.value).encode()  # any terminal takes it
    assert "udcfe3.png" in str(caught.value)


def test_an_error_is_one_line_whatever_a_file_is_called():
    error = str(UserError("bad file a\nb\x1b[31m\udcff.png"))
    assert error == "bad file a b\\x1b[31m\\udcff.png"
    assert printable("grün 🙂") == "grün 🙂"


@pytest.mark.parametrize(("names", "counts"), [
    (("train", "val"), (18, 2, 10)),
    (("train", "test"), (18, 2, 10)),
    (("Training", "valid", "testing"), (20, 10, 10)),
])  # fmt: skip
def test_folders_of_splits_are_splits_and_it_is_said(tmp_path, names, counts):
    for k, name in enumerate(names):
        for c, cls in enumerate(("cat", "dog")):
            pictures(tmp_path / name / cls, 10 if k == 0 else 5, start=100 * c + 20 * k)
    data = load(f"folder:{tmp_path}")
    assert (len(data.train), len(data.validation), len(data.test)) == counts
    assert data.classes == ("cat", "dog") and "subfolders are taken as splits" in data.notes[0]
    level = lambda split: (split.x[:, 0, 0, 0].int() % 100 // 20).unique().tolist()
    assert level(data.train) == [0] and level(data.test) == [len(names) - 1]


def test_a_test_class_that_is_never_learned_is_refused(tmp_path):
    pictures(tmp_path / "train" / "cat")
    pictures(tmp_path / "test" / "dog")
    with pytest.raises(UserError, match="the class dog has no example to learn from"):
        load(f"folder:{tmp_path}")


def test_one_picture_a_class_is_refused(tmp_path):
    for i in range(12):
        pictures(tmp_path / f"class{i}", 1, start=i)
    with pytest.raises(UserError, match=r"the class class\d+ has no example to learn from; each"):
        load(f"folder:{tmp_path}")


def test_black_pictures_are_refused_in_one_line(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}").mkdir()
    pictures(tmp_path / "black", 0)
    for i in range(5):
        Image.new("RGB", (4, 4)).save(tmp_path / "black" / f"{i}.png")
    with pytest.raises(UserError, match=r"every value of every example is 0 .*nothing to learn"):
        load(f"folder:{tmp_path}/black")


@pytest.mark.parametrize("size", [100_000, 10_000_000])
def test_memory_is_estimated_before_it_is_taken(tmp_path, size):
    pictures(tmp_path)
    with pytest.raises(UserError, match=rf"10 pictures of {size}x{size} take .* GiB of memory"):
        load(f"folder:{tmp_path}@{size}")


# --- suggestions ---


def test_a_path_for_a_name_is_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "icons")
    (tmp_path / "sounds" / "deep").mkdir(parents=True)
    (tmp_path / "sounds" / "deep" / "a.wav").write_bytes(fixtures.wav(COLUMN / 9))
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "a.off").write_text(fixtures.OFF)
    (tmp_path / "people.csv").write_text(fixtures.CSV)
    (tmp_path / "people.csv.gz").write_bytes(b"")
    np.savez("x.npz", x=COLUMN)
    meant = {
        "icons": "folder",
        "sounds": "waves",
        "shapes": "voxels",
        "people.csv": "csv",
        "x.npz": "npz",
        "./icons": "folder",
        "people.csv.gz": "csv",
    }
    for name, kind in meant.items():
        with pytest.raises(UserError, match=f"unknown data set .* did you mean '{kind}:{name}'"):
            load(name)


def test_nothing_is_said_beside_the_error(tmp_path):
    (tmp_path / "x.png").write_bytes(png(170_000_000, 1))
    with warnings.catch_warnings(), pytest.raises(UserError):
        warnings.simplefilter("error")
        read_picture(tmp_path / "x.png")


def test_an_encrypted_archive_is_no_traceback(tmp_path):
    path = npz(tmp_path / "a.npz", x=npy("(3,)", body=bytes(24)))
    raw = bytearray(path.read_bytes())
    raw[6] |= 1  # the flag of the member
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1  # and in the directory
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"a.npz: cannot be read as .npz .*encrypted"):
        read_npz(path, ["x"])


@pytest.mark.parametrize("name", ["digits", "laws"])
def test_what_a_name_does_not_take_is_not_ignored(name):
    with pytest.raises(UserError, match=f"expected {name} alone, there is only one; got {name}:x"):
        load(f"{name}:x")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (PermissionError(13, "Permission denied", "/x/a.bin"), "cannot read /x/a.bin: Permission"),
        (OSError("gone"), "cannot read its files: gone"),
        (MemoryError(), "does not fit in memory"),
    ],
)
def test_what_a_disk_or_a_memory_refuses_is_said_of_every_reader(monkeypatch, raised, said):
    def reader(which, root, progress):
        raise raised

    for name in DATASETS:
        monkeypatch.setitem(DATASETS, name, reader)
        with pytest.raises(UserError, match=f"{name}: .*{said}"):
            load(name)
