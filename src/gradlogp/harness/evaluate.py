"""Evaluate: draw fresh samples from noise, measure them, restore noisy examples, and leave numbers
and pictures in the run folder.

Everything is measured on the test part; what had to be chosen was chosen on the validation part. Each
row of results.json carries the metric's protocol, its standard error, the reference and, where
there is one, the trivial value, and the seconds and network evaluations per example.
"""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradlogp import metrics
from gradlogp.baselines.wiener import noised
from gradlogp.core.files import replacing
from gradlogp.core.progress import Listener, Silent
from gradlogp.core.random import seed_for
from gradlogp.data import Dataset
from gradlogp.harness.cas import classification_accuracy
from gradlogp.harness.evaluator import Evaluator
from gradlogp.harness.fit import Fitted, load, snapshot, snapshots
from gradlogp.harness.kinds import Kind
from gradlogp.harness.probing import probe
from gradlogp.harness.recipe import Evaluation, Restoration, Subject, classes_asked
from gradlogp.harness.record import Recorder, Rows, row
from gradlogp.harness.recovery import recovery
from gradlogp.harness.turns import classless
from gradlogp.metrics import Measure, classes, frechet, memory, two_sample
from gradlogp.runs import Run, write_json
from gradlogp.samplers import Annealed
from gradlogp.tasks import film, milestones

ROW = 10  # examples in a row
CHOICE = 24  # validation examples on which a restoration chooses its settings
MOVING, FRAMES = 25, 31  # chains of a film, and its frames
MEMORISATION = 500  # samples whose nearest training example is looked for


def measure_samples(
    x: Tensor, data: Dataset, evaluator: Evaluator, asked: Tensor | None = None
) -> list[Measure]:
    """All measures of samples x [n, *shape], in the data's own range, against as many test
    examples.
    """
    real = evaluator.features(data.test.scaled(slice(0, len(x))))
    features = evaluator.features(x)
    held_out = data.test.scaled(slice(0, MEMORISATION))
    measures = [
        *metrics.generative(real, features, network=evaluator.name),
        two_sample.one_nn(real, features, evaluator.name),
        two_sample.c2st(real, features, evaluator.name),
        memory.memorisation(x[:MEMORISATION], data.train.scaled(), held_out),
        *evaluator.kind.compared(data.test.scaled(slice(0, len(x))), x),
    ]
    return measures + ([] if classless(data) else _by_class(x, data, evaluator, asked))


def _by_class(
    x: Tensor, data: Dataset, evaluator: Evaluator, asked: Tensor | None
) -> list[Measure]:
    """What needs classes to tell apart: nothing of a data set that has one."""
    logits = evaluator.logits(x)
    seen = logits.argmax(1)
    shares = classes.class_shares(seen, len(data.classes))
    measures = [
        _share("rarest_class", shares.min(), shares, len(x), evaluator),
        _share("commonest_class", shares.max(), shares, len(x), evaluator),
        classes.class_entropy(seen, len(data.classes)),
        classes.inception_score(logits),
        classes.class_probability(logits),
        classification_accuracy(x, seen if asked is None else asked, data),
    ]
    if asked is not None:
        measures.append(classes.agreement(seen, asked, evaluator.accuracy))
    return measures


def _share(metric: str, share: Tensor, shares: Tensor, n: int, evaluator: Evaluator) -> Measure:
    """The share of one class among the samples, with its binomial standard error; 1 / classes is
    the value of a fair sampler.
    """
    error = float((share * (1 - share) / n).sqrt())
    each = " ".join(f"{s:.3f}" for s in shares.tolist())
    protocol = f"by {evaluator.name}; binomial standard error; all: {each}"
    reference = 1 / len(shares)
    if metric == "rarest_class":
        return Measure(metric, float(share), error, n, "higher", protocol, reference)
    return Measure(metric, float(share), error, n, "lower", protocol, reference)


def evaluate(
    fitted: Fitted,
    data: Dataset,
    evaluator: Evaluator,
    listener: Listener | None = None,
    root: Path | None = None,
) -> Rows:
    """Evaluate the run of `fitted`; writes samples/ there and rows into results.json, and returns
    them.

    `root` is the folder with further data sets, which some models are asked about as well.
    """
    listener, run = listener or Silent(), fitted.run
    with run:
        rows, fitted = choose_snapshot(fitted, data, evaluator, listener)
        recipe = fitted.recipe
        recorder = Recorder(run, recipe.seed, listener)
        drawn, frames = _draw(fitted, data, recorder)
        recorder.add(*measure_samples(drawn.x, data, evaluator, drawn.asked), **drawn.cost)
        restoration_at = _restorations(fitted, data)
        restored = denoising(
            restoration_at,
            data,
            recipe.evaluation,
            seed_for("noise", recipe.seed),
            fitted.spec.coordinates,
            run.picture,
            listener,
        )
        rows += [{**each, "seed": recipe.seed} for each in restored]
        _films(fitted, data)
        recovery(fitted, data, recorder)
        probe(fitted, data, recorder)
        subject = Subject(fitted, data, evaluator, frames, restoration_at, root)
        recipe.study(subject, recorder)
        rows += recorder.rows
        run.update_results(rows)
        run.mark("evaluated")
    return rows


def _restorations(fitted: Fitted, data: Dataset) -> Callable[[float], Restoration]:
    validation = data.validation.scaled(slice(0, CHOICE))
    seed = seed_for("restoration", fitted.recipe.seed)

    @cache
    def at(sigma: float) -> Restoration:
        return fitted.recipe.restoration(fitted.model, fitted.spec, validation, sigma, seed)

    return at


def choose_snapshot(
    fitted: Fitted, data: Dataset, evaluator: Evaluator, listener: Listener
) -> tuple[Rows, Fitted]:
    """The snapshot whose samples are nearest to the validation part becomes the model; its share of
    the training, as a row.
    """
    recipe, run = fitted.recipe, fitted.run
    steps = snapshots(recipe)
    if not steps or not recipe.evaluation.choose:
        return [], fitted
    real = evaluator.features(data.validation.scaled())
    found = {}
    for step in steps:
        tensors, _ = run.load(snapshot(step))
        fitted.model.load_state_dict(tensors)
        x, _ = fitted.draw(
            recipe.evaluation.trial, seed_for("snapshots", recipe.seed), listener=listener
        )
        found[step] = float(frechet.fd(real, evaluator.features(x), evaluator.name))
    best = min(steps, key=lambda step: found[step])
    run.weights(run.load(snapshot(best))[0], "ema")
    each = ", ".join(f"{v:.3g} after {s} updates" for s, v in found.items())
    protocol = (
        "share of the training after which the averaged weights were taken, by the Frechet distance"
        f" of {recipe.evaluation.trial} samples to the validation part: {each}"
    )
    taken = Measure("taken_at", best / steps[-1], None, len(steps), "higher", protocol)
    return [row(taken, seed=recipe.seed)], load(run.path, fitted.device)


class Drawn(NamedTuple):
    """Samples x [n, *shape] in the data's own range, the classes that were asked for, and what one
    of them cost.
    """

    x: Tensor
    asked: Tensor | None
    cost: dict[str, Any]


def _draw(fitted: Fitted, data: Dataset, recorder: Recorder) -> tuple[Drawn, dict[int, Tensor]]:
    """Fresh samples and, where the sampler takes any number of steps, its chains after more and
    fewer of them.
    """
    recipe, sampling = fitted.recipe, fitted.sampling()
    n = min(recipe.evaluation.samples, len(data.test))
    seed = seed_for("samples", recipe.seed)
    began = time.perf_counter()
    frames: dict[int, Tensor] = {}
    share = 1.0
    if recipe.takes_steps:
        at = sorted({sampling.steps, *recipe.evaluation.steps})
        frames = fitted.frames(None, n, seed, at, recorder.listener)
        x = frames[sampling.steps]
        asked = classes_asked(fitted.spec, n) if recipe.conditional else None
        share = sampling.steps / at[-1]
    else:
        x, asked = fitted.draw(n, seed, listener=recorder.listener)
    seconds = (time.perf_counter() - began) * share / n
    _save(fitted, x, asked)
    _beside_nearest(recorder, fitted.spec.coordinates, x, data.train.scaled())
    cost = {"seconds": seconds, "evaluations": sampling.cost * sampling.steps}
    return Drawn(x, asked, cost), frames


def _save(fitted: Fitted, x: Tensor, asked: Tensor | None) -> None:
    save_samples(fitted.run, fitted.spec.coordinates, x)
    if asked is not None:
        _some_of_each(x, asked, fitted.spec.classes, fitted.run, fitted.spec.coordinates)


def save_samples(run: Run, kind: Kind, x: Tensor) -> None:
    """The samples x [n, *shape] that were measured, and a picture of the first."""
    path = run.picture("final")
    kind.preview(path, x[: ROW * ROW], columns=ROW)
    kind.enliven(path, x[: ROW * ROW])
    with replacing(path.with_suffix(".npz")) as file:
        np.savez_compressed(file, samples=kind.compact(x))


def _beside_nearest(recorder: Recorder, kind: Kind, x: Tensor, train: Tensor) -> None:
    """A figure of the first samples, and below each the training example nearest to it."""
    shown = x[:ROW]
    closest = train[torch.cdist(kind.alike(shown), kind.alike(train)).argmin(1)]
    caption = (
        f"The first {kind.plural} drawn, and below each the training {kind.noun} nearest to it."
    )
    kind.preview(recorder.figure("nearest", caption), torch.cat([shown, closest]), columns=ROW)


def _some_of_each(x: Tensor, asked: Tensor, classes: int, run: Run, kind: Kind) -> None:
    """A row for each class that was asked for."""
    each = min(ROW, len(x) // classes)
    if each:
        rows = torch.cat([x[asked == c][:each] for c in range(classes)])
        kind.preview(run.picture("classes"), rows, columns=each)


def denoising(
    restoration_at: Callable[[float], Restoration],
    data: Dataset,
    evaluation: Evaluation,
    seed: int,
    kind: Kind,
    picture: Callable[[str], Path] | None = None,
    listener: Listener | None = None,
) -> Rows:
    """How good restored test examples are at every noise level, and a picture of ten: clean, noisy,
    restored.
    """
    listener = listener or Silent()
    rows: Rows = []
    clean = data.test.scaled(slice(0, evaluation.denoise))
    listener.begin("denoise", len(evaluation.sigmas))
    for sigma in evaluation.sigmas:
        restoration = restoration_at(sigma)
        noisy = noised(clean, sigma * kind.unit(clean), seed)
        began = time.perf_counter()
        restored = restoration.restore(noisy)
        seconds = (time.perf_counter() - began) / len(clean)
        noisy = kind.from_model(kind.to_model(noisy))
        cost = {"seed": seed, "seconds": seconds, "evaluations": restoration.evaluations}
        rows += _restored(kind, clean, noisy, restored, sigma, restoration.says, cost)
        if picture is not None:
            shown = torch.cat([clean[:ROW], noisy[:ROW], restored[:ROW]])
            kind.preview(picture(f"denoise-{sigma:g}"), shown, columns=ROW)
        listener.advance()
    listener.end()
    return rows


def _restored(
    kind: Kind,
    clean: Tensor,
    noisy: Tensor,
    restored: Tensor,
    sigma: float,
    says: str,
    cost: dict[str, Any],
) -> Rows:
    """One row for each restoration metric; `noisy` in it is the value of the noisy examples."""
    rows = []
    pairs = zip(kind.restoration(clean, noisy), kind.restoration(clean, restored), strict=True)
    for before, after in pairs:
        protocol = f"{after.protocol}; noise {sigma:g} {kind.noise_unit}; {says}"
        found = row(after.at(noise=sigma), **cost)
        rows.append(found | {"noisy": before.value, "protocol": protocol})
    return rows


def _films(fitted: Fitted, data: Dataset) -> None:
    """Chains from noise and, where the sampler can start there, from data, one chain a row;
    captions in films.json. Those from noise also in motion, as moving.gif.
    """
    sampling, kind = fitted.sampling(), fitted.spec.coordinates
    captions = {}
    at = milestones(sampling.steps, 11)
    every = sorted({*at, *milestones(sampling.steps, FRAMES)})
    for name, start in _starts(fitted, data).items():
        n = MOVING if start is None else len(start)
        cond = _classes(fitted, data, n, start) if fitted.recipe.conditional else None
        frames = film(sampling, start, n, seed_for("films", fitted.recipe.seed), every, cond)
        if start is None:
            kind.film(fitted.run.picture("moving").with_suffix(".gif"), frames)
        cells = frames[[every.index(step) for step in at], :ROW].transpose(0, 1).flatten(0, 1)
        kind.preview(fitted.run.picture(name), cells, columns=len(at))
        captions[name] = [_caption(sampling.sampler, step) for step in at]
    write_json(fitted.run.picture("films").with_suffix(".json"), captions)


def _classes(fitted: Fitted, data: Dataset, n: int, start: Tensor | None) -> Tensor:
    """Each in turn for chains from noise; for those from test examples, the examples' own."""
    if start is None or data.test.labels is None:
        return classes_asked(fitted.spec, n)
    return data.test.labels[:n]


def _starts(fitted: Fitted, data: Dataset) -> dict[str, Tensor | None]:
    sampling = fitted.sampling()
    if isinstance(sampling.sampler, Annealed):
        return {"annealing": None}
    if sampling.steps == 1:
        return {}
    real = fitted.spec.coordinates.to_model(data.test.scaled(slice(0, ROW)))
    return {"chain-noise": None, "chain-data": real}


def _caption(sampler: Any, step: int) -> str:
    """The number of steps taken, or the noise level that the step left."""
    if not isinstance(sampler, Annealed) or step == 0:
        return str(step) if step else "noise"
    level = sampler.level(step - 1)
    return "denoised" if level is None else f"{sampler.ladder[level]:.2g}"
