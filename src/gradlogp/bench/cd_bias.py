r"""How wrong the gradient of CD-k is, exactly, on machines small enough to enumerate.

The negative log-likelihood's gradient is :math:`g = (p_{data} - p)^\top \nabla F`, over all 2^D
visible states. CD-k puts for p the law of chains k block-Gibbs steps from the data, :math:`p_{data}
K^k`, so its expected gradient and relative bias are

.. math:: g_k = (p_{data} - p_{data} K^k)^\top \nabla F, \qquad \frac{\|g_k - g\|}{\|g\|}
          = \frac{\|(p_{data} K^k - p)^\top \nabla F\|}{\|(p_{data} - p)^\top \nabla F\|} .

K is reversible and has no negative eigenvalues; its second largest, lambda_2, is the mixing rate:
the bias falls as :math:`\lambda_2^k` in the end. Weights W, drawn from N(0, 1), are scaled until
the machine mixes at the wanted rate.

References: Hinton (2002), Training Products of Experts; Carreira-Perpinan & Hinton (2005), On
Contrastive Divergence Learning; Bengio & Delalleau (2009), Justifying and Generalizing Contrastive
Divergence (the bias of small machines).
"""

import math
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gradlogp.bench.page import table
from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.models.rbm import BernoulliRBM, binary_states
from gradlogp.objectives import ContrastiveDivergence, FromData
from gradlogp.samplers import BlockGibbs

VISIBLE = 8
HIDDEN = 6
DATA = 20
RATES = (0.21, 0.71, 0.973, 0.9996)
STEPS = (1, 2, 5, 10, 50)
CURVE = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50)


class Problem(NamedTuple):
    """A machine, its visible states [2^D, D], and the law of its data over them [2^D]."""

    machine: BernoulliRBM
    states: Tensor
    data: Tensor


def states(units: int) -> Tensor:
    return torch.cat(list(binary_states(units, torch.zeros((), dtype=torch.float64))))


def problem(seed: int, scale: float) -> Problem:
    """Weights `scale` x N(0, 1) and biases N(0, 1/4), in float64; the data are 20 random states,
    each as likely.
    """
    g = seeded(seed, VISIBLE, HIDDEN)
    normal = partial(torch.randn, generator=g, dtype=torch.float64)
    machine = BernoulliRBM.of(
        scale * normal(VISIBLE, HIDDEN), normal(VISIBLE) / 2, normal(HIDDEN) / 2
    )
    drawn = torch.randint(2**VISIBLE, (DATA,), generator=g)
    return Problem(
        machine, states(VISIBLE), torch.bincount(drawn, minlength=2**VISIBLE).double() / DATA
    )


def log_joint(machine: BernoulliRBM) -> Tensor:
    """-E(v, h) of all states, [2^D, 2^H]."""
    with torch.no_grad():
        v, h = (states(units) for units in machine.weight.shape)
        return machine.drive(v) @ h.T - machine.visible_energy(v)[:, None]


def distribution(machine: BernoulliRBM) -> Tensor:
    """p over all visible states, [2^D]."""
    return log_joint(machine).logsumexp(1).softmax(0)


def kernel(machine: BernoulliRBM) -> Tensor:
    """K(v, v') of one block-Gibbs step, [2^D, 2^D]: the sum over h of P(h | v) P(v' | h)."""
    joint = log_joint(machine)
    return joint.softmax(1) @ joint.softmax(0).T


def mixing_rate(machine: BernoulliRBM) -> float:
    """The second largest eigenvalue of the kernel: the squared second singular value of p(v, h) /
    sqrt(p(v) p(h)).
    """
    joint = log_joint(machine)
    balanced = (joint - joint.logsumexp(1, keepdim=True) / 2 - joint.logsumexp(0) / 2).exp()
    return float(torch.linalg.eigvalsh(balanced.T @ balanced)[-2])


def scale_for(seed: int, rate: float, digits: int = 20) -> float:
    """The scale of the weights at which the machine mixes at `rate`, by bisection of its logarithm."""
    low, high = math.log(0.05), math.log(50.0)
    for _ in range(digits):
        middle = (low + high) / 2
        slow = mixing_rate(problem(seed, math.exp(middle)).machine) > rate
        low, high = (low, middle) if slow else (middle, high)
    return math.exp((low + high) / 2)


def statistics_of(machine: BernoulliRBM, v: Tensor) -> Tensor:
    """-dF/d(weight, visible bias, hidden bias) for each row of v, [n, D H + D + H]."""
    h = machine.hidden(v).detach()
    return torch.cat([(v[:, :, None] * h[:, None]).flatten(1), v, h], 1)


def gradient(p: Problem, k: int) -> Tensor:
    """The expected gradient of CD-k, over all parameters: minus the data's statistics, plus the
    chains'.
    """
    chains = p.data @ torch.linalg.matrix_power(kernel(p.machine), k)
    return (chains - p.data) @ statistics_of(p.machine, p.states)


def exact_gradient(p: Problem) -> Tensor:
    """The gradient of the mean negative log-likelihood of the data."""
    return (distribution(p.machine) - p.data) @ statistics_of(p.machine, p.states)


def biases(p: Problem, steps: Sequence[int]) -> list[float]:
    """The relative bias of CD-k for every k in `steps`."""
    kernel_ = kernel(p.machine)
    model = distribution(p.machine)
    chains = p.data
    dF, found = statistics_of(p.machine, p.states), {}
    whole = float(((model - p.data) @ dF).norm())
    for k in range(1, max(steps) + 1):
        chains = chains @ kernel_
        found[k] = float(((chains - model) @ dF).norm()) / whole
    return [found[k] for k in steps]


def simulated(
    p: Problem, k: int, generator: torch.Generator, groups: int = 100, batch: int = 500
) -> dict[str, Any]:
    """The gradient that `ContrastiveDivergence` gives with `BlockGibbs` from the data, against the
    exact one of CD-k and of all.
    """
    objective = ContrastiveDivergence(BlockGibbs(), FromData(), steps=k, energy_l2=0.0)
    parameters = [p.machine.weight, p.machine.visible_bias, p.machine.hidden_bias]
    seen = []
    for _ in range(groups):
        rows = torch.multinomial(p.data, batch, replacement=True, generator=generator)
        value = objective(p.machine, Batch(p.states[rows]), generator).value.mean()
        seen.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)]))
    stack = torch.stack(seen)
    error = stack.std(0) / math.sqrt(groups)
    from_cd, from_exact = (
        float(((stack.mean(0) - g) / error).abs().max())
        for g in (gradient(p, k), exact_gradient(p))
    )
    return {
        "kind": "simulated",
        "k": k,
        "chains": groups * batch,
        "parameters": stack.shape[1],
        "z_cd": from_cd,
        "z_exact": from_exact,
    }


def rows(seeds: int = 20) -> list[dict[str, Any]]:
    """For each mixing rate and k the relative bias, median and quartiles of machines; then
    simulated gradients of one.
    """
    exact = [row for rate in RATES for row in _exact(rate, seeds)]
    first = problem(0, scale_for(0, RATES[1]))
    g = seeded(0, "simulated")
    return exact + [simulated(first, k, g) for k in STEPS[:4]]


def _exact(rate: float, seeds: int) -> list[dict[str, Any]]:
    scales = [scale_for(seed, rate) for seed in range(seeds)]
    found = [biases(problem(seed, scale), CURVE) for seed, scale in enumerate(scales)]
    quartiles = {
        k: statistics.quantiles(b, n=4)
        for k, b in zip(CURVE, zip(*found, strict=True), strict=True)
    }
    return [
        {
            "kind": "exact",
            "rate": rate,
            "scale": statistics.median(scales),
            "machines": seeds,
            "k": k,
            "low": low,
            "bias": median,
            "high": high,
        }
        for k, (low, median, high) in quartiles.items()
    ]


PAGE = """# The bias of CD-k

Contrastive divergence stops its chains after k steps from the data, so its gradient is not that of the likelihood. On a machine
small enough to list all its states both are sums, and the error is exact: |g_k - g| / |g|, with g the gradient of the likelihood
and g_k the expected gradient of CD-k. What decides is how fast block Gibbs sampling mixes: the second eigenvalue of its kernel.

![Relative bias of the CD-k gradient against k, for four mixing rates](images/cd-bias.png)

{visible} visible and {hidden} hidden units, weights from N(0, 1) times the scale that gives the mixing rate, biases of standard
deviation .5, {data} random states as data. Median of {machines} machines, and in brackets the middle half of them.

{exact}

- Where the chain mixes, a few steps are enough: in the end each leaves the same share of the bias, the mixing rate. CD-10 is worth
  its price over CD-1.
- Where it hardly does, no affordable k is: at mixing rate {slowest} more than half of CD-1's bias is left at CD-50. Large weights
  do that, and training makes weights grow; persistent chains and tempering are the answer then, not a larger k.

## The same by simulation

The first machine at mixing rate {rate}: the gradient of `ContrastiveDivergence(BlockGibbs(), FromData(), steps=k)`, averaged over
{chains:,} chains, against both exact ones. The largest deviation among its {parameters} entries, in standard errors: below 4 from
the expected gradient of CD-k, far above it from the likelihood's until k is large.

{simulated}

`gradlogp bench cd-bias` makes this page, and `gradlogp/bench/cd_bias.py` holds every setting.
"""


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The page of the docs, in Markdown, from `rows()`."""
    exact = [row for row in rows if row["kind"] == "exact"]
    simulated = [row for row in rows if row["kind"] == "simulated"]
    return PAGE.format(
        visible=VISIBLE,
        hidden=HIDDEN,
        data=DATA,
        machines=exact[0]["machines"],
        rate=RATES[1],
        slowest=RATES[-1],
        chains=simulated[0]["chains"],
        parameters=simulated[0]["parameters"],
        exact=_biases(exact),
        simulated=_checks(simulated),
    )


def _biases(exact: Sequence[dict[str, Any]]) -> str:
    """Mixing rates against k: the relative bias of the gradient."""
    by_rate = [[row for row in exact if row["rate"] == rate] for rate in RATES]
    cells = [
        [f"{some[0]['rate']:g}", f"{some[0]['scale']:.2g}", *map(_cell, _at_steps(some))]
        for some in by_rate
        if some
    ]
    return table(["mixing rate", "scale", *(f"CD-{k}" for k in STEPS)], cells)


def _at_steps(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["k"] in STEPS]


def _checks(simulated: Sequence[dict[str, Any]]) -> str:
    """How many standard errors the gradient of sampled chains is from either exact one."""
    cells = [[row["k"], f"{row['z_cd']:.1f}", f"{row['z_exact']:.1f}"] for row in simulated]
    return table(["k", "from CD-k's", "from the likelihood's"], cells)


def _cell(row: dict[str, Any]) -> str:
    return f"**{_short(row['bias'])}** ({_short(row['low'])} to {_short(row['high'])})"


def _short(x: float) -> str:
    return "0" if x < 1e-12 else f"{x:.3f}" if x >= 0.01 else f"{x:.0e}"


def figure(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The bias against k on logarithmic axes: a line for each mixing rate, with a colour and a
    marker of its own.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = FigureCanvasAgg(drawing).figure.add_subplot()
    for rate, colour, marker in zip(
        RATES, ("#0072B2", "#009E73", "#E69F00", "#D55E00"), "osD^", strict=True
    ):
        some = [row for row in rows if row["kind"] == "exact" and row["rate"] == rate]
        k = [row["k"] for row in some]
        axes.fill_between(
            k,
            [row["low"] for row in some],
            [row["high"] for row in some],
            color=colour,
            alpha=0.12,
            linewidth=0,
        )
        axes.plot(
            k,
            [row["bias"] for row in some],
            color=colour,
            marker=marker,
            markersize=5,
            label=f"mixing rate {rate:g}",
        )
    axes.set(
        xscale="log",
        yscale="log",
        ylim=(1e-4, 1.5),
        xlabel="k, steps of block Gibbs from the data",
        ylabel="relative bias of the gradient",
        xticks=STEPS,
        xticklabels=[str(k) for k in STEPS],
    )
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=100, metadata={"Software": None})
