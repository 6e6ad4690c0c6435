"""Emoji and their names: 3,786 small pictures with a caption each, of Unicode's Emoji 16.

    DIR/emoji/emoji.jsonl   emoji32_google.npz   emoji32_twitter.npz

Line i of emoji.jsonl names picture i of each style's `images` (n, 32, 32, 4), RGBA; black shows
through. An emoji and its variants of skin tone lie in one split, so no picture of the test part is
a training picture in another shade. The classes are Unicode's ten categories.

Source: iamcal/emoji-data 16.0.0, MIT; pictures of Google (Noto), Apache 2.0, and of Twitter
(Twemoji), CC BY 4.0.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.data.base import Dataset, Progress, Split, require_classes, shuffled, stratified_split
from gradlogp.data.files import cache_folder, data_folder, joined, require_file, sha256
from gradlogp.data.npz import read_npz

NAMES = "emoji.jsonl"
STYLES = ("google", "twitter")
TONES = ("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF")  # of skin, as code points


def emoji(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """3,786 captioned emoji, RGB, 32x32, drawn by Google; emoji:twitter or emoji:both for others.

    Cut 7 : 1 : 2 by emoji, stratified by category. Raises UserError for files that are missing or
    do not fit together.
    """
    styles = STYLES if which == "both" else (which or STYLES[0],)
    if not set(styles) <= set(STYLES):
        raise UserError(f"expected emoji:google, emoji:twitter or emoji:both, got emoji:{which}.")
    files = [NAMES, *(f"emoji32_{style}.npz" for style in styles)]
    folder = _find(data_folder(root) or cache_folder(), files)
    lines = _lines(folder / NAMES)
    pictures = [_pictures(folder / name, len(lines)) for name in files[1:]]
    categories = tuple(sorted({line["category"] for line in lines}))
    labels = torch.tensor([categories.index(line["category"]) for line in lines])
    captions = tuple(line["caption"] for line in lines)
    parts = _by_emoji([line["unified"] for line in lines], labels)
    train, validation, test = (
        Split(
            torch.cat([x[part] for x in pictures]),
            labels[part].repeat(len(styles)),
            captions=tuple(captions[i] for i in part.tolist()) * len(styles),
        )
        for part in parts
    )
    require_classes(folder, categories, train, validation, test)
    return Dataset(
        joined("emoji", which, ""),
        train,
        validation,
        test,
        categories,
        {name: sha256(folder / name) for name in files},
        kind="caption",
    )


def _find(root: Path, files: list[str]) -> Path:
    for place in (root / "emoji", root):
        if all((place / name).is_file() for name in files):
            return place
    raise UserError(f"emoji: {', '.join(files)} not found in {root / 'emoji'} or {root}.")


def _lines(path: Path) -> list[dict[str, str]]:
    require_file(path)
    lines = []
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            line = json.loads(text)
            lines.append({key: str(line[key]) for key in ("unified", "category", "caption")})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path}, line {number}: expected a JSON object with unified, category and caption"
                f" ({type(error).__name__}); fetch it anew."
            ) from error
    if len(lines) < 10:
        raise UserError(f"{path}: expected at least 10 emoji, found {len(lines)}.")
    return lines


def _pictures(path: Path, n: int) -> Tensor:
    """uint8 (n, 3, 32, 32), black behind what is transparent."""
    rgba = read_npz(path, ["images"])["images"]
    if rgba.dtype != np.uint8 or rgba.shape != (n, 32, 32, 4):
        raise UserError(
            f"{path}: expected images ({n}, 32, 32, 4) of bytes, as many as {NAMES} has lines, got"
            f" {rgba.dtype} {rgba.shape}."
        )
    share = rgba[..., 3:].astype(np.float32) / 255
    rgb = (rgba[..., :3] * share).round().astype(np.uint8)
    return torch.from_numpy(rgb.transpose(0, 3, 1, 2).copy())


def _by_emoji(codes: list[str], labels: Tensor) -> list[Tensor]:
    """The indices of the three splits: an emoji goes with its variants of skin tone."""
    bases = ["-".join(p for p in c.split("-") if p not in TONES and p != "FE0F") for c in codes]
    first = {base: i for i, base in reversed(list(enumerate(bases)))}
    heads = torch.tensor(sorted(first.values()))
    parts = []
    for part in stratified_split(Split(heads, labels[heads])):
        members = {bases[i] for i in part.x.tolist()}
        found = torch.tensor([i for i, base in enumerate(bases) if base in members])
        parts.append(found[shuffled(len(found))])
    return parts
