"""A folder of one's own images."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from gradlogp.core.errors import UserError
from gradlogp.data import load


def picture(
    path, value: int | tuple[int, int, int] = 90, size: tuple[int, int] = (6, 4), mode: str = "L"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def all_of(data):
    return torch.cat([data.train.x, data.validation.x, data.test.x])


def test_subfolders_are_classes_and_the_splits_are_fair(tmp_path):
    for i in range(30):
        picture(tmp_path / ("cat" if i % 3 else "dog") / "deeper" / f"{i:02}.png", value=i)
    data = load(f"folder:{tmp_path}")
    assert data.classes == ("cat", "dog") and data.shape == (1, 4, 6)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [21, 3, 6]
    assert data.test.labels.bincount().tolist() == [4, 2]
    assert sorted(all_of(data)[:, 0, 0, 0].tolist()) == list(range(30))
    assert all(
        int(y) == (int(x[0, 0, 0]) % 3 == 0)
        for x, y in zip(data.train.x, data.train.labels, strict=True)
    )
    again = load("folder", tmp_path)
    assert torch.equal(again.train.x, data.train.x) and again.checksums == data.checksums
    assert data.name == again.name == f"folder:{tmp_path}"  # by which `load` finds it again


def test_no_subfolders_no_labels_and_what_is_no_image_is_left_alone(tmp_path):
    for i, name in enumerate(("a.png", "b.JPG", "c.webp", "d.bmp", "e.gif")):
        picture(tmp_path / name, value=90 + i)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._a.png").write_text("what some systems leave behind")
    data = load(f"folder:{tmp_path}")
    assert data.train.labels is None and data.classes == () and len(all_of(data)) == 5


def test_grey_is_grey_whatever_the_file_says_and_one_colour_makes_all_rgb(tmp_path):
    for i in range(4):
        picture(tmp_path / f"{i}.png", value=(i, i, i), mode="RGB")
    assert load(f"folder:{tmp_path}").shape == (1, 4, 6)
    picture(tmp_path / "4.png", value=(1, 2, 3), mode="RGB")
    data = load(f"folder:{tmp_path}")
    assert data.shape == (3, 4, 6)
    assert [1, 2, 3] in all_of(data)[:, :, 0, 0].tolist()


def test_with_a_size_unlike_pictures_are_fitted(tmp_path):
    for i, size in enumerate([(6, 4), (40, 80), (8, 8), (7, 7)]):
        picture(tmp_path / f"{i}.png", value=90 + i, size=size)
    data = load(f"folder:{tmp_path}@8")
    assert data.shape == (1, 8, 8) and all_of(data).unique().tolist() == [90, 91, 92, 93]


def test_the_checksum_is_that_of_the_listing(tmp_path):
    names = [f"{place}/{i}.png" for place in "ab" for i in (1, 2, 3)]
    sums = []
    for i, name in enumerate(names):
        picture(tmp_path / "mine" / name, value=i)
        sums.append(hashlib.sha256((tmp_path / "mine" / name).read_bytes()).hexdigest())
    listing = "".join(f"{one}  {name}\n" for one, name in zip(sums, names, strict=True))
    assert load(f"folder:{tmp_path}/mine").checksums == {
        "mine": hashlib.sha256(listing.encode()).hexdigest()
    }


def test_a_folder_may_have_an_at_sign_in_its_name(tmp_path):
    for i in range(4):
        picture(tmp_path / "me@32" / f"{i}.png", value=i)
    assert load(f"folder:{tmp_path}/me@32").shape == (1, 4, 6)
    assert load(f"folder:{tmp_path}/me@32@5").shape == (1, 5, 5)


def unlike(folder):
    picture(folder / "3.png", size=(7, 4))


def not_an_image(folder):
    (folder / "3.png").write_text("hello")


def half_an_image(folder):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50), dtype=np.uint8)).save(
        folder / "3.png"
    )
    whole = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(whole[: len(whole) // 2])


def an_empty_class(folder):
    for i in range(3):
        (folder / "cat").mkdir(exist_ok=True)
        (folder / f"{i}.png").rename(folder / "cat" / f"{i}.png")
    (folder / "dog").mkdir()


def two_only(folder):
    (folder / "2.png").unlink()


# what is wrong: (what is done to a folder of three images, the name's end, a fragment of what we
# say)
BAD_FOLDERS = {
    "unlike sizes": (unlike, "", r"0.png is 6x4, but .*3.png is 7x4: .*@SIZE"),
    "not an image": (not_an_image, "", "cannot read the picture .*3.png: not a whole image file"),
    "half an image": (
        half_an_image,
        "@8",
        "cannot read the picture .*3.png: not a whole image file",
    ),
    "an empty class": (an_empty_class, "", "class folder dog holds no images"),
    "too few": (two_only, "", "at least 3 images .*found 2"),
    "loose among classes": (
        lambda f: picture(f / "cat" / "3.png"),
        "",
        "0.png does not: move it into one",
    ),
    "no such folder": (lambda f: None, "/nowhere", "got .*nowhere"),
    "a file": (lambda f: None, "/0.png", "expected folder:PATH"),
    "size 0": (lambda f: None, "@0", "expected folder:PATH"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_a_bad_folder_gets_one_clear_line(tmp_path, case):
    spoil, end, fragment = BAD_FOLDERS[case]
    for i in range(3):
        picture(tmp_path / "mine" / f"{i}.png")
    spoil(tmp_path / "mine")
    with pytest.raises(UserError, match=fragment) as caught:
        load(f"folder:{tmp_path}/mine{end}")
    assert "\n" not in str(caught.value)


def test_a_folder_must_be_named():
    with pytest.raises(UserError, match=r"expected folder:PATH .* got no path"):
        load("folder")
