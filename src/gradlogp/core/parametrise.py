r"""One network, many names for what it predicts. With :math:`x_t = \alpha x_0 + \sigma\varepsilon`
each is a sum of data and noise,

.. math:: p\, x_0 + q\,\varepsilon, \qquad \text{so that} \qquad
          x_0 = \frac{\sigma y - q\, x_t}{p\sigma - q\alpha}, \quad \varepsilon = \frac{p\, x_t -
          \alpha y}{p\sigma - q\alpha}

for a prediction y, and `convert` goes from any to any:

=============== ========================================== ===========================================
kind            p, q                                       predicted by
=============== ========================================== ===========================================
``x0``          1, 0                                       denoisers
``eps``         0, 1                                       DDPM; a VP score net is -net / sigma
``sigma_score`` 0, -1                                      NCSNv2, whose score is net / sigma
``score``       0, :math:`-1/\sigma`                       NCSN: Tweedie, :math:`(\alpha x_0 - x_t)/\sigma^2`
``v``           :math:`-\sigma, \alpha`                    progressive distillation
``velocity``    :math:`\dot\alpha, \dot\sigma`             flow matching: -1, 1 on the rectified path
``edm``         :math:`\ell/\sigma_d n,\ -\sigma_d/n`      EDM's F: :math:`D = c_{skip} x + c_{out} F`
=============== ========================================== ===========================================

with :math:`\ell = \sigma/\alpha,\ n = \sqrt{\ell^2 + \sigma_d^2}`, and :math:`c_{skip} =
\sigma_d^2/n^2,\ c_{out} = \ell\sigma_d/n, c_{in} = 1/n` at :math:`x = x_t/\alpha`. Levels are
floats or [B]; the data's standard deviation sigma_d is measured, never assumed.

References: Efron (2011), Tweedie's Formula; Ho et al. (2020), arXiv 2006.11239, eq. 11 (eps); Song
& Ermon (2020), arXiv 2006.09011, technique 3; Salimans & Ho (2022), arXiv 2202.00512, app. D (v);
Lipman et al. (2022), arXiv 2210.02747, eq. 23 (velocity; there t = 1 is data); Karras et al.
(2022), arXiv 2206.00364, table 1 (EDM).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, final, get_args

import torch
from torch import Tensor

from gradlogp.core.fields import Level, NoisyField, column
from gradlogp.core.process import NoiseProcess, as_level

Kind = Literal["x0", "eps", "sigma_score", "score", "v", "velocity", "edm"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class NoiseLevel(NamedTuple):
    """Where x_t stands: alpha, sigma, for ``velocity`` their rates in t, and for ``edm`` the data's
    standard deviation.
    """

    alpha: Level
    sigma: Level
    rates: tuple[Level, Level] = (-1.0, 1.0)
    sigma_data: float | None = None


def parts(kind: Kind, place: NoiseLevel) -> tuple[Level, Level]:
    """The p and q of the table; ValueError for a kind that is not there, and for ``edm`` without
    `sigma_data`.
    """
    alpha, sigma, rates, sigma_data = place
    table: dict[str, Callable[[], tuple[Level, Level]]] = {
        "x0": lambda: (1.0, 0.0),
        "eps": lambda: (0.0, 1.0),
        "sigma_score": lambda: (0.0, -1.0),
        "score": lambda: (0.0, -1 / sigma),
        "v": lambda: (-sigma, alpha),
        "velocity": lambda: rates,
        "edm": lambda: _edm(sigma / alpha, sigma_data),
    }
    if kind not in table:
        raise ValueError(f"a network predicts one of {', '.join(KINDS)}, got {kind!r}.")
    return table[kind]()


def _edm(level: Level, sigma_data: float | None) -> tuple[Level, Level]:
    if sigma_data is None or sigma_data <= 0:
        raise ValueError(
            f"'edm' needs the data's standard deviation, above 0, got {sigma_data}; "
            "pass sigma_data=measure_sigma_data(x)."
        )
    n = (level**2 + sigma_data**2) ** 0.5
    return level / (sigma_data * n), -sigma_data / n


def convert(value: Tensor, xt: Tensor, source: Kind, target: Kind, place: NoiseLevel) -> Tensor:
    """`value` [B, *shape], a prediction of kind `source` at xt [B, *shape], as a prediction of kind
    `target`.
    """
    if value.shape != xt.shape:
        raise ValueError(
            f"a prediction has the shape of x_t, {list(xt.shape)}, but this one has"
            f" {list(value.shape)}."
        )
    (p, q), (p_new, q_new) = parts(source, place), parts(target, place)
    whole = p * place.sigma - q * place.alpha
    of_value = (p_new * place.sigma - q_new * place.alpha) / whole
    of_xt = (q_new * p - p_new * q) / whole
    return _shaped(of_value, xt) * value + _shaped(of_xt, xt) * xt


def _shaped(v: Level, x: Tensor) -> Level:
    return column(v.to(x.dtype), x) if isinstance(v, Tensor) else v


def measure_sigma_data(x: Tensor) -> float:
    """The standard deviation over all entries of x [n, *shape]: MNIST has .308 in [0, 1], and .616
    in [-1, 1].
    """
    return float(x.double().std(correction=0))


TimeInput = Callable[[Tensor, Tensor], Tensor]  # (t, level) -> the time that a network is fed
CLOCKS: dict[str, TimeInput] = {
    "t": lambda t, level: t,
    "1 - t": lambda t, level: 1 - t,
    "999 t": lambda t, level: 999 * t,
    "sigma": lambda t, level: level,
    "ln sigma": lambda t, level: level.log(),
    "ln sigma / 4": lambda t, level: level.log() / 4,
}


def step_clock(levels: Sequence[float]) -> TimeInput:
    """The clock of a network that is fed step numbers, 0 next to the data: the nearest of the
    DDPM's `levels`, in ratio.
    """
    rising = torch.tensor(sorted(levels), dtype=torch.float64).log()
    between = (rising[1:] + rising[:-1]) / 2
    return lambda t, level: torch.bucketize(level.log(), between.to(level.device))


@final
@dataclass(frozen=True)
class Predicts(NoisyField):
    """Any network (x, time [B]) -> [B, *shape], or with `cond` (x, time, cond), as the field of
    what it was trained for.

    It predicts `kind`, in the coordinates of `process`: x arrives as alpha x at the level sigma /
    alpha (for ``edm`` as c_in x). `clock` is what it was fed as time: a name in CLOCKS, where sigma
    is the level, or a function (t, level) -> time such as step_clock's.
    """

    net: Callable[..., Tensor]
    kind: Kind
    process: NoiseProcess
    clock: str | TimeInput = "t"
    sigma_data: float | None = None
    cond: Tensor | None = None

    def __post_init__(self) -> None:
        parts(self.kind, NoiseLevel(1.0, 1.0, sigma_data=self.sigma_data))
        if isinstance(self.clock, str) and self.clock not in CLOCKS:
            raise ValueError(
                "a clock is a function (t, level) -> time, or one of"
                f" {', '.join(map(repr, CLOCKS))}, got {self.clock!r}."
            )

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        level = as_level(sigma).to(x.device).expand(x.shape[0])
        alpha = self.process.alpha_at(level)
        t = self.process.time(level)
        rates = self.process.rates_at(level) if self.kind == "velocity" else (-1.0, 1.0)
        xt = _shaped(alpha, x) * x
        value = self._ask(_shaped(self._c_in(level), x) * x if self.kind == "edm" else xt, t, level)
        return convert(
            value, xt, self.kind, "x0", NoiseLevel(alpha, alpha * level, rates, self.sigma_data)
        )

    def _c_in(self, level: Tensor) -> Tensor:
        return (level**2 + (self.sigma_data or 0.0) ** 2).rsqrt()

    def _ask(self, x: Tensor, t: Tensor, level: Tensor) -> Tensor:
        time = (CLOCKS[self.clock] if isinstance(self.clock, str) else self.clock)(t, level)
        time = time.to(x.dtype) if time.is_floating_point() else time
        return self.net(x, time) if self.cond is None else self.net(x, time, self.cond)
