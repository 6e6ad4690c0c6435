"""The verbs that restore what one has: pictures by denoise, pictures and tables by inpaint."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradlogp import data, tasks
from gradlogp.cli.checks import data_of, spared, writable
from gradlogp.cli.terminal import Terminal
from gradlogp.cli.using import Denoise, Inpaint
from gradlogp.core.errors import UserError
from gradlogp.core.words import counted
from gradlogp.data import PICTURES, Columns, save_grid, save_picture
from gradlogp.data.files import files_below
from gradlogp.data.holes import TYPED, read_holes
from gradlogp.data.picture import refuse_sheet
from gradlogp.experiments import RECIPES as RECIPES  # its settings' classes are loaded by name
from gradlogp.harness import Fitted, impute, load
from gradlogp.harness.forms import fitting
from gradlogp.harness.imputation import require_completing
from gradlogp.metrics.image import psnr

ENDINGS = (".gz", ".csv", ".tsv", ".txt", *TYPED)  # of tables
CHOICE = 50  # validation pictures that an energy's weight is chosen on
BATCH = 50  # pictures restored at a time


def denoise(args: Denoise, terminal: Terminal) -> None:
    many = args.image.is_dir()
    files = files_below(args.image, PICTURES) if many else [args.image]
    if not files:
        raise UserError(f"{args.image}: expected a picture or a folder of pictures, found none.")
    pictures = [data.read_picture(file) for file in files]
    fitted = load(args.run)
    out = (
        args.out
        or fitted.run.path / "samples" / f"denoised-{args.image.stem}{'' if many else '.png'}"
    )
    writable(out, *(() if many else (".png",)))
    spared(out, args.image)
    shape = picture_shape(fitted, "denoise")
    for file, picture in zip(files, pictures, strict=True):
        refuse_sheet(file, picture, shape)
    fits = [data.fit(picture, shape) for picture in pictures]
    given = torch.stack([x for x, _ in fits])
    terminal.say(f"{args.image}: {fitting([how for _, how in fits])}")
    places = [out / f"{file.stem}.png" for file in files] if many else [out]
    _distinct(files, places)
    noisy = _noised(args, given, places)
    validation = _validation(fitted, args, terminal)
    restoration = fitted.recipe.restoration(
        fitted.model, fitted.spec, validation, args.sigma, args.seed
    )
    restored = _restored(restoration.restore, noisy, places, terminal)
    terminal.say(f"restored: {out}\n{restoration.says}")
    result: dict[str, Any] = {
        "out": out,
        "n": len(files),
        "fitted": fits[0][1],
        "sigma": args.sigma,
        "how": restoration.says,
    }
    if args.add_noise:
        result |= _gain(given, noisy, restored, terminal)
    terminal.result(result)


def _distinct(files: Sequence[Path], places: Sequence[Path]) -> None:
    if len(set(places)) < len(places):
        twice = next(f for f, p in zip(files, places, strict=True) if places.count(p) > 1)
        raise UserError(f"{twice}: another picture has the same name; rename one of the two.")


def _noised(args: Denoise, given: Tensor, places: Sequence[Path]) -> Tensor:
    """The pictures as they came, or with noise added, which is also written."""
    if not args.add_noise:
        return given
    generator = torch.Generator().manual_seed(args.seed)
    noisy = given + args.sigma * torch.randn(given.shape, generator=generator)
    for x, place in zip(noisy, places, strict=True):
        save_picture(place.with_stem(f"{place.stem}-noisy"), x)
    return noisy


def _restored(restore: Any, noisy: Tensor, places: Sequence[Path], terminal: Terminal) -> Tensor:
    """Restored pictures, each batch written when it is done."""
    parts = []
    terminal.begin("denoise", len(noisy))
    for first in range(0, len(noisy), BATCH):
        part = restore(noisy[first : first + BATCH])
        for x, place in zip(part, places[first : first + BATCH], strict=True):
            save_picture(place, x)
        parts.append(part)
        terminal.advance(len(part))
    terminal.end()
    return torch.cat(parts)


def _gain(given: Tensor, noisy: Tensor, restored: Tensor, terminal: Terminal) -> dict[str, float]:
    before = float(psnr(given, noisy.clamp(0, 1)))
    after = float(psnr(given, restored))
    terminal.say(f"PSNR: {before:.2f} dB with the noise (-noisy.png), {after:.2f} dB restored")
    return {"psnr_noisy": before, "psnr_restored": after}


def picture_shape(fitted: Fitted, verb: str, what: str = "a picture") -> tuple[int, int, int]:
    if fitted.spec.kind != "picture":
        raise UserError(
            f"{fitted.run.path} was trained on {fitted.spec.coordinates.plural}, and {verb} takes"
            f" {what}; take a run of these."
        )
    channels, height, width = fitted.spec.shape
    return channels, height, width


def _validation(fitted: Fitted, args: Denoise, terminal: Terminal) -> Tensor:
    """Clean pictures for the choice of an energy's weight; a score has nothing to choose."""
    if not fitted.recipe.takes_steps:
        return torch.empty(0, *fitted.spec.shape)
    return data_of(fitted.run, args.data, terminal).validation.scaled(slice(0, CHOICE))


def inpaint(args: Inpaint, terminal: Terminal) -> None:
    fitted = load(args.run)
    (_cells if fitted.spec.kind == "row" else _hole)(args, fitted, terminal)


def _cells(args: Inpaint, fitted: Fitted, terminal: Terminal) -> None:
    """The empty cells of a table."""
    if args.mask is not None or args.hole is not None:
        raise UserError(
            "--mask and --hole are for pictures: of a table, its empty cells are filled in; leave"
            " them out."
        )
    parquet = args.file.suffix.lower() in TYPED
    name = f"inpainted-{_bare(args.file)}{'.parquet' if parquet else '.csv'}"
    out = args.out or fitted.run.path / "samples" / name
    writable(out, ".csv", ".parquet")
    spared(out, args.file)
    holes = read_holes(args.file, table_columns(fitted))
    began = time.perf_counter()
    x = impute(fitted, holes.x, args.n, args.seed, args.cls, terminal)
    holes.write(out, x)
    seconds = time.perf_counter() - began
    cells, rows = int(holes.empty.sum()), int(holes.empty.any(1).sum())
    for note in holes.notes:
        terminal.say(f"{args.file.name}: {note}")
    each = ", ".join(f"{n:,} of {name}" for name, n in holes.counts.items())
    terminal.say(
        f"{counted(cells, 'empty cell')} in {rows:,} of {counted(len(holes.x), 'row')} filled in ({each}),"
        f" by the mean of {counted(args.n, 'completion')} of {fitted.recipe.experiment}: {out}"
    )
    terminal.result(
        {"out": out, "n": args.n, "cells": cells, "rows": rows, "columns": dict(holes.counts)}
        | {"seconds": seconds}
    )


def _bare(path: Path) -> str:
    """The name of a table without its endings: patients.2025.csv.gz is patients.2025."""
    while path.suffix.lower() in ENDINGS:
        path = path.with_suffix("")
    return path.name


def table_columns(fitted: Fitted) -> Columns:
    """The columns of the table that a model of rows has learned; UserError where it has had none."""
    if fitted.spec.columns is None:
        raise UserError(
            f"{fitted.run.path} was trained on arrays, whose columns have no names; train on csv:PATH,"
            " or fill in arrays by gradlogp.harness.impute."
        )
    return fitted.spec.columns


def _hole(args: Inpaint, fitted: Fitted, terminal: Terminal) -> None:
    """A part of a picture."""
    picture = data.read_picture(args.file)
    out = args.out or fitted.run.path / "samples" / f"inpainted-{args.file.stem}.png"
    mean = out.with_stem(f"{out.stem}-mean")
    for place in (out, mean):
        writable(place, ".png")
        spared(place, args.file, args.mask)
    shape = picture_shape(fitted, "inpaint", "a picture, or of a run of rows a table")
    require_completing(fitted)
    refuse_sheet(args.file, picture, shape)
    given, how_fitted = data.fit(picture, shape)
    free = _missing(args, picture.size, shape)
    terminal.say(f"{args.file}: {how_fitted}; {int(free[0].sum()):,} pixels are filled in")
    kind, cond = fitted.spec.coordinates, fitted.asked(args.n, args.cls)
    began = time.perf_counter()
    how, y = fitted.sampling(), kind.to_model(given)
    x = tasks.inpaint(
        how, y, free, args.n, args.seed, cond, resamples=args.resamples, listener=terminal
    )
    x = torch.where(free, x, given)
    save_grid(out, torch.cat([torch.where(free, 0.5, given)[None], x]))
    save_picture(mean, x.mean(0))
    seconds = time.perf_counter() - began
    terminal.say(
        f"{counted(args.n, 'completion')}, after the picture with its hole: {out}\nmean: {mean}"
    )
    terminal.result(
        {"out": out, "mean": mean, "n": args.n, "missing": int(free[0].sum()), "seconds": seconds}
    )


def _missing(args: Inpaint, size: tuple[int, int], shape: tuple[int, int, int]) -> Tensor:
    """True where a pixel is to be filled in: the white of a mask, which has the proportions of the
    picture of `size`, or a square in the middle.
    """
    if (args.mask is None) == (args.hole is None):
        raise UserError("inpaint needs --mask PICTURE or --hole PIXELS, one of the two.")
    _, height, width = shape
    if args.mask is not None:
        given = data.read_picture(args.mask)
        if given.width * size[1] != given.height * size[0]:
            raise UserError(
                f"{args.mask} is {given.width}x{given.height} and {args.file} {size[0]}x{size[1]}:"
                " draw the mask on the picture, in its size."
            )
        mask, _ = data.fit(given, (1, height, width))
        free = (mask > 0.5).expand(shape)
    else:
        assert args.hole is not None
        if not 1 <= args.hole < min(height, width):
            raise UserError(
                f"--hole {args.hole}: expected a square inside the picture, which the model sees as"
                f" {width}x{height}: 1 to {min(height, width) - 1} pixels."
            )
        free = torch.zeros(shape, dtype=torch.bool)
        top, left = ((side - args.hole) // 2 for side in (height, width))
        free[:, top : top + args.hole, left : left + args.hole] = True
    if not free.any():
        raise UserError(f"{args.mask}: no pixel is white, so there is nothing to fill in.")
    return free
