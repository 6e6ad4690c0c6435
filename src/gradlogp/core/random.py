"""Randomness is an argument: one stream for a batch in training, one stream for each block of samples in sampling.

A torch.Generator hands out numbers in the order in which they are asked for, so image 17 of a batch of 64 is not image 17
of a batch of 100. `Streams` gives every block of consecutive samples a stream of its own, seeded by (seed, block): sample i
sees the same noise whatever the batch that it is drawn in.
"""

import hashlib
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Generator, Tensor

BLOCK = 20  # samples per stream: the batch boundaries that cost nothing are multiples of it


def seeded(*words: int | str, device: torch.device | str = "cpu") -> Generator:
    """A generator whose stream is decided by `words`, e.g. seeded(seed, "chains", 3)."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


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
            first, last = max(self.start, block * BLOCK), min(stop, (block + 1) * BLOCK)
            rows.append((block, slice(first - self.start, last - self.start),
                         slice(first - block * BLOCK, last - block * BLOCK)))
        return rows

    def fill(self, out: Tensor, law: str) -> Tensor:
        if len(out) != self.count:
            raise ValueError(f"these streams serve {self.count} samples, but `out` has {len(out)} rows; "
                             "make the streams with count=len(out).")
        for block, rows, inside in self._rows():
            generator = self.generators.get(block) or seeded(self.seed, block, device=self.device)
            self.generators[block] = generator
            drawn = out.new_empty(BLOCK, *out.shape[1:])
            out[rows] = getattr(drawn, law)(generator=generator)[inside]
        return out


Randomness: TypeAlias = Generator | Streams


def normal_(out: Tensor, generator: Randomness) -> Tensor:
    """Fill `out` in place with draws from N(0, 1)."""
    return generator.fill(out, "normal_") if isinstance(generator, Streams) else out.normal_(generator=generator)


def uniform_(out: Tensor, generator: Randomness) -> Tensor:
    """Fill `out` in place with draws from U(0, 1)."""
    return generator.fill(out, "uniform_") if isinstance(generator, Streams) else out.uniform_(generator=generator)
