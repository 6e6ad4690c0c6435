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
    """Print the resolved settings, the steps and the images, and do nothing."""
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
    """Another sampler than the run's: `gradlogp list samplers` names them, and one that does not fit
    the model is answered with those that do.
    """
    changes: Changes = ()
    """Change the sampler's settings, as in --set order=3 with --sampler dpm_solver.
    """
    seed: Seed = 0
    """Decides the samples."""
    batch: Annotated[int, Field(ge=1)] = 100
    """How many at a time: memory and speed, not what is drawn."""
    out: Path | None = None
    """x.png, a grid, or x.npz with `samples` (n, channels, height, width) float32 in [0, 1] and,
    for conditional models, `labels`; by default samples/samples-seed<seed>.png in the run folder.
    """


class Denoise(Arguments):
    """Restore a noisy picture of your own, of any size, which is fitted to the model's."""

    run: Positional[Path]
    """The run folder."""
    image: Positional[Path]
    """The picture: PNG, JPEG, ..."""
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
    """The restored picture, a PNG; by default samples/denoised-<name>.png in the run folder."""


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
    """Write a run in the form of another tool: ONNX, PyTorch export, TensorBoard, CSV, a Hub repository."""

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
            "ablation", "accuracy", "contamination", "objectives", "cd-bias", "guard", "overhead"
        ]
    ]
    """What to measure; `gradlogp list benches` says what each is."""
    seconds: Annotated[float | None, Field(gt=0)] = None
    """Seconds for each fit or figure (objectives, overhead); by default those of the committed
    page.
    """
    seeds: Annotated[int | None, Field(ge=1)] = None
    """Repetitions of each fit, or machines (ablation, cd-bias, contamination, guard, objectives);
    by default those of the committed page.
    """
    write: Path | None = None
    """The folder of the docs, to write the page and its pictures into."""
    date: str | None = None
    """The date that the page says it was made on; by default today's."""


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
    "denoise": (Denoise, "use.denoise"),
    "likelihood": (Likelihood, "use.likelihood"),
    "evaluate": (Evaluate, "use.evaluate"),
    "report": (Report, "use.report"),
    "export": (Export, "bridge.export"),
    "data": (Data, "use.fetch"),
    "bench": (Bench, "measure.bench"),
    "demo": (Demo, "learn.demo"),
}
