"""What each verb takes. The docstrings are the help, so the units stand there. Nothing heavy is
imported: help is instant.

A verb is one class here, one function in `learn` or `use`, and one line in VERBS.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from tyro.conf import Positional, arg

from gradlogp.cli.shared import Arguments, Changes, Changing, Preset, Seed
from gradlogp.cli.using import Classify, Denoise, Detect, Embed, Inpaint, Likelihood, Sample

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
    "zoo",
]


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
    shard: bool = False
    """Cut weights, gradients, moments and averages over the processes (FSDP), for networks that a card
    cannot train.
    """


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


class Evaluate(Arguments):
    """Measure a trained run: fresh samples judged by a classifier, denoising, chains; fills
    results.json.
    """

    run: Positional[Path]
    """The run folder, or zoo:NAME (`gradlogp list zoo`)."""
    data: Path | None = None
    """Folder with the data set that the run was trained on."""
    samples: Annotated[tuple[Path, ...] | None, Field(min_length=1), arg(metavar="PATH ...")] = None
    """Measure these samples instead, .npz of `gradlogp sample`, shards in any order: the numbers of
    one process, to the bit. They are printed, and results.json stays as it is.
    """


class Report(Arguments):
    """Write report.html into a run folder or a comparison's folder."""

    folder: Positional[Path]
    """The folder."""
    results: Path | None = None
    """Also write the page of results into this folder, as in docs/results: <comparison>.md, and its
    pictures in images/.
    """


class Export(Arguments):
    """Write a run in the form of another tool: ONNX, PyTorch export, a page that runs its chains,
    TensorBoard, CSV, a Hub repository.
    """

    run: Positional[str]
    """The run folder, zoo:NAME or hf:USER/REPOSITORY."""
    place: Positional[str] = ""
    """The folder to write into, of --to page also an .html file, or with --to hub a repository
    hf:USER/NAME to upload to; by default exports/<form> in the run folder.
    """
    to: Literal["onnx", "pt2", "page", "tensorboard", "csv", "hub", "slim", "zoo"] = "slim"
    """onnx, pt2: what the model can be asked, for any batch. page: an energy's chains, running in
    whoever's browser opens it. slim: the two files that load. zoo: as the zoo holds it, in half
    precision.
    """
    runtime: Path | None = None
    """Of a page: onnxruntime-web, as `npm pack onnxruntime-web` fetches it (a .tgz), or its folder;
    by default node_modules/onnxruntime-web.
    """
    slim: bool = False
    """The same as --to slim: config.json and ema.safetensors alone."""


class Show(Arguments):
    """Show what a field is and what its chains do, as a picture or a film: a density on the plane,
    or a run.

    gradlogp show ring --sampler langevin --out chains.gif

    gradlogp show runs/ebm --out film.gif
    """

    what: Positional[str]
    """A density on the plane, by its name or the first word of it (ring, grid, banana, rings, ...),
    or a run folder, or zoo:NAME.
    """
    form: Annotated[
        Literal["field", "chains", "film", "ladder"] | None, arg(name="as", metavar="FORM")
    ] = None
    """field: energy and score. chains: walkers on the plane. film: chains of a run, from noise.
    ladder: what a run's score makes of its samples at each noise level. By default chains of a
    density and the film of a run.
    """
    sampler: str = "langevin"
    """Of chains: a sampler that needs nothing but a step size or noise levels."""
    steps: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Of chains: sampler steps."""
    n: Annotated[int | None, Field(ge=1, le=10_000)] = None
    """Walkers (by default 150), or examples of a film (by default 25)."""
    changes: Changes = ()
    """Change the sampler's settings, as in --set step_size=0.05.
    """
    cls: Annotated[int | None, Field(ge=0), arg(name="class")] = None
    """Of a film: of this class only (conditional models)."""
    seed: Seed = 0
    """Decides where chains begin, and their noise."""
    out: Path | None = None
    """A film: x.gif, .webp, .png (animated) or .html. A picture: x.png. By default named after what
    is shown, such as chains.gif.
    """


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
            "energies",
            "guard",
            "growth",
            "peers",
            "scale",
            "overhead",
        ]
    ]
    """What to measure; `gradlogp list benches` says what each is."""
    seconds: Annotated[float | None, Field(gt=0)] = None
    """Seconds for each fit or figure (energies, objectives, race, overhead, peers, scale); by
    default those of the committed page.
    """
    seeds: Annotated[int | None, Field(ge=1)] = None
    """Repetitions of each fit, machines, or kills (ablation, cd-bias, contamination, energies,
    guard, objectives, race; scale); by default those of the committed page.
    """
    dataset: str | None = None
    """The data set (energies, noise-scales, race, scale); by default that of the committed page, or the
    digits.
    """
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


class App(Arguments):
    """Open the studio, a page in your browser: watch chains, draw, move particles, compare, train."""

    runs: Path = Path("runs")
    """The folder with run folders to show, into which the studio also trains."""
    data: Path | None = None
    """Folder with the data sets that the runs were trained on."""
    host: str = "127.0.0.1"
    """The address to listen on. Anything but this machine itself needs a token."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8765
    """0 takes any that is free."""
    token: Annotated[str, Field(min_length=16, max_length=200, pattern=r"^[\w-]+$")] | None = None
    """What every visitor must bear; by default one is drawn where the host is not this machine."""
    open: bool = False
    """Open it in the browser at once."""


VERBS: dict[
    str, tuple[type[Arguments], str]
] = {  # verb -> what it takes, the function that does it
    "list": (List, "contents.tables"),
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
    "app": (App, "studio.app"),
    "show": (Show, "seen.show"),
    "data": (Data, "use.fetch"),
    "bench": (Bench, "measure.bench"),
    "leaderboard": (Leaderboard, "publish.leaderboard"),
    "paper": (Paper, "publish.paper"),
    "demo": (Demo, "demo.demo"),
}
