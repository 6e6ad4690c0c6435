"""Generate: follow a field from noise to samples.

Sample i of seed s is decided by (s, i): it is the same whatever the batch that it is drawn in, and
however many are drawn.

Reference: Salmon et al. (2011), Parallel Random Numbers: As Easy as 1, 2, 3 (streams that a counter
decides).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

import torch
from torch import Tensor

from gradlogp.core.algebra import Composed
from gradlogp.core.fields import NoisyField
from gradlogp.core.kernel import FieldT, Sampler, run
from gradlogp.core.progress import Listener, Silent
from gradlogp.core.random import Randomness, Streams

Prior = Callable[[Tensor, Randomness], Tensor]  # fills a tensor [B, *shape] in place
Given = Callable[[Tensor, Tensor, Randomness], Tensor]  # the same where the second is True


@dataclass(frozen=True)
class Sampling(Generic[FieldT]):
    """A way to draw: the field for a condition, where chains begin, the sampler and its number of
    steps.

    `finish` maps the end of a chain to data space, e.g. [-1, 1] to [0, 1]. `cost` is the network
    evaluations of one step. `given` is where chains begin that complete an example; None: as all do.
    """

    field: Callable[[Tensor | None], FieldT]
    sampler: Sampler[FieldT, Any]
    prior: Prior
    steps: int
    shape: Sequence[int]
    finish: Callable[[Tensor], Tensor] = lambda x: x
    device: torch.device | str = "cpu"
    cost: int = 1
    given: Given | None = None


def tempered(how: Sampling[Any], temperature: float) -> Sampling[Any]:
    """The same walk on p^(1/T): the energy over T. With noise levels, the score of each is divided
    by T, which is right as they fall to 0 only (`core.algebra.Composed`).
    """

    def field(cond: Tensor | None) -> Any:
        plain = how.field(cond)
        if isinstance(plain, NoisyField):
            return Composed((plain,), (1 / temperature,))
        return plain / temperature

    return how if temperature == 1 else replace(how, field=field)


def generate(
    how: Sampling[FieldT],
    n: int,
    seed: int,
    cond: Tensor | None = None,
    batch: int = 100,
    steps: int | None = None,
    listener: Listener | None = None,
    start: int = 0,
) -> Tensor:
    """Samples of a seed, the same whatever the batch, from noise by any sampler.

    Those of index `start` to `start` + n - 1, [n, *shape] on the CPU; cond [n] where the model is
    conditional.
    """
    listener = listener or Silent()
    steps, parts = how.steps if steps is None else steps, []
    listener.begin("sample", n * steps)
    for first in range(0, n, batch):
        count = min(batch, n - first)
        streams = Streams(seed, start + first, count, how.device)
        x = how.prior(torch.empty(count, *how.shape, device=how.device), streams)
        some = None if cond is None else cond[first : first + count].to(how.device)
        x = run(
            how.sampler,
            how.field(some),
            x,
            steps,
            streams,
            watch=lambda *_: listener.advance(count),  # noqa: B023
        )
        parts.append(how.finish(x).cpu())
    listener.end()
    return torch.cat(parts)


def film(
    how: Sampling[FieldT],
    start: Tensor | None,
    n: int,
    seed: int,
    at: Sequence[int],
    cond: Tensor | None = None,
    first: int = 0,
) -> Tensor:
    """Chains `first` to `first` + n - 1 of the seed after each number of steps in `at`, [len(at),
    n, *shape]; from noise, or from `start` [n, *shape].
    """
    streams = Streams(seed, first, n, how.device)
    x = torch.empty(n, *how.shape, device=how.device)
    x = how.prior(x, streams) if start is None else start.to(how.device)
    frames = {0: how.finish(x).cpu()}

    def keep(step: int, state: Any, info: Any) -> None:
        if step in at:
            frames[step] = how.finish(state.x).cpu().clone()

    run(
        how.sampler,
        how.field(None if cond is None else cond.to(how.device)),
        x,
        max(at),
        streams,
        watch=keep,
    )
    return torch.stack([frames[step] for step in at])


def milestones(steps: int, frames: int) -> list[int]:
    """`frames` step counts from 0 to `steps`, dense at first, where a chain changes most."""
    grid = torch.linspace(0, 1, frames).square() * steps
    return sorted({round(float(s)) for s in grid} | {0, steps})
