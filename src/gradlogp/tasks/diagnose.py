"""Run chains, and say what they are worth: acceptance, effective sample size, split R-hat, energy
and displacement.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradlogp.core.diagnose import Diagnostics, Functions, both
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Field
from gradlogp.core.kernel import Sampler, run
from gradlogp.core.random import Randomness
from gradlogp.metrics.mcmc import effective_samples, split_rhat


@dataclass(frozen=True)
class Report:
    """What a run of chains is worth. `ess` and `rhat` have one number per function watched, NaN for
    one that never moved.

    accept and energy are means over chains and steps, None where the sampler has neither; swap is
    the acceptance of exchanges between the two temperatures that exchange least; displacement is
    the root mean square distance that one step moves a chain. `traces` has every step: accept,
    energy, displacement [B, steps], swap [B, steps, R - 1] and functions [B, steps, Q].
    """

    chains: int
    steps: int
    accept: float | None
    ess: tuple[float, ...]
    rhat: tuple[float, ...]
    energy: float | None
    swap: float | None
    displacement: float
    traces: dict[str, Tensor]

    def __str__(self) -> str:
        lines = [
            f"{self.chains} chains of {self.steps} steps",
            *self._worst(),
            f"displacement {self.displacement:.3g} a step",
        ]
        known = (("acceptance", self.accept), ("exchange", self.swap), ("energy", self.energy))
        lines += [f"{name:<12} {value:.4g}" for name, value in known if value is not None]
        return "\n".join(lines)

    def _worst(self) -> list[str]:
        ess = [value for value in self.ess if not math.isnan(value)]
        rhat = [value for value in self.rhat if not math.isnan(value)]
        if not ess:
            return [f"ESS          none: not one of {len(self.ess)} functions ever moved"]
        stuck = len(self.ess) - len(ess)
        left_out = f"; {stuck} of {len(self.ess)} never moved" if stuck else ""
        return [
            f"ESS          {min(ess):.0f} of {self.chains * self.steps}, the smallest of"
            f" {len(ess)}{left_out}",
            f"split R-hat  {max(rhat):.3f}, the largest",
        ]


def chains(
    sampler: Sampler[Field, Any],
    field: Field,
    x: Tensor,
    steps: int,
    burn_in: int,
    generator: Randomness,
    functions: Functions | None = None,
    watch: Callable[[int, Any, Any], None] | None = None,
) -> tuple[Tensor, Report]:
    """Chains from x [B, *shape] for burn_in + steps steps: where they end, [B, *shape], and a
    report on the last `steps`.

    `functions` maps x to the quantities [B, Q] that are judged; None takes four coordinates.
    `watch` sees every step too.
    """
    if steps < 4 or burn_in < 0:
        raise UserError(
            f"chains are judged by 4 steps or more after burn_in >= 0, got steps={steps} and"
            f" burn_in={burn_in}."
        )
    diagnostics = Diagnostics(x, functions, burn_in)
    end = run(
        sampler,
        field,
        x,
        burn_in + steps,
        generator,
        both(diagnostics, *([watch] if watch else [])),
    )
    return end, report(diagnostics.traces())


def report(traces: dict[str, Tensor]) -> Report:
    """The report on the traces of `core.diagnose.Diagnostics`."""
    mean = {
        name: float(traces[name].double().mean()) if name in traces else None
        for name in ("accept", "energy")
    }
    jump = float(traces["displacement"].double().square().mean().sqrt())
    ess, rhat = (
        tuple(torch.atleast_1d(f(traces["functions"])).tolist())
        for f in (effective_samples, split_rhat)
    )
    count, steps = traces["displacement"].shape
    swap = float(traces["swap"].double().mean((0, 1)).min()) if "swap" in traces else None
    return Report(count, steps, mean["accept"], ess, rhat, mean["energy"], swap, jump, traces)
