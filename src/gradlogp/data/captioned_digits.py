"""Two coloured digits and a sentence about them: "a red three left of a green seven".

    picture = first at its place + second at the other place,  digit x colour x place each

The digits are MNIST's where its files are, else the embedded ones (the data set's name says which).
There are 10 x 4 x 4 combinations of digit, colour and place (left, right, above, below). 15 % of
them are held out: training and validation never show one, and one half of the test pictures have
one first, so that a model is tested on what it can only have composed. `left of` and `above` name
places in one direction only, so a picture has one true caption.

Protocol after Du, Li and Mordatch (2020), Compositional Visual Generation with Energy Based Models,
arXiv 2004.06030.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gradlogp.core.errors import UserError
from gradlogp.core.random import seeded
from gradlogp.data.base import Dataset, Progress, Split, shuffled
from gradlogp.data.digits import digits
from gradlogp.data.files import data_folder
from gradlogp.data.idx import MNIST

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = {
    "red": (255, 60, 60),
    "green": (60, 220, 60),
    "blue": (80, 110, 255),
    "yellow": (240, 220, 50),
}
RELATIONS = {"left of": ("left", "right"), "above": ("above", "below")}
PLACES = ("left", "right", "above", "below")
COUNTS = {"train": 20_000, "validation": 2_000, "test": 4_000}
HELD_OUT = 0.15
SIDE, GLYPH, JITTER = 32, 14, 3


@dataclass(frozen=True)
class Thing:
    """A digit in a colour."""

    digit: int
    colour: str

    def __str__(self) -> str:
        return f"a {self.colour} {WORDS[self.digit]}"


@dataclass(frozen=True)
class Scene:
    """What a caption says: two things, and how the first lies to the second."""

    first: Thing
    relation: str
    second: Thing

    def __str__(self) -> str:
        return f"{self.first} {self.relation} {self.second}"

    @classmethod
    def of(cls, caption: str) -> "Scene":
        """The scene of a caption. Raises ValueError for any other sentence."""
        for relation in RELATIONS:
            first, found, second = caption.partition(f" {relation} ")
            if found:
                return cls(_thing(first), relation, _thing(second))
        raise ValueError(f'expected "a red three left of a green seven" or alike, got {caption!r}.')

    @property
    def combinations(self) -> tuple[tuple[int, str, str], tuple[int, str, str]]:
        """(digit, colour, place) of both."""
        here, there = RELATIONS[self.relation]
        first, second = self.first, self.second
        return (first.digit, first.colour, here), (second.digit, second.colour, there)

    @property
    def held_out(self) -> bool:
        """Whether training shows this combination of digit, colour and place nowhere."""
        return any(combination in held_out() for combination in self.combinations)

    def swapped(self) -> "Scene":
        """The same with the colours changed round: a caption that only reading apart tells from
        the true one.
        """
        first = Thing(self.first.digit, self.second.colour)
        return Scene(first, self.relation, Thing(self.second.digit, self.first.colour))

    def rebound(self) -> tuple["Scene", "Scene", "Scene"]:
        """What else the same words say: with the colours changed round, with the things, and with
        both, which is with the digits.
        """
        turned = Scene(self.second, self.relation, self.first)
        return self.swapped(), turned, turned.swapped()


@cache
def held_out() -> frozenset[tuple[int, str, str]]:
    """The 15 % of the combinations (digit, colour, place) that are only tested; always the same."""
    every = list(product(range(10), COLOURS, PLACES))
    chosen = shuffled(len(every))[: round(HELD_OUT * len(every))]
    return frozenset(every[i] for i in chosen.tolist())


def captioned_digits(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """Two coloured digits, RGB, 32x32, and a sentence about them; 15 % of what it may say is held
    out.

    captioned_digits:mnist and captioned_digits:digits say whose digits; without, MNIST's if they
    are in `root` or GRADLOGP_DATA. 20,000 train, 2,000 validation, 4,000 test; classes are the
    first digit's. The same files give the same pictures, always.
    """
    source, said = _source(which, root, progress)
    train, validation, test = (_split(part, getattr(source, part), n) for part, n in COUNTS.items())
    return Dataset(
        f"captioned_digits:{source.name}",
        train,
        validation,
        test,
        WORDS,
        source.checksums,
        kind="caption",
        notes=(f"captioned_digits: {said}",),
    )


def _source(which: str, root: str | Path | None, progress: Progress | None) -> tuple[Dataset, str]:
    if which not in ("", "mnist", "digits"):
        raise UserError(
            f"expected captioned_digits:mnist or captioned_digits:digits, got {which!r}."
        )
    folder = data_folder(root)
    if which == "mnist" or (not which and folder and MNIST.found(folder)):
        return MNIST("", root, progress), "composed of the digits of MNIST."
    return digits(), "composed of the embedded 8x8 digits, enlarged."


def _split(part: str, source: Split, n: int) -> Split:
    """`n` scenes with the digits of one split of `source`."""
    assert source.labels is not None  # both sources have them
    glyphs = _glyphs(source)
    of_digit = [glyphs[source.labels == digit].numpy() for digit in range(10)]
    allowed = [scene for scene in _scenes() if not scene.held_out]
    novel = [scene for scene in _scenes() if scene.combinations[0] in held_out()]
    scenes = []
    x = np.zeros((n, 3, SIDE, SIDE), np.uint8)
    chances = torch.rand(n, 7, generator=seeded("captioned_digits", part)).tolist()
    for i, (which, *rest) in enumerate(chances):
        scene = _pick(novel if part == "test" and i % 2 else allowed, which)
        for k, thing in enumerate((scene.first, scene.second)):
            glyph, along, across = rest[3 * k : 3 * k + 3]
            ink = _pick(of_digit[thing.digit], glyph)
            _paint(x[i], ink, thing.colour, *_corner(scene.relation, k, along, across))
        scenes.append(scene)
    labels = torch.tensor([scene.first.digit for scene in scenes])
    return Split(torch.from_numpy(x), labels, captions=tuple(map(str, scenes)))


def _pick(members: Any, chance: float) -> Any:
    """One of them, each as likely, by a number in [0, 1)."""
    return members[int(chance * len(members))]


def _corner(relation: str, k: int, along: float, across: float) -> tuple[int, int]:
    """(top, left) of thing k: within its half, a little out of the middle; chances in [0, 1)."""
    first = SIDE // 2 * k + int(along * (SIDE // 2 - GLYPH + 1))
    second = (SIDE - GLYPH) // 2 - JITTER + int(across * (2 * JITTER + 1))
    return (second, first) if relation == "left of" else (first, second)


def _paint(canvas: np.ndarray, ink: np.ndarray, colour: str, top: int, left: int) -> None:
    """A digit's `ink` (14, 14) in [0, 1] onto `canvas` uint8 (3, 32, 32)."""
    patch = ink * np.array(COLOURS[colour])[:, None, None]
    canvas[:, top : top + GLYPH, left : left + GLYPH] = patch.round()


@cache
def _scenes() -> tuple[Scene, ...]:
    things = [Thing(digit, colour) for digit, colour in product(range(10), COLOURS)]
    return tuple(Scene(a, relation, b) for a, relation, b in product(things, RELATIONS, things))


def _glyphs(source: Split) -> Tensor:
    """float32 (n, 14, 14) in [0, 1]."""
    x = source.scaled()
    return F.interpolate(x, size=(GLYPH, GLYPH), mode="bilinear", antialias=True)[:, 0].clamp(0, 1)


def _thing(words: str) -> Thing:
    parts = words.split(" ")
    if len(parts) != 3 or parts[0] != "a" or parts[1] not in COLOURS or parts[2] not in WORDS:
        raise ValueError(f"expected a colour and a digit, as in 'a red three', got {words!r}.")
    return Thing(WORDS.index(parts[2]), parts[1])
