r"""Energies as classifiers: the class of x is the y whose joint energy E(x, y) is lowest.

Every classifier here is such an energy, the conditional law is :math:`p(y \mid x) =
\mathrm{softmax}_y(-E(x, y))`, and what differs is the energy (linear, quadratic, perceptron,
convolutional) and the loss. A linear energy under cross-entropy *is* logistic regression, and must
agree with it to 1e-6. JEM learns :math:`E(x) = -\log\sum_y e^{-E(x, y)}` from chains besides, so
the same numbers also say how likely x is: expect it to lose a little accuracy, and to know better
what it does not know.

Tasks are pairs of classes, and parity. Whatever is chosen (the weight decay of the convex ones) is
chosen by the likelihood of validation examples. Strange pictures are told from test pictures by
E(x), and by one minus the largest probability.

References: LeCun et al. (2006), A Tutorial on Energy-Based Learning, section 2; Grathwohl et al.
(2020), arXiv 1912.03263, section 5; Liu et al. (2020), Energy-based Out-of-distribution Detection,
arXiv 2010.03759 (the energy of a classifier as a score).
"""

import abc
import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp import data as datasets
from gradlogp.core.errors import UserError
from gradlogp.core.random import seeded
from gradlogp.data import Split
from gradlogp.harness import figures
from gradlogp.harness.recipe import DataSpec, to_model
from gradlogp.experiments.recipes.energy import ebm
from gradlogp.harness.evaluate import Rows
from gradlogp.harness.table import Table
from gradlogp.harness.trial import Context, Cost, Recorder, Trial, items, learn
from gradlogp.metrics import Measure, calibration, detection
from gradlogp.models import ConvClassifier, ConvEnergy, MLPEnergy
from gradlogp.objectives import JEM, ContrastiveDivergence, CrossEntropy, MarginLoss, Objective
from gradlogp.runs import write_json
from gradlogp.training import Training

Net = Literal["linear", "quadratic", "mlp", "cnn"]
LossName = Literal["cross_entropy", "perceptron", "hinge", "square_square", "energy", "jem"]
PAIRS = ("3v5", "4v9", "1v7", "7v9")
STRANGE = ("fashion_mnist", "kmnist")


@dataclass(frozen=True)
class Examples:
    """x [n, *shape] in [0, 1] and y [n], the two classes as 0 and 1."""

    x: Tensor
    y: Tensor


def take(split: Split, task: str) -> Examples:
    """The examples of a task: "3v5" has the classes 3 and 5, "parity" all of them, even and odd."""
    assert split.labels is not None
    if task == "parity":
        return Examples(split.scaled(), split.labels % 2)
    pair = re.fullmatch(r"(\d+)v(\d+)", task)
    first, second = (int(c) for c in pair.groups()) if pair else (-1, -1)
    if first == second or not all((split.labels == c).any() for c in (first, second)):
        raise UserError(
            "a task is parity or a pair of two classes that have examples, such as 3v5, got"
            f" {task!r}."
        )
    keep = ((split.labels == first) | (split.labels == second)).nonzero()[:, 0]
    return Examples(split.scaled(keep), (split.labels[keep] == second).long())


def fit_convex(features: Tensor, y: Tensor, decay: float, begin: Tensor | None = None) -> nn.Linear:
    r"""The linear logits that minimise cross-entropy + decay / 2 |w_1 - w_0|^2, in float64, by
    Newton's method.

    Only the difference of the two energies, x w + b, decides: with p its sigmoid the gradient is
    X^T (p - y) / n + decay w and the Hessian X^T diag(p (1 - p)) X / n + decay. The bias is not
    decayed. A step costs a hundredth of a Hessian, so each Hessian serves for as long as its steps
    take a third off the gradient (the chord method).
    """
    x = torch.cat([features, features.new_ones(len(features), 1)], 1)
    ridge = torch.full((x.shape[1],), decay, dtype=x.dtype)
    ridge[-1] = 0.0
    w = torch.zeros_like(ridge) if begin is None else begin.clone()
    factor = torch.empty(0)
    last = 0.0
    for _ in range(300):
        p = (x @ w).sigmoid()
        gradient = x.T @ (p - y) / len(x) + ridge * w
        size = float(gradient.abs().max())
        if size < 1e-11:
            break
        if 3 * size > 2 * last:
            factor = hessian_factor(x, p * (1 - p), ridge)
        w = w - torch.cholesky_solve(gradient[:, None], factor)[:, 0]
        last = size
    return halves(w)


def hessian_factor(x: Tensor, weight: Tensor, ridge: Tensor) -> Tensor:
    """The Cholesky factor of X^T diag(weight) X / n + ridge."""
    return torch.linalg.cholesky((x * weight[:, None]).T @ x / len(x) + (ridge + 1e-12).diag())


def halves(w: Tensor) -> nn.Linear:
    """Two energies with the difference w (its last entry the bias): one is minus the other."""
    layer = nn.Linear(len(w) - 1, 2, dtype=w.dtype).requires_grad_(False)
    layer.weight.copy_(torch.stack([-w[:-1], w[:-1]]) / 2)
    layer.bias.copy_(torch.stack([-w[-1], w[-1]]) / 2)
    return layer


class Principal:
    """The first `rank` principal components of training examples, of unit variance; with `squares`
    their products too.
    """

    def __init__(self, x: Tensor, rank: int, squares: bool) -> None:
        flat = x.flatten(1).double()
        self.mean, self.squares = flat.mean(0), squares
        values, vectors = torch.linalg.eigh((flat - self.mean).T.cov())
        self.basis = vectors[:, -rank:] / values[-rank:].sqrt()

    def __call__(self, x: Tensor) -> Tensor:
        z = (x.flatten(1).double() - self.mean) @ self.basis
        if not self.squares:
            return z
        i, j = torch.triu_indices(z.shape[1], z.shape[1])
        return torch.cat([z, z[:, i] * z[:, j]], 1)


Logits = Callable[[Tensor], Tensor]  # x [n, *shape] in [0, 1] -> [n, 2]


@dataclass(frozen=True)
class _Classifier(Trial):
    """What all share: fit each task, and measure on the official test part."""

    tasks: tuple[str, ...] = PAIRS
    strange: int = 2000  # pictures of each strange kind, for the first task

    has_energy: ClassVar[bool] = True  # whether its logits say more than probabilities

    @abc.abstractmethod
    def fits(
        self, recorder: Recorder, cost: Cost, task: str, train: Examples, validation: Examples
    ) -> Logits:
        """Fit one task, and return the logits of any pictures in [0, 1]."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        data, found = context.data, {}
        if data.train.labels is None:
            raise UserError(
                f"a classifier needs classes, but {data.name} has no labels; take mnist or digits."
            )
        with recorder.training() as cost:
            for task in self.tasks:
                found[task] = self.fits(
                    recorder, cost, task, take(data.train, task), take(data.validation, task)
                )
        for task, logits in found.items():
            test = take(data.test, task)
            out = logits(test.x)
            recorder.add(
                *(
                    metric(out, test.y)
                    for metric in (calibration.accuracy, calibration.nll, calibration.ece)
                ),
                name=task,
            )
            recorder.add(contrast(out, test.y), name=task)
            recorder.save(**{f"right {task}": out.argmax(1) == test.y})
        self._strangers(context, recorder, self.tasks[0], found[self.tasks[0]])

    def _strangers(self, context: Context, recorder: Recorder, task: str, logits: Logits) -> None:
        """AUROC of telling pictures of other kinds from test pictures, by E(x) and by the largest
        probability.
        """
        usual, scores = logits(take(context.data.test, task).x), {}
        for name, x in strangers(context, self.strange, self.seed):
            out = logits(x)
            for how, score in (("energy", energy_of), ("probability", doubt))[
                not self.has_energy :
            ]:
                recorder.add(detection.auroc(score(usual), score(out)), name=f"{name} by {how}")
            scores[f"{name}"] = energy_of(out)
        recorder.save(usual=energy_of(usual), **scores)


def contrast(logits: Tensor, y: Tensor) -> Measure:
    """How far the wrong energy lies above the right one, over the size of energies: near 0 where a
    loss has let them collapse.
    """
    energies = -logits.double()
    gap = energies.gather(1, 1 - y[:, None])[:, 0] - energies.gather(1, y[:, None])[:, 0]
    says = (
        "mean of E(x, wrong) - E(x, right), over the mean of |E|; 0: all energies alike, 2: one is"
        " minus the other"
    )
    return Measure(
        "contrast", float(gap.mean() / energies.abs().mean()), None, len(y), "higher", says
    )


def energy_of(logits: Tensor) -> Tensor:
    """E(x) = -log sum_y exp(-E(x, y)): high for a stranger."""
    return -logits.double().logsumexp(1)


def doubt(logits: Tensor) -> Tensor:
    """1 - max_y p(y | x)"""
    return 1 - logits.double().softmax(1).amax(1)


def strangers(context: Context, n: int, seed: int) -> list[tuple[str, Tensor]]:
    """Pictures that are no digits: two published sets where the data are MNIST, and uniform noise."""
    found = [("noise", torch.rand(n, *context.data.shape, generator=seeded(seed, "strange")))]
    names = [name for name in STRANGE if context.data.name == "mnist" and name in datasets.DATASETS]
    return [
        *found,
        *((name, datasets.load(name, context.root).test.scaled(slice(0, n))) for name in names),
    ]


@final
@dataclass(frozen=True)
class ConvexEnergy(_Classifier):
    """A linear or quadratic energy under cross-entropy, to the last digit; decay is chosen from
    `decays` on validation examples.
    """

    net: Net = "linear"
    decays: tuple[float, ...] = (1e-3, 1e-2, 1e-1)
    rank: int = 40

    def fits(
        self, recorder: Recorder, cost: Cost, task: str, train: Examples, validation: Examples
    ) -> Logits:
        features = (
            (lambda x: x.flatten(1).double())
            if self.net == "linear"
            else Principal(train.x, self.rank, True)
        )
        inside, outside = features(train.x), features(validation.x)
        layers: dict[float, nn.Linear] = {}
        for decay in sorted(
            self.decays, reverse=True
        ):  # from the smoothest on, each begins where the last one ended
            last = next(reversed(layers.values()), None)
            layers[decay] = fit_convex(
                inside, train.y, decay, None if last is None else difference(last)
            )
        decay = min(layers, key=lambda d: float(F.cross_entropy(layers[d](outside), validation.y)))
        cost.parameters = 2 * (inside.shape[1] + 1)
        cost.images += len(train.x)
        if self.net == "linear":
            recorder.add(
                equality(
                    against_logistic_regression(inside, train.y, decay, layers[decay]), len(inside)
                ),
                name=task,
            )
        return lambda x: layers[decay](features(x))


def difference(layer: nn.Linear) -> Tensor:
    return torch.cat([layer.weight[1] - layer.weight[0], layer.bias[1:] - layer.bias[:1]])


def against_logistic_regression(x: Tensor, y: Tensor, decay: float, layer: nn.Linear) -> float:
    """The largest difference in probability between a linear energy and scikit-learn's logistic
    regression.
    """
    from sklearn.linear_model import LogisticRegression

    rival = LogisticRegression(
        C=1 / (decay * len(x)), solver="newton-cholesky", tol=1e-10, max_iter=500
    ).fit(x.numpy(), y.numpy())
    theirs = torch.from_numpy(rival.predict_proba(x.numpy()))
    return float((layer(x).softmax(1) - theirs).abs().max())


def equality(difference: float, n: int) -> Measure:
    says = (
        "largest difference in probability from scikit-learn's logistic regression of the same"
        f" decay, {n} training examples"
    )
    return Measure("from_logistic", difference, None, n, "lower", says)


@final
@dataclass(frozen=True)
class NetEnergy(_Classifier):
    """A perceptron's or convolutional energy, under any of the losses; JEM learns the density of x
    with it.
    """

    net: Net = "cnn"
    loss: LossName = "cross_entropy"
    epochs: float = 10.0
    batch: int = 128
    learning_rate: float = 2e-3
    ema: float = 0.995
    generative: float = 0.1  # of JEM: the weight of contrastive divergence beside the cross-entropy
    data_noise: float = 0.03  # of JEM, on [-1, 1]

    def model(self, shape: Sequence[int]) -> Any:
        if self.net == "mlp":
            return MLPEnergy(int(torch.tensor(shape).prod()), (256,), classes=2)
        return (
            ConvEnergy(shape, (16, 32, 64), classes=2)
            if min(shape[1:]) < 16
            else ConvEnergy(shape, classes=2)
        )

    def objective(self, dataset: str, shape: Sequence[int], seed: int) -> Objective:
        if self.loss == "jem":
            spec = DataSpec(tuple(shape), (1, 1), 1.0)
            generator = seeded(seed, "buffer")
            contrastive = ebm(dataset).objective(spec, generator, "cpu")
            assert isinstance(contrastive, ContrastiveDivergence)
            contrastive.data_noise = self.data_noise
            return JEM(contrastive, weight=self.generative)
        return Classes(CrossEntropy() if self.loss == "cross_entropy" else MarginLoss(self.loss))

    def fits(
        self, recorder: Recorder, cost: Cost, task: str, train: Examples, validation: Examples
    ) -> Logits:
        shape = train.x.shape[1:]
        torch.manual_seed(seeded(self.seed, "weights", task).initial_seed())
        model = self.model(shape)
        images = int(self.epochs * len(train.x))
        training = Training(
            images,
            self.batch,
            self.learning_rate,
            beta1=0.0 if self.loss == "jem" else 0.9,
            ema=self.ema,
            grad_clip=0.1 if self.loss == "jem" else None,
        )
        fitted = learn(
            recorder,
            task,
            model,
            self.objective(self.dataset, shape, self.seed),
            to_model(train.x),
            train.y,
            training,
        )
        steps = ebm(self.dataset).chain_steps if self.loss == "jem" else 0
        cost.parameters = sum(p.numel() for p in model.parameters())
        cost.images += images
        cost.evaluations += images * (1 if self.loss != "jem" else steps + 3)
        return lambda x: torch.cat([fitted.logits(to_model(part)) for part in x.split(500)])


class Classes(Objective):
    """A loss of logits, for a joint energy."""

    def __init__(self, loss: Objective) -> None:
        self.loss = loss

    def __call__(self, model: Any, batch: Any, generator: torch.Generator) -> Any:
        return self.loss(model.logits, batch, generator)


@final
@dataclass(frozen=True)
class Network(_Classifier):
    """The usual convolutional classifier with rectifiers and pooling: the baseline, no energy in
    mind.
    """

    epochs: float = 10.0
    batch: int = 128
    learning_rate: float = 3e-3
    ema: float = 0.995

    def fits(
        self, recorder: Recorder, cost: Cost, task: str, train: Examples, validation: Examples
    ) -> Logits:
        torch.manual_seed(seeded(self.seed, "weights", task).initial_seed())
        model = ConvClassifier(train.x.shape[1:], 2)
        images = int(self.epochs * len(train.x))
        training = Training(images, self.batch, self.learning_rate, ema=self.ema)
        fitted = learn(recorder, task, model, CrossEntropy(), to_model(train.x), train.y, training)
        cost.parameters = sum(p.numel() for p in model.parameters())
        cost.images += images
        cost.evaluations += images
        return lambda x: torch.cat([fitted(to_model(part)) for part in x.split(500)])


@final
@dataclass(frozen=True)
class Statistical(_Classifier):
    """scikit-learn's logistic regression on pixels, or quadratic discriminant analysis on principal
    components.
    """

    has_energy = False
    method: Literal["logistic", "qda"] = "logistic"
    rank: int = 40
    decays: tuple[float, ...] = (1e-3, 1e-2, 1e-1)

    def fits(
        self, recorder: Recorder, cost: Cost, task: str, train: Examples, validation: Examples
    ) -> Logits:
        from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
        from sklearn.linear_model import LogisticRegression

        features = (
            (lambda x: x.flatten(1).double())
            if self.method == "logistic"
            else Principal(train.x, self.rank, False)
        )
        inside = features(train.x).numpy()
        cost.images += len(inside)
        if self.method == "logistic":
            rivals: list[Any] = [
                LogisticRegression(C=1 / (d * len(inside)), solver="newton-cholesky")
                for d in self.decays
            ]
            cost.parameters = inside.shape[1] + 1
        else:
            rivals = [QuadraticDiscriminantAnalysis(reg_param=r) for r in (0.0, 0.01, 0.1)]
            cost.parameters = 2 * (self.rank + self.rank * (self.rank + 1) // 2)

        def logits(rival: Any, x: Tensor) -> Tensor:
            return torch.from_numpy(rival.predict_log_proba(features(x).numpy())).clamp(min=-700)

        fitted = []
        for rival in rivals:
            with contextlib.suppress(
                np.linalg.LinAlgError
            ):  # covariances of few examples may be singular without a ridge
                fitted.append(rival.fit(inside, train.y.numpy()))
        best = min(
            fitted,
            key=lambda rival: float(F.cross_entropy(logits(rival, validation.x), validation.y)),
        )
        return lambda x: logits(best, x)


def summary(folder: Path, runs: Mapping[str, Sequence[Path]]) -> Rows:
    """McNemar's test of each contender against the first on every task, bars of their errors, and
    energies of strangers.
    """
    kept = {name: items(paths[0]) for name, paths in runs.items()}
    first, *others = kept
    tasks = [key.removeprefix("right ") for key in kept[first] if key.startswith("right ")]
    rows: Rows = []
    for other in others:
        for task in tasks:
            if f"right {task}" in kept[other]:
                mine, theirs, p = calibration.mcnemar(
                    *(kept[name][f"right {task}"].bool() for name in (first, other))
                )
                says = (
                    f"McNemar's exact test on the same test examples: {mine} only {first} has"
                    f" right, {theirs} only {other}"
                )
                rows.append(
                    {
                        "method": other,
                        "metric": f"p against {first} {task}",
                        "value": p,
                        "n": mine + theirs,
                        "better": "higher",
                        "protocol": says,
                    }
                )
    path = folder / "samples" / "figure-errors.png"
    with figures.sheet(path, width=9.0) as (axis,):
        errors = {name: [_errors(found, task) for task in tasks] for name, found in kept.items()}
        figures.bars(axis, tasks, errors, "test errors, %", "Errors by task")
        axis.set_yscale("log")
    shown = {
        name: found
        for name, found in kept.items()
        if name in ("cnn_energy", "jem", "linear_energy") and "usual" in found
    }
    beside = path.with_name("figure-strangers.png")
    with figures.sheet(beside, columns=max(1, len(shown))) as axes:
        for axis, (name, found) in zip(axes, shown.items(), strict=False):
            energies = {
                k: v.numpy() for k, v in found.items() if k == "usual" or not k.startswith("right")
            }
            figures.histograms(
                axis, energies, "E(x)", f"{name}: energy of test pictures and of strangers"
            )
    write_json(
        path.with_name("figures.json"),
        {
            path.name: "Test errors by task; no bar where a contender did not take part.",
            beside.name: (
                "The energy E(x) of test pictures (usual) and of pictures of other kinds: apart is"
                " good."
            ),
        },
    )
    return rows


def _errors(found: Mapping[str, Tensor], task: str) -> float:
    """Percent wrong; nan where the task was not taken."""
    return (
        100 * (1 - float(found[f"right {task}"].double().mean()))
        if f"right {task}" in found
        else float("nan")
    )


EVERY = (*PAIRS, "parity")
EPOCHS = {"quick": 10.0, "full": 20.0, "gpu": 20.0}
JEM_EPOCHS = {"quick": 4.0, "full": 12.0, "gpu": 12.0}  # at 23 evaluations an example


def _net(
    name: str,
    net: Net,
    loss: LossName,
    says: str,
    tasks: tuple[str, ...],
    full: tuple[str, ...] | None = None,
) -> Callable[[str, str, int], NetEnergy]:
    def make(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> NetEnergy:
        jem = loss == "jem"
        return NetEnergy(
            name,
            dataset,
            preset,
            seed,
            tasks if preset == "quick" else full or tasks,
            net=net,
            loss=loss,
            epochs=(JEM_EPOCHS if jem else EPOCHS)[preset],
            batch=64 if net == "cnn" and not jem else 128,
            ema=0.99 if jem else 0.995,
        )

    make.__doc__ = says
    return make


def linear_energy(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> ConvexEnergy:
    """A linear energy under cross-entropy: the same as logistic regression, to 1e-6."""
    return ConvexEnergy("linear_energy", dataset, preset, seed)


def quadratic_energy(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> ConvexEnergy:
    """A quadratic energy of 40 principal components, under cross-entropy."""
    return ConvexEnergy("quadratic_energy", dataset, preset, seed, net="quadratic")


def logistic_regression(
    dataset: str = "mnist", preset: str = "quick", seed: int = 0
) -> Statistical:
    """Logistic regression on pixels."""
    return Statistical("logistic_regression", dataset, preset, seed)


def qda(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> Statistical:
    """Quadratic discriminant analysis of 40 principal components: a Gaussian for each class."""
    return Statistical("qda", dataset, preset, seed, method="qda")


def network(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> Network:
    """A convolutional classifier with rectifiers and pooling."""
    return Network("network", dataset, preset, seed, EVERY, epochs=EPOCHS[preset])


TRIALS: dict[str, Callable[[str, str, int], Trial]] = {  # those that take longest begin first
    "cnn_energy": _net(
        "cnn_energy", "cnn", "cross_entropy", "A convolutional energy under cross-entropy.", EVERY
    ),
    "network": network,
    "jem": _net(
        "jem",
        "cnn",
        "jem",
        "JEM: the same energy, which also learns the density of pictures.",
        ("3v5",),
        PAIRS,
    ),
    "mlp_energy": _net(
        "mlp_energy", "mlp", "cross_entropy", "A perceptron's energy under cross-entropy.", EVERY
    ),
    "quadratic_energy": quadratic_energy,
    "linear_energy": linear_energy,
    "mlp_hinge": _net(
        "mlp_hinge", "mlp", "hinge", "The perceptron's energy under the hinge loss.", PAIRS
    ),
    "mlp_square_square": _net(
        "mlp_square_square",
        "mlp",
        "square_square",
        "The perceptron's energy under the square-square loss.",
        PAIRS,
    ),
    "mlp_perceptron": _net(
        "mlp_perceptron",
        "mlp",
        "perceptron",
        "The perceptron's energy under the perceptron loss.",
        PAIRS,
    ),
    "mlp_energy_loss": _net(
        "mlp_energy_loss",
        "mlp",
        "energy",
        "The bare energy loss, which lets all energies fall: a control.",
        PAIRS,
    ),
    "qda": qda,
    "logistic_regression": logistic_regression,
}
HEADLINE = (
    "accuracy 3v5",
    "accuracy 4v9",
    "accuracy 1v7",
    "accuracy 7v9",
    "accuracy parity",
    "nll 3v5",
    "ece 3v5",
    "auroc fashion_mnist by energy",
    "auroc fashion_mnist by probability",
)
TABLES = (
    Table("Surprise (NLL) in nats, by task", ("nll *",)),
    Table("Calibration error (ECE), by task", ("ece *",)),
    Table("AUROC of strangers by energy", ("auroc * by energy",)),
    Table("AUROC of strangers by the probability of the class", ("auroc * by probability",)),
    Table("Contrast: the gap between the two energies over their size, by task", ("contrast *",)),
    Table("McNemar's p against cnn_energy, on the same test pictures", ("p against cnn_energy *",)),
)
