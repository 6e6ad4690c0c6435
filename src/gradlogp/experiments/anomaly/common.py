r"""Anomaly detection: the protocols, the trials that classical detectors stand in, and what all
methods are summed up by.

Every method sees normal examples alone; choices are made on held-out normal examples, or fixed
beforehand. Four protocols:

* **one-class**: learn one digit of the train part; the official test part, that digit against the
nine others. * **held-out**: learn nine digits; the official test part, the tenth digit is the
anomaly. AUROC first: AUPRC depends on its share. * **cross**: learn one data set; its test part
against the test part of another, against noise and against constant pictures. * **tables**: the
sets of ADBench, half of the normal rows to learn from, the rest and all anomalies to test (see
`data.adbench`).

Examples are centred on the mean of the normal training examples; columns of tables are divided by
their standard deviation as well.

References: Ruff et al. (2018), Deep One-Class Classification (one-class); Zenati et al. (2018),
arXiv 1802.06222 (held-out); Ren et al. (2019), arXiv 1906.02845 (cross); Han et al. (2022), arXiv
2206.09426 (tables); DeLong et al. (1988) (paired tests).
"""

import abc
import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from gradlogp import data
from gradlogp.baselines.autoencoder import Reconstruction, autoencoder
from gradlogp.baselines.detectors import (
    ClusterMeans,
    Detector,
    Isolation,
    Mahalanobis,
    OneClassSVM,
    PrincipalComponents,
    Spectrum,
    subsample,
)
from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.neighbours import nearest
from gradlogp.core.random import seeded
from gradlogp.data import Dataset, Split
from gradlogp.data.adbench import table, tables
from gradlogp.harness import figures
from gradlogp.harness.recipe import to_model
from gradlogp.harness.evaluate import Rows
from gradlogp.harness.table import Table
from gradlogp.harness.trial import Context, Cost, Recorder, Trial, items
from gradlogp.metrics import Measure
from gradlogp.metrics.detection import auprc, auroc, auroc_difference, fpr95
from gradlogp.objectives import Objective
from gradlogp.runs import tensors as files, write_json
from gradlogp.runs.lock import hold
from gradlogp.tasks import detect
from gradlogp.training import Guard, GuardSettings, Learner, Training, shuffled

PROTOCOLS = ("one-class", "held-out", "cross", "tables")
NORMAL = 0
CLOUDS = ("cross fashion_mnist", "one-class 2")  # the problems whose score norms are drawn


@dataclass(frozen=True, eq=False)
class Problem:
    """Normal examples to learn from [n, *shape] and to choose on, a test part [m, *shape], and of
    what kind each of it is, [m].
    """

    name: str
    protocol: str
    says: str
    normal: Tensor
    held_out: Tensor
    test: Tensor
    kind: Tensor  # 0 = normal, k = the k-th of `kinds`
    kinds: tuple[str, ...] = ("anomalies",)

    def thinned(self, most: int) -> "Problem":
        """With every n-th test example, `most` or a little more of them."""
        every = slice(None, None, max(1, len(self.test) // most))
        return replace(self, test=self.test[every], kind=self.kind[every])

    @property
    def std(self) -> float:
        """The root mean square entry of the (centred) normal examples."""
        return float(self.normal.square().mean().sqrt())


@final
@dataclass(frozen=True)
class Scope:
    """Which protocols, and of what; nothing named is all. `test` thins the held-out and cross test
    parts, `train` caps pictures.
    """

    protocols: tuple[str, ...] = PROTOCOLS
    one_class: tuple[int, ...] = ()  # classes; none named: all
    held_out: tuple[int, ...] = ()
    tables: tuple[str, ...] = ()
    test: int = 0
    train: int = 0

    def __post_init__(self) -> None:
        at_least(0, test=self.test, train=self.train)
        if unknown := set(self.protocols) - set(PROTOCOLS):
            raise UserError(f"the protocols are {', '.join(PROTOCOLS)}, got {', '.join(unknown)}.")


def problems(context: Context, scope: Scope) -> Iterator[Problem]:
    """All problems of the scope, one after the other; further data sets are read from the context's
    root.
    """
    makers: dict[str, Callable[[Context, Scope], Iterator[Problem]]] = {
        "one-class": _one_class,
        "held-out": _held_out,
        "cross": _cross,
        "tables": _tables,
    }
    for protocol in scope.protocols:
        yield from makers[protocol](context, scope)


def _pictures(split: Split) -> Tensor:
    return to_model(split.scaled())


def _centred(
    name: str,
    protocol: str,
    says: str,
    normal: Tensor,
    held_out: Tensor,
    test: Tensor,
    kind: Tensor,
    kinds: tuple[str, ...] = ("anomalies",),
    scale: Tensor | float = 1.0,
) -> Problem:
    mean = normal.mean(0)
    normal, held_out, test = ((x - mean) / scale for x in (normal, held_out, test))
    return Problem(name, protocol, says, normal, held_out, test, kind, kinds)


def _labels(split: Split, name: str) -> Tensor:
    if split.labels is None:
        raise UserError(
            f"one-class and held-out anomalies need classes, but {name} has no labels; take a data"
            " set that has."
        )
    return split.labels


def _one_class(context: Context, scope: Scope) -> Iterator[Problem]:
    yield from _by_class(
        context.data, scope, scope.one_class, "one-class", lambda labels, c: labels == c
    )


def _held_out(context: Context, scope: Scope) -> Iterator[Problem]:
    yield from _by_class(
        context.data, scope, scope.held_out, "held-out", lambda labels, c: labels != c
    )


def _by_class(
    data: Dataset,
    scope: Scope,
    chosen: Sequence[int],
    protocol: str,
    normal: Callable[[Tensor, int], Tensor],
) -> Iterator[Problem]:
    learned = {
        "one-class": "the train part of class {} alone",
        "held-out": "the train part without class {}",
    }[protocol]
    test = data.test[_every(len(data.test), scope.test if protocol == "held-out" else 0)]
    tested = _pictures(test)
    for c in chosen or range(len(data.classes)):
        train, held = (
            normal(_labels(split, data.name), c).nonzero()[:, 0]
            for split in (data.train, data.validation)
        )
        train = subsample(train, scope.train or None, 0)
        says = (
            f"learned from {learned.format(c)} of {data.name} ({len(train)} pictures); {len(test)}"
            " of the official test part"
        )
        kind = (~normal(_labels(test, data.name), c)).long()
        known = _pictures(data.train[train])
        kept_back = _pictures(data.validation[held])
        yield _centred(f"{protocol} {c}", protocol, says, known, kept_back, tested, kind)


def _every(n: int, most: int) -> slice:
    return slice(None, None, max(1, n // most) if most else 1)


CROSS = {"fashion_mnist": ("mnist",), "mnist": ("fashion_mnist", "kmnist")}


def _cross(context: Context, scope: Scope) -> Iterator[Problem]:
    for name, others in CROSS.items():
        known = context.data if context.data.name == name else data.load(name, context.root)
        strangers = {other: _pictures(data.load(other, context.root).test) for other in others}
        normal = _pictures(known.test)
        if name == "mnist":
            generator = seeded("strangers")
            strangers["noise"] = to_model(torch.rand(normal.shape, generator=generator))
            strangers["constant"] = to_model(
                torch.rand(len(normal), 1, 1, 1, generator=generator)
            ).expand(normal.shape)
        parts = [x[_every(len(x), scope.test)] for x in (normal, *strangers.values())]
        kind = torch.cat([torch.full((len(x),), i) for i, x in enumerate(parts)])
        train = to_model(subsample(known.train.scaled(), scope.train or None, 0))
        says = (
            f"learned from the train part of {name} ({len(train)} pictures); {len(parts[0])} of"
            " each official test part"
        )
        yield _centred(
            f"cross {name}",
            "cross",
            says,
            train,
            _pictures(known.validation),
            torch.cat(parts),
            kind,
            tuple(strangers),
        )


def _tables(context: Context, scope: Scope) -> Iterator[Problem]:
    for name in scope.tables or tables(context.root):
        one = table(name, context.root)
        normal = one.train.x
        says = (
            f"learned from {len(normal)} rows, half of the normal ones; the other half and all"
            " anomalies are the test part"
        )
        std = normal.std(0)
        scale = torch.where(std > 1e-6, std, 1.0)
        yield _centred(
            f"table {name}",
            "tables",
            says,
            normal,
            one.validation.x,
            one.test.x,
            _labels(one.test, name),
            scale=scale,
        )


@dataclass(frozen=True)
class Bank:
    """What several contenders of a comparison need, made once by the first that asks: weights, and
    features of the test parts.

    `folder` is beside the run folders; names carry a digest of all that decides the content, so
    that nothing stale is found.
    """

    folder: Path
    listener: Any

    def __call__(
        self, name: str, decides: Any, make: Callable[[], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The tensors of `name`; two that ask at once wait for one. `seconds` among them is what
        they took.
        """
        digest = hashlib.sha256(
            json.dumps(decides, sort_keys=True, default=str).encode()
        ).hexdigest()[:10]
        path = self.folder / f"{name.replace(' ', '-')}-{digest}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        while not path.exists():
            with contextlib.suppress(UserError), self._alone(path):
                if not path.exists():
                    began = time.perf_counter()
                    made = dict(make())
                    files.write(
                        path,
                        {k: v.contiguous() for k, v in made.items()}
                        | {
                            "seconds": torch.tensor(
                                time.perf_counter() - began, dtype=torch.float64
                            )
                        },
                    )
            if not path.exists():
                time.sleep(0.5)
        return files.read(path)[0]

    @contextlib.contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        place = path.with_suffix(".lock")
        place.mkdir(exist_ok=True)
        lock, _ = hold(place)
        yield
        del lock


def learn(
    model: nn.Module,
    objective: Objective,
    x: Tensor,
    training: Training,
    seed: int,
    *words: Any,
    cond: Tensor | None = None,
) -> nn.Module:
    """The averaged weights after `training` on x [n, *shape] with conditions [n], in evaluation
    mode.
    """
    # no limits but being finite: tables have outliers, and the energies of outliers are large
    limits = GuardSettings(max_energy=math.inf, max_growth=math.inf, max_gap=math.inf)
    learner = Learner(model, objective, training, seeded(seed, "noise", *words), Guard(limits))
    order = shuffled(len(x), training.batch, seed)
    for step in range(training.steps):
        i = order(step)
        learner.update(Batch(x[i], None if cond is None else cond[i]))
    averaged: nn.Module = learner.ema.module
    return averaged.eval().requires_grad_(False)


@dataclass(frozen=True)
class Detecting(Trial):
    """What all detectors share: score the test part of every problem, measure, and keep the scores
    for paired tests.
    """

    scope: Scope = field(default_factory=Scope)

    @abc.abstractmethod
    def scores(self, problem: Problem, bank: Bank, cost: Cost) -> Tensor:
        """One score for each test example, high = anomalous; what was learned is added to `cost`."""

    def narrowed(self, problem: Problem) -> Problem:
        """The problem, with a smaller test part where a score is costly."""
        return problem

    def clouds(self, problem: Problem, bank: Bank) -> Mapping[str, Tensor]:
        """More to keep, for a picture: `norms PROBLEM PART` [n, levels]."""
        return {}

    def perform(self, context: Context, recorder: Recorder) -> None:
        bank = Bank(recorder.run.path.parent / "shared", recorder.listener)
        cost = Cost()
        kept: dict[str, Tensor] = {}
        recorder.listener.begin(self.experiment, 2)
        for problem in map(self.narrowed, problems(context, self.scope)):
            found = self.scores(problem, bank, cost)
            recorder.rows += [r | {"seed": self.seed} for r in judged(problem, found)]
            kept |= {problem.name: found.float(), f"kind {problem.name}": problem.kind.byte()}
            kept |= {f"kinds {problem.name} {k}": torch.zeros(0) for k in problem.kinds}
            kept |= self.clouds(problem, bank)
        recorder.listener.end()
        recorder.run.mark("trained", **vars(cost))
        recorder.rows += [r | {"seed": self.seed} for r in means(recorder.rows)]
        recorder.save(**kept)


def judged(problem: Problem, scores: Tensor) -> Rows:
    """Rows of one problem: AUROC, AUPRC and FPR95 of each kind of anomaly."""
    normal, rows = scores[problem.kind == NORMAL], []
    for i, kind in enumerate(problem.kinds, 1):
        name = (
            problem.name
            if len(problem.kinds) == 1 and kind == "anomalies"
            else f"{problem.name} to {kind}"
        )
        for measure in (f(normal, scores[problem.kind == i]) for f in (auroc, auprc, fpr95)):
            said = {
                "metric": f"{measure.metric} {name}",
                "protocol": f"{problem.says}; {measure.protocol}",
            }
            rows.append(measure.as_dict() | said)
    return rows


def means(rows: Rows) -> Rows:
    """The mean over the classes or tables of each protocol; its spread takes them as independent."""
    found = []
    for metric in ("auroc", "auprc"):
        for protocol, label in (
            ("one-class", "one-class"),
            ("held-out", "held-out"),
            ("table", "tables"),
        ):
            those = [r for r in rows if str(r["metric"]).startswith(f"{metric} {protocol} ")]
            if those:
                spread = math.sqrt(sum(float(r["stderr"] or 0) ** 2 for r in those)) / len(those)
                mean = Measure(
                    f"{metric} {label}",
                    sum(r["value"] for r in those) / len(those),
                    spread,
                    sum(r["n"] for r in those),
                    "higher",
                    f"mean over {len(those)} of {label}: {those[0]['protocol']}",
                )
                found.append(mean.as_dict())
    return found


Fitted = PrincipalComponents | Mahalanobis | Isolation | ClusterMeans | OneClassSVM


@final
@dataclass(frozen=True)
class Classical(Detecting):
    """A detector of `baselines.detectors`, fitted to each problem anew."""

    detector: Fitted = field(default_factory=PrincipalComponents)

    def scores(self, problem: Problem, bank: Bank, cost: Cost) -> Tensor:
        began = time.perf_counter()
        score = self.detector.fit(problem.normal, problem.held_out, self.seed)
        cost.seconds += time.perf_counter() - began
        cost.images += len(problem.normal)
        return detect.by_batch(lambda x, _: score(x), problem.test)


@final
@dataclass(frozen=True)
class Neighbouring(Detecting):
    """The distance to the k-th nearest training example; contenders that differ in k share the
    search.
    """

    k: int = 5
    furthest: int = 5

    def scores(self, problem: Problem, bank: Bank, cost: Cost) -> Tensor:
        decides = [
            self.dataset,
            self.furthest,
            len(problem.test),
            float(problem.normal.double().abs().sum()),
        ]
        found = bank(
            f"{problem.name} neighbours",
            decides,
            lambda: {
                "distances": nearest(problem.test, problem.normal, max(self.k, self.furthest))
            },
        )
        cost.images += len(problem.normal)
        return found["distances"][:, self.k - 1]


@final
@dataclass(frozen=True)
class Autoencoding(Detecting):
    """The squared error of a plain autoencoder, convolutional for pictures; `passes` over the data,
    at most `images` of them.
    """

    images: int = 30_000
    passes: int = 100
    latent: int = 32
    channels: tuple[int, ...] = (8, 16)
    width: int = 64

    def scores(self, problem: Problem, bank: Bank, cost: Cost) -> Tensor:
        shape = tuple(problem.normal.shape[1:])
        latent = min(self.latent, max(1, shape[0] // 2)) if len(shape) == 1 else self.latent
        began, (model, images) = time.perf_counter(), self._learned(problem, shape, latent)
        cost.seconds += time.perf_counter() - began
        cost.parameters = max(cost.parameters, sum(p.numel() for p in model.parameters()))
        cost.images = cost.images + images
        cost.evaluations = cost.evaluations + images
        return detect.energy(model, problem.test)

    def _learned(
        self, problem: Problem, shape: tuple[int, ...], latent: int
    ) -> tuple[nn.Module, int]:
        torch.manual_seed(seeded(self.seed, "weights", problem.name).initial_seed())
        images = min(self.images, self.passes * len(problem.normal))
        training = Training(images, batch=64, learning_rate=2e-3, ema=0.99)
        model = autoencoder(shape, latent, self.channels, self.width)
        return (
            learn(model, Reconstruction(), problem.normal, training, self.seed, problem.name),
            images,
        )


def _classical(name: str, detector: Detector, says: str) -> Callable[[str, str, int], Classical]:
    def make(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> Classical:
        return Classical(name, dataset, preset, seed, scope_of(dataset, preset), detector=detector)  # type: ignore[arg-type]

    make.__doc__ = says
    return make


def _neighbour(name: str, k: int, says: str) -> Callable[[str, str, int], Neighbouring]:
    def make(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> Neighbouring:
        return Neighbouring(name, dataset, preset, seed, scope_of(dataset, preset), k)

    make.__doc__ = says
    return make


def scope_of(dataset: str, preset: str) -> Scope:
    """quick: 20,000 training pictures at most, and held-out and cross test parts thinned to about
    2,500; full: everything.

    Cross data and tables go with mnist and fashion_mnist; any other set with classes has the first
    two protocols.
    """
    protocols = PROTOCOLS if dataset in CROSS else PROTOCOLS[:2]
    return Scope(protocols, test=2500, train=20_000) if preset == "quick" else Scope(protocols)


def autoencoder_error(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> Autoencoding:
    """Reconstruction error of a convolutional autoencoder."""
    images = 8_000 if preset == "quick" else 60_000
    return Autoencoding(
        "autoencoder_error", dataset, preset, seed, scope_of(dataset, preset), images
    )


BASELINES: dict[str, Callable[[str, str, int], Detecting]] = {
    "neighbour_1": _neighbour("neighbour_1", 1, "Distance to the nearest training example."),
    "neighbour_5": _neighbour("neighbour_5", 5, "Distance to the fifth nearest training example."),
    "pca_32": _classical(
        "pca_32", PrincipalComponents(32), "Reconstruction error of 32 principal components."
    ),
    "pca_chosen": _classical(
        "pca_chosen", PrincipalComponents(None), "The same, the rank chosen by held-out likelihood."
    ),
    "mahalanobis": _classical(
        "mahalanobis",
        Mahalanobis(),
        "Mahalanobis distance with a ridge of a tenth of the mean variance.",
    ),
    "isolation_forest": _classical(
        "isolation_forest", Isolation(), "Isolation forest of 100 trees."
    ),
    "cluster_means": _classical(
        "cluster_means",
        ClusterMeans(),
        "Distance to the nearest of 200 cluster means, less its own.",
    ),
    "one_class_svm": _classical(
        "one_class_svm", OneClassSVM(), "One-class SVM, RBF kernel, nu = .1, 2,000 examples."
    ),
    "autoencoder_error": autoencoder_error,
}


def order(methods: Iterable[str], rivals: Iterable[str]) -> tuple[str, ...]:
    """The first method makes the networks that the others would wait for; its rivals go on beside
    it meanwhile.
    """
    first, *others = methods
    return (first, *rivals, *others)


HEADLINE = (
    "auroc one-class",
    "auroc held-out",
    "auroc cross fashion_mnist to mnist",
    "auroc cross mnist to fashion_mnist",
    "auroc tables",
    "rank tables",
)
TABLES = (
    Table(
        "One-class, by digit learned: AUROC",
        ("auroc one-class *",),
        {"auroc one-class": "mean"},
        decimals=3,
    ),
    Table(
        "Held-out, by digit left out: AUROC",
        ("auroc held-out *",),
        {"auroc held-out": "mean"},
        decimals=3,
    ),
    Table(
        "Held-out, by digit left out: AUPRC",
        ("auprc held-out *",),
        {"auprc held-out": "mean"},
        decimals=3,
    ),
    Table("Across data sets, learned to tested: AUROC", ("auroc cross *",), decimals=3),
    Table("AUROC less that of the best baseline on the same test pictures", ("lead *",)),
    Table(
        "All tables of ADBench: AUROC",
        ("auroc table *",),
        {
            "rank tables": "mean rank",
            "auroc tables": "mean AUROC",
            "place tables": "mean place among the baselines",
        },
        turned=True,
        decimals=3,
    ),
)


def summary(folder: Path, runs: Mapping[str, Sequence[Path]]) -> Rows:
    """Ranks on tables, paired tests of the best method against the best baseline, and figures of
    all contenders.
    """
    rows = [
        r
        for paths in zip(*runs.values(), strict=True)
        for r in _paired(dict(zip(runs, map(items, paths), strict=True)))
    ]
    first = {name: items(paths[0]) for name, paths in runs.items()}
    captions = {path.name: caption for path, caption in _figures(folder / "samples", first)}
    write_json(folder / "samples" / "figures.json", captions)
    return rows


Kept = Mapping[str, Tensor]


def problems_of(kept: Kept) -> list[str]:
    return [k.removeprefix("kind ") for k in kept if k.startswith("kind ")]


def split_of(kept: Kept, problem: str, kind: int = 1) -> tuple[Tensor, Tensor]:
    """Scores of normal and of anomalous test examples."""
    score, kinds = kept[problem].double(), kept[f"kind {problem}"]
    return score[kinds == NORMAL], score[kinds == kind]


def mean_auroc(kept: Kept, protocol: str) -> float:
    found = [float(auroc(*split_of(kept, p))) for p in problems_of(kept) if p.startswith(protocol)]
    return sum(found) / len(found) if found else math.nan


def _paired(kept: Mapping[str, Kept]) -> Rows:
    """For one seed: mean ranks on tables; and the best method less the best baseline in each
    protocol, paired by DeLong.
    """
    rows = _ranks(kept)
    ours = [m for m in kept if m not in BASELINES]
    theirs = [m for m in kept if m in BASELINES]
    for protocol in ("one-class", "held-out", "cross fashion_mnist", "cross mnist"):
        means = {m: mean_auroc(kept[m], protocol) for m in kept}
        if not ours or not theirs or any(math.isnan(v) for v in means.values()):
            continue
        rival = max(theirs, key=lambda m: means[m])
        for method in ours:
            same = [
                p
                for p in problems_of(kept[method])
                if p.startswith(protocol) and len(kept[method][p]) == len(kept[rival][p])
            ]
            found = [
                auroc_difference(
                    *zip(split_of(kept[method], p), split_of(kept[rival], p), strict=True)
                )
                for p in same
            ]
            if found:
                value, spread = (sum(column) / len(found) for column in zip(*found, strict=True))
                says = (
                    f"AUROC less that of {rival}, the best baseline, on the same test pictures;"
                    " paired standard error "
                    f"by DeLong{', averaged over classes as if they erred together' if len(found) > 1 else ''}"
                )
                rows.append(
                    {
                        "method": method,
                        **Measure(
                            f"lead {protocol}", value, spread, len(found), "higher", says
                        ).as_dict(),
                    }
                )
    return rows


def _ranks(kept: Mapping[str, Kept]) -> Rows:
    """The mean over tables of each contender's rank by AUROC among all, and of each method's place
    among the baselines alone.
    """
    names = [p for p in problems_of(next(iter(kept.values()))) if p.startswith("table ")]
    if not names:
        return []
    values = {
        m: torch.tensor([float(auroc(*split_of(found, p))) for p in names], dtype=torch.float64)
        for m, found in kept.items()
    }

    def row(method: str, among: Sequence[str], metric: str, says: str) -> dict[str, Any]:
        others = torch.stack([values[m] for m in among if m != method])
        rank = 1 + (others > values[method]).sum(0) + (others == values[method]).sum(0) / 2
        measure = Measure(
            metric,
            float(rank.mean()),
            float(rank.std() / len(names) ** 0.5),
            len(names),
            "lower",
            f"mean rank by AUROC among {says} over {len(names)} tables, 1 is best; standard error of their"
            " standard error",
        )
        return {"method": method, **measure.as_dict()}

    theirs = [m for m in kept if m in BASELINES]
    return [row(m, list(kept), "rank tables", f"all {len(kept)} contenders") for m in kept] + [
        row(m, theirs, "place tables", f"itself and the {len(theirs)} baselines")
        for m in kept
        if m not in BASELINES and theirs
    ]


def _figures(folder: Path, kept: Mapping[str, Kept]) -> Iterator[tuple[Path, str]]:
    folder.mkdir(parents=True, exist_ok=True)
    for protocol in ("one-class", "held-out"):
        names = [p for p in problems_of(next(iter(kept.values()))) if p.startswith(protocol)]
        if names:
            yield _bars(folder / f"figure-{protocol}.png", kept, protocol, names)
    for problem in ("cross fashion_mnist", "cross mnist"):
        if problem in problems_of(next(iter(kept.values()))):
            yield _curves(folder / f"figure-{problem.replace(' ', '-')}.png", kept, problem)
    for one in kept.values():
        if names := [p for p in CLOUDS if f"norms {p} test" in one]:
            yield _cloud(folder / "figure-score-norms.png", one, names)
    if any(p.startswith("table ") for p in problems_of(next(iter(kept.values())))):
        yield _heat(folder / "figure-tables.png", kept)


def _best(kept: Mapping[str, Kept], protocol: str, count: int) -> list[str]:
    """The best methods and the best baselines of a protocol, half and half."""
    ranked = sorted(kept, key=lambda m: -mean_auroc(kept[m], protocol))
    return [m for m in ranked if m not in BASELINES][: count - count // 2] + [
        m for m in ranked if m in BASELINES
    ][: count // 2]


def _bars(
    path: Path, kept: Mapping[str, Kept], protocol: str, names: Sequence[str]
) -> tuple[Path, str]:
    shown = _best(kept, protocol, 5)
    with figures.sheet(path, width=8.4) as [axis]:
        series = {
            f"{m} ({mean_auroc(kept[m], protocol):.3f})": [
                float(auroc(*split_of(kept[m], p))) for p in names
            ]
            for m in shown
        }
        figures.bars(axis, [p.removeprefix(protocol).strip() for p in names], series, "AUROC")
        axis.set_ylim(max(0.0, min(min(v) for v in series.values()) - 0.05), 1)
        axis.legend(fontsize=7.5, ncols=5, loc="lower left", bbox_to_anchor=(0, 1))
    what = (
        "the digit that was learned"
        if protocol == "one-class"
        else "the digit that was left out, the anomaly"
    )
    return (
        path,
        (
            f"AUROC for each class ({what}) of the best three methods and the best two baselines;"
            " their means in brackets."
        ),
    )


def _curves(path: Path, kept: Mapping[str, Kept], problem: str) -> tuple[Path, str]:
    kinds = [
        k.removeprefix(f"kinds {problem} ")
        for k in next(iter(kept.values()))
        if k.startswith(f"kinds {problem} ")
    ]
    shown = _best(kept, problem, 6)
    with figures.sheet(path, columns=2) as [left, right]:
        figures.roc(
            left,
            {m: split_of(kept[m], problem) for m in shown},
            f"{problem.removeprefix('cross ')} against {kinds[0]}",
        )
        score = kept[shown[0]][problem]
        kind = kept[shown[0]][f"kind {problem}"]
        order = score.sort().values
        figures.histograms(
            right,
            {
                name: torch.searchsorted(order, score[kind == i]) / len(score)
                for i, name in enumerate(("normal", *kinds))
            },
            f"{shown[0]}: rank of the score",
        )
    return (
        path,
        (
            f"Learned: {problem.removeprefix('cross ')}. ROC curves of the best methods and"
            f" baselines, and where the scores of {shown[0]} lie, by rank."
        ),
    )


def _cloud(path: Path, kept: Kept, names: Sequence[str]) -> tuple[Path, str]:
    """Two principal components of the log norms, those of normal training examples."""
    with figures.sheet(path, columns=len(names)) as axes:
        for axis, problem in zip(axes, names, strict=True):
            normal, test = (
                kept[f"norms {problem} {part}"].double().clamp(min=1e-12).log()
                for part in ("normal", "test")
            )
            spectrum, kind = Spectrum(normal), kept[f"kind {problem}"]
            plane = (
                spectrum.coordinates(test)[:, :2] / spectrum.variances[:2].clamp(min=1e-12).sqrt()
            )
            figures.clouds(
                axis,
                {
                    label: plane[kind == i][:1000].numpy()
                    for i, label in enumerate(("normal", "anomalies"))
                },
                "first component",
                "second component",
                f"learned: {problem.removeprefix('cross ')}",
            )
    return (
        path,
        (
            "Score norms at ten noise levels (MSMA): the two principal components of their"
            " logarithms that normal training pictures vary most in, in standard deviations; normal"
            " test pictures and anomalies, 1,000 of each at most."
        ),
    )


def _heat(path: Path, kept: Mapping[str, Kept]) -> tuple[Path, str]:
    names = [p for p in problems_of(next(iter(kept.values()))) if p.startswith("table ")]
    grid = [[float(auroc(*split_of(k, p))) for p in names] for k in kept.values()]
    with figures.sheet(path, width=9.2, height=4.2) as [axis]:
        image = axis.imshow(grid, cmap="viridis", vmin=0.4, vmax=1, aspect="auto")
        axis.set_yticks(range(len(kept)), list(kept), fontsize=7)
        axis.set_xticks(
            range(len(names)), [p.removeprefix("table ") for p in names], rotation=90, fontsize=6
        )
        axis.grid(visible=False)
        axis.figure.colorbar(image, ax=axis, label="AUROC")
    return path, "AUROC of every contender on every table of ADBench."
