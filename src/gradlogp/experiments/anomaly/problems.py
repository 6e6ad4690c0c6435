r"""The protocols of anomaly detection. Every method sees normal examples alone; choices are made on
held-out normal examples, or fixed beforehand (`levels` says where that was done while looking at
anomalies).

* **one-class**: learn one digit of the train part; the official test part, that digit against the
  nine others.
* **held-out**: learn nine digits; the official test part, the tenth digit is the anomaly. AUROC
  first: AUPRC depends on its share.
* **cross**: learn one data set; its test part against the test part of another, against noise,
  constant and smooth pictures. Grey pictures are brought to the size and channels of coloured ones.
* **tables**: the sets of ADBench, half of the normal rows to learn from, the rest and all anomalies to
  test (see `data.adbench`).

Examples are centred on the mean of the normal training examples; columns of tables are divided by
their standard deviation as well.

References: Ruff et al. (2018), Deep One-Class Classification (one-class); Zenati et al. (2018),
arXiv 1802.06222 (held-out); Ren et al. (2019), arXiv 1906.02845 (cross); Han et al. (2022), arXiv
2206.09426 (tables).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from gradlogp import data as readers
from gradlogp.baselines.detectors import subsample
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.random import seeded
from gradlogp.data import Dataset, Split
from gradlogp.data.adbench import table, tables
from gradlogp.harness.recipe import specify
from gradlogp.harness.trial import Context
from gradlogp.runs.cache import checksum

PROTOCOLS = ("one-class", "held-out", "cross", "tables")
NORMAL = 0
# data set learned -> what its test part is held against
CROSS = {
    "fashion_mnist": ("mnist",),
    "mnist": ("fashion_mnist", "kmnist", "noise", "constant"),
    "cifar10": ("smooth", "constant", "noise", "mnist", "kmnist", "fashion_mnist"),
}
GREY = ("fashion_mnist", "mnist")  # both are learned, unless the data set is another one of CROSS


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """Normal examples to learn from [n, *shape] and to choose on, a test part [m, *shape], and of
    what kind each of it is, [m]: 0 is normal, k the k-th of `kinds`.

    `name` decides the random numbers that are drawn for it; `axes` say what it is, {"protocol":
    "one-class", "class": 3}, and those of `kinds` of what kind its anomalies are.
    """

    name: str
    axes: Mapping[str, Any]
    says: str
    normal: Tensor
    held_out: Tensor
    test: Tensor
    kind: Tensor
    kinds: tuple[Mapping[str, Any], ...] = ({},)

    @property
    def protocol(self) -> str:
        return str(self.axes["protocol"])

    def thinned(self, most: int) -> "Problem":
        """With every n-th test example, `most` or a little more of them."""
        every = _every(len(self.test), most)
        return replace(self, test=self.test[every], kind=self.kind[every])

    @property
    def std(self) -> float:
        """The root mean square entry of the (centred) normal examples."""
        return float(self.normal.square().mean().sqrt())

    @cached_property
    def checksum(self) -> str:
        """Of the examples to learn from."""
        return checksum(self.normal)

    @cached_property
    def checksums(self) -> list[str]:
        """Of all examples."""
        return [self.checksum, checksum(self.held_out), checksum(self.test)]

    def anomalies(self) -> Iterator[tuple[dict[str, Any], Tensor]]:
        """For every kind of anomaly: its axes, and which test examples are of it, [m]."""
        for i, more in enumerate(self.kinds, NORMAL + 1):
            yield {**self.axes, **more}, self.kind == i


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
    for protocol in scope.protocols:
        yield from MAKERS[protocol](context, scope)


def _centred(problem: Problem, scaled: bool = False) -> Problem:
    """On the mean of the normal examples; `scaled` by the deviation of every entry."""
    mean, std = problem.normal.mean(0), problem.normal.std(0)
    scale = torch.where(std > 1e-6, std, 1.0) if scaled else 1.0
    parts = (problem.normal, problem.held_out, problem.test)
    normal, held_out, test = ((x - mean) / scale for x in parts)
    return replace(problem, normal=normal, held_out=held_out, test=test)


def _labels(split: Split, name: str) -> Tensor:
    if split.labels is None:
        raise UserError(
            f"one-class and held-out anomalies need classes, but {name} has no labels; take a data"
            " set that has."
        )
    return split.labels


def _every(n: int, most: int) -> slice:
    return slice(None, None, max(1, n // most) if most else 1)


def _one_class(context: Context, scope: Scope) -> Iterator[Problem]:
    data = context.data
    for c in scope.one_class or range(len(data.classes)):
        yield _of_class(
            data,
            scope,
            {"protocol": "one-class", "class": c},
            f"the train part of class {c} alone",
            data.test,
            lambda labels, c=c: labels == c,  # type: ignore[misc]
        )


def _held_out(context: Context, scope: Scope) -> Iterator[Problem]:
    data = context.data
    test = data.test[_every(len(data.test), scope.test)]
    for c in scope.held_out or range(len(data.classes)):
        yield _of_class(
            data,
            scope,
            {"protocol": "held-out", "class": c},
            f"the train part without class {c}",
            test,
            lambda labels, c=c: labels != c,  # type: ignore[misc]
        )


def _of_class(
    data: Dataset,
    scope: Scope,
    axes: Mapping[str, Any],
    learned: str,
    test: Split,
    normal: Callable[[Tensor], Tensor],
) -> Problem:
    """Learn the examples whose labels are `normal`."""
    to_model = specify(data).coordinates.to_model
    train, held_out = (
        normal(_labels(split, data.name)).nonzero()[:, 0] for split in (data.train, data.validation)
    )
    train = subsample(train, scope.train or None, 0)
    says = (
        f"learned from {learned} of {data.name} ({len(train)} pictures); {len(test)} of the official"
        " test part"
    )
    problem = Problem(
        f"{axes['protocol']} {axes['class']}",
        axes,
        says,
        to_model(data.train[train].scaled()),
        to_model(data.validation[held_out].scaled()),
        to_model(test.scaled()),
        (~normal(_labels(test, data.name))).long(),
    )
    return _centred(problem)


def _cross(context: Context, scope: Scope) -> Iterator[Problem]:
    own = context.data.name
    for name in GREY if own in GREY or own not in CROSS else (own,):
        known = context.data if context.data.name == name else readers.load(name, context.root)
        yield _across(known, context, scope)


def _across(known: Dataset, context: Context, scope: Scope) -> Problem:
    """The test part of the data set that is known against others."""
    to_model = specify(known).coordinates.to_model
    normal = known.test.scaled()
    others = _others(CROSS[known.name], normal, context)
    parts = [to_model(x[_every(len(x), scope.test)]) for x in (normal, *others)]
    train = to_model(subsample(known.train.scaled(), scope.train or None, 0))
    says = (
        f"learned from the train part of {known.name} ({len(train)} pictures); {len(parts[0])} of"
        " each official test part"
    )
    problem = Problem(
        f"cross {known.name}",
        {"protocol": "cross", "learned": known.name},
        says,
        train,
        to_model(known.validation.scaled()),
        torch.cat(parts),
        torch.cat([torch.full((len(x),), i) for i, x in enumerate(parts)]),
        tuple({"against": other} for other in CROSS[known.name]),
    )
    return _centred(problem)


def _others(names: Sequence[str], like: Tensor, context: Context) -> list[Tensor]:
    """Pictures on [0, 1] that are made here, or the test parts of other data sets."""
    generator = seeded("strangers")  # a word of the first version: it decides the draws
    return [
        MADE[name](like, generator)
        if name in MADE
        else _alike(readers.load(name, context.root).test.scaled(), like)
        for name in names
    ]


def _alike(x: Tensor, like: Tensor) -> Tensor:
    """Pictures x [n, C, H, W] in the size and channels of `like`."""
    channels, *size = like.shape[1:]
    return interpolate(x, size, mode="bilinear").expand(-1, channels, -1, -1)


def noise(like: Tensor, generator: Generator) -> Tensor:
    """Independent pixels, U(0, 1)."""
    return torch.rand(like.shape, generator=generator)


def constant(like: Tensor, generator: Generator) -> Tensor:
    """Pictures of one colour."""
    colour = torch.rand(*like.shape[:2], 1, 1, generator=generator)
    return colour.expand(like.shape)


def smooth(like: Tensor, generator: Generator) -> Tensor:
    """Sixteen independent colours, U(0, 1), and what lies between them linearly."""
    return _alike(torch.rand(*like.shape[:2], 4, 4, generator=generator), like)


MADE: Mapping[str, Callable[[Tensor, Generator], Tensor]] = {
    "noise": noise,
    "constant": constant,
    "smooth": smooth,
}


def _tables(context: Context, scope: Scope) -> Iterator[Problem]:
    for name in scope.tables or tables(context.root):
        one = table(name, context.root)
        says = (
            f"learned from {len(one.train)} rows, half of the normal ones; the other half and all"
            " anomalies are the test part"
        )
        problem = Problem(
            f"table {name}",
            {"protocol": "tables", "table": name},
            says,
            one.train.x,
            one.validation.x,
            one.test.x,
            _labels(one.test, name),
        )
        yield _centred(problem, scaled=True)


MAKERS: Mapping[str, Callable[[Context, Scope], Iterator[Problem]]] = {
    "one-class": _one_class,
    "held-out": _held_out,
    "cross": _cross,
    "tables": _tables,
}
