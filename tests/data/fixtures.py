"""Tiny files in the published formats, written from the formats' descriptions."""

import io
import json
import struct
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 30


def idx(x: np.ndarray) -> bytes:
    """Magic number, sizes (big-endian), bytes."""
    return bytes([0, 0, 8, x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape) + x.tobytes()


def records(n: int, seed: int = 0) -> bytes:
    """CIFAR-10's: a label and 3072 bytes each."""
    values = np.random.default_rng(seed).integers(0, 256, (n, 3073), dtype=np.uint8)
    values[:, 0] = np.arange(n) % 10
    return values.tobytes()


def cifar10(folder: Path, n: int = 4) -> Path:
    place = folder / "cifar-10-batches-bin"
    place.mkdir(parents=True)
    for i in range(1, 6):
        (place / f"data_batch_{i}.bin").write_bytes(records(n, i))
    (place / "test_batch.bin").write_bytes(records(n, 6))
    return place


def wav(samples: np.ndarray, rate: int = 8000, width: int = 2) -> bytes:
    """PCM of samples (length,) or (length, channels) in [-1, 1)."""
    frames = samples if samples.ndim == 2 else samples[:, None]
    numbers = (frames * 2.0 ** (8 * width - 1)).round().astype(np.int64)
    numbers = numbers + 128 if width == 1 else numbers
    raw = numbers.astype("<i8").reshape(-1, 1).view(np.uint8)[:, :width].tobytes()
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(frames.shape[1])
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(raw)
    return file.getvalue()


def sound(form: str, subtype: str, rate: int = 8000, n: int = 300) -> bytes:
    import soundfile

    file = io.BytesIO()
    samples = np.sin(np.arange(n) / 9) / 2
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


_rng = np.random.default_rng(0)
CSV = "age,weight,kind,colour,name,unit\n" + "".join(
    f"{20 + i % 50},{_rng.normal(70, 9):.2f},{'ab'[i % 2]},{('red', 'blue', '')[i % 3]},n{i},kg\n"
    for i in range(130)
)


def parquet() -> bytes:
    import pyarrow
    from pyarrow import parquet

    file = io.BytesIO()
    columns = {"a": np.arange(40.0) ** 2, "b": [("x", "y", None)[i % 3] for i in range(40)]}
    parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


def ball(side: int) -> np.ndarray:
    """A ball of voxels, uint8 (side, side, side)."""
    axis = np.arange(side) - (side - 1) / 2
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return (x**2 + y**2 + z**2 <= (side / 3) ** 2).astype(np.uint8)


def binvox(grid: np.ndarray) -> bytes:
    """Of a grid (x, y, z): runs of up to 255, with y running fastest, then z, then x."""
    flat = grid.transpose(0, 2, 1).reshape(-1)
    starts = np.r_[0, np.flatnonzero(np.diff(flat)) + 1, len(flat)]
    runs = bytearray()
    for a, b in pairwise(starts):
        length = int(b - a)
        while length:
            runs += bytes([int(flat[a]), min(length, 255)])
            length -= min(length, 255)
    x, y, z = grid.shape
    header = f"#binvox 1\ndim {x} {z} {y}\ntranslate 0 0 0\nscale 1\ndata\n"
    return header.encode() + bytes(runs)


CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 4)]
FACES = [
    (0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
    (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3),
]  # fmt: skip
OFF = "OFF\n8 12 0\n" + "".join(
    [f"{x} {y} {z}\n" for x, y, z in CORNERS] + [f"3 {a} {b} {c}\n" for a, b, c in FACES]
)


def stl() -> bytes:
    """A box of 1 x 2 x 4, binary: 80 bytes, the count, then normal, corners and two bytes each."""
    faces = [np.array([CORNERS[i] for i in face], "<f4") for face in FACES]
    body = b"".join(bytes(12) + face.tobytes() + bytes(2) for face in faces)
    return bytes(80) + struct.pack("<I", len(faces)) + body


def emoji_lines(n: int) -> bytes:
    lines = [
        {
            "unified": f"{0x1F600 + i:X}",
            "category": ("Smileys", "Flags")[i % 2],
            "caption": f"face {i}",
            "skin_tone": None,
        }
        for i in range(n)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def emoji_pictures(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 32, 32, 4), dtype=np.uint8)


def modelnet(n: int = 12) -> dict[str, np.ndarray]:
    """Packed grids of two classes: distinct boxes, the last of train empty, the first of test one
    of train.
    """
    grids = np.zeros((2 * n, SIDE, SIDE, SIDE), np.uint8)
    for i in range(2 * n - 1):
        grids[i, 2 : 4 + i, 3:20, 5 : 9 + i] = 1
    grids[[n - 1, 2 * n - 1]] = grids[[2 * n - 1, n - 1]]
    grids[n] = grids[0]
    packed = np.packbits(grids.reshape(2 * n, -1), axis=1)
    labels = (np.arange(n) % 2).astype(np.uint8)
    return {
        "train_vox": packed[:n],
        "train_labels": labels,
        "test_vox": packed[n:],
        "test_labels": labels,
        "class_names": np.array(["bed", "chair"]),
        "grid": np.array([SIDE] * 3, np.int32),
    }


def attributes(n: int) -> str:
    lines = [f"{i + 1:06}.jpg {'-1' if i % 2 else ' 1'}  1" for i in range(n)]
    return f"{n}\nSmiling Male\n" + "\n".join(lines) + "\n"


def partition(n: int) -> str:
    parts = [2 if i == n - 1 else 1 if i == n - 2 else 0 for i in range(n)]
    return "".join(f"{i + 1:06}.jpg {part}\n" for i, part in enumerate(parts))


def celeba(folder: Path, n: int = 10) -> Path:
    """`n` pictures of 178x218, grey level 20 i in the middle 140x140 and white around."""
    (folder / "img_align_celeba").mkdir(parents=True, exist_ok=True)
    for i in range(n):
        face = Image.new("RGB", (178, 218), "white")
        face.paste((20 * i, 20 * i, 20 * i), (19, 39, 159, 179))
        face.save(folder / "img_align_celeba" / f"{i + 1:06}.jpg", quality=95)
    (folder / "list_attr_celeba.txt").write_text(attributes(n))
    (folder / "list_eval_partition.txt").write_text(partition(n))
    return folder
