r"""Overhead: what a sampler's step costs beside its field, and beside a loop written by hand for it
alone.

Two questions, both asked with one thread, in one process, ours and the loop in turn, in CPU time:

* *own work*: each sampler steps over a null network, which returns a stored tensor of shape (64, 1,
28, 28); what is left is ours; * *ratio*: Langevin over a real energy, ours : by hand, the median of
the pairs' ratios.

The loops by hand are the same mathematics from the same seed: where they stand beside a figure,
both end at the same x, and that is asserted. *Plain* is what one writes first, with a new tensor
for each result; *in place* is the best that can be written.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp.bench.page import one_thread, table
from gradlogp.core.compiled import compiled
from gradlogp.core.fields import ClosedForm, Energy, Field, Level, NoisyField
from gradlogp.core.kernel import run
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import seeded
from gradlogp.models import ConvEnergy, MLPEnergy
from gradlogp.samplers import (
    DDIM,
    HMC,
    MALA,
    Ancestral,
    AnnealedLangevin,
    ConsistentAnnealedLangevin,
    DPMSolver,
    Heun,
    Langevin,
    PreconditionedLangevin,
    PredictorCorrector,
    ProbabilityFlow,
    ReverseSDE,
    Underdamped,
    UniPC,
)

SHAPE = (64, 1, 28, 28)
REACH = {"deterministic": 30.0, "stochastic": 250.0}  # us a step of one evaluation
REACH_RATIO = {
    "MLP energy, batch 32": 1.05,
    "MLP energy, batch 1024": 1.0,
    "conv energy, batch 64": 1.0,
}
Loop = Callable[[Tensor, int, Generator], Tensor]  # (x, steps, generator) -> where they end


@final
class NullNoisy(NoisyField):
    """A denoiser that costs nothing: a stored tensor."""

    def __init__(self, stored: Tensor) -> None:
        self.stored = stored

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        return self.stored


def null_field(stored: Tensor) -> ClosedForm:
    """A stored energy and a stored score."""
    energy = torch.zeros(len(stored))
    return ClosedForm(lambda x: energy, lambda x: stored)


# --- loops by hand: the same mathematics, nothing else ---


def langevin_by_hand(score: Callable[[Tensor], Tensor], h: float, tau: float) -> Loop:
    def loop(x: Tensor, steps: int, generator: Generator) -> Tensor:
        x, noise = x.clone(), torch.empty_like(x)
        for _ in range(steps):
            x.add_(score(x), alpha=h)
            if tau > 0:
                x.add_(noise.normal_(generator=generator), alpha=tau)
        return x

    return loop


def walk_by_hand(denoise: Callable[[Tensor, float], Tensor], sampler: Any) -> Loop:
    """x' = a x + b D + tau z with the sampler's own numbers."""
    rules, levels = sampler.rules, sampler.ladder

    def loop(x: Tensor, steps: int, generator: Generator) -> Tensor:
        x, noise = x.clone(), torch.empty_like(x)
        for (a, (b, *_), tau), level in zip(rules[:steps], levels, strict=False):
            x.mul_(a).add_(denoise(x, level), alpha=b)
            if tau > 0:
                x.add_(noise.normal_(generator=generator), alpha=tau)
        return x

    return loop


def energy_by_hand(energy: Callable[[Tensor], Tensor], h: float, in_place: bool) -> Loop:
    """Langevin on a network's energy: as one writes it first, or as well as it can be written."""
    tau = math.sqrt(2 * h)

    def plain(x: Tensor, steps: int, generator: Generator) -> Tensor:
        for _ in range(steps):
            x = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(energy(x).sum(), x)
            x = x.detach() - h * gradient + tau * torch.randn(x.shape, generator=generator)
        return x

    def best(x: Tensor, steps: int, generator: Generator) -> Tensor:
        x, noise, minus = (
            x.clone().requires_grad_(True),
            torch.empty_like(x),
            torch.full((len(x),), -1.0),
        )
        for _ in range(steps):
            (score,) = torch.autograd.grad(energy(x), x, minus)
            with torch.no_grad():
                x.add_(score, alpha=h).add_(noise.normal_(generator=generator), alpha=tau)
        return x.detach()

    return best if in_place else plain


# --- what is measured ---


@final
@dataclass(frozen=True)
class Case:
    """A sampler over a null network; `by_hand` makes the loop beside it, of a null network and the
    sampler.
    """

    sampler: Any
    stochastic: bool
    by_hand: Callable[[Any], Loop] | None = None


STEPS = 60
VE = VarianceExploding(0.05, 20.0)


DETERMINISTIC: dict[str, Any] = {
    "Langevin without noise": Langevin(0.01, noise_std=0.0),
    "DDIM (Euler)": DDIM(VE, STEPS),
    "DPM-Solver++ 2M": DPMSolver(VE, STEPS),
    "DPM-Solver++ 3M": DPMSolver(VE, STEPS, order=3),
    "UniPC": UniPC(VE, STEPS),
    "Heun": Heun(VE, STEPS),
    "Probability flow, RK4": ProbabilityFlow(VE, STEPS),
}
STOCHASTIC: dict[str, Any] = {
    "Langevin": Langevin(0.01),
    "Preconditioned Langevin": PreconditionedLangevin(0.01, preconditioner=torch.ones(SHAPE[1:])),
    "Underdamped": Underdamped(0.01),
    "MALA": MALA(0.01),
    "HMC, 10 leaps": HMC(0.01, 10),
    "Annealed Langevin": AnnealedLangevin(VE, STEPS),
    "Consistent annealed Langevin": ConsistentAnnealedLangevin(VE, STEPS),
    "Ancestral (DDPM)": Ancestral(VE, STEPS),
    "DDIM, eta = 1": DDIM(VE, STEPS, eta=1.0),
    "Reverse SDE": ReverseSDE(VE, STEPS),
    "DPM-Solver++ 2M SDE": DPMSolver(VE, STEPS, eta=1.0),
    "Predictor-corrector": PredictorCorrector(DDIM(VE, STEPS, eta=1.0)),
}


def cases(stored: Tensor) -> dict[str, Case]:
    """Every sampler, beside a loop by hand where its step is one line, over a network that gives
    `stored`.
    """

    def langevin(sampler: Langevin) -> Loop:
        return langevin_by_hand(lambda x: stored, sampler.step_size, sampler.tau)

    def walk(sampler: Any) -> Loop:
        return walk_by_hand(lambda x, level: stored, sampler)

    by_hand: dict[type, Callable[[Any], Loop]] = {
        Langevin: langevin,
        DDIM: walk,
        Ancestral: walk,
        ReverseSDE: walk,
    }
    return {
        name: Case(sampler, stochastic, by_hand.get(type(sampler)))
        for stochastic, samplers in ((False, DETERMINISTIC), (True, STOCHASTIC))
        for name, sampler in samplers.items()
    }


def cpu_seconds(loop: Callable[[], Any]) -> float:
    start = time.process_time()
    loop()
    return time.process_time() - start


def interleaved(
    loops: Sequence[Callable[[], Any]], seconds: float, least: int = 5
) -> list[list[float]]:
    """CPU seconds of each loop, in turn for round after round until `seconds` have gone; one round
    first, not counted.
    """
    for loop in loops:
        loop()
    found: list[list[float]] = [[] for _ in loops]
    start = time.perf_counter()
    while len(found[0]) < least or time.perf_counter() - start < seconds:
        for times, loop in zip(found, loops, strict=True):
            times.append(cpu_seconds(loop))
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """The median of the pairs' ratios, and half their interquartile range."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return middle, (high - low) / 2


def null_rows(seconds: float, names: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Own work a step, us: the difference of nothing but what the sampler does."""
    stored = 0.01 * torch.randn(SHAPE, generator=seeded("stored"))
    for name, case in cases(stored).items():
        if names is not None and name not in names:
            continue
        x, sampler = torch.zeros(SHAPE), case.sampler
        field = NullNoisy(stored) if hasattr(sampler, "steps") else null_field(stored)
        steps = min(STEPS, getattr(sampler, "steps", STEPS))
        ours = lambda: run(sampler, field, x, steps, seeded(0))  # noqa: B023, E731
        loops: list[Callable[[], Tensor]] = [ours]
        if case.by_hand is not None:
            hand = case.by_hand(sampler)
            loops.append(lambda: hand(x, steps, seeded(0)))  # noqa: B023
        times = interleaved(loops, seconds)
        row = {
            "kind": "null",
            "name": name,
            "stochastic": case.stochastic,
            "rounds": len(times[0]),
            "us": 1e6 * min(times[0]) / steps,
        }
        if case.by_hand is not None:
            row |= {
                "by_hand_us": 1e6 * min(times[1]) / steps,
                "dx": distance(*(loop() for loop in loops)),
            }
            row["ratio"], row["stderr"] = ratio(*times)
        yield row


def distance(a: Tensor, b: Tensor) -> float:
    """max |a - b|; RuntimeError where the two are not the same up to rounding."""
    largest = float((a - b).abs().max())
    if not largest <= 1e-4 * float(b.abs().max()):
        raise RuntimeError(
            f"ours and the loop by hand should end at the same x, but differ by {largest:.2g}; "
            "one of the two is not the mathematics that it says."
        )
    return largest


def energies() -> dict[str, tuple[torch.nn.Module, tuple[int, ...], int]]:
    """name -> (energy, shape of x, steps a round)."""
    torch.manual_seed(0)
    mlp = MLPEnergy(2, (128, 128))
    return {
        "MLP energy, batch 32": (mlp, (32, 2), 100),
        "MLP energy, batch 1024": (mlp, (1024, 2), 20),
        "conv energy, batch 64": (ConvEnergy((1, 28, 28)), SHAPE, 5),
    }


def energy_rows(
    seconds: float, compile: bool, names: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Langevin on real energies: us a step, ours, compiled and by hand, and the ratios to the plain
    loop by hand.
    """
    h = 0.01
    for name, (energy, shape, steps) in energies().items():
        if names is not None and name not in names:
            continue
        fields: dict[str, Field] = {"ours": Energy(energy)} | (
            {"compiled": compiled(Energy(energy))} if compile else {}
        )
        x = torch.randn(shape, generator=seeded("start"))
        loops = {
            label: lambda field=field: run(Langevin(h), field, x, steps, seeded(0))  # noqa: B023
            for label, field in fields.items()
        }
        for label, in_place in (("plain", False), ("in place", True)):
            hand = energy_by_hand(energy, h, in_place)
            loops[label] = lambda hand=hand: hand(x, steps, seeded(0))  # noqa: B023
        times = dict(zip(loops, interleaved(list(loops.values()), seconds), strict=True))
        plain = loops["plain"]()
        for label in loops:
            middle, stderr = ratio(times[label], times["plain"])
            yield {
                "kind": "energy",
                "name": name,
                "loop": label,
                "us": 1e6 * min(times[label]) / steps,
                "ratio": middle,
                "stderr": stderr,
                "rounds": len(times[label]),
                "dx": distance(loops[label](), plain),
                "ratio_in_place": ratio(times[label], times["in place"])[0],
            }


def rows(seconds: float = 5.0, compile: bool = True) -> list[dict[str, Any]]:
    """All figures; `seconds` for each null case, and four times as many for each energy. compile
    needs a C++ compiler.
    """
    with one_thread():
        return [*null_rows(seconds), *energy_rows(4 * seconds, compile)]


def page(rows: Sequence[dict[str, Any]]) -> str:
    null, energy = ([r for r in rows if r["kind"] == kind] for kind in ("null", "energy"))
    sections = [STORY, "## Own work a step", OWN]
    for title, stochastic in (("deterministic", False), ("stochastic", True)):
        lines = [
            [
                r["name"],
                f"{r['us']:.0f}",
                f"{r['by_hand_us']:.0f}" if "ratio" in r else "",
                f"{r['ratio']:.2f} +- {r['stderr']:.2f}" if "ratio" in r else "",
                f"{r['dx']:.0e}" if "ratio" in r else "",
            ]
            for r in null
            if r["stochastic"] == stochastic
        ]
        sections.append(table((title, "us a step", "by hand", "ratio", "max dx"), lines))
    lines = [
        [
            r["name"],
            r["loop"],
            f"{r['us']:.0f}",
            f"{r['ratio']:.3f} +- {r['stderr']:.3f}",
            f"{r['ratio_in_place']:.3f}",
            f"{r['dx']:.0e}",
        ]
        for r in energy
    ]
    sections += [
        "## Langevin on an energy",
        RATIO,
        table(("energy", "loop", "us a step", "ratio to plain", "to in place", "max dx"), lines),
        COMPILE,
    ]
    return "\n\n".join(sections) + "\n"


STORY = """# Overhead

What a step of ours costs beside the network, and beside a loop written by hand for that one sampler. All is CPU time on one thread,
over many rounds in which ours and the loops by hand take turns in one process: *us a step* is of the quickest round, for other work
on the machine only adds; the ratio is the median over the pairs, `+-` half their interquartile range. *max dx* is how far ours and
the loop by hand end apart from the same seed: they are the same mathematics."""
OWN = f"""Over a null network, which returns a stored tensor, at {SHAPE}: 50,176 numbers. Drawing the noise is most of a stochastic
step. The reach is {REACH["deterministic"]:.0f} us for a deterministic step and {REACH["stochastic"]:.0f} us for a stochastic
one, of one evaluation: Heun has 2 in a step, RK4 4, HMC here 10, and a predictor with its corrector draws twice. MALA and HMC
also sum energies, and choose between old and new."""
RATIO = """A new tensor for each result is what one writes first (*plain*); *in place* is the best that autograd allows. The MLP is
2-128-128-1; the convolutional energy is that of the `ebm` experiment, at (64, 1, 28, 28). The reach is a ratio to plain of at most
1.05 at batch 32, and of at most 1.00 at batch 1024 and for the convolutions."""
COMPILE = """*compiled* is `gradlogp.core.compiled.compiled(field)`: energy and score in one compiled function, the same numbers up
to rounding. It pays where calls are many and small, for perceptrons; convolutions spend their time in compiled kernels as it is,
and there it does not pay. The first call compiles, for half a minute or so, and needs a C++ compiler. Where gradients are to flow
through the score (score matching) the field falls back to autograd, for compiled functions are not differentiated twice."""
