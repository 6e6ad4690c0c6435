r"""Growth: what becomes of seconds and memory when a size is doubled and doubled again.

.. math:: t(n) \approx c\, n^p, \qquad p = \text{the slope of } \log t \text{ over } \log n \text{ at the largest sizes.}

A chain should cost p = 1 in batch, in dimension and in length, a metric of features 1 in their
number, and one of pairs 2 in seconds and no more than 1 in memory. Sizes begin where fixed costs
still show, so that the chart tells where they end; the exponent is that of the last three.

Seconds are CPU seconds on one thread, the least of a few tries. Memory is the highest resident size
of the process while it works, over that before, with what the allocator had kept given back first;
only Linux tells it. Each case has a process of its own, since an allocator that has been through
another case does not begin where a fresh one does.
"""

import ctypes
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from gradlogp.bench.page import one_thread, table
from gradlogp.core.fields import Denoiser, Energy
from gradlogp.core.kernel import run
from gradlogp.core.neighbours import nearest
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import from_seed, seeded
from gradlogp.harness import figures
from gradlogp.metrics import kid, prdc
from gradlogp.metrics.frechet import frechet_distance
from gradlogp.models import MLPEnergy
from gradlogp.samplers import HMC, NUTS, Heun, Langevin

WIDTH = 64  # of features
TRIES, LONG = 3, 2.0  # of what takes fewer seconds than that
LAST = 3  # sizes that the exponent is fitted to
STATUS, REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
Work = Callable[[], Any]


@final
@dataclass(frozen=True)
class Growing:
    """What is made larger, what it is in, the sizes, the exponents that seconds and memory may have
    at most, and the work of one size.
    """

    what: str
    size: str
    sizes: tuple[int, ...]
    seconds: float
    memory: float
    make: Callable[[int], Work]


def doubled(first: int, count: int) -> tuple[int, ...]:
    return tuple(first * 2**i for i in range(count))


def langevin(batch: int, dim: int, steps: int) -> Work:
    energy = Energy(from_seed(0, lambda: MLPEnergy(dim, (128, 128))))
    x = torch.randn(batch, dim, generator=seeded("start"))
    return lambda: run(Langevin(0.01), energy, x, steps, seeded(0))


def hamiltonian(sampler: HMC | NUTS, dim: int) -> Work:
    x = torch.randn(64, dim, generator=seeded("start"))
    return lambda: run(sampler, Energy(lambda x: x.square().sum(1) / 2), x, 5, seeded(0))


def walk(steps: int) -> Work:
    x = torch.randn(64, 1, 28, 28, generator=seeded("start"))
    sampler = Heun(VarianceExploding(0.05, 20.0), steps)
    return lambda: run(sampler, Denoiser(lambda x, sigma: x * 0.5), x, steps, seeded(0))


def pairs(measure: Callable[[Tensor, Tensor], Any]) -> Callable[[int], Work]:
    """A measure of two samples of `n` features each."""

    def make(n: int) -> Work:
        real, fake = (torch.randn(n, WIDTH, generator=seeded(name)) for name in ("real", "fake"))
        return lambda: measure(real, 1.05 * fake)

    return make


CASES = (
    Growing("Langevin, MLP", "batch", doubled(512, 6), 1, 1, lambda n: langevin(n, 2, 10)),
    Growing("Langevin, MLP", "dimension", doubled(64, 7), 1, 1, lambda n: langevin(256, n, 10)),
    Growing("Langevin, MLP", "steps", doubled(16, 6), 1, 0, lambda n: langevin(256, 2, n)),
    Growing("HMC", "dimension", doubled(1024, 6), 1, 1, lambda n: hamiltonian(HMC(0.1, 10), n)),
    Growing(
        "NUTS",
        "dimension",
        doubled(1024, 5),
        1,
        1,
        lambda n: hamiltonian(NUTS(0.3, max_depth=3), n),
    ),
    Growing("Heun", "steps", doubled(16, 6), 1, 0, walk),
    Growing("Frechet distance", "n", doubled(3125, 6), 1, 1, pairs(frechet_distance)),
    Growing("Kernel distance", "n", doubled(3125, 4), 2, 1, pairs(lambda x, y: kid.kid(x, y))),
    Growing(
        "Precision, recall, density, coverage", "n", doubled(3125, 5), 2, 1, pairs(prdc.values)
    ),
    Growing(
        "Nearest neighbours", "n", doubled(3125, 5), 2, 1, pairs(lambda x, y: nearest(x, y, 5))
    ),
)


def rows() -> list[dict[str, Any]]:
    """CPU seconds and megabytes of each size of each case."""
    return [row for found in alone(_case, range(len(CASES))) for row in found]


def _case(i: int) -> list[dict[str, Any]]:
    with one_thread():
        return list(grown(CASES[i]))


def alone(function: Callable[[int], Any], numbers: Sequence[int]) -> list[Any]:
    """`function` of each number, each in a new process, one after the other: what one leaves in
    memory is nothing to the next.
    """
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.map(function, numbers, chunksize=1)


def grown(case: Growing) -> Iterator[dict[str, Any]]:
    case.make(case.sizes[0])()  # what the first call alone has to do
    for n in case.sizes:
        work = case.make(n)
        seconds, megabytes = measured(work)
        yield {
            "what": case.what,
            "size": case.size,
            "n": n,
            "seconds": seconds,
            "megabytes": megabytes,
            "reach": [case.seconds, case.memory],
        }


def measured(work: Work) -> tuple[float, float | None]:
    """CPU seconds, the least of a few tries, and megabytes of the first."""
    before = resident()
    least = _seconds(work)
    after = resident("VmHWM")
    if least < LONG:
        least = min(least, *(_seconds(work) for _ in range(TRIES - 1)))
    return least, None if before is None or after is None else max(after - before, 0.0)


def _seconds(work: Work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def resident(field: str = "") -> float | None:
    """The resident megabytes of this process: the highest so far ("VmHWM"), else now, with the
    highest set back to it; None where the system does not tell.
    """
    try:
        if not field:
            with suppress(OSError, AttributeError):
                ctypes.CDLL("libc.so.6").malloc_trim(0)
            REFS.write_text("5")
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(values[field or "VmRSS"].split()[0]) / 1024


def exponent(sizes: Sequence[float], costs: Sequence[float | None]) -> float | None:
    """The slope of log cost over log size at the last sizes, by least squares; None where a cost is
    unknown or too small to tell.
    """
    found = [(math.log(n), math.log(c)) for n, c in zip(sizes, costs, strict=True) if c]
    if len(found) < LAST:
        return None
    x, y = torch.tensor(found[-LAST:], dtype=torch.float64).T
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())


def series(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["what"], row["size"]), []).append(row)
    return found


HEADS = ("", "grows", "from", "to", "seconds there", "exponent", "reach", "MB there", "exponent")


def page(rows: Sequence[dict[str, Any]]) -> str:
    lines = [_line(what, size, mine) for (what, size), mine in series(rows).items()]
    return "\n\n".join([STORY, table((*HEADS, "reach"), lines), END]) + "\n"


def _line(what: str, size: str, mine: Sequence[dict[str, Any]]) -> list[str]:
    sizes = [row["n"] for row in mine]
    last = mine[-1]
    megabytes = last["megabytes"]
    cells = [what, size, f"{sizes[0]:,}", f"{sizes[-1]:,}", f"{last['seconds']:.3g}"]
    for key, reach in zip(("seconds", "megabytes"), last["reach"], strict=True):
        slope = exponent(sizes, [row[key] for row in mine])
        cells += ["" if slope is None else f"{slope:.2f}", f"{reach:g}"]
    return [*cells[:7], "" if megabytes is None else f"{megabytes:,.0f}", *cells[7:]]


def figure(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Seconds of chains, seconds of metrics, and memory, over the sizes."""
    found = series(rows)
    metrics = {key for key in found if key[1] == "n"}
    panels = (
        ("chains", "CPU seconds", "seconds", [k for k in found if k not in metrics]),
        (
            "metrics of n and n features",
            "CPU seconds",
            "seconds",
            [k for k in found if k in metrics],
        ),
        (
            "metrics of n and n features",
            "megabytes",
            "megabytes",
            [k for k in found if k in metrics],
        ),
    )
    with figures.sheet(path, columns=3, width=4.0, height=3.6) as axes:
        for axis, (title, y, key, keys) in zip(axes, panels, strict=True):
            curves = {}
            for what, size in keys:
                kept = [(row["n"], row[key]) for row in found[what, size] if row[key]]
                if kept:
                    label = what if size == "n" else f"{what}: {size}"
                    curves[label] = tuple(zip(*kept, strict=True))
            if curves:
                figures.lines(axis, curves, "size", y, title, log="xy", markers=True)  # type: ignore[arg-type]


STORY = """# Growth

What becomes of seconds and memory when a size is doubled and doubled again. The exponent p of *c n^p* is fitted to the last three
sizes: 1 is linear. *reach* is what it should be at most: 1 for a chain in its batch, dimension and length; for metrics that look at
all pairs of n and n features of width 64 it is 2 in seconds, and 1 in memory, for no table of pairs is ever held whole. Seconds are
CPU seconds on one thread, the least of three tries where one is short; memory is the highest resident size while it works, over
that before, of a process that does nothing but this case.

![Seconds and memory against size](images/growth.png)"""
END = """Where the numbers of one step outgrow a cache of the processor, each costs more: an exponent up to .3 above its
reach over three sizes is that, and no more work."""
