r"""Peers: what the same mathematics costs in the libraries that one would take instead.

Every library does one task, such as twenty Langevin steps on one network, in turn with the others,
round after round in one process. What is compared is CPU time, of all threads together, and its
figure is

.. math:: \text{ratio} = \operatorname{median}_{\text{rounds}}\ t_{ours} / t_{theirs},

below 1 where ours is quicker. Where chains mix differently from the same settings (a transition of
NUTS is not the same from library to library) time is divided by effective samples. A library that
is not installed is left out and said so: `pip install gradlogp[peers]`.
"""

import importlib.metadata
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gradlogp.bench.overhead import interleaved, ratio
from gradlogp.bench.page import one_thread, table
from gradlogp.bench.peers import chains, measures, trajectories, walks
from gradlogp.bench.peers.case import COMPILED, OURS, Case, Work, distance
from gradlogp.harness import figures
from gradlogp.harness.figures import COLOURS
from gradlogp.metrics.mcmc import ess

ROOMS: tuple[Callable[[], Iterator[Case]], ...] = (
    chains.cases,
    trajectories.cases,
    walks.cases,
    measures.cases,
)
Row = dict[str, Any]


def rows(seconds: float = 4.0) -> list[Row]:
    """All figures; about `seconds` for each task, but at least three rounds."""
    with one_thread():
        return [row for cases in ROOMS for case in cases() for row in measured(case, seconds)]


def measured(case: Case, seconds: float) -> list[Row]:
    """A row for each library that does the task, ours first."""
    works = made(case)
    first = {COMPILED: _first(works[COMPILED])} if COMPILED in works else {}
    times = dict(zip(works, interleaved(list(works.values()), seconds, least=3), strict=True))
    results = {name: work() for name, work in works.items()}
    found = []
    for name in case.makers:
        row: Row = {"group": case.group, "task": case.name, "unit": case.unit, "library": name}
        if name in works:
            row |= cost(case, times[name], times[OURS]) | check(case, results[name], results[OURS])
            row["version"] = version(name)
        if name in first:
            row["first"] = first[name]
        found.append(row)
    for row in found:
        if "ess" in row:
            row["ratio"] *= row["ess"] / found[0]["ess"]
            row["stderr"] *= row["ess"] / found[0]["ess"]
    return found


def _first(work: Work) -> float:
    """Seconds by the clock: compilers run in processes of their own."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def made(case: Case) -> dict[str, Work]:
    """The works of the libraries that are installed."""
    works = {}
    for name, maker in case.makers.items():
        try:
            works[name] = maker()
        except ImportError:
            if name == OURS:
                raise
    return works


def cost(case: Case, theirs: Sequence[float], ours: Sequence[float]) -> Row:
    """CPU microseconds a step, and how many times as long ours takes."""
    middle, stderr = ratio(ours, theirs)
    return {
        "us": 1e6 * statistics.median(theirs) / case.steps,
        "ratio": middle,
        "stderr": stderr,
        "rounds": len(theirs),
    }


def check(case: Case, theirs: Any, ours: Any) -> Row:
    """How far the results are apart, or how many effective samples there are in each step."""
    if case.kind == "traces":
        return {"ess": float(ess(theirs)) / case.steps}
    return {"dx": distance(theirs, ours)} if case.kind else {}


def version(library: str) -> str:
    try:
        return importlib.metadata.version(library.partition(",")[0])
    except importlib.metadata.PackageNotFoundError:
        return ""


def tasks(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each task."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["group"], row["task"]), []).append(row)
    return found


def best(task: Sequence[Row]) -> Row | None:
    """The row of the quickest peer; None where none is installed."""
    peers = [row for row in task if row["library"] not in (OURS, COMPILED) and "ratio" in row]
    return max(peers, key=lambda row: row["ratio"], default=None)


def page(rows: Sequence[Row]) -> str:
    sections = [STORY, *_summary(rows)]
    groups = dict.fromkeys(row["group"] for row in rows)
    for group in groups:
        mine = [row for row in rows if row["group"] == group]
        sections += [f"## {group}", table(HEADS, [_line(row) for row in mine])]
    return "\n\n".join(sections) + "\n"


HEADS = ("task", "library", "us a step", "ratio", "effective samples a second", "apart by")


def _line(row: Row) -> list[str]:
    library = " ".join([row["library"], row.get("version", "")]).strip()
    if "us" not in row:
        return [row["task"], library, "not installed", "", "", ""]
    compared = row["library"] != OURS
    return [
        row["task"],
        library,
        f"{row['us']:,.0f}",
        f"{row['ratio']:.2f} +- {row['stderr']:.2f}" if compared else "",
        f"{1e6 * row['ess'] / row['us']:,.0f}" if "ess" in row else "",
        f"{row['dx']:.0e}" if compared and "dx" in row else "",
    ]


def compiled_ratio(task: Sequence[Row]) -> float | None:
    """Time on a compiled field over that of the quickest peer; None where either was not run."""
    peer = best(task)
    own = [row for row in task if row["library"] == COMPILED and "ratio" in row]
    return peer["ratio"] / own[0]["ratio"] if peer and own else None


def _summary(rows: Sequence[Row]) -> Iterator[str]:
    found = {task: of for task, of in tasks(rows).items() if best(of)}
    peers = {task: row for task, of in found.items() if (row := best(of))}
    ratios = {task: compiled_ratio(of) for task, of in found.items()}
    yield _headline([row["ratio"] for row in peers.values()], [r for r in ratios.values() if r])
    yield "![Ours against the quickest peer of each task](images/peers.png)"
    lost = [
        [*task, row["library"], f"{row['ratio']:.2f}", f"{r:.2f}" if (r := ratios[task]) else ""]
        for task, row in peers.items()
        if row["ratio"] > 1
    ]
    if lost:
        yield "## Where a peer is quicker than gradlogp as it is"
        yield table(("task", "", "quickest", "ratio", "ratio, compiled"), lost)
        if first := [row["first"] for row in rows if "first" in row]:
            yield (
                f"The first call on a compiled field took {min(first):.0f} to {max(first):.0f} s by"
                " the clock, nearly all of it for compilation, which is not counted above."
            )


def _headline(ratios: Sequence[float], quicker: Sequence[float]) -> str:
    line = (
        f"Against the quickest peer of each task gradlogp as it is, uncompiled, is quicker in"
        f" {sum(r <= 1 for r in ratios)} of {len(ratios)}."
    )
    if not quicker:
        return line
    return line + (
        f" On a compiled field, which one asks for by `compiled(field)`, {len(quicker)} of them were"
        f" done as well; it is quicker than the quickest peer in {sum(r <= 1 for r in quicker)} of"
        " these."
    )


def figure(rows: Sequence[Row], path: Path) -> None:
    """The ratio to each peer, a line of dots for each task."""
    named = {task: of for task, of in tasks(rows).items() if best(of)}
    with figures.sheet(path, width=7.2, height=0.6 + 0.26 * len(named)) as (axis,):
        libraries = dict.fromkeys(r["library"] for of in named.values() for r in of)
        for i, library in enumerate([name for name in libraries if name != OURS]):
            points = [
                (row["ratio"], -at)
                for at, of in enumerate(named.values())
                for row in of
                if row["library"] == library and "ratio" in row
            ]
            xs, ys = zip(*points, strict=True) if points else ((), ())
            axis.plot(xs, ys, "os^Dv*"[i % 6], color=COLOURS[i % len(COLOURS)], label=library)
        axis.axvline(1, color=figures.QUIET, linewidth=1)
        axis.set_xscale("log")
        ticks = [t for t in TICKS if _within(t, rows)]
        axis.set_xticks(ticks, [f"{t:g}" for t in ticks], minor=False)
        axis.minorticks_off()
        axis.set_yticks([-i for i in range(len(named))], [f"{g}: {t}" for g, t in named])
        axis.grid(axis="x", visible=True)
        axis.set_xlabel("time of gradlogp : time of the peer; left of 1 gradlogp is quicker")
        axis.legend(fontsize=7.5, loc="lower right", ncols=1)


TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def _within(tick: float, rows: Sequence[Row]) -> bool:
    ratios = [row["ratio"] for row in rows if "ratio" in row]
    return min(ratios) / 2 <= tick <= max(ratios) * 2 and math.isfinite(tick)


STORY = """# Peers

What the same mathematics costs in other libraries, on one thread, as ratios: the time of gradlogp over that of the peer, below 1
where gradlogp is quicker. All do one task in turn, round after round, in one process. Time is CPU time of all threads of the
process, not the clock's, which other work on the machine moves; the ratio is the median over the rounds, `+-` half their
interquartile range, and *us a step* is the median. *Apart by* is how far the results differ, relative to their size, where all
draw the same chance in the same order and so should agree.

Langevin takes one network, one step size and one seed. An update of contrastive divergence is 10 Langevin steps from a buffer of
4,096 with 5 % restarts, the loss, its gradient, and Adam. HMC and NUTS are 64 chains side by side at one step size and without
adaptation; there the ratio is of seconds for an effective sample of the worst coordinate. blackjax is compiled by XLA (jit, scan,
vmap; compilation is not counted), all others run step by step; *gradlogp, compiled* is the same sampler on a field of
`gradlogp.core.compiled`, which makes one program of a transition of HMC, and of up to eight leapfrog steps of NUTS: it is ours
and no peer. Its ratio to a peer is the quotient of their two ratios in the tables. Walks go down the same levels, over a stored
tensor, so that what is left is the sampler, and over a UNet."""
