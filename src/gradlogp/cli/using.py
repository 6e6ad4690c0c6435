"""What the verbs take that put a trained run to work: draw, restore, classify, embed, detect,
weigh. The docstrings are the help, so the units stand there.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from tyro.conf import Positional, UseAppendAction, arg

from gradlogp.cli.shared import Arguments, Changes, Seed


class Sample(Arguments):
    """Draw examples from a trained run, from noise."""

    run: Positional[Path]
    """The run folder, or zoo:NAME (`gradlogp list zoo`)."""
    n: Annotated[int, Field(ge=1)] = 100
    """How many. Sample i of a seed is the same however many are drawn, in whatever batches."""
    cls: Annotated[int | None, Field(ge=0), arg(name="class")] = None
    """Of this class only (conditional models; by default each in turn)."""
    steps: Annotated[int | None, Field(ge=0)] = None
    """Sampler steps from noise to an example; of a score, noise levels. By default as the run's
    settings say.
    """
    sampler: str | None = None
    """Another sampler than the run's: `gradlogp list samplers` names them, and one that does not
    fit the model is answered with those that do.
    """
    changes: Changes = ()
    """Change the sampler's settings, as in --set order=3 with --sampler dpm_solver.
    """
    seed: Seed = 0
    """Decides the samples."""
    batch: Annotated[int, Field(ge=1)] = 100
    """How many at a time: memory and speed, not what is drawn."""
    first: Annotated[int, Field(ge=0)] = 0
    """The number of the first sample: --first 100 --n 50 draws samples 100 to 149 of the seed."""
    shard: str | None = None
    """I/M: of the --n samples the I-th of M parts, in whole batches, each the same to the bit as in
    one process; then --n 1000 --shard 3/8 draws 1000 / 8 of them.
    """
    out: Path | None = None
    """x.png, a sheet with all of them side by side; a folder, which gets a file for each (.png, .wav
    or .binvox); or x.npz with `samples` (n, ...) float32 in the data's own range and, for
    conditional models, `labels`. Volumes also as x.gif or x.binvox, waveforms as x.wav, rows as
    x.csv or x.parquet. By default samples/samples-seed<seed> in the run folder.
    """


class Denoise(Arguments):
    """Restore noisy pictures of your own, of any size, which are fitted to the model's.

    A sheet of pictures side by side, as `sample` writes, is none: `sample --out FOLDER` writes each.
    """

    run: Positional[Path]
    """The run folder, or zoo:NAME (`gradlogp list zoo`)."""
    image: Positional[Path]
    """The picture, PNG, JPEG, ..., or a folder of them."""
    sigma: Annotated[float, Field(gt=0, le=2)]
    """The standard deviation of the picture's noise, on [0, 1]: 25 of 255 is 0.1."""
    add_noise: bool = False
    """Take the picture as clean: add noise of sigma first, and measure the PSNR (dB) before and
    after.
    """
    seed: Seed = 0
    """Decides the noise that is added, and the chains."""
    data: Path | None = None
    """Folder with the data set that the run was trained on: an energy chooses its weight on
    validation pictures.
    """
    out: Path | None = None
    """The restored picture, a PNG, or a folder for those of a folder; by default
    samples/denoised-<name> in the run folder.
    """


class Inpaint(Arguments):
    """Fill in what is missing: a part of a picture, in several ways, or the empty cells of a table.

    $ gradlogp inpaint runs/faces photo.png --mask mask.png     # fitted to the model's size
    $ gradlogp inpaint runs/patients new.csv --out filled.csv   # all else stays as it is
    """

    run: Positional[Path]
    """The run folder, or zoo:NAME, of an energy or a score."""
    file: Positional[Path]
    """The picture: PNG, JPEG, ...; of a run of rows, a CSV or Parquet table with its columns."""
    mask: Path | None = None
    """A picture that is white where something is missing, fitted in the same way."""
    hole: Annotated[int, Field(ge=1)] | None = None
    """Or a square in the middle, of so many of the model's pixels a side."""
    n: Annotated[int, Field(ge=1)] = 16
    """How many completions; an empty cell gets their mean, or the most frequent category. Completion
    i of a seed is the same however many there are.
    """
    cls: Annotated[int | None, Field(ge=0), arg(name="class")] = None
    """Of this class only (conditional models; by default each in turn, and rows of any)."""
    resamples: Annotated[int, Field(ge=1)] = 5
    """Of pictures by a score: how often it goes through each ten noise levels; more is nearer to the
    exact law and slower.
    """
    seed: Seed = 0
    """Decides the completions."""
    out: Path | None = None
    """A PNG with the picture, its hole grey, and the completions; their mean goes beside it. Of a
    table, .csv or .parquet. By default samples/inpainted-<name> in the run folder.
    """


class Classify(Arguments):
    """Say which class files of your own belong to, with probabilities.

    By p(y | x) of a class-conditional energy, else by the evaluation classifier beside the run.
    """

    run: Positional[Path]
    """The run folder, or zoo:NAME; its data set has the classes."""
    files: Positional[tuple[Path, ...]]
    """Pictures and folders of them, or tables with the columns of the run's."""
    data: Path | None = None
    """Folder with the data set that the run was trained on."""
    out: Path = Path("classes.csv")
    """A CSV of file, row, class and the probability of each."""


class Embed(Arguments):
    """Turn files of your own into vectors: what a trained model makes of them before its last
    layer.
    """

    run: Positional[Path]
    """The run folder, or zoo:NAME (`gradlogp list zoo`)."""
    files: Positional[tuple[Path, ...]]
    """Pictures and folders of them, or tables with the columns of the run's."""
    by: Literal["model", "evaluator"] = "model"
    """model: the run's own. evaluator: the classifier beside the run."""
    level: Annotated[float, Field(gt=0, le=100)] = 0.5
    """The noise level that a score network is asked at, in standard deviations of the data."""
    data: Path | None = None
    """Folder with the data set that the run was trained on."""
    out: Path = Path("features.npz")
    """x.npz with `features` (n, d) float32, `files` and `rows`, or x.csv with a column for each."""


class Detect(Arguments):
    """Score rows of tables, pictures or recordings by how unlike the rest each is, and say why.

    $ gradlogp detect table.csv              # which of its own rows are outliers?
    $ gradlogp detect normal.csv new.csv     # which new rows are unlike the first?
    $ gradlogp detect photos/ inbox/         # the same of pictures, or of WAV files
    $ gradlogp detect runs/ebm inbox/        # unlike what a trained model knows
    """

    train: Positional[Path]
    """What is normal: a CSV or Parquet table, a folder of pictures or of WAV and FLAC files; or a
    run folder. A few unmarked outliers in it do no harm.
    """
    new: Positional[tuple[Path, ...]] = ()
    """What to score: tables with the same columns, files or folders. None: the rows or files of
    TRAIN itself, each by a detector that has not seen it.
    """
    share: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """The share of normal rows that may be flagged."""
    clean: bool = False
    """TRAIN is known to hold no outlier: take the threshold from all of it."""
    detector: str = "noised_energy"
    """`gradlogp list detectors` names them; gaussian_field is the one for photos of many things. Not for
    a run folder, which is one.
    """
    ignore: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="COLUMN")] = ()
    """A column that is no measurement, such as a number or a label; repeat it for more."""
    size: Annotated[int, Field(ge=4, le=1024)] | None = None
    """Pixels a side that pictures are fitted to; by default their own where they share a small one,
    else 32.
    """
    data: Path | None = None
    """Folder with the data set that a run was trained on: its validation part sets the threshold.
    """
    seed: Seed = 0
    """Decides the folds of the threshold."""
    out: Path = Path("scores.csv")
    """The scores: file, row, score, flagged and because, in the order of the rows or files."""


class Likelihood(Arguments):
    """Measure how probable a score run finds its test pictures, in bits per dimension, beside
    closed forms.

    The rows join those of evaluate in results.json.
    """

    run: Positional[Path]
    """The run folder, or zoo:NAME. Energies trained by short chains are refused: they are generators,
    which have no known density.
    """
    n: Annotated[int, Field(ge=1)] = 100
    """How many test pictures."""
    data: Path | None = None
    """Folder with the data set that the run was trained on."""
    divergence: Literal["hutchinson", "exact"] = "hutchinson"
    """hutchinson: by random probes, without bias. exact: one backward pass for every pixel."""
    probes: Annotated[int, Field(ge=1)] = 1
    """Random probes for each picture, the same throughout (hutchinson only)."""
    levels: Annotated[int, Field(ge=2)] = 40
    """Noise levels from the coarsest to the finest; four evaluations for each, and more where few
    levels lie so far apart that steps are made between them.
    """
    seed: Seed = 0
    """Decides the dequantisation and the probes."""
