"""Scale: what two processes are worth beside one, whether a killed run comes back, and what 8 and 64
cards would be, by a model whose parts are looked at here.
"""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from gradlogp.bench.page import one_thread, table
from gradlogp.bench.scale import kill, measure, plan

Row = dict[str, Any]


def rows(seconds: float = 4.0, seeds: int = 10, dataset: str = "mnist") -> list[Row]:
    """Pace, all_reduce and memory of two processes, `seeds` tries to kill one, and the plan."""
    with one_thread():
        return [*measure.rows(seconds, dataset), *kill.rows(seeds), *plan.rows()]


def of(what: str, rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["what"] == what]


def ratios(mine: Sequence[Row], kind: str) -> list[float]:
    """The pace of `kind` over that of one process, round by round."""
    rates = {(row["kind"], row["round"]): row["rate"] for row in mine}
    rounds = sorted({row["round"] for row in mine})
    return [rates[kind, i] / rates["one", i] for i in rounds]


def by(key: str, rows: Iterable[Row]) -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return found


def paces(rows: Sequence[Row]) -> str:
    """Steps a second of each recipe and arrangement, medians of the rounds."""
    lines = []
    for recipe, mine in by("recipe", of("pace", rows)).items():
        for kind, some in by("kind", mine).items():
            rate = statistics.median(row["rate"] for row in some)
            quick = "" if kind == "one" else median_of(ratios(mine, kind))
            lines.append([f"`{recipe}`", some[0]["batch"], kind, f"{rate:.1f}", quick])
    return table(("recipe", "batch", "processes", "steps a second", "against one"), lines)


def median_of(found: Sequence[float]) -> str:
    return f"{statistics.median(found):.2f}x ({min(found):.2f} to {max(found):.2f})"


def line(rows: Sequence[Row]) -> tuple[float, float]:
    """Latency and bytes a second of an all_reduce: latency is the least of all, and bandwidth that
    of the largest.
    """
    found = of("all_reduce", rows)
    latency = min(row["seconds"] for row in found)
    last = max(found, key=lambda row: row["bytes"])
    return latency, last["bytes"] / (last["seconds"] - latency)


def messages(rows: Sequence[Row]) -> str:
    latency, bandwidth = line(rows)
    lines = [
        [
            f"{row['bytes']:,}",
            f"{1e3 * row['seconds']:.3g}",
            f"{1e3 * (latency + row['bytes'] / bandwidth):.3g}",
        ]
        for row in of("all_reduce", rows)
    ]
    return table(("bytes", "milliseconds", "by the model"), lines)


def megabytes(bytes_: float) -> str:
    return f"{bytes_ / 1e6:,.1f}"


def memory(rows: Sequence[Row]) -> str:
    """What was measured beside the model, in megabytes."""
    lines = []
    for row in of("memory", rows):
        layout = "sharded" if row["sharded"] else "whole"
        work = row["model"] + row["model, at work"]
        for says, found, expected in (
            ("at rest", row["rest"], row["model"]),
            ("at its highest", row["highest"], work),
            ("checkpoint", row["checkpoint"], row["model, checkpoint"]),
        ):
            ratio = f"{found / expected:.2f}"
            lines.append([layout, says, megabytes(found), megabytes(expected), ratio])
    return table(("weights", "MB", "measured", "by the model", "ratio"), lines)


def kills(rows: Sequence[Row]) -> str:
    found = of("kill", rows)
    seconds = [row["seconds"] for row in found]
    repeated = [row["repeated"] for row in found]
    return (
        f"{sum(row['equal'] for row in found)} of {len(found)} tries ended at equal weights, bit for"
        f" bit; the first step after the kill came after {statistics.median(seconds):.1f} seconds"
        f" ({min(seconds):.1f} to {max(seconds):.1f}), most of which start Python and PyTorch, and"
        f" {statistics.median(repeated):.0f} steps ({min(repeated):.0f} to {max(repeated):.0f}) were"
        f" made again, with a checkpoint every {kill.EVERY}."
    )


def planned(rows: Sequence[Row]) -> str:
    heads = ("training", "weights, M", "batch", "cards", "sharded", "kept", "for a moment")
    more = ("activations", "buffer", "GB in all", "work, ms", "sending, ms", "efficiency")
    return table((*heads, *more), [_planned(row) for row in of("plan", rows)])


def _planned(row: Row) -> list[Any]:
    """A line of the plan: what is trained, on what, its gigabytes and its milliseconds."""
    gigabytes = [part / 1e9 for part in row["bytes"].values()]
    efficiency = row["work"] / (row["work"] + row["talk"])
    weights = f"{row['weights'] / 1e6:,.1f}"
    sharded = "yes" if row["sharded"] else ""
    return [
        *(row["training"], weights, row["batch"], row["cards"], sharded),
        *(f"{part:.2f}" for part in gigabytes),
        f"{sum(gigabytes):.1f}",
        f"{1e3 * row['work']:,.3g}",
        f"{1e3 * row['talk']:,.2g}",
        f"{100 * efficiency:.0f} %",
    ]


def page(rows: Sequence[Row]) -> str:
    """The page of the docs, in Markdown."""
    pace = of("pace", rows)
    rounds = {row["round"] for row in pace}
    _, bandwidth = line(rows)
    weights = of("memory", rows)[0]["weights"]
    wires = [wires.says for wires in plan.WIRES[1:]]
    return PAGE.format(
        dataset=pace[0]["dataset"],
        rounds=len(rounds),
        paces=paces(rows),
        kills=kills(rows),
        messages=messages(rows),
        bandwidth=f"{bandwidth / 1e9:.2g}",
        memory=memory(rows),
        weights=f"{weights / 1e6:.1f}",
        examples=measure.EXAMPLES,
        wires="; ".join(wires),
        flops=f"{plan.WIRES[0].flops / 1e12:.0f}",
        planned=planned(rows),
    )


PAGE = """# Scale, measured and planned

How a training is spread over processes is told in [Larger than one process](scale.md); here are its numbers.

## Two processes beside one

Steps a second on {dataset} with the networks of the presets `quick`. Each process has one thread, pinned to a core of its own;
in each of {rounds} rounds one process and then both make the same steps. Medians, and the least and greatest ratio of a round. The
reach is 1.7x.

{paces}

## Killed, and back

A small energy with a replay buffer on two processes; in each try SIGKILL ends one of them at a random moment of a random step.
{kills}

## The model

With P weights, a batch of B examples of size D, a buffer of C chains and n cards, in words of 4 bytes:

| on each card | words |
|---|---|
| weights, gradients, two moments, average | 5 P; sharded 5 P / n |
| for a moment of a step | the message of the gradients, P |
| sharded, with L in the largest layer | 8 L; in chains 2 P + 4 L; 4 P where a loss differentiates twice |
| activations | B / n times what an example leaves for backward |
| buffer, on every card | C D |
| sent in a step | 2 (n - 1)/n (P + B D), B D only with a buffer |
| sharded | (n - 1)/n (a + 1) P instead of 2 (n - 1)/n P, with all weights gathered a times: 2, in chains 1 |

A message takes its latency and its bytes over the bandwidth. What can be looked at without cards, on the same two processes:

all_reduce by gloo, against the least latency and {bandwidth} GB/s, the bandwidth of the largest message:

{messages}

Megabytes that a score network of {weights} million weights adds to a process with batches of {examples}, cut over two; rank 0 of a
sharded run holds the average whole besides, to draw with:

{memory}

## 8 and 64 cards

Not measured: no such machine was there. By the model, in float32, for {wires}, and {flops} TFLOPS that a card reaches in
convolutions (a card that reaches more waits more). Networks are counted layer by layer, none was trained. Sending is not
overlapped with work, which is the worst case.

{planned}
"""
