"""A number together with what is needed to read it.

    trivial (what a trivial method scores)  ->  value +- stderr  ->  reference (what two samples of one density score)

`float(measure)` is the bare number and `str(measure)` the line to print. A perfect sampler reaches
the reference, not zero: finite samples of one density differ.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from gradlogp.core.arrays import Numbers, finite, real as as_real
from gradlogp.core.errors import UserError
from gradlogp.core.random import seeded

ENOUGH = 2  # examples for each number that a yardstick is made of
Better = Literal["higher", "lower", "none"]

# of the delete-a-group jackknife: the error itself is then known to about 1 / sqrt(2 * 19) = 16 %
GROUPS = 20
QUARTERS, SPLITS = 4, 10  # of `subsample_error`
MORE = {  # what to do where a part is too small
    "real": "take more real examples, such as a larger test part",
    "fake": "draw more samples",
    "logits": "classify more samples",
}


@dataclass(frozen=True)
class Measure:
    """One measured number.

    `stderr` is one standard error (`protocol` says over what), `n` the number of examples judged,
    `protocol` one sentence with all that must be equal for two values to be compared, `reference`
    the value that two samples of the same law reach, `trivial` the value of a trivial method such
    as noise; None where unknown. `better`, `unit` and `aim` are those of the metric (`Quantity`).
    `axes` say of what it was measured: {"noise": 0.3}.
    """

    metric: str
    value: float
    stderr: float | None
    n: int
    better: Better
    protocol: str
    reference: float | None = None
    trivial: float | None = None
    unit: str = ""
    aim: float | None = None
    axes: Mapping[str, Any] = field(default_factory=dict)

    def at(self, **axes: Any) -> "Measure":
        """The same measurement, said of what: noise=0.3, steps=20."""
        return replace(self, axes={**self.axes, **axes})

    def as_dict(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "axes" or value}

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        stderr = "" if self.stderr is None else f" +- {self.stderr:.2g}"
        good = f"{self.better} is better"
        if self.better == "none":
            good = "no value is better" if self.aim is None else f"{self.aim:g} is right"
        marks = [
            f"{k} {v:.4g}"
            for k, v in (("reference", self.reference), ("trivial", self.trivial))
            if v is not None
        ]
        return (
            f"{self.metric} {self.value:.4g}{stderr} {self.unit}".rstrip()
            + f" ({', '.join([good, *marks])})"
        )


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What a number means, whoever measures it.

    `name` and `meaning` are for somebody who has never met it. Where `better` is "none" neither
    more nor less is: `aim` is the value that is right, None where no value is. `unit` is empty for
    a bare number.
    """

    key: str
    name: str
    meaning: str
    better: Better
    unit: str = ""
    aim: float | None = None

    def measure(
        self,
        value: float,
        stderr: float | None,
        n: int,
        protocol: str,
        reference: float | None = None,
        trivial: float | None = None,
    ) -> Measure:
        return Measure(
            self.key,
            value,
            stderr,
            n,
            self.better,
            protocol,
            reference,
            trivial,
            self.unit,
            self.aim,
        )


@dataclass(frozen=True, kw_only=True)
class Metric(Quantity):
    """A member of the table METRICS: what it is called with, in order, and one line about it."""

    call: Callable[..., Measure]
    takes: tuple[str, ...]
    says: str


def matrix(x: Numbers, name: str, at_least: int = 2) -> Tensor:
    """A feature matrix [n, d] of the type that it is given in; errors where it has another rank or
    too few rows.
    """
    x = as_real(x, name)
    if x.ndim != 2:
        raise ValueError(
            f"`{name}` needs features of shape [n, d], but has {list(x.shape)}; "
            "pass images through the feature network, or x.flatten(1) for raw pixels."
        )
    if len(x) < at_least:
        raise UserError(
            f"`{name}` needs at least {at_least} examples, but has {len(x)};"
            f" {MORE.get(name, 'pass more')}."
        )
    return x


def features(x: Numbers, name: str, at_least: int = 2) -> Tensor:
    """A feature matrix [n, d] in float64; errors where it has another rank, too few rows, NaN or
    inf.
    """
    return finite(matrix(x, name, at_least), name)


def matrix_pair(real: Numbers, fake: Numbers, at_least: int = 2) -> tuple[Tensor, Tensor]:
    """Two feature matrices of one width, [n, d] and [m, d], of the types that they are given in."""
    real = matrix(real, "real", at_least)
    fake = matrix(fake, "fake", at_least)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"`real` and `fake` need the same feature width, but have {real.shape[1]} and "
            f"{fake.shape[1]}; pass both through the same feature network."
        )
    return real, fake


def feature_pair(real: Numbers, fake: Numbers, at_least: int = 2) -> tuple[Tensor, Tensor]:
    """Two feature matrices of one width, [n, d] and [m, d], in float64, without NaN or inf."""
    real, fake = matrix_pair(real, fake, at_least)
    return finite(real, "real"), finite(fake, "fake")


def too_few(examples: int, numbers: int) -> bool:
    """Whether a yardstick made of so many numbers (features, pixels) stands on too few examples."""
    return examples < ENOUGH * numbers


def scarce(examples: int, numbers: int, what: str) -> str:
    """What is said then: 150 examples for 64 features, under 2 for each is rough."""
    return (
        f"{examples:,} examples for {numbers:,} {what}, and fewer than {ENOUGH} for each are rough"
    )


def standard_error(each: Tensor) -> float | None:
    """Of the mean of independent values [n]; None for a single one."""
    return float(each.double().std() / len(each) ** 0.5) if len(each) > 1 else None


def binomial_error(share: float, n: int) -> float | None:
    """Of a share of n independent yes and no; None for a single one."""
    return float((share * (1 - share) / n) ** 0.5) if n > 1 else None


def jackknife(left_out: Tensor) -> float:
    """Standard error from the g values with one group left out: sqrt((g - 1) / g * sum (v_i - mean
    v)^2).

    Groups are dealt like cards (0, g, 2g, ...), so that samples sorted by class still give groups
    that look alike.
    """
    g = len(left_out)
    return float(((g - 1) / g * (left_out - left_out.mean()).square().sum()).sqrt())


def subsample_error(of: Callable[..., Tensor], *parts: Tensor, count: int = QUARTERS) -> Tensor:
    """Standard errors [q] of the statistics `of` [q] of samples: their variance between disjoint
    quarters (or `count` parts), over 4.

    For nearest neighbours and whatever else is not smooth, where the jackknife comes out some 1.3
    to 2 times too wide (Politis & Romano 1994, Ann. Statist. 22: samples of a smaller size). The
    mean of several random splits; samples of two and three are split into as many.
    """
    generator = seeded("subsamples")
    count = min(count, *map(len, parts))
    variances = []
    for _ in range(SPLITS):
        orders = [torch.randperm(len(x), generator=generator).to(x.device) for x in parts]
        sizes = [len(x) // count for x in parts]
        each = [
            of(
                *(
                    x[order[i * n : (i + 1) * n]]
                    for x, order, n in zip(parts, orders, sizes, strict=True)
                )
            )
            for i in range(count)
        ]
        variances.append(torch.stack(each).var(0))
    return (torch.stack(variances).mean(0) / count).sqrt()
