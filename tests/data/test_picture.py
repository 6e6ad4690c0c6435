"""Pictures: fitted so that nothing is lost or bent, and written so that they are read back the
same.
"""

import numpy as np
import pytest
import torch
from PIL import Image

from gradlogp.core.errors import UserError
from gradlogp.data import fit, read_picture, save_grid, save_picture
from gradlogp.data.picture import label_rows, refuse_sheet


def grey(rows) -> Image.Image:
    return Image.fromarray(np.array(rows, dtype=np.uint8))


HOW = [  # (mode, size, shape, what is said)
    ("RGBA", (200, 120), (1, 28, 28), "200x120 RGBA -> grey, resized to 28x17, padded to 28x28"),
    ("L", (28, 28), (1, 28, 28), "28x28 grey -> as it is"),
    ("1", (8, 8), (1, 8, 8), "8x8 1 -> grey"),
    ("L", (28, 28), (3, 32, 32), "28x28 grey -> RGB, resized to 32x32"),
    ("P", (10, 40), (3, 20, 20), "10x40 P -> RGB, resized to 5x20, padded to 20x20"),
    ("CMYK", (32, 32), (3, 32, 32), "32x32 CMYK -> RGB"),
    ("I;16", (8, 8), (1, 8, 8), "8x8 I;16 -> grey"),
    ("LA", (1000, 1), (1, 8, 8), "1000x1 LA -> grey, resized to 8x1, padded to 8x8"),
]


@pytest.mark.parametrize(("mode", "size", "shape", "said"), HOW)
def test_any_picture_fits_any_shape_and_says_how(mode, size, shape, said):
    x, how = fit(Image.new(mode, size), shape)
    assert how == said
    assert x.shape == shape and x.dtype == torch.float32 and 0 <= x.min() <= x.max() <= 1


def test_a_picture_of_the_right_shape_is_not_touched():
    rows = np.random.default_rng(0).integers(0, 256, (28, 28))
    assert torch.equal(fit(grey(rows), (1, 28, 28))[0][0], torch.from_numpy(rows).float() / 255)


def test_the_whole_picture_stays_in_proportion_in_the_middle():
    """A white 40x20 box on a black 80x40 picture becomes a 14x7 box on 28x14, with 7 rows of
    padding each side.
    """
    rows = np.zeros((40, 80))
    rows[10:30, 20:60] = 255
    x = fit(grey(rows), (1, 28, 28))[0][0]
    assert x.sum().item() == pytest.approx(14 * 7, rel=0.02)
    where = torch.arange(28.0)
    assert (x.sum(0) @ where / x.sum()).item() == pytest.approx(13.5, abs=0.01)
    assert (x.sum(1) @ where / x.sum()).item() == pytest.approx(13.5, abs=0.01)


def test_shrinking_is_antialiased():
    stripes = np.tile([0, 255], (64, 32))
    assert fit(grey(stripes), (1, 8, 8))[0].sub(0.5).abs().max() < 0.05


def test_padding_has_the_colour_of_the_border():
    rows = np.full((4, 8), 200)
    rows[1:3, 2:5] = 0
    rows[0, 0] = 3  # one odd pixel does not change a median
    x = fit(grey(rows), (1, 8, 8))[0][0]
    assert (x[:2] * 255).unique().tolist() == (x[6:] * 255).unique().tolist() == [200]
    colour = Image.new("RGB", (2, 4), (10, 20, 30))
    assert (fit(colour, (3, 4, 4))[0][:, 0, 0] * 255).tolist() == [10, 20, 30]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_black_shows_through_what_is_transparent(mode):
    clear = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    clear.putpixel((1, 1), (255, 255, 255, 255))
    x, _ = fit(clear.convert(mode) if mode != "P" else clear.quantize(4), (1, 4, 4))
    assert x.sum() == x[0, 1, 1] == 1


def test_half_transparent_white_is_half_grey():
    assert fit(Image.new("RGBA", (1, 1), (255, 255, 255, 51)), (1, 1, 1))[
        0
    ].item() == pytest.approx(0.2)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    Image.fromarray(np.array([[0, 0x8080, 0xFFFF]], dtype=np.uint16)).save(tmp_path / "x.png")
    assert (fit(read_picture(tmp_path / "x.png"), (1, 1, 3))[0] * 255).flatten().tolist() == [
        0,
        128,
        255,
    ]


def test_a_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter by the camera
    Image.new("RGB", (40, 20)).save(tmp_path / "x.jpg", exif=exif)
    assert read_picture(tmp_path / "x.jpg").size == (20, 40)


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 5, 7)])
def test_a_saved_picture_is_read_back(tmp_path, shape):
    x = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)) / 255
    save_picture(tmp_path / "new" / "x.png", x)
    assert torch.equal(fit(read_picture(tmp_path / "new" / "x.png"), shape)[0], x)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.png"]


def test_a_grid_holds_each_image_in_its_place(tmp_path):
    x = torch.arange(5).view(5, 1, 1, 1).expand(5, 1, 4, 3) / 10
    save_grid(tmp_path / "x.png", x, columns=2, scale=2)
    sheet = np.asarray(read_picture(tmp_path / "x.png")) / 255
    assert sheet.shape == (3 * 8 + 2 * 2, 2 * 6 + 2)
    for i in range(5):
        top, left = i // 2 * 10, i % 2 * 8
        assert np.allclose(sheet[top : top + 8, left : left + 6], i / 10, atol=1 / 510)


@pytest.mark.parametrize("scale", [None, 1], ids=["magnified", "pixel for pixel"])
@pytest.mark.parametrize(("n", "columns"), [(10, 10), (7, 3), (3, 1), (2, 2)])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 24), (1, 96, 96)])
def test_a_sheet_of_several_is_not_taken_for_one_of_them(tmp_path, shape, n, columns, scale):
    save_grid(path := tmp_path / "x.png", torch.rand(n, *shape), columns, scale)
    size = f"{shape[2]}x{shape[1]}"
    says = rf"x.png: a sheet of {-(-n // columns)} x {columns} pictures of {size}, not one of them"
    with pytest.raises(UserError, match=says):
        refuse_sheet(path, read_picture(path), shape)


@pytest.mark.parametrize("size", [(28, 28), (56, 56), (58, 28), (118, 58), (560, 278)])
def test_a_picture_of_any_size_is_no_sheet(tmp_path, size):
    """Not by its size alone, and one picture in a sheet of its own is that picture."""
    picture = Image.fromarray(np.random.RandomState(0).randint(90, 97, size, np.uint8))
    refuse_sheet(tmp_path / "x.png", picture, (1, 28, 28))
    save_grid(path := tmp_path / "one.png", torch.rand(1, 1, 28, 28))
    refuse_sheet(path, read_picture(path), (1, 28, 28))


def test_a_picture_on_a_ground_of_the_lines_grey_is_no_sheet(tmp_path):
    ground = np.full((58, 58), 96, np.uint8)
    refuse_sheet(tmp_path / "x.png", grey(ground), (1, 28, 28))
    ground[4:12, 4:12] = 255
    refuse_sheet(tmp_path / "x.png", grey(ground), (1, 28, 28))


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_of_a_sheet_are_named_at_their_left(tmp_path, channels):
    """The sheet itself is as it was; each name stands beside its own rows, in black on white."""
    path = tmp_path / "x.png"
    save_grid(path, torch.rand(12, channels, 16, 16), columns=3)
    sheet = np.asarray(read_picture(path).convert("L")).astype(int)
    label_rows(path, ["score", "what is seen"])
    found = np.asarray(read_picture(path).convert("L")).astype(int)
    room = found.shape[1] - sheet.shape[1]
    assert room > 40 and (found[:, room:] == sheet).all()
    dark = (found[:, :room] < 128).any(1).nonzero()[0]
    height = sheet.shape[0] / 2
    for i in (0, 1):
        rows = dark[(dark >= i * height) & (dark < (i + 1) * height)]
        assert len(rows) > 4 and abs(rows.mean() - (i + 0.5) * height) < 6


def test_a_grid_is_nearly_square_and_survives_values_that_are_not_colours(tmp_path):
    x = torch.tensor([float("nan"), -1.0, 2.0, float("inf")]).view(4, 1, 1, 1).expand(4, 3, 32, 32)
    save_grid(tmp_path / "x.png", x)
    sheet = read_picture(tmp_path / "x.png")
    assert sheet.size == (2 * 64 + 2,) * 2 and sheet.mode == "RGB"
    assert [sheet.getpixel(at)[0] for at in ((0, 0), (70, 0), (0, 70))] == [0, 0, 255]


BAD_PICTURES = {  # what is wrong: (a call in a folder, a fragment of what we say)
    "no such file": (
        lambda d: read_picture(d / "no.png"),
        "cannot read the picture .*no.png: No such file",
    ),
    "a folder": (lambda d: read_picture(d), "cannot read the picture .*: Is a directory"),
    "two channels": (lambda d: fit(Image.new("L", (2, 2)), (2, 2, 2)), "this model takes 2"),
    "floats": (lambda d: fit(Image.new("F", (2, 2)), (1, 2, 2)), "which value is white"),
    "not .png": (lambda d: save_grid(d / "x.jpg", torch.zeros(1, 1, 2, 2)), "ends in .png"),
    "voxels": (
        lambda d: save_grid(d / "x.png", torch.zeros(1, 1, 2, 2, 2)),
        r"got \[1, 1, 2, 2, 2\]",
    ),
    "no images": (lambda d: save_grid(d / "x.png", torch.zeros(0, 1, 2, 2)), r"got \[0, 1, 2, 2\]"),
    "in a file": (
        lambda d: save_picture(d / "file" / "x.png", torch.zeros(1, 2, 2)),
        "cannot make the folder .*file: a file has that name",
    ),
}


@pytest.mark.parametrize("case", BAD_PICTURES)
def test_a_bad_picture_gets_one_clear_line(tmp_path, case):
    call, fragment = BAD_PICTURES[case]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=fragment) as caught:
        call(tmp_path)
    assert "\n" not in str(caught.value)
