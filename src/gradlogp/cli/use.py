"""The verbs that use what there is: list, sample, denoise, likelihood, evaluate, report, data."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradlogp import data, reports
from gradlogp.cli import show
from gradlogp.cli.arguments import Data, Denoise, Evaluate, Likelihood, List, Report, Sample
from gradlogp.cli.checks import data_of, dataset_exists, writable
from gradlogp.cli.terminal import Download, Terminal
from gradlogp.core.errors import UserError
from gradlogp.data import DATASETS, save_picture
from gradlogp.experiments import RECIPES as RECIPES  # its settings' classes are loaded by name
from gradlogp.harness import Fitted, evaluate as evaluate_run, evaluator_beside, evaluator_of, load
from gradlogp.harness.likelihood import likelihood as measure_likelihood
from gradlogp.metrics.image import psnr

CHOICE = 50  # validation pictures that an energy's weight is chosen on


def tables(args: List, terminal: Terminal) -> None:
    kinds = list(show.TABLES) if args.kind == "all" else [args.kind]
    for kind in kinds:
        terminal.say(show.listing(kind))
    terminal.result({kind: show.members(kind) for kind in kinds})


def sample(args: Sample, terminal: Terminal) -> None:
    settings = [change for group in args.changes for change in group]
    fitted = load(args.run).following(args.sampler, args.steps, settings)
    kind = fitted.spec.coordinates
    out = args.out or fitted.run.path / "samples" / f"samples-seed{args.seed}{kind.suffixes[0]}"
    writable(out, *kind.suffixes)
    began = time.perf_counter()
    x, labels = fitted.draw(args.n, args.seed, args.cls, batch=args.batch, listener=terminal)
    seconds = time.perf_counter() - began
    steps = fitted.sampling().steps
    kind.write(out, x, labels)
    terminal.say(
        f"{args.n:,} samples of {fitted.recipe.experiment}, {steps} steps each, in {seconds:.1f} s:"
        f" {out}"
    )
    terminal.result(
        {"out": out, "n": args.n, "seed": args.seed, "steps": steps, "seconds": seconds}
    )


def denoise(args: Denoise, terminal: Terminal) -> None:
    picture, fitted = data.read_picture(args.image), load(args.run)
    out = args.out or args.run / "samples" / f"denoised-{args.image.stem}.png"
    writable(out, ".png")
    channels, height, width = _picture_shape(fitted)
    given, fitting = data.fit(picture, (channels, height, width))
    terminal.say(f"{args.image}: {fitting}")
    noisy = given[None]
    if args.add_noise:
        noisy = noisy + args.sigma * torch.randn(
            noisy.shape, generator=torch.Generator().manual_seed(args.seed)
        )
        save_picture(out.with_stem(f"{out.stem}-noisy"), noisy[0])
    validation = _validation(fitted, args, terminal)
    restoration = fitted.recipe.restoration(
        fitted.model, fitted.spec, validation, args.sigma, args.seed
    )
    restored = restoration.restore(noisy)
    save_picture(out, restored[0])
    terminal.say(f"restored: {out}\n{restoration.says}")
    result: dict[str, Any] = {
        "out": out,
        "fitted": fitting,
        "sigma": args.sigma,
        "how": restoration.says,
    }
    if args.add_noise:
        before = float(psnr(given[None], noisy.clamp(0, 1)))
        after = float(psnr(given[None], restored))
        terminal.say(
            f"PSNR: {before:.2f} dB with the noise ({out.stem}-noisy.png), {after:.2f} dB restored"
        )
        result |= {"psnr_noisy": before, "psnr_restored": after}
    terminal.result(result)


def _picture_shape(fitted: Fitted) -> tuple[int, int, int]:
    if fitted.spec.kind != "picture":
        raise UserError(
            f"{fitted.run.path} was trained on {fitted.spec.coordinates.plural}, and denoise takes a"
            " picture; take a run of pictures."
        )
    channels, height, width = fitted.spec.shape
    return channels, height, width


def _validation(fitted: Fitted, args: Denoise, terminal: Terminal) -> Tensor:
    """Clean pictures for the choice of an energy's weight; a score has nothing to choose."""
    if not fitted.recipe.takes_steps:
        return torch.empty(0, *fitted.spec.shape)
    return data_of(fitted.run, args.data, terminal).validation.scaled(slice(0, CHOICE))


def likelihood(args: Likelihood, terminal: Terminal) -> None:
    fitted = trained(args.run, "likelihood")
    probes = args.probes if args.divergence == "hutchinson" else None
    fitted.recipe.coarsest_level()  # a generator is refused before any data are read
    dataset = data_of(fitted.run, args.data, terminal)
    rows = measure_likelihood(
        fitted, dataset, args.n, probes, args.levels, seed=args.seed, listener=terminal
    )
    path = reports.write(args.run)
    terminal.show(show.measures(rows))
    terminal.say(
        "\n".join([*(f"{row['metric']}: {row['protocol']}" for row in rows), f"report: {path}"])
    )
    terminal.result({"run": args.run, "report": path, "rows": rows})


def trained(path: Path, verb: str) -> Fitted:
    """The run at `path`; UserError where its training has not come to its end."""
    fitted = load(path)
    if fitted.run.status()["state"] == "training":
        raise UserError(
            f"{path} is not trained to its end; the command that began it goes on, then {verb}."
        )
    return fitted


def evaluate(args: Evaluate, terminal: Terminal) -> None:
    fitted = trained(args.run, "evaluate")
    dataset = data_of(fitted.run, args.data, terminal)
    evaluator = evaluator_of(dataset, evaluator_beside(args.run, dataset), terminal)
    rows = evaluate_run(fitted, dataset, evaluator, terminal)
    path = reports.write(args.run)
    terminal.show(show.measures(rows))
    terminal.say(f"features and labels by {evaluator.name}\nreport: {path}")
    terminal.result({"run": args.run, "report": path, "rows": rows})


def report(args: Report, terminal: Terminal) -> None:
    path = reports.write(args.folder)
    terminal.say(f"report: {path}")
    results = reports.write_results(args.folder, args.results) if args.results else None
    if results:
        terminal.say(f"results: {results}")
    terminal.result({"report": path, "results": results})


def fetch(args: Data, terminal: Terminal) -> None:
    dataset_exists(args.name)
    progress = Download(terminal)
    try:
        dataset = data.load(args.name, args.data, progress)
    except UserError:
        if not hasattr(DATASETS.get(args.name), "download"):
            raise
        data.download(args.name, args.data, progress)
        dataset = data.load(args.name, args.data)
    terminal.end()
    for note in dataset.notes:
        terminal.say(note)
    counts = {name: len(getattr(dataset, name)) for name in ("train", "validation", "test")}
    shape = "x".join(map(str, dataset.shape))
    terminal.say(
        f"{args.name} {'is downloaded' if progress.file else 'is there'}: examples of {shape}, "
        f"{', '.join(f'{n:,} {name}' for name, n in counts.items())}"
    )
    terminal.say(f"classes: {', '.join(dataset.classes) or 'none'}")
    for file, checksum in dataset.checksums.items():
        terminal.say(f"sha256 {checksum}  {file}")
    terminal.result(
        {
            "name": args.name,
            "shape": dataset.shape,
            "counts": counts,
            "classes": dataset.classes,
            "checksums": dataset.checksums,
            "downloaded": bool(progress.file),
        }
    )
