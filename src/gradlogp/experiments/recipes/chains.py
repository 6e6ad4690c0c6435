"""What the chains of an energy do outside their training: many more steps, other starts, other
pictures.

Samples of an energy trained by short chains are what the sampler makes of it, so one chain length
says little. Here are Frechet distance and mean energy against the number of steps, from noise; the
chains that the replay buffer holds; where chains end that start at real examples (how far they
wander, whether the class stays what it was); and the energies of everything there is on one axis: a
model that has learned its data gives training and held-out examples the same, and others more; and
how near to the clean example posterior chains come with every step, beside Wiener's filter.

Reference: Nijkamp et al. (2020), arXiv 1903.12370 (short-run and convergent learning, told apart by
long chains).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradlogp import data as readers
from gradlogp.baselines.wiener import PixelGaussian, noised
from gradlogp.core.errors import UserError
from gradlogp.core.random import seed_for, seeded
from gradlogp.data import Dataset
from gradlogp.harness import figures
from gradlogp.harness.evaluator import Evaluator
from gradlogp.harness.fit import Fitted
from gradlogp.harness.recipe import Restoration, Subject
from gradlogp.harness.record import Recorder
from gradlogp.harness.table import Column, Table
from gradlogp.metrics import Measure, frechet
from gradlogp.metrics.base import standard_error

FROM_DATA = 300  # chains that start at test examples
NOISES = (0.3, 0.5)  # at which restoring is followed,
RESTORING = (0, 2, 5, 10, 20, 40)  # after so many steps, and at the end
LONG = 10  # times as many steps as in training
OTHERS = {"mnist": "fashion_mnist"}  # whose energies stand beside those of the data
TABLES = (
    Table(
        "Fréchet distance after so many steps from noise",
        ("fd",),
        "steps",
        last=(Column("fd", {"start": "buffer"}, "the buffer itself"),),
    ),
    Table(
        "Chains from test examples, after so many steps",
        ("fd", "retention", "displacement"),
        "steps",
        where={"start": "data"},
    ),
    Table(
        "Mean energy, low = likely",
        ("energy",),
        "of",
        last=(Column("energy_gap", label="held-out minus training"),),
    ),
)


def study(subject: Subject, recorder: Recorder) -> None:
    """All of the above for an energy-based model: rows, figures and arrays to the recorder."""
    fitted, data, evaluator, frames, restoration_at, root = subject
    _from_noise(fitted, data, evaluator, recorder, frames)
    _from_buffer(fitted, data, evaluator, recorder)
    _from_data(fitted, data, evaluator, recorder)
    _energies(fitted, data, recorder, frames[fitted.sampling().steps], root)
    _restoring(fitted, data, recorder, restoration_at)


def energies(fitted: Fitted, x: Tensor) -> Tensor:
    """E of examples x [n, *shape] in the data's own range, [n]; of a conditional model, the
    marginal.
    """
    model: Any = fitted.model
    field = model.field()
    parts = fitted.spec.coordinates.to_model(x).to(fitted.device).split(500)
    with torch.no_grad():
        return torch.cat([field.energy(part).cpu() for part in parts])


def _from_noise(
    fitted: Fitted,
    data: Dataset,
    evaluator: Evaluator,
    recorder: Recorder,
    frames: Mapping[int, Tensor],
) -> None:
    found, level = {}, {}
    for steps, x in frames.items():
        real = evaluator.features(data.test.scaled(slice(0, len(x))))
        found[steps] = frechet.fd(real, evaluator.features(x), evaluator.name)
        level[steps] = float(energies(fitted, x).mean())
        recorder.add(found[steps], axes={"steps": steps}, evaluations=steps)
    recorder.save(
        steps=torch.tensor(list(frames)),
        fd=torch.tensor([float(m) for m in found.values()]),
        energy=torch.tensor(list(level.values())),
        energy_data=energies(fitted, data.test.scaled(slice(0, 2000))),
    )
    shown = torch.stack([x[:10] for x in frames.values()]).transpose(0, 1).flatten(0, 1)
    caption = (
        f"Ten chains from where they begin, a row each, after {', '.join(map(str, frames))} steps; trained with"
        f" {_training_steps(fitted)}."
    )
    kind = fitted.spec.coordinates
    kind.preview(recorder.figure("long-run", caption), shown, columns=len(frames))


def _training_steps(fitted: Fitted) -> int:
    recipe: Any = fitted.recipe
    return int(recipe.chain_steps)


def _from_buffer(fitted: Fitted, data: Dataset, evaluator: Evaluator, recorder: Recorder) -> None:
    """The chains that training left in its buffer, as they are."""
    found = fitted.run.latest()
    if found is None or "objective.x" not in found[1]:
        return
    kind = fitted.spec.coordinates
    n = min(fitted.recipe.evaluation.samples, len(data.test))
    x = kind.from_model(found[1]["objective.x"].float().cpu()[:n])
    real = evaluator.features(data.test.scaled(slice(0, len(x))))
    recorder.add(frechet.fd(real, evaluator.features(x), evaluator.name), axes={"start": "buffer"})
    shown = x[:100]
    caption = f"{len(shown)} chains of the replay buffer as training left them."
    kind.preview(recorder.figure("buffer", caption), shown, columns=10)


def _from_data(fitted: Fitted, data: Dataset, evaluator: Evaluator, recorder: Recorder) -> None:
    """Chains from test examples: the share that still looks like its class, and how far an entry
    has moved.
    """
    k = _training_steps(fitted)
    start = data.test.scaled(slice(0, FROM_DATA))
    labels = None if data.test.labels is None else data.test.labels[:FROM_DATA]
    seed = seed_for("chains from data", fitted.recipe.seed)
    frames = fitted.frames(start, len(start), seed, (k, LONG * k), recorder.listener, labels)
    before = evaluator.labels(start)
    for steps, x in frames.items():
        kept = (evaluator.labels(x) == before).double()
        moved = (x - start).abs().flatten(1).mean(1)
        recorder.add(
            retention(kept, evaluator.name, steps),
            displacement(moved, steps),
            frechet.fd(evaluator.features(start), evaluator.features(x), evaluator.name),
            axes={"start": "data", "steps": steps},
        )
    shown = torch.stack([start[:10], *(x[:10] for x in frames.values())]).flatten(0, 1)
    caption = f"Test examples, and where their chains are after {k} and {LONG * k} steps."
    kind = fitted.spec.coordinates
    kind.preview(recorder.figure("from-data", caption), shown, columns=10)


def retention(kept: Tensor, network: str, steps: int) -> Measure:
    """The share of chains [n] from test examples that kept their class."""
    protocol = (
        f"share whose class, by {network}, is still that of its start; {len(kept)} chains from test"
        f" examples after {steps} steps; standard error"
    )
    value = float(kept.mean())
    return Measure("retention", value, standard_error(kept), len(kept), "higher", protocol, 1.0)


def displacement(moved: Tensor, steps: int) -> Measure:
    """How far chains [n] from test examples have moved an entry on average."""
    protocol = (
        f"mean |change| of an entry in the data's own range; {len(moved)} chains from test examples"
        f" after {steps} steps; standard error"
    )
    error = standard_error(moved)
    return Measure("displacement", float(moved.mean()), error, len(moved), "lower", protocol)


def _restoring(
    fitted: Fitted,
    data: Dataset,
    recorder: Recorder,
    restoration_at: Callable[[float], Restoration],
) -> None:
    """The first restoration metric of the mean of posterior chains against their steps, and of
    Wiener's filter, where noise is asked for.
    """
    recipe: Any = fitted.recipe
    kind = fitted.spec.coordinates
    sigmas = [s for s in NOISES if s in recipe.evaluation.sigmas]
    last = recipe.posterior.steps
    if not sigmas:
        return
    at = sorted({*(s for s in RESTORING if s < last), last})
    clean = data.test.scaled(slice(0, recipe.evaluation.denoise))
    linear = PixelGaussian.fit(kind.to_unit(data.train.scaled()))
    found, wiener = [], []
    for sigma in sigmas:
        noisy = noised(clean, sigma * kind.unit(clean), seed_for("noise", recipe.seed))
        along = restoration_at(sigma).along
        assert along is not None, "an energy restores in steps"
        found.append([float(kind.restoration(clean, x)[0]) for x in along(noisy, at)])
        restored = kind.from_unit(linear.restore(kind.to_unit(noisy), sigma))
        wiener.append(float(kind.restoration(clean, restored)[0]))
    recorder.save(restoring_steps=torch.tensor(at), restoring=torch.tensor(found))
    name = kind.restoration(clean, clean)[0].metric
    caption = (
        f"{len(clean)} noisy test examples restored by the mean of {recipe.posterior.samples}"
        f" posterior chains: {name} against Langevin steps. Dashed: Wiener's, the best linear filter."
    )
    with figures.sheet(recorder.figure("restoring", caption)) as (axis,):
        series = {f"noise {s:g}": (at, y) for s, y in zip(sigmas, found, strict=True)}
        figures.lines(axis, series, "Langevin steps", name, "Restoring", markers=True)
        for i, y in enumerate(wiener):
            axis.axhline(y, color=figures.COLOURS[i], linestyle="--", linewidth=1)


def _energies(
    fitted: Fitted, data: Dataset, recorder: Recorder, drawn: Tensor, root: Path | None
) -> None:
    """Energies of training, held-out and generated examples, of noise and of other data, on one
    axis.
    """
    n = min(2000, len(data.test))
    kind = fitted.spec.coordinates
    examples = {
        "training": data.train.scaled(slice(0, n)),
        "held-out": data.test.scaled(slice(0, n)),
        "generated": drawn,
        **_others(data, root, n),
    }
    noise = kind.noise(torch.empty(n, *data.shape), seeded(recorder.seed, "energies"))
    examples["noise"] = kind.from_model(noise)
    found = {name: energies(fitted, x) for name, x in examples.items()}
    for name, e in found.items():
        protocol = f"mean energy of {len(e)} examples; only differences count; standard error"
        measure = Measure("energy", float(e.mean()), standard_error(e), len(e), "lower", protocol)
        recorder.add(measure, axes={"of": name})
    recorder.add(energy_gap(found["held-out"], found["training"]))
    _histograms(recorder, found)


def energy_gap(held_out: Tensor, training: Tensor) -> Measure:
    """The mean energy of held-out examples [n] minus that of training examples [n]."""
    n = len(held_out)
    gap = held_out.mean() - training.mean()
    error = (held_out.var() / n + training.var() / n).sqrt()
    protocol = (
        "mean energy of held-out examples minus that of training examples; 0: nothing is memorised"
    )
    return Measure("energy_gap", float(gap), float(error), n, "lower", protocol, 0.0)


def _histograms(recorder: Recorder, found: Mapping[str, Tensor]) -> None:
    caption = (
        "Energies of everything on one axis, low = likely; and of training, held-out and generated"
        " examples, near to."
    )
    near = {name: found[name] for name in ("training", "held-out", "generated")}
    with figures.sheet(recorder.figure("energies", caption), columns=2) as (left, right):
        figures.histograms(left, found, "energy", "Everything")
        figures.histograms(right, near, "energy", "Near the data")


def _others(data: Dataset, root: Path | None, n: int) -> dict[str, Tensor]:
    """Another data set of the same shape, where the data folder has it."""
    name = OTHERS.get(data.name)
    if name is None or root is None:
        return {}
    try:
        return {"Fashion-MNIST": readers.load(name, root).test.scaled(slice(0, n))}
    except UserError:
        return {}
