"""A number together with what is needed to read it.

    ceiling (what a trivial method scores)  ->  value +- spread  ->  floor (what two samples of the same law score)

`float(measure)` is the bare number and `str(measure)` the line to print. A perfect sampler reaches
the floor, not zero: finite samples of one law differ.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from gradlogp.core.errors import UserError

# of the delete-a-group jackknife: the spread itself is then known to about 1 / sqrt(2 * 19) = 16 %
GROUPS = 20


@dataclass(frozen=True)
class Measure:
    """One measured number.

    `stderr` is one standard error (`protocol` says over what), `n` the number of examples judged,
    `protocol` one sentence with all that must be equal for two values to be compared, `reference` the
    value that two samples of the same law reach, `trivial` the value of a trivial method such as
    noise; None where unknown. `axes` say of what it was measured: {"noise": 0.3}.
    """

    metric: str
    value: float
    stderr: float | None
    n: int
    better: Literal["higher", "lower"]
    protocol: str
    reference: float | None = None
    trivial: float | None = None
    axes: Mapping[str, Any] = field(default_factory=dict)

    def at(self, **axes: Any) -> "Measure":
        """The same measurement, said of what: noise=0.3, steps=20."""
        return replace(self, axes={**self.axes, **axes})

    def as_dict(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "axes" or value}

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        spread = "" if self.stderr is None else f" +- {self.stderr:.2g}"
        marks = [
            f"{k} {v:.4g}"
            for k, v in (("reference", self.reference), ("trivial", self.trivial))
            if v is not None
        ]
        return (
            f"{self.metric} {self.value:.4g}{spread}"
            f" ({', '.join([f'{self.better} is better', *marks])})"
        )


def finite(x: Tensor, name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    """`x` in `dtype` without its graph; UserError where it is empty or holds NaN or inf."""
    if x.numel() == 0:
        raise UserError(
            f"`{name}` needs at least one example, but has shape {list(x.shape)}; pass some."
        )
    if bad := int((~x.isfinite()).reshape(len(x), -1).any(1).sum()):
        raise UserError(
            f"`{name}` needs finite numbers, but {bad} of {len(x)} examples hold NaN or inf; "
            "look for a diverged sampler, or drop those examples and say so."
        )
    return x.detach().to("cpu" if x.device.type == "mps" else x.device, dtype)  # mps has no float64


def features(x: Tensor, name: str, at_least: int = 2) -> Tensor:
    """A feature matrix [n, d] in float64; errors where it has another rank, too few rows, NaN or
    inf.
    """
    if x.ndim != 2:
        raise ValueError(
            f"`{name}` needs features of shape [n, d], but has {list(x.shape)}; "
            "pass images through the feature network, or x.flatten(1) for raw pixels."
        )
    if len(x) < at_least:
        raise UserError(
            f"`{name}` needs at least {at_least} examples, but has {len(x)}; draw more samples."
        )
    return finite(x, name)


def feature_pair(real: Tensor, fake: Tensor, at_least: int = 2) -> tuple[Tensor, Tensor]:
    """Two feature matrices of one width, [n, d] and [m, d], in float64."""
    real = features(real, "real", at_least)
    fake = features(fake, "fake", at_least)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"`real` and `fake` need the same feature width, but have {real.shape[1]} and "
            f"{fake.shape[1]}; pass both through the same feature network."
        )
    return real, fake


def standard_error(each: Tensor) -> float | None:
    """Of the mean of independent values [n]; None for a single one."""
    return float(each.double().std() / len(each) ** 0.5) if len(each) > 1 else None


def jackknife(left_out: Tensor) -> float:
    """Standard error from the g values with one group left out: sqrt((g - 1) / g * sum (v_i - mean
    v)^2).

    Groups are dealt like cards (0, g, 2g, ...), so that samples sorted by class still give groups
    that look alike.
    """
    g = len(left_out)
    return float(((g - 1) / g * (left_out - left_out.mean()).square().sum()).sqrt())
