"""Evaluate: draw fresh samples from noise, judge them, restore noisy pictures, and leave numbers and pictures in the run folder.

Everything is judged on the test part; what had to be chosen was chosen on the validation part. Each row of results.json carries the
metric's protocol, its spread, the floor and, where there is one, the ceiling, and the seconds and network evaluations per example.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlogp import metrics
from gradlogp.core.progress import Listener, Silent
from gradlogp.data import Dataset
from gradlogp.data.picture import save_grid
from gradlogp.experiments.base import asked, to_model
from gradlogp.experiments.fit import Fitted
from gradlogp.experiments.judge import Judge
from gradlogp.metrics import Measure, classes, image, memory
from gradlogp.runs import write_json
from gradlogp.samplers import Annealed
from gradlogp.tasks import film, milestones

ROW = 10  # pictures in a row
Rows = list[dict[str, Any]]


def row(measure: Measure, **more: Any) -> dict[str, Any]:
    return {**measure.as_dict(), **more}


def judge_samples(x: Tensor, data: Dataset, judge: Judge, asked_for: Tensor | None = None) -> list[Measure]:
    """All measures of samples x [n, *shape] in [0, 1], against as many test pictures."""
    real = data.test.images(slice(0, len(x)))
    seen = judge.labels(x)
    shares = classes.class_shares(seen, len(data.classes))
    error = float((shares.min() * (1 - shares.min()) / len(x)).sqrt())
    worst = Measure("rarest_class", float(shares.min()), error, len(x), "higher",
                    f"share of the rarest class, by {judge.name}; all: {' '.join(f'{s:.3f}' for s in shares.tolist())}",
                    floor=1 / len(data.classes))
    measures = [*metrics.generative(judge.features(real), judge.features(x), network=judge.name), worst,
                replace(worst, metric="commonest_class", value=float(shares.max()), better="lower"),
                classes.class_entropy(seen, len(data.classes)),
                memory.memorisation(x[:500], data.train.images(), data.test.images(slice(0, 500)))]
    if asked_for is not None:
        measures.append(classes.agreement(seen, asked_for, judge.accuracy))
    return measures


def evaluate(fitted: Fitted, data: Dataset, judge: Judge, listener: Listener | None = None) -> Rows:
    """Evaluate the run of `fitted`; writes results.json and samples/ there, and returns the rows."""
    listener, run = listener or Silent(), fitted.run
    with run:
        rows = _samples(fitted, data, judge, listener) + _denoising(fitted, data, listener)
        _films(fitted, data)
        run.write_results(rows)
        run.mark("evaluated")
    return rows


def _samples(fitted: Fitted, data: Dataset, judge: Judge, listener: Listener) -> Rows:
    recipe, run = fitted.recipe, fitted.run
    n, seed = min(recipe.evaluation.samples, len(data.test)), recipe.seed + 1
    rows: Rows = []
    for steps in (None, *recipe.evaluation.steps):
        began = time.perf_counter()
        x, asked_for = fitted.draw(n, seed, steps=steps, listener=listener)
        per_sample = {"seed": seed, "seconds": (time.perf_counter() - began) / n, "evaluations": steps or fitted.how().steps}
        suffix = "" if steps is None else f" after {steps} steps"
        measures = judge_samples(x, data, judge, asked_for)
        rows += [row(m, **per_sample) | {"metric": m.metric + suffix} for m in measures if not suffix or m.metric == "fd"]
        if steps is None:
            save_grid(run.picture("final"), x[:ROW * ROW], columns=ROW)
            np.savez_compressed(run.picture("final").with_suffix(".npz"), samples=(x * 255).round().byte().numpy())
            if asked_for is not None:
                ordered = torch.cat([x[asked_for == c][:ROW] for c in range(fitted.facts.classes)])
                save_grid(run.picture("classes"), ordered, columns=ROW)
    return rows


def _denoising(fitted: Fitted, data: Dataset, listener: Listener) -> Rows:
    recipe, rows = fitted.recipe, []
    clean, validation = data.test.images(slice(0, recipe.evaluation.denoise)), data.validation.images(slice(0, 50))
    listener.begin("denoise", len(recipe.evaluation.sigmas))
    for sigma in recipe.evaluation.sigmas:
        eps = torch.randn(clean.shape, generator=torch.Generator().manual_seed(recipe.seed + 2))
        noisy = clean + sigma * eps
        restore, how = recipe.restorer(fitted.model, validation, sigma, recipe.seed + 3)
        began = time.perf_counter()
        restored = restore(noisy)
        cost = {"seed": recipe.seed + 2, "seconds": (time.perf_counter() - began) / len(clean)}
        noisy = noisy.clamp(0, 1)
        for metric in (image.psnr, image.ssim):
            before, after = metric(clean, noisy), metric(clean, restored)
            rows.append(row(after, **cost) | {"metric": f"denoise_{after.metric}_{sigma:g}", "noisy": before.value,
                                              "protocol": f"{after.protocol}; noise {sigma:g} on [0, 1]; {how}"})
        save_grid(fitted.run.picture(f"denoise-{sigma:g}"), torch.cat([clean[:ROW], noisy[:ROW], restored[:ROW]]), columns=ROW)
        listener.advance()
    listener.end()
    return rows


def _films(fitted: Fitted, data: Dataset) -> None:
    """Chains from noise and, where the sampler can start there, from data, one chain a row; captions in films.json."""
    how, cond = fitted.how(), asked(fitted.facts, ROW) if fitted.recipe.conditional else None
    captions = {}
    for name, start in _starts(fitted, data).items():
        at = milestones(how.steps, 11)
        frames = film(how, start, ROW, fitted.recipe.seed + 4, at, cond)
        save_grid(fitted.run.picture(name), frames.transpose(0, 1).flatten(0, 1), columns=len(at))
        captions[name] = [_caption(how.sampler, step) for step in at]
    write_json(fitted.run.picture("films").with_suffix(".json"), captions)


def _starts(fitted: Fitted, data: Dataset) -> dict[str, Tensor | None]:
    if isinstance(fitted.how().sampler, Annealed):
        return {"annealing": None}
    return {"chain-noise": None, "chain-data": to_model(data.test.images(slice(0, ROW)))}


def _caption(sampler: Any, step: int) -> str:
    """The number of steps taken, or the noise level that the step left."""
    if not isinstance(sampler, Annealed) or step == 0:
        return str(step) if step else "noise"
    level = sampler.level(step - 1)
    return "denoised" if level is None else f"{sampler.ladder[level]:.2g}"


def references(data: Dataset, judge: Judge, n: int) -> Sequence[tuple[str, Rows]]:
    """The two rows that keep a table honest: real training pictures (nothing can do better), and a Gaussian fit to the pixels."""
    train = data.train.images(slice(0, 5000)).flatten(1).double()
    mean, root = train.mean(0), torch.linalg.cholesky(train.T.cov() + 1e-6 * torch.eye(train.shape[1], dtype=torch.double))
    eps = torch.randn(n, train.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.double)
    gaussian = (mean + eps @ root.T).clamp(0, 1).float().unflatten(1, data.shape)
    n = min(n, len(data.train), len(data.test))
    return [("real training pictures", [row(m, seed=0) for m in judge_samples(data.train.images(slice(0, n)), data, judge)]),
            ("Gaussian of the pixels", [row(m, seed=0) for m in judge_samples(gaussian[:n], data, judge)])]
