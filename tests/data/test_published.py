"""The published sets: read exactly from tiny files of their layout, and each thing that can be
wrong with them is said in one line.
"""

import hashlib
import io
import os
import tarfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data import fixtures
from tests.data.test_fetch import left_in, server  # noqa: F401

from gradlogp.core.errors import UserError
from gradlogp.data import DATASETS, download, load
from gradlogp.data.captioned_digits import COUNTS, Scene, Thing, held_out
from gradlogp.data.cifar10 import CIFAR10, Cifar10

DATA = Path(os.environ.get("GRADLOGP_DATA") or "/nowhere")
published = pytest.mark.skipif(not DATA.is_dir(), reason="GRADLOGP_DATA is no such folder")


@pytest.fixture(autouse=True)
def no_data_of_ones_own(monkeypatch, tmp_path):
    monkeypatch.delenv("GRADLOGP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def parts(data):
    return [len(part) for part in (data.train, data.validation, data.test)]


# --- CIFAR-10 ---


def test_cifar10_is_read_record_by_record(tmp_path):
    fixtures.cifar10(tmp_path)
    data = load("cifar10", tmp_path)
    raw = np.frombuffer(fixtures.records(4, 6), np.uint8).reshape(4, 3073)
    assert data.test.labels.tolist() == raw[:, 0].tolist()
    pixels = data.test.x.numpy()
    assert (pixels == raw[:, 1:].reshape(4, 3, 32, 32)).all()
    assert pixels[1, 2, 3, 5] == raw[1, 1 + 2 * 1024 + 3 * 32 + 5]  # blue, row 3, column 5
    assert (parts(data), data.shape, data.kind) == ([18, 2, 4], (3, 32, 32), "picture")
    both = torch.cat([data.train.x, data.validation.x]).flatten(1).tolist()
    every = [np.frombuffer(fixtures.records(4, i), np.uint8) for i in range(1, 6)]
    assert sorted(both) == sorted(np.concatenate(every).reshape(20, 3073)[:, 1:].tolist())


def test_cifar10_may_lie_in_the_folder_itself_or_in_one_of_its_name(tmp_path):
    place = fixtures.cifar10(tmp_path / "cifar10")
    one, other = load("cifar10", place), load("cifar10", tmp_path)
    assert torch.equal(one.train.x, other.train.x) and one.checksums == other.checksums


def test_pickles_are_refused_and_the_binary_release_is_named(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"cos\nsystem\n")
    with pytest.raises(UserError, match=r"pickles.*never loaded.*cifar-10-binary.tar.gz"):
        load("cifar10", tmp_path)
    with pytest.raises(UserError, match=r"pickles.*cifar-10-binary.tar.gz"):
        load("cifar10", tmp_path / "cifar-10-batches-py")


def cut(place):
    (place / "data_batch_3.bin").write_bytes(fixtures.records(4)[:-1])


def relabelled(place):
    (place / "data_batch_3.bin").write_bytes(b"\x0a" + fixtures.records(1)[1:])


BAD_CIFAR = {  # what is wrong: (what is done to the folder, a fragment of what we say)
    "cut": (cut, "data_batch_3.bin: expected records of 3,073 bytes, got 12,291"),
    "empty": (lambda p: (p / "test_batch.bin").write_bytes(b""), "test_batch.bin: expected rec"),
    "label": (relabelled, r"data_batch_3.bin: expected labels 0\.\.9 before each picture, got 10"),
    "missing": (
        lambda p: (p / "data_batch_2.bin").unlink(),
        "cifar10: data_batch_2.bin not found in .*cifar-10-batches-bin, where the rest is",
    ),
    "none": (lambda p: [f.unlink() for f in p.iterdir()], "run `gradlogp data cifar10 --data"),
}


@pytest.mark.parametrize("case", BAD_CIFAR)
def test_a_bad_cifar10_gets_one_clear_line(tmp_path, case):
    spoil, fragment = BAD_CIFAR[case]
    spoil(fixtures.cifar10(tmp_path))
    with pytest.raises(UserError, match=fragment) as caught:
        load("cifar10", tmp_path)
    assert "\n" not in str(caught.value)


def archive() -> bytes:
    """The published archive, with more in it than is wanted."""
    packed = io.BytesIO()
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin", "../../evil.bin"]
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for i, name in enumerate(names, 1):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(fixtures.records(4, i))
            tar.addfile(info, io.BytesIO(fixtures.records(4, i)))
    return packed.getvalue()


def test_cifar10_is_downloaded_once_and_only_its_files_are_unpacked(server, monkeypatch, tmp_path):  # noqa: F811
    packed = archive()
    server.files = {"cifar-10-binary.tar.gz": packed}
    small = Cifar10((server.url,), hashlib.sha256(packed).hexdigest())
    monkeypatch.setitem(DATASETS, "cifar10", small)
    server.cut = 3000
    with pytest.raises(UserError, match="cut after 3,000 of"):
        load("cifar10")
    server.cut = None
    first, second = load("cifar10"), load("cifar10")
    assert server.asked == [None, "bytes=3000-"] and torch.equal(first.train.x, second.train.x)
    cache = tmp_path / "cache" / "gradlogp"
    assert left_in(cache) == ["cifar-10-batches-bin", "cifar-10-binary.tar.gz"]
    assert len(left_in(cache / "cifar-10-batches-bin")) == 6 and not list(tmp_path.rglob("evil*"))
    assert download("cifar10", tmp_path / "mine") == tmp_path / "mine" / "cifar-10-batches-bin"


@pytest.mark.data
@published
def test_the_published_cifar10():
    data = load("cifar10", DATA)
    assert parts(data) == [45_000, 5_000, 10_000]
    counts = data.train.labels.bincount() + data.validation.labels.bincount()
    assert counts.tolist() == [5000] * 10 and data.test.labels.bincount().tolist() == [1000] * 10
    x = torch.cat([data.train.x, data.validation.x]).float().div(255)
    means = x.mean((0, 2, 3)).tolist()
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)  # as everybody quotes them
    assert CIFAR10.says


# --- CelebA ---


def test_celeba_is_cropped_and_mapped_and_its_splits_are_as_published(tmp_path):
    fixtures.celeba(tmp_path / "celeba")
    data = load("celeba@32", tmp_path)
    assert (parts(data), data.shape) == ([8, 1, 1], (3, 32, 32))
    # the middle 140x140 of picture i is of grey level 20 i, white lies around it
    assert (data.train.x.float().mean((1, 2, 3)) / 20).round().tolist() == list(range(8))
    assert data.train.x[:, :, 1:-1, 1:-1].float().std((1, 2, 3)).max() < 2
    assert data.train.labels.tolist() == [1, 0] * 4 and data.classes == ("not smiling", "smiling")
    assert load("celeba:Male@32", tmp_path).train.labels.tolist() == [1] * 8
    assert load("celeba", tmp_path).shape == (3, 64, 64)


def test_celeba_is_decoded_once_and_again_when_a_picture_changes(tmp_path, monkeypatch):
    folder, said = fixtures.celeba(tmp_path), []
    first = load("celeba@32", tmp_path, lambda *told: said.append(told))
    reader = import_module("gradlogp.data.celeba")
    with monkeypatch.context() as patch:
        patch.setattr(reader, "read_picture", lambda path: pytest.fail("decodes again"))
        again = load("celeba@32", tmp_path)
    assert torch.equal(first.train.x, again.train.x) and first.checksums == again.checksums
    Image.new("RGB", (178, 218)).save(folder / "img_align_celeba" / "000003.jpg")
    assert load("celeba@32", tmp_path).train.x[2].max() == 0


def no_picture(folder):
    (folder / "img_align_celeba" / "000005.jpg").unlink()


def half_a_picture(folder):
    path = folder / "img_align_celeba" / "000005.jpg"
    path.write_bytes(path.read_bytes()[:300])


def small_picture(folder):
    Image.new("RGB", (100, 100)).save(folder / "img_align_celeba" / "000005.jpg")


def short_list(folder):
    (folder / "list_attr_celeba.txt").write_text(fixtures.attributes(8))


def escape(folder):
    (folder / "list_eval_partition.txt").write_text("../../x.jpg 0\n")


BAD_CELEBA = {  # what is wrong: (what is done to the folder, the name, a fragment of what we say)
    "no partition": (
        lambda f: (f / "list_eval_partition.txt").unlink(),
        "celeba",
        "celeba: list_eval_partition.txt not found in",
    ),
    "no picture": (no_picture, "celeba", "cannot read the picture .*000005.jpg: No such file"),
    "half a picture": (half_a_picture, "celeba", "000005.jpg: not a whole image file"),
    "a small picture": (small_picture, "celeba", "000005.jpg: expected an aligned face, 140x140"),
    "a short list": (short_list, "celeba", "000009.jpg of list_eval_partition.txt is not listed"),
    "an unknown attribute": (
        lambda f: None,
        "celeba:Happy",
        "no attribute 'Happy' .* there are Smiling, Male",
    ),
    "another size": (lambda f: None, "celeba@48", "expected a size of 64 or 32"),
    "a path for a name": (escape, "celeba", "line 1: expected a file and 0, 1 or 2, got '../../x"),
}


@pytest.mark.parametrize("case", BAD_CELEBA)
def test_a_bad_celeba_gets_one_clear_line_and_leaves_nothing(tmp_path, case):
    spoil, name, fragment = BAD_CELEBA[case]
    spoil(fixtures.celeba(tmp_path / "celeba"))
    with pytest.raises(UserError, match=fragment) as caught:
        load(name, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.bytes*"))


# --- ModelNet10 ---


def test_modelnet10_drops_what_is_empty_or_there_before(tmp_path):
    arrays = fixtures.modelnet()
    np.savez(tmp_path / "modelnet10_vox30.npz", **arrays)
    data = load("modelnet10", tmp_path)
    assert (parts(data), data.shape, data.kind) == ([10, 1, 11], (1, 32, 32, 32), "volume")
    assert data.train.scaled().unique().tolist() == [0, 1]
    (note,) = data.notes
    assert "dropped 1 empty grids, 0 training grids" in note and "and 1 test grids" in note
    grids = np.unpackbits(arrays["test_vox"], axis=1)[:, : 30**3].reshape(-1, 30, 30, 30)
    kept = {grid.tobytes() for grid in np.pad(grids[1:], ((0, 0), (1, 1), (1, 1), (1, 1)))}
    assert {grid.numpy().tobytes() for grid in data.test.x} == kept


def test_modelnet10_at_16_has_the_fullest_of_each_block_and_can_be_of_one_class(tmp_path):
    np.savez(tmp_path / "modelnet10_vox30.npz", **fixtures.modelnet())
    fine, coarse = load("modelnet10", tmp_path), load("modelnet10@16", tmp_path)
    assert coarse.shape == (1, 16, 16, 16)
    pooled = torch.nn.functional.max_pool3d(fine.test.x.float(), 2).byte()
    assert {g.numpy().tobytes() for g in coarse.test.x} <= {g.numpy().tobytes() for g in pooled}
    chairs = load("modelnet10:chair@16", tmp_path)
    assert chairs.train.labels is None and 0 < len(chairs.train) < len(coarse.train)
    assert chairs.name == "modelnet10:chair@16"


BAD_MODELNET = {
    "another size": ("modelnet10@24", {}, "expected modelnet10@16 or modelnet10@32, got a size of"),
    "unknown class": ("modelnet10:cat", {}, "no class 'cat'; there are bed, chair"),
    "short grids": ("modelnet10", {"train_vox": np.zeros((12, 9), np.uint8)}, "train_vox of bytes"),
    "fewer labels": (
        "modelnet10",
        {"test_labels": np.zeros(3, np.uint8)},
        "a whole label for each",
    ),
    "other labels": ("modelnet10", {"test_labels": np.full(12, 9)}, r"test_labels 0\.\.1"),
    "names": ("modelnet10", {"class_names": np.zeros(2)}, "expected names of classes"),
}


@pytest.mark.parametrize("case", BAD_MODELNET)
def test_a_bad_modelnet10_gets_one_clear_line(tmp_path, case):
    name, changes, fragment = BAD_MODELNET[case]
    np.savez(tmp_path / "modelnet10_vox30.npz", **(fixtures.modelnet() | changes))
    with pytest.raises(UserError, match=fragment) as caught:
        load(name, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.data
@published
def test_the_published_modelnet10():
    data = load("modelnet10@16", DATA)
    assert sum(parts(data)) == 4899 - 8 - 306 - 124 and len(data.classes) == 10
    train = {grid.numpy().tobytes() for grid in torch.cat([data.train.x, data.validation.x])}
    assert len(train) == len(data.train) + len(data.validation)
    assert not train & {grid.numpy().tobytes() for grid in data.test.x}
    assert torch.cat([data.train.x, data.test.x]).flatten(1).any(1).all()


# --- FSDD ---


@pytest.fixture
def digits_spoken(tmp_path):
    """Two digits by two speakers, eleven times each: a constant that tells who, what and when."""
    folder = tmp_path / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    for digit in (0, 7):
        for s, speaker in enumerate(("george", "theo")):
            for i in range(11):
                level = (digit * 100 + s * 50 + i + 1) / 1024
                samples = np.full(3000 + 300 * i, level)
                (folder / f"{digit}_{speaker}_{i}.wav").write_bytes(fixtures.wav(samples))
    return tmp_path


def who(split):
    """(digit, speaker, index) of each clip."""
    code = (split.x[:, 0, 0] * 1024).round().int() - 1
    return {(int(c) // 100, int(c) % 100 // 50, int(c) % 50) for c in code}


def test_fsdd_is_split_as_its_authors_do(digits_spoken):
    data = load("fsdd", digits_spoken)
    assert (data.kind, data.rate, data.shape) == ("waveform", 8000, (1, 4096))
    assert parts(data) == [4, 20, 20]
    every = [(d, s) for d in (0, 7) for s in (0, 1)]
    assert who(data.test) == {(d, s, i) for d, s in every for i in range(5)}
    assert who(data.validation) == {(d, s, i) for d, s in every for i in range(5, 10)}
    assert who(data.train) == {(d, s, 10) for d, s in every}
    level = (data.test.x[:, 0, 0] * 1024).round().int() - 1
    assert (data.test.labels == level // 100).all()


def test_fsdd_leaves_a_speaker_out(digits_spoken):
    data = load("fsdd:theo", digits_spoken)
    assert {s for _, s, _ in who(data.test)} == {1} and len(data.test) == 22
    assert {s for _, s, _ in who(data.train) | who(data.validation)} == {0}
    assert data.name == "fsdd:theo" and load("fsdd:theo@100", digits_spoken).shape == (1, 100)


def test_fsdd_pads_with_silence_and_says_how(digits_spoken):
    data = load("fsdd", digits_spoken)
    lengths = (data.test.x[:, 0] != 0).sum(1)
    assert set(lengths.tolist()) == {3000 + 300 * i for i in range(4)} | {4096}
    (note,) = data.notes
    assert "4,096 samples (0.51 s) a clip: 28 are cut after these, 16 have silence behind" in note


def test_a_bad_fsdd_gets_one_clear_line(digits_spoken, tmp_path):
    with pytest.raises(UserError, match="no speaker 'anna' .* there are george, theo"):
        load("fsdd:anna", digits_spoken)
    with pytest.raises(UserError, match=r"no recordings DIGIT_SPEAKER_INDEX.wav found"):
        load("fsdd", tmp_path / "cache")
    path = digits_spoken / "fsdd" / "recordings" / "7_theo_3.wav"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"7_theo_3.wav: .*promises 3,900 samples, but 3,850"):
        load("fsdd", digits_spoken)


@pytest.mark.data
@published
def test_the_published_fsdd():
    data = load("fsdd", DATA)
    assert parts(data) == [2400, 300, 300]
    assert data.test.labels.bincount().tolist() == [30] * 10
    assert parts(load("fsdd:theo", DATA)) == [2250, 250, 500]


# --- emoji ---


def test_emoji_have_captions_and_black_shows_through(tmp_path):
    (tmp_path / "emoji.jsonl").write_bytes(fixtures.emoji_lines(20))
    rgba = fixtures.emoji_pictures(20)
    np.savez(tmp_path / "emoji32_google.npz", images=rgba)
    data = load("emoji", tmp_path)
    assert (parts(data), data.kind, data.shape) == ([14, 2, 4], "caption", (3, 32, 32))
    for split in (data.train, data.validation, data.test):
        for x, caption, label in zip(split.x, split.captions, split.labels, strict=True):
            i = int(caption.removeprefix("face "))
            shown = rgba[i, ..., :3] * (rgba[i, ..., 3:] / 255)
            assert np.abs(x.permute(1, 2, 0).numpy() - shown).max() <= 0.51
            assert data.classes[label] == ("Smileys", "Flags")[i % 2]
    with pytest.raises(UserError, match=r"emoji32_twitter.npz not found"):
        load("emoji:twitter", tmp_path)
    np.savez(tmp_path / "emoji32_google.npz", images=rgba[:19])
    with pytest.raises(UserError, match=r"expected images \(20, 32, 32, 4\).*got uint8 \(19"):
        load("emoji", tmp_path)


def test_an_emoji_and_its_skin_tones_are_in_one_split(tmp_path):
    lines = fixtures.emoji_lines(30).decode().splitlines()
    toned = [line.replace('"1F6', '"1F3FB-1F6') for line in lines]
    (tmp_path / "emoji.jsonl").write_text("\n".join(lines + toned))
    for style in ("google", "twitter"):
        np.savez(tmp_path / f"emoji32_{style}.npz", images=fixtures.emoji_pictures(60))
    data = load("emoji:both", tmp_path)
    names = [set(part.captions) for part in (data.train, data.validation, data.test)]
    assert sum(map(len, names)) == len(set.union(*names)) == 30
    assert all(part.captions.count("face 3") in (0, 4) for part in (data.train, data.test))


@pytest.mark.data
@published
def test_the_published_emoji():
    data = load("emoji", DATA)
    assert sum(parts(data)) == 3786 and len(data.classes) == 10
    assert not set(data.train.captions) & set(data.test.captions)


# --- captioned digits ---


def test_fifteen_percent_of_the_combinations_are_held_out():
    assert len(held_out()) == 24 and len({digit for digit, _, _ in held_out()}) > 5
    for k in range(3):  # nothing is held out altogether
        seen = [c[k] for c in held_out()]
        assert max(map(seen.count, seen)) < 160 / (10, 4, 4)[k]


def test_captions_are_read_back():
    scene = Scene(Thing(3, "red"), "left of", Thing(7, "green"))
    assert str(scene) == "a red three left of a green seven" and Scene.of(str(scene)) == scene
    assert str(scene.swapped()) == "a green three left of a red seven"
    assert list(map(str, scene.rebound())) == [
        "a green three left of a red seven",
        "a green seven left of a red three",
        "a red seven left of a green three",
    ]
    assert scene.combinations == ((3, "red", "left"), (7, "green", "right"))
    for other in ("a red three", "a red three left of a pink seven", "three above four"):
        with pytest.raises(ValueError, match="expected"):
            Scene.of(other)


@pytest.fixture
def fewer(monkeypatch):
    for part, n in {"train": 300, "validation": 40, "test": 80}.items():
        monkeypatch.setitem(COUNTS, part, n)


def test_what_is_held_out_is_never_trained_on_and_half_of_the_test(fewer):
    data = load("captioned_digits")
    assert (data.name, data.kind, data.shape) == (
        "captioned_digits:digits",
        "caption",
        (3, 32, 32),
    )
    for split in (data.train, data.validation):
        assert not any(Scene.of(caption).held_out for caption in split.captions)
    assert sum(Scene.of(caption).held_out for caption in data.test.captions) == 40
    assert torch.equal(data.train.x, load("captioned_digits").train.x)


def test_the_picture_is_what_the_caption_says(fewer):
    colours = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
    data = load("captioned_digits")
    for x, caption, label in zip(data.test.x, data.test.captions, data.test.labels, strict=True):
        scene = Scene.of(caption)
        assert scene.first.digit == label
        halves = x.split(16, 2) if scene.relation == "left of" else x.split(16, 1)
        for half, thing in zip(halves, (scene.first, scene.second), strict=True):
            strongest = half.flatten(1).float().sum(1)
            bright = (strongest > strongest.max() / 2).int().tolist()
            assert bright == list(colours[thing.colour])


@pytest.mark.data
@published
def test_captioned_digits_are_mnists_where_they_are(fewer):
    assert load("captioned_digits", DATA).name == "captioned_digits:mnist"
    assert load("captioned_digits:digits", DATA).name == "captioned_digits:digits"
    with pytest.raises(UserError, match="expected captioned_digits:mnist or"):
        load("captioned_digits:emoji", DATA)
