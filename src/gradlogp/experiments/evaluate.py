"""Evaluate: draw fresh samples from noise, judge them, restore noisy pictures, and leave numbers
and pictures in the run folder.

Everything is judged on the test part; what had to be chosen was chosen on the validation part. Each
row of results.json carries the metric's protocol, its spread, the floor and, where there is one,
the ceiling, and the seconds and network evaluations per example.
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
from gradlogp.core.files import replacing
from gradlogp.core.progress import Listener, Silent
from gradlogp.data import Dataset
from gradlogp.data.picture import save_grid
from gradlogp.experiments import chains
from gradlogp.experiments.base import Evaluation, Restorer, asked, to_model
from gradlogp.experiments.cas import classification_accuracy
from gradlogp.experiments.desk import Desk, Rows, row
from gradlogp.experiments.energy import EnergyRecipe
from gradlogp.experiments.fit import Fitted, load, snapshot, snapshots
from gradlogp.experiments.judge import Judge
from gradlogp.experiments.wiener import noised
from gradlogp.metrics import Measure, classes, frechet, image, memory, two_sample
from gradlogp.runs import Run, write_json
from gradlogp.samplers import Annealed
from gradlogp.tasks import film, milestones

ROW = 10  # pictures in a row
CHOICE = 24  # validation pictures on which a restorer chooses its settings


def judge_samples(
    x: Tensor, data: Dataset, judge: Judge, asked_for: Tensor | None = None
) -> list[Measure]:
    """All measures of samples x [n, *shape] in [0, 1], against as many test pictures."""
    real = judge.features(data.test.images(slice(0, len(x))))
    features = judge.features(x)
    logits = judge.logits(x)
    seen = logits.argmax(1)
    shares = classes.class_shares(seen, len(data.classes))
    measures = [
        *metrics.generative(real, features, network=judge.name),
        _share("rarest_class", shares.min(), shares, len(x), judge),
        _share("commonest_class", shares.max(), shares, len(x), judge),
        classes.class_entropy(seen, len(data.classes)),
        classes.inception_score(logits),
        two_sample.one_nn(real, features, judge.name),
        two_sample.c2st(real, features, judge.name),
        classification_accuracy(x, seen if asked_for is None else asked_for, data),
        memory.memorisation(x[:500], data.train.images(), data.test.images(slice(0, 500))),
    ]
    if asked_for is not None:
        measures.append(classes.agreement(seen, asked_for, judge.accuracy))
    return measures


def _share(metric: str, share: Tensor, shares: Tensor, n: int, judge: Judge) -> Measure:
    """The share of one class among the samples, with its binomial standard error; 1 / classes is
    the value of a fair sampler.
    """
    error = float((share * (1 - share) / n).sqrt())
    better = "higher" if metric == "rarest_class" else "lower"
    return Measure(
        metric,
        float(share),
        error,
        n,
        better,  # type: ignore[arg-type]
        f"by {judge.name}; binomial standard error; all:"
        f" {' '.join(f'{s:.3f}' for s in shares.tolist())}",
        reference=1 / len(shares),
    )


def evaluate(
    fitted: Fitted,
    data: Dataset,
    judge: Judge,
    listener: Listener | None = None,
    root: Path | None = None,
) -> Rows:
    """Evaluate the run of `fitted`; writes samples/ there and rows into results.json, and returns
    them.

    `root` is the folder with further data sets, whose energies an energy-based model is asked for
    as well.
    """
    listener, run = listener or Silent(), fitted.run
    with run:
        rows, fitted = choose(fitted, data, judge, listener)
        validation = data.validation.images(slice(0, CHOICE))
        seed = fitted.recipe.seed
        desk = Desk(run, seed, listener)
        x, frames = _draw(fitted, data, desk)
        desk.note(*judge_samples(x.pictures, data, judge, x.asked_for), **x.cost)
        restorer = cache(
            lambda sigma: fitted.recipe.restorer(fitted.model, validation, sigma, seed + 3)
        )
        rows += denoising(restorer, data, fitted.recipe.evaluation, seed + 2, run.picture, listener)
        _films(fitted, data)
        if frames:
            chains.study(fitted, data, judge, desk, frames, restorer, root)
        rows += desk.rows
        run.update_results(rows)
        run.mark("evaluated")
    return rows


def choose(fitted: Fitted, data: Dataset, judge: Judge, listener: Listener) -> tuple[Rows, Fitted]:
    """The snapshot whose samples are nearest to the validation pictures becomes the model; its
    share of the training, as a row.
    """
    recipe = fitted.recipe
    run = fitted.run
    steps = snapshots(fitted.recipe)
    if not steps:
        return [], fitted
    real, found = judge.features(data.validation.images()), {}
    for step in steps:
        tensors, _ = run.load(snapshot(step))
        fitted.model.load_state_dict(tensors)
        x, _ = fitted.draw(recipe.evaluation.trial, recipe.seed + 5, listener=listener)
        found[step] = float(frechet.fd(real, judge.features(x), judge.name))
    best = min(steps, key=lambda step: found[step])
    run.weights(run.load(snapshot(best))[0], "ema")
    says = (
        "share of the training after which the averaged weights were taken, by the Frechet"
        f" distance of {recipe.evaluation.trial} samples to the validation part:"
        f" {', '.join(f'{v:.3g} after {s} updates' for s, v in found.items())}"
    )
    taken = Measure("taken_at", best / steps[-1], None, len(steps), "higher", says)
    return [row(taken, seed=recipe.seed)], load(run.path, fitted.device)


class Drawn(NamedTuple):
    """pictures [n, *shape] in [0, 1], the classes that were asked for, and what one of them cost."""

    pictures: Tensor
    asked_for: Tensor | None
    cost: dict[str, Any]


def _draw(fitted: Fitted, data: Dataset, desk: Desk) -> tuple[Drawn, dict[int, Tensor]]:
    """Fresh samples, and of an energy where its chains are after more and fewer steps."""
    recipe = fitted.recipe
    run = fitted.run
    how = fitted.how()
    n = min(recipe.evaluation.samples, len(data.test))
    seed = recipe.seed + 1
    began = time.perf_counter()
    frames: dict[int, Tensor] = {}
    if isinstance(recipe, EnergyRecipe):
        at = sorted({how.steps, *recipe.evaluation.steps})
        frames = chains.frames_of(fitted, None, n, seed, at, desk.listener)
        x = frames[how.steps]
        asked_for = asked(fitted.facts, n) if recipe.conditional else None
        share = how.steps / at[-1]
    else:
        (x, asked_for), share = fitted.draw(n, seed, listener=desk.listener), 1.0
    seconds = (time.perf_counter() - began) * share / n
    save_grid(run.picture("final"), x[: ROW * ROW], columns=ROW)
    with replacing(run.picture("final").with_suffix(".npz")) as file:
        np.savez_compressed(file, samples=(x * 255).round().byte().numpy())
    if asked_for is not None:
        _ten_of_each(x, asked_for, fitted.facts.classes, run)
    return (
        Drawn(
            x, asked_for, {"seed": seed, "seconds": seconds, "evaluations": how.cost * how.steps}
        ),
        frames,
    )


def _ten_of_each(x: Tensor, asked_for: Tensor, classes: int, run: Run) -> None:
    """A row for each class that was asked for."""
    each = min(ROW, len(x) // classes)
    if each:
        save_grid(
            run.picture("classes"),
            torch.cat([x[asked_for == c][:each] for c in range(classes)]),
            columns=each,
        )


def denoising(
    restorer_for: Callable[[float], Restorer],
    data: Dataset,
    evaluation: Evaluation,
    seed: int,
    picture: Callable[[str], Path] | None = None,
    listener: Listener | None = None,
) -> Rows:
    """PSNR and SSIM of restored test pictures at every noise level, and a picture of ten: clean,
    noisy, restored.
    """
    rows = []
    listener = listener or Silent()
    clean = data.test.images(slice(0, evaluation.denoise))
    listener.begin("denoise", len(evaluation.sigmas))
    for sigma in evaluation.sigmas:
        noisy = noised(clean, sigma, seed)
        restorer = restorer_for(sigma)
        began = time.perf_counter()
        restored = restorer.restore(noisy)
        cost = {
            "seed": seed,
            "seconds": (time.perf_counter() - began) / len(clean),
            "evaluations": restorer.evaluations,
        }
        noisy = noisy.clamp(0, 1)
        for metric in (image.psnr, image.ssim):
            before, after = metric(clean, noisy), metric(clean, restored)
            rows.append(
                row(after, **cost)
                | {
                    "metric": f"denoise_{after.metric}_{sigma:g}",
                    "noisy": before.value,
                    "protocol": f"{after.protocol}; noise {sigma:g} on [0, 1]; {restorer.says}",
                }
            )
        if picture is not None:
            save_grid(
                picture(f"denoise-{sigma:g}"),
                torch.cat([clean[:ROW], noisy[:ROW], restored[:ROW]]),
                columns=ROW,
            )
        listener.advance()
    listener.end()
    return rows


def _films(fitted: Fitted, data: Dataset) -> None:
    """Chains from noise and, where the sampler can start there, from data, one chain a row;
    captions in films.json.
    """
    how, captions = fitted.how(), {}
    for name, start in _starts(fitted, data).items():
        at = milestones(how.steps, 11)
        n = ROW if start is None else len(start)
        cond = _classes(fitted, data, n, start) if fitted.recipe.conditional else None
        frames = film(how, start, n, fitted.recipe.seed + 4, at, cond)
        save_grid(fitted.run.picture(name), frames.transpose(0, 1).flatten(0, 1), columns=len(at))
        captions[name] = [_caption(how.sampler, step) for step in at]
    write_json(fitted.run.picture("films").with_suffix(".json"), captions)


def _classes(fitted: Fitted, data: Dataset, n: int, start: Tensor | None) -> Tensor:
    """Each in turn for chains from noise; for those from test pictures, the pictures' own."""
    return (
        asked(fitted.facts, n)
        if start is None or data.test.labels is None
        else data.test.labels[:n]
    )


def _starts(fitted: Fitted, data: Dataset) -> dict[str, Tensor | None]:
    if isinstance(fitted.how().sampler, Annealed):
        return {"annealing": None}
    if fitted.how().steps == 1:
        return {}
    return {"chain-noise": None, "chain-data": to_model(data.test.images(slice(0, ROW)))}


def _caption(sampler: Any, step: int) -> str:
    """The number of steps taken, or the noise level that the step left."""
    if not isinstance(sampler, Annealed) or step == 0:
        return str(step) if step else "noise"
    level = sampler.level(step - 1)
    return "denoised" if level is None else f"{sampler.ladder[level]:.2g}"
