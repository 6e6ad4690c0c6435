"""What the chains of an energy do outside their training: many more steps, other starts, other
pictures.

Samples of an energy trained by short chains are what the sampler makes of it, so one chain length
says little. Here are Frechet distance and mean energy against the number of steps, from noise; the
chains that the replay buffer holds; where chains end that start at real pictures (how far they
wander, whether the digit stays the digit it was); and the energies of everything there is on one
axis: a model that has learned its data gives training and held-out pictures the same, and strangers
more; and how near to the clean picture posterior chains come with every step, beside Wiener's
filter.

Reference: Nijkamp et al. (2020), arXiv 1903.12370 (short-run and convergent learning, told apart by
long chains).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradlogp import data as shelf
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Listener
from gradlogp.core.random import seeded
from gradlogp.data import Dataset
from gradlogp.data.picture import save_grid
from gradlogp.experiments import figures
from gradlogp.experiments.base import Restorer, asked, fill_uniform, to_model
from gradlogp.experiments.desk import Desk
from gradlogp.experiments.fit import Fitted
from gradlogp.experiments.judge import Judge
from gradlogp.experiments.table import Table
from gradlogp.experiments.wiener import PixelGaussian, noised
from gradlogp.metrics import Measure, frechet
from gradlogp.metrics.base import standard_error
from gradlogp.metrics.image import psnr
from gradlogp.tasks import film

BATCH = 100
FROM_DATA = 300  # chains that start at test pictures
NOISES = (0.3, 0.5)  # at which restoring is followed,
RESTORING = (0, 2, 5, 10, 20, 40)  # after so many steps, and at the end
LONG = 10  # times as many steps as in training
STRANGER = "fashion_mnist"  # for models of MNIST
TABLES = (
    Table(
        "Fréchet distance after so many steps from noise",
        ("fd after * steps",),
        {"fd from the buffer": "the buffer itself"},
    ),
    Table(
        "Chains from test pictures, after so many steps",
        (
            "fd from data after * steps",
            "retention from data after * steps",
            "displacement from data after * steps",
        ),
    ),
    Table("Mean energy, low = likely", ("energy *",), {"energy_gap": "held-out minus training"}),
)


def study(
    fitted: Fitted,
    data: Dataset,
    judge: Judge,
    desk: Desk,
    frames: Mapping[int, Tensor],
    restorer: Callable[[float], Restorer],
    root: Path | None = None,
) -> None:
    """All of the above for the energy-based model `fitted`: rows, figures and arrays to the desk.

    `frames` are its chains from noise, steps -> [n, *shape] in [0, 1]; `restorer` has posterior
    chains for a noise level; `root` is the folder with further data sets.
    """
    _from_noise(fitted, data, judge, desk, frames)
    _from_buffer(fitted, data, judge, desk)
    _from_data(fitted, data, judge, desk)
    _energies(fitted, data, desk, frames[fitted.how().steps], root)
    _restoring(fitted, data, desk, restorer)


def frames_of(
    fitted: Fitted,
    start: Tensor | None,
    n: int,
    seed: int,
    at: Sequence[int],
    listener: Listener,
    labels: Tensor | None = None,
) -> dict[int, Tensor]:
    """Number of steps -> chains [n, *shape] in [0, 1] after them; from noise, or from pictures
    `start` in [0, 1].

    A conditional model's have the classes `labels` [n], or each in turn.
    """
    how, parts = fitted.how(), []
    cond = (
        (asked(fitted.facts, n) if labels is None else labels)
        if fitted.recipe.conditional
        else None
    )
    listener.begin("chains", n)
    for first in range(0, n, BATCH):
        some, count = slice(first, first + BATCH), min(BATCH, n - first)
        begin = None if start is None else to_model(start[some])
        parts.append(film(how, begin, count, seed, at, None if cond is None else cond[some], first))
        listener.advance(count)
    listener.end()
    return dict(zip(at, torch.cat(parts, 1), strict=True))


def energies(fitted: Fitted, x: Tensor) -> Tensor:
    """E of pictures x [n, *shape] in [0, 1], [n]; of a conditional model, the marginal."""
    model: Any = fitted.model
    with torch.no_grad():
        return torch.cat(
            [model.field().energy(to_model(part).to(fitted.device)).cpu() for part in x.split(500)]
        )


def _from_noise(
    fitted: Fitted, data: Dataset, judge: Judge, desk: Desk, frames: Mapping[int, Tensor]
) -> None:
    found, level = {}, {}
    for steps, x in frames.items():
        found[steps] = frechet.fd(
            judge.features(data.test.scaled(slice(0, len(x)))), judge.features(x), judge.name
        )
        level[steps] = float(energies(fitted, x).mean())
        desk.note(found[steps], name=f"after {steps} steps", evaluations=steps)
    desk.keep(
        steps=torch.tensor(list(frames)),
        fd=torch.tensor([float(m) for m in found.values()]),
        energy=torch.tensor(list(level.values())),
        energy_data=energies(fitted, data.test.scaled(slice(0, 2000))),
    )
    shown = torch.stack([x[:10] for x in frames.values()]).transpose(0, 1).flatten(0, 1)
    caption = (
        f"Ten chains from noise, a row each, after {', '.join(map(str, frames))} steps; trained"
        f" with {_k(fitted)}."
    )
    save_grid(desk.figure("long-run", caption), shown, columns=len(frames))


def _k(fitted: Fitted) -> int:
    recipe: Any = fitted.recipe
    return int(recipe.chain_steps)


def _from_buffer(fitted: Fitted, data: Dataset, judge: Judge, desk: Desk) -> None:
    """The chains that training left in its buffer, as they are."""
    found = fitted.run.latest()
    if found is None or "objective.x" not in found[1]:
        return
    x = (
        found[1]["objective.x"]
        .float()
        .cpu()[: min(fitted.recipe.evaluation.samples, len(data.test))]
        + 1
    ) / 2
    real = judge.features(data.test.scaled(slice(0, len(x))))
    desk.note(frechet.fd(real, judge.features(x), judge.name), name="from the buffer")
    save_grid(
        desk.figure("buffer", "A hundred chains of the replay buffer as training left them."),
        x[:100],
        columns=10,
    )


def _from_data(fitted: Fitted, data: Dataset, judge: Judge, desk: Desk) -> None:
    """Chains from test pictures: the share that still looks like its class, and how far a pixel has
    moved.
    """
    k, start = _k(fitted), data.test.scaled(slice(0, FROM_DATA))
    labels = None if data.test.labels is None else data.test.labels[:FROM_DATA]
    frames = frames_of(
        fitted, start, len(start), fitted.recipe.seed + 6, (k, LONG * k), desk.listener, labels
    )
    before = judge.labels(start)
    for steps, x in frames.items():
        kept = (judge.labels(x) == before).double()
        moved = (x - start).abs().flatten(1).mean(1)
        says = f"{len(x)} chains from test pictures after {steps} steps; standard error"
        desk.note(
            Measure(
                "retention",
                float(kept.mean()),
                standard_error(kept),
                len(x),
                "higher",
                f"share whose class, by {judge.name}, is still that of its start; {says}",
                1.0,
            ),
            Measure(
                "displacement",
                float(moved.mean()),
                standard_error(moved),
                len(x),
                "lower",
                f"mean |change| of a pixel in [0, 1]; {says}",
            ),
            frechet.fd(judge.features(start), judge.features(x), judge.name),
            name=f"from data after {steps} steps",
        )
    shown = torch.stack([start[:10], *(x[:10] for x in frames.values())])
    save_grid(
        desk.figure(
            "from-data",
            f"Test pictures, and where their chains are after {k} and {LONG * k} steps.",
        ),
        shown.flatten(0, 1),
        columns=10,
    )


def _restoring(
    fitted: Fitted, data: Dataset, desk: Desk, restorer: Callable[[float], Restorer]
) -> None:
    """PSNR of the mean of posterior chains against their steps, and of Wiener's filter, where noise
    is asked for.
    """
    recipe: Any = fitted.recipe
    sigmas = [s for s in NOISES if s in recipe.evaluation.sigmas]
    last = recipe.restore.steps
    if not sigmas:
        return
    at = sorted({*(s for s in RESTORING if s < last), last})
    clean = data.test.scaled(slice(0, recipe.evaluation.denoise))
    linear = PixelGaussian.fit(data.train.scaled())
    found, wiener = [], []
    for sigma in sigmas:
        noisy = noised(clean, sigma, recipe.seed + 2)
        along = restorer(sigma).along
        assert along is not None, "an energy restores in steps"
        found.append([float(psnr(clean, x)) for x in along(noisy, at)])
        wiener.append(float(psnr(clean, linear.restore(noisy, sigma))))
    desk.keep(restoring_steps=torch.tensor(at), restoring=torch.tensor(found))
    caption = (
        f"{len(clean)} noisy test pictures restored by the mean of {recipe.restore.samples}"
        " posterior chains: peak signal-to-noise ratio against Langevin steps. Dashed: Wiener's,"
        " the best linear filter."
    )
    with figures.sheet(desk.figure("restoring", caption)) as (axis,):
        figures.lines(
            axis,
            {f"noise {s:g}": (at, y) for s, y in zip(sigmas, found, strict=True)},
            "Langevin steps",
            "PSNR, dB",
            "Restoring",
            markers=True,
        )
        for i, y in enumerate(wiener):
            axis.axhline(y, color=figures.COLOURS[i], linestyle="--", linewidth=1)


def _energies(fitted: Fitted, data: Dataset, desk: Desk, drawn: Tensor, root: Path | None) -> None:
    """Energies of training, held-out and generated pictures, of noise and of strangers, on one
    axis.
    """
    n = min(2000, len(data.test))
    pictures = {
        "training": data.train.scaled(slice(0, n)),
        "held-out": data.test.scaled(slice(0, n)),
        "generated": drawn,
    }
    strange = _strangers(data, root, n)
    pictures |= {} if strange is None else {"Fashion-MNIST": strange}
    noise = fill_uniform(torch.empty(n, *data.shape), seeded(desk.seed, "energies"))
    pictures["noise"] = (noise + 1) / 2
    found = {name: energies(fitted, x) for name, x in pictures.items()}
    for name, e in found.items():
        says = f"mean energy of {len(e)} pictures; only differences count; standard error"
        desk.note(
            Measure("energy", float(e.mean()), standard_error(e), len(e), "lower", says), name=name
        )
    gap = found["held-out"].mean() - found["training"].mean()
    error = (found["held-out"].var() / n + found["training"].var() / n).sqrt()
    desk.note(
        Measure(
            "energy_gap",
            float(gap),
            float(error),
            n,
            "lower",
            "mean energy of held-out pictures minus that of training pictures; 0: nothing is"
            " learned by heart",
            0.0,
        )
    )
    _histograms(desk, found)


def _histograms(desk: Desk, found: Mapping[str, Tensor]) -> None:
    caption = (
        "Energies of everything on one axis, low = likely; and of training, held-out and generated"
        " pictures, near to."
    )
    with figures.sheet(desk.figure("energies", caption), columns=2) as (left, right):
        figures.histograms(left, found, "energy", "Everything")
        figures.histograms(
            right,
            {name: found[name] for name in ("training", "held-out", "generated")},
            "energy",
            "Near the data",
        )


def _strangers(data: Dataset, root: Path | None, n: int) -> Tensor | None:
    """Fashion-MNIST for models of MNIST, where the data folder has it."""
    if data.name != "mnist" or root is None:
        return None
    try:
        return shelf.load(STRANGER, root).test.scaled(slice(0, n))
    except UserError:
        return None
