"""What each verb takes. The docstrings are the help, so the units stand there. Nothing heavy is
imported: help is instant.

A verb is one class here, one function in `learn` or `use`, and one line in VERBS.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tyro.conf import Positional, UseAppendAction, arg

Preset = Literal["quick", "full", "gpu"]
Kind = Literal[
    "all",
    "samplers",
    "objectives",
    "models",
    "processes",
    "targets",
    "baselines",
    "detectors",
    "tasks",
    "metrics",
    "experiments",
    "comparisons",
    "kinds",
    "data",
    "presets",
    "benches",
]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Changes = Annotated[
    tuple[tuple[str, ...], ...], UseAppendAction, arg(name="set", metavar="SECTION.KEY=VALUE")
]


class Refused(Exception):
    """Words or flags that no verb takes. Not a ValueError, which tyro would put into a box."""


class Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    as_json: Annotated[bool, arg(name="json")] = False
    """Print the result, and only that, as JSON on stdout, and all other words on stderr."""

    @property
    def aside(self) -> bool:
        """Whether stdout is for the result alone, and words go to stderr, without --json too."""
        return False

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            wrong = error.errors()[0]
            flag = str(wrong["loc"][0]).replace("cls", "class").replace("_", "-")
            raise Refused(
                f"--{flag}: {wrong['msg'][:1].lower()}{wrong['msg'][1:]}, got {wrong['input']!r}."
            ) from None


class Changing(Arguments):
    """Verbs that train."""

    changes: Changes = ()
    """Change any setting that --dry-run shows, as in --set training.images=20000 training.batch=32.
    """
    dry_run: bool = False
    """Print the resolved settings and what training will take: steps, images, seconds (by a few
    steps on the data) and megabytes of memory; and do nothing more.
    """
    data: Path | None = None
    """Folder with the data set's published files; by default GRADLOGP_DATA, else they are
    downloaded once.
    """
    last_whole: bool = False
    """Where the newest checkpoint is damaged, go on from the last whole one."""
    track: Literal["tensorboard", "wandb", "trackio", "mlflow"] | None = None
    """Also tell the numbers and pictures of each run to this tracker while it trains; TensorBoard's
    files go into tracker/ in the run folder.
    """

    @property
    def overrides(self) -> list[str]:
        return [change for group in self.changes for change in group]


class List(Arguments):
    """Print what there is: samplers, objectives, models, processes, targets, tasks, metrics,
    experiments, data and more.
    """

    kind: Positional[Kind] = "all"
    """Only this table."""


class Train(Changing):
    """Train one experiment into a run folder; the same command again goes on where it stopped."""

    experiment: Positional[str]
    """What to train; `gradlogp list experiments` names them."""
    dataset: str = "digits"
    """`gradlogp list data` names them; folder:PATH@32 takes pictures of your own, fitted to 32x32.
    """
    preset: Preset = "quick"
    """quick: two CPU cores, minutes. full: an hour of CPU, or a GPU. gpu: one large GPU."""
    seed: Seed = 0
    """Decides all randomness of the run."""
    out: Path | None = None
    """The run folder; by default runs/<experiment>-<date>-<id>."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; by default cuda where there is one, else cpu."""
    processes: Annotated[int, Field(ge=1, le=64)] | None = None
    """Processes on this machine that split each batch; by default 1, or those that torchrun or srun
    began.
    """
    max_restarts: Annotated[int, Field(ge=0)] = 3
    """How often the processes are begun again where one is killed (--processes only)."""


class Compare(Changing):
    """Train and evaluate a method and its rivals under one protocol; the same command again goes on
    where it stopped.
    """

    comparison: Positional[str]
    """What to compare; `gradlogp list comparisons` names them."""
    dataset: str | None = None
    """`gradlogp list data` names them; folder:PATH@32 takes pictures of your own, a subfolder for
    each class. By default what the comparison is made for.
    """
    preset: Preset = "quick"
    """quick: two CPU cores, minutes. full: an hour of CPU, or a GPU. gpu: one large GPU."""
    seed: Seed = 0
    """The first seed."""
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """How many seeds: seed, seed + 1, ..."""
    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    """Methods trained at the same time, a process each; by default one for each core, and one where
    there is a GPU.
    """
    out: Path | None = None
    """The folder for all its runs; by default runs/compare-<comparison>-<date>-<id>."""
    engine: Literal["local", "slurm", "ray"] = "local"
    """Where the parts, a method with a seed each, are done: local processes, SLURM jobs or Ray
    tasks.
    """
    parts: bool = False
    """Train the evaluation classifier, print a command for each part, one a line, and do none."""
    part: str | None = None
    """Do one part alone, METHOD-seedN."""
    gather: bool = False
    """Write the results of parts that are all done."""

    @property
    def aside(self) -> bool:
        return self.parts


class Sample(Arguments):
    """Draw examples from a trained run, from noise."""

    run: Positional[Path]
    """The run folder."""
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
    """x.png, a grid, or x.npz with `samples` (n, ...) float32 in the data's own range and, for
    conditional models, `labels`; volumes also as x.gif or x.binvox, waveforms as x.wav, rows as
    x.csv or x.parquet. By default samples/samples-seed<seed> in the run folder.
    """


class Denoise(Arguments):
    """Restore noisy pictures of your own, of any size, which are fitted to the model's."""

    run: Positional[Path]
    """The run folder."""
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
    """Fill in what is missing of a picture, in several ways; it is fitted to the model's size."""

    run: Positional[Path]
    """The run folder, of an energy or a score."""
    image: Positional[Path]
    """The picture: PNG, JPEG, ..."""
    mask: Path | None = None
    """A picture that is white where something is missing, fitted in the same way."""
    hole: Annotated[int, Field(ge=1)] | None = None
    """Or a square in the middle, of so many of the model's pixels a side."""
    n: Annotated[int, Field(ge=1)] = 16
    """How many completions. Completion i of a seed is the same however many there are."""
    cls: Annotated[int | None, Field(ge=0), arg(name="class")] = None
    """Of this class only (conditional models; by default each in turn)."""
    resamples: Annotated[int, Field(ge=1)] = 5
    """Of a score: how often it goes through each ten noise levels; more is nearer to the exact law
    and slower.
    """
    seed: Seed = 0
    """Decides the completions."""
    out: Path | None = None
    """A PNG with the picture, its hole grey, and the completions; their mean goes beside it. By
    default samples/inpainted-<name>.png in the run folder.
    """


class Classify(Arguments):
    """Say which class files of your own belong to, with probabilities.

    By p(y | x) of a class-conditional energy, else by the evaluation classifier beside the run.
    """

    run: Positional[Path]
    """The run folder; its data set has the classes."""
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
    """The run folder."""
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
    """Find what is unlike the rest: rows of tables, pictures or recordings; a score for each, high
    = anomalous, and what speaks for it.

    gradlogp detect table.csv                 which of its own rows are outliers?
    gradlogp detect normal.csv new.csv        which new rows are unlike the first?
    gradlogp detect photos/ inbox/            the same of pictures, or of WAV files
    gradlogp detect runs/ebm inbox/           unlike what a trained model knows
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
    """`gradlogp list detectors` names them. Not for a run folder, which is one."""
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
    """The run folder. Energies trained by short chains are refused: they are generators, which have
    no known density.
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
    """Noise levels from the coarsest to the finest; four evaluations each."""
    seed: Seed = 0
    """Decides the dequantisation and the probes."""


class Evaluate(Arguments):
    """Measure a trained run: fresh samples judged by a classifier, denoising, chains; fills
    results.json.
    """

    run: Positional[Path]
    """The run folder."""
    data: Path | None = None
    """Folder with the data set that the run was trained on."""


class Report(Arguments):
    """Write report.html into a run folder or a comparison's folder."""

    folder: Positional[Path]
    """The folder."""
    results: Path | None = None
    """Also write the page of results into this folder, as in docs/results: <comparison>.md, and its
    pictures in images/.
    """


class Export(Arguments):
    """Write a run in the form of another tool: ONNX, PyTorch export, TensorBoard, CSV, a Hub
    repository.
    """

    run: Positional[str]
    """The run folder, or hf:USER/REPOSITORY."""
    place: Positional[str] = ""
    """The folder to write into, or with --to hub a repository hf:USER/NAME to upload to; by default
    exports/<form> in the run folder.
    """
    to: Literal["onnx", "pt2", "tensorboard", "csv", "hub", "slim"] = "slim"
    """onnx, pt2: what the model can be asked, for any batch. slim: the two files that load."""
    slim: bool = False
    """The same as --to slim: config.json and ema.safetensors alone."""


class Data(Arguments):
    """Download a data set, with checksums, or say that it is there; print its shape and counts."""

    name: Positional[str]
    """`gradlogp list data` names them."""
    data: Path | None = None
    """The folder to look in and to download to; by default GRADLOGP_DATA, else the user's cache."""


class Bench(Arguments):
    """Measure what is promised of accuracy and speed, and print the page; --write lays it down in
    the docs.
    """

    name: Positional[
        Literal[
            "ablation",
            "accuracy",
            "contamination",
            "objectives",
            "cd-bias",
            "noise-geometry",
            "noise-scales",
            "race",
            "guard",
            "overhead",
        ]
    ]
    """What to measure; `gradlogp list benches` says what each is."""
    seconds: Annotated[float | None, Field(gt=0)] = None
    """Seconds for each fit or figure (objectives, race, overhead); by default those of the
    committed page.
    """
    seeds: Annotated[int | None, Field(ge=1)] = None
    """Repetitions of each fit, or machines (ablation, cd-bias, contamination, guard, objectives);
    by default those of the committed page.
    """
    dataset: str | None = None
    """The data set (noise-scales, race); by default that of the committed page, or the digits."""
    write: Path | None = None
    """The folder of the docs, to write the page, its rows and its pictures into."""
    date: str | None = None
    """The date that the page says it was made on; by default today's."""


class Leaderboard(Arguments):
    """Put all methods of all comparisons into one table for each data set, task and protocol."""

    results: Positional[Path] = Path("docs/results")
    """A folder of results, as `report --results` lays them down, or of comparisons' folders."""
    dataset: str | None = None
    """Only this data set."""
    task: Literal["generating", "restoring", "detecting", "representing", "classifying"] | None = (
        None
    )
    """Only this task."""
    out: Path | None = None
    """Also write x.html, one page that sorts, or x.md."""


class Paper(Arguments):
    """Make the technical report, HTML and PDF, from its sources and committed results."""

    results: Path = Path("docs/results")
    """The folder of results, as `report --results` and `bench --write` lay them down."""
    out: Path = Path("report")
    """The folder for report.html and report.pdf."""
    sources: Path | None = None
    """The folder of the sources; by default report beside the results."""


class Demo(Arguments):
    """The main job in a few minutes: four models learn to draw digits, side by side, and a report
    shows how well.
    """

    out: Path = Path("runs/demo")
    """The folder for all its runs."""
    seed: Seed = 0
    """Decides all randomness."""


VERBS: dict[
    str, tuple[type[Arguments], str]
] = {  # verb -> what it takes, the function that does it
    "list": (List, "use.tables"),
    "train": (Train, "learn.train"),
    "compare": (Compare, "learn.compare"),
    "sample": (Sample, "use.sample"),
    "denoise": (Denoise, "restore.denoise"),
    "inpaint": (Inpaint, "restore.inpaint"),
    "classify": (Classify, "describe.classify"),
    "embed": (Embed, "describe.embed"),
    "detect": (Detect, "detect.detect"),
    "likelihood": (Likelihood, "use.likelihood"),
    "evaluate": (Evaluate, "use.evaluate"),
    "report": (Report, "use.report"),
    "export": (Export, "bridge.export"),
    "data": (Data, "use.fetch"),
    "bench": (Bench, "measure.bench"),
    "leaderboard": (Leaderboard, "publish.leaderboard"),
    "paper": (Paper, "publish.paper"),
    "demo": (Demo, "learn.demo"),
}
