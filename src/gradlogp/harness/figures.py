"""Figures of the experiments in one style: Okabe and Ito's colours, which the colour-blind can tell
apart, and little ink.

matplotlib's figure objects are used directly, so no global state changes and no window opens.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gradlogp.core.files import replacing

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b5598f", "#b87d00", "#56b4e9", "#14181d", "#7f7f7f")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")  # of as many rounds of colours as there are dashes
INK = "#14181d"
COLUMNS = 5  # of a legend above the panels


def colour(index: int) -> dict[str, Any]:
    """Line settings of series 0, 1, ...: colours first, then other dashes."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
    }


QUIET, RULE = "#586271", "#d9dee5"
# What the charts of a report look like: no frame, thin rules across, quiet numbers.
STYLE: dict[str, Any] = {
    "font.size": 8.5,
    **{f"axes.spines.{side}": False for side in ("top", "right", "left", "bottom")},
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelcolor": QUIET,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    **{f"{axis}tick.color": QUIET for axis in "xy"},
    **{f"{axis}tick.major.size": 0.0 for axis in "xy"},
    "xaxis.labellocation": "right",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


@contextmanager
def drawn(
    columns: int = 1, rows: int = 1, width: float = 4.6, height: float = 3.2
) -> Iterator[tuple[Any, list[Any]]]:
    """A figure of the house's style, inches a panel, and its axes, row by row."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = STYLE
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, list(figure.subplots(rows, columns, squeeze=False).flat)


@contextmanager
def sheet(
    path: Path, columns: int = 1, rows: int = 1, width: float = 4.6, height: float = 3.2
) -> Iterator[list[Any]]:
    """Axes, row by row, of a PNG that is written whole when the block ends."""
    with drawn(columns, rows, width, height) as (figure, axes):
        yield axes
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            figure.canvas.print_png(file)


def lines(
    axis: Any,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x: str,
    y: str,
    title: str = "",
    log: str = "",
    markers: bool = False,
) -> None:
    """Lines label -> (xs, ys); `log` holds the axes on a log scale, as in "xy"."""
    for i, (label, (xs, ys)) in enumerate(series.items()):
        marker = MARKERS[i // len(COLOURS) % len(MARKERS)] if markers else ""
        axis.plot(xs, ys, label=label, marker=marker, markersize=3.5, **colour(i))
    axis.set(xlabel=x, ylabel=y, title=title)
    if "x" in log:
        axis.set_xscale("log")
    if "y" in log:
        axis.set_yscale("log")
    if len(series) > 1:
        axis.legend(fontsize=7.5)


def one_legend(axes: Sequence[Any]) -> None:
    """One legend above all panels, of every series that has a label, in place of one in each."""
    named: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True)) | named
        if legend := axis.get_legend():
            legend.remove()
    axes[0].figure.legend(
        named.values(), named.keys(), fontsize=7.5, ncols=COLUMNS, loc="outside upper left"
    )


def histograms(
    axis: Any, series: Mapping[str, Any], x: str, title: str = "", bins: int = 60
) -> None:
    """Outlines of the densities of the values of each label, over one range."""
    import numpy as np

    values = {label: np.asarray(v, dtype=float) for label, v in series.items()}
    pooled = np.concatenate(list(values.values()))
    low, high = np.quantile(pooled, [0.001, 0.999])
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    for i, (label, v) in enumerate(values.items()):
        axis.hist(
            np.clip(v, edges[0], edges[-1]),
            edges,
            density=True,
            histtype="stepfilled",
            alpha=0.12,
            color=colour(i)["color"],
        )
        axis.hist(
            np.clip(v, edges[0], edges[-1]),
            edges,
            density=True,
            histtype="step",
            label=label,
            linewidth=1.4,
            **colour(i),
        )
    axis.set(xlabel=x, ylabel="density", title=title)
    axis.legend(fontsize=7.5)


def clouds(axis: Any, series: Mapping[str, Any], x: str, y: str, title: str = "") -> None:
    """Points [n, 2] of each label, told apart by colour and mark; the axes hold 99 % of each."""
    import numpy as np

    for i, (label, points) in enumerate(series.items()):
        axis.scatter(
            *points.T,
            s=7,
            alpha=0.5,
            linewidths=0.6,
            marker="o+x^"[i % 4],
            label=label,
            color=COLOURS[i],
        )
    ranges = np.array([np.quantile(points, [0.005, 0.995], axis=0) for points in series.values()])
    low, high = ranges[:, 0].min(0), ranges[:, 1].max(0)
    pad = 0.05 * (high - low)
    axis.set_axisbelow(True)
    axis.set(
        xlim=(low[0] - pad[0], high[0] + pad[0]),
        ylim=(low[1] - pad[1], high[1] + pad[1]),
        xlabel=x,
        ylabel=y,
        title=title,
    )
    marks = axis.legend(fontsize=7.5, markerscale=2).legend_handles
    for mark in marks:
        mark.set_alpha(1)


def bars(
    axis: Any,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    y: str,
    title: str = "",
    errors: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Bars of each label side by side in each group."""
    width = 0.82 / max(1, len(series))
    for i, (label, values) in enumerate(series.items()):
        at = [g + (i - (len(series) - 1) / 2) * width for g in range(len(groups))]
        stderr = (errors or {}).get(label)
        hatch = "/////" if i >= len(COLOURS) else None
        axis.bar(
            at,
            values,
            width,
            label=label,
            color=colour(i)["color"],
            yerr=stderr,
            error_kw={"linewidth": 0.8},
            hatch=hatch,
            edgecolor="white",
            linewidth=0.3,
        )
    axis.set(ylabel=y, title=title)
    axis.set_xticks(range(len(groups)), groups)
    axis.grid(axis="x", visible=False)
    if len(series) > 1:
        axis.legend(
            fontsize=7.5, ncols=min(6, len(series)), loc="upper center", bbox_to_anchor=(0.5, -0.09)
        )


def roc(axis: Any, series: Mapping[str, tuple[Any, Any]], title: str = "") -> None:
    """ROC curves of label -> (scores of normal, scores of anomalous); high = anomalous."""
    import numpy as np
    from sklearn.metrics import roc_curve

    for i, (label, (normal, anomalous)) in enumerate(series.items()):
        truth = np.concatenate([np.zeros(len(normal)), np.ones(len(anomalous))])
        false, true, _ = roc_curve(truth, np.concatenate([normal, anomalous]))
        axis.plot(false, true, label=label, **colour(i))
    axis.plot([0, 1], [0, 1], color="#9ba7b4", linewidth=0.8)
    axis.set(xlabel="false alarms", ylabel="anomalies caught", title=title)
    axis.legend(fontsize=7.5, loc="lower right")
