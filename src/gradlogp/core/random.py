"""Randomness is an argument: one stream for a batch in training, one stream for each block of
samples in sampling.

A torch.Generator hands out numbers in the order in which they are asked for, so image 17 of a batch
of 64 is not image 17 of a batch of 100. `Streams` gives every block of consecutive samples a stream
of its own, seeded by (seed, block): sample i sees the same noise whatever the batch that it is
drawn in.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Generator, Tensor

T = TypeVar("T")
BLOCK = 20  # samples per stream: the batch boundaries that cost nothing are multiples of it


def seeded(*words: int | str, device: torch.device | str = "cpu") -> Generator:
    """A generator whose stream is decided by `words`, e.g. seeded(seed, "chains", 3)."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def from_seed(seed: int, build: Callable[[], T]) -> T:
    """What `build` makes, such as a network, with torch's global generator at `seed`; that is left
    as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


# What a run of seed s draws apart from its training: each purpose has a stream of its own. The
# offsets are those that the measured pages were made with.
PURPOSES = {
    "samples": 1,
    "noise": 2,
    "restoration": 3,
    "films": 4,
    "snapshots": 5,
    "chains from data": 6,
    "health": 6,
    "posterior": 3,
    "one posterior sample": 4,
    "calibration": 5,
}


def seed_for(purpose: str, seed: int) -> int:
    """The seed of one purpose of a run, by its name in PURPOSES."""
    return seed + PURPOSES[purpose]


@dataclass
class Streams:
    """Noise for the samples `start ... start + count - 1` of the run of seed `seed`.

    Every tensor filled must have `count` rows: one for each sample.
    """

    seed: int
    start: int
    count: int
    device: torch.device | str = "cpu"
    generators: dict[int, Generator] = field(default_factory=dict)

    def _rows(self) -> list[tuple[int, slice, slice]]:
        """(block, rows of the batch, rows of the block) for every block that the batch touches."""
        stop = self.start + self.count
        rows = []
        for block in range(self.start // BLOCK, -(-stop // BLOCK)):
            first = max(self.start, block * BLOCK)
            last = min(stop, (block + 1) * BLOCK)
            rows.append(
                (
                    block,
                    slice(first - self.start, last - self.start),
                    slice(first - block * BLOCK, last - block * BLOCK),
                )
            )
        return rows

    def fill(self, out: Tensor, distribution: str) -> Tensor:
        if len(out) != self.count:
            raise ValueError(
                f"these streams serve {self.count} samples, but `out` has {len(out)} rows; "
                "make the streams with count=len(out)."
            )
        for block, rows, inside in self._rows():
            generator = self.generators.get(block) or seeded(self.seed, block, device=self.device)
            self.generators[block] = generator
            drawn = out.new_empty(BLOCK, *out.shape[1:])
            out[rows] = getattr(drawn, distribution)(generator=generator)[inside]
        return out


@dataclass
class Masked:
    """The randomness of `generator` with its normal draws set to 0 where `mask` is False: noise
    that leaves x alone there.

    mask (bool, True = free) broadcasts to whatever normal noise is drawn; uniform draws (accept
    tests) are passed through. With a `MaskedField` field any sampler, Metropolis or not, discrete
    ones too, then samples the exact conditional law of what is free.
    """

    generator: "Randomness"
    mask: Tensor

    def fill(self, out: Tensor, distribution: str) -> Tensor:
        fill(out, self.generator, distribution)
        return out.mul_(self.mask) if distribution == "normal_" else out


@dataclass
class Repeated:
    """The randomness of `generator` for `copies` replicas of its samples, one replica after the
    other along the batch.
    """

    generator: "Randomness"
    copies: int

    def fill(self, out: Tensor, distribution: str) -> Tensor:
        for replica in out.chunk(self.copies):
            fill(replica, self.generator, distribution)
        return out


@dataclass(frozen=True)
class Rows:
    """The randomness of a batch of `total` examples for `count` of them, from `first` on.

    Every draw is made for the whole batch and its rows taken: an example sees the same noise
    wherever the batch is cut. `together` gives the rows of all parts, [total, ...], from those of
    this one.
    """

    generator: Generator
    first: int
    count: int
    total: int
    together: Callable[[Tensor], Tensor]

    def fill(self, out: Tensor, distribution: str) -> Tensor:
        if len(out) != self.count:
            raise ValueError(
                f"these rows serve {self.count} of {self.total} examples, but `out` has"
                f" {len(out)}; draw one row for each example."
            )
        whole = fill(self._whole(out), self.generator, distribution)
        return out.copy_(self.of(whole))

    def of(self, whole: Tensor) -> Tensor:
        return whole[self.first : self.first + self.count]

    def _whole(self, out: Tensor) -> Tensor:
        """Memory for all rows, in the order of `out`: numbers are drawn in the order of memory."""
        last = out.ndim == 4 and not out.is_contiguous()
        layout = torch.channels_last if last else torch.contiguous_format
        shape = (self.total, *out.shape[1:])
        return torch.empty(shape, dtype=out.dtype, device=out.device, memory_format=layout)


Randomness: TypeAlias = Generator | Streams | Masked | Repeated | Rows


def fill(out: Tensor, generator: Randomness, distribution: str) -> Tensor:
    """Fill `out` in place with draws from the distribution of that name of torch.Tensor."""
    if isinstance(generator, Generator):
        return getattr(out, distribution)(generator=generator)
    return check_generator(generator).fill(out, distribution)


def check_generator(generator: Any) -> Any:
    """The generator as it is; ValueError where it is none: chance is never drawn from a global
    state.
    """
    if not isinstance(generator, Generator) and not hasattr(generator, "fill"):
        raise ValueError(
            f"expected a torch.Generator or Streams, got {generator!r}; seeded(0) of"
            " gradlogp.core.random makes one."
        )
    return generator


def whole(n: int, generator: Any) -> int:
    """How many examples the batch has of which n are drawn for."""
    return generator.total if isinstance(generator, Rows) else n


def distinct(n: int, among: int, generator: Any, device: torch.device | str = "cpu") -> Tensor:
    """n different numbers out of 0 ... among - 1, in random order, [n]; different from those of the
    other parts of the batch, too.
    """
    if isinstance(generator, Rows):
        numbers = torch.randperm(among, generator=generator.generator, device=device)
        return generator.of(numbers)
    return torch.randperm(among, generator=check_generator(generator), device=device)[:n]


def together(x: Tensor, generator: Any) -> Tensor:
    """The rows of the whole batch, [B, ...], of which x are those drawn for here."""
    return generator.together(x) if isinstance(generator, Rows) else x


def normal_(out: Tensor, generator: Randomness) -> Tensor:
    """Fill `out` in place with draws from N(0, 1)."""
    return fill(out, generator, "normal_")


def uniform_(out: Tensor, generator: Randomness) -> Tensor:
    """Fill `out` in place with draws from U(0, 1)."""
    return fill(out, generator, "uniform_")
