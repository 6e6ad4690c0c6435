r"""The sampler table: what each sampler draws after 10, 20, 50 and 100 evaluations of an exact
field, against the law itself.

Nothing is learned, so what is wrong is the sampler's own: a bias of its discretisation, or a chain
that has not arrived. For each law and budget,

* the standard deviation and the mean of each coordinate, with the standard error of n independent
draws; * the sliced Wasserstein distance :math:`\frac1{|U|}\sum_u W_1(u^\top x, u^\top y)` over
`DIRECTIONS` directions in the half plane,
  to n exact draws y; its *reference* is that of n other exact draws.

Samplers of noised laws walk down one ladder of levels from its prior, :math:`\sigma_{max} z`, and
are given the exact posterior mean. The z are standardised, mean 0 and variance 1 to the last digit,
so that a walk that is linear and draws no noise (the flows on the Gaussian) has no Monte-Carlo
error in its moments. Chains are given the exact score (and energy) of the law, and begin at a
Gaussian of its mean and twice its standard deviation; their state when the budget is spent is the
draw. Evaluations are counted, not computed: a replica counts as one.

The peers' figures on the Gaussian are of the same task with 20,000 draws: each library's own
sampler and schedule around an exact denoiser.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor

from gradlogp.bench.page import one_thread, table
from gradlogp.core.fields import Field, Level, NoisyField
from gradlogp.core.kernel import run
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import seeded
from gradlogp.core.targets import Banana, GaussianMixture, Target, gaussian
from gradlogp.samplers import (
    DDIM,
    HMC,
    MALA,
    NUTS,
    AdaptiveFlow,
    Ancestral,
    AnnealedLangevin,
    ConsistentAnnealedLangevin,
    DPMSolver,
    Heun,
    Langevin,
    ParallelTempering,
    PreconditionedLangevin,
    PredictorCorrector,
    ProbabilityFlow,
    ReverseSDE,
    TemperedTransitions,
    Underdamped,
    UniPC,
)

BUDGETS = (10, 20, 50, 100)
DIRECTIONS = 16
FAR = 1e3  # where a draw counts as lost
VE = VarianceExploding(0.02, 40.0)


@final
@dataclass(frozen=True)
class Task:
    """A law with its exact moments, how many are drawn, and the step size h of Langevin on it:
    others derive theirs from it.
    """

    target: Target
    mean: Tensor
    std: Tensor
    draws: int
    step_size: float

    @cached_property
    def exact(self) -> tuple[Tensor, Tensor]:
        """Two independent sets of exact draws: the one compared with, and the reference's."""
        return self.target.sample(self.draws, seeded("exact", 0)), self.target.sample(
            self.draws, seeded("exact", 1)
        )


def mixture() -> Task:
    means = torch.tensor([[-2.0, -1.0], [2.0, -1.0], [0.0, 2.0]], dtype=torch.float64)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    mean = weights @ means
    return Task(
        GaussianMixture(means, torch.full_like(means, 0.6), weights),
        mean,
        (weights @ (means**2 + 0.36) - mean**2).sqrt(),
        20_000,
        0.1,
    )


TASKS: dict[str, Callable[[], Task]] = {
    "gaussian": lambda: Task(gaussian(), torch.zeros(2), torch.tensor([0.5, 2.0]), 20_000, 0.05),
    "mixture": mixture,
    "banana": lambda: Task(Banana(), torch.zeros(2), torch.tensor([1.0, 1.5]), 2_000, 0.01),
}
TITLES = {
    "gaussian": "Gaussian, standard deviations .5 and 2",
    "banana": "Banana, t ~ N(0, 1), y | t ~ N(t^2 - 1, .5^2)",
    "mixture": "Mixture: .5, .3, .2 at (-2, -1), (2, -1), (0, 2), standard deviation .6",
}

# Samplers of noised laws: the largest walk within n evaluations.
WALKS: dict[str, Callable[[int], Any]] = {
    "annealed_langevin": lambda n: AnnealedLangevin(VE, n - 1),
    "consistent_annealed_langevin": lambda n: ConsistentAnnealedLangevin(VE, n),
    "ancestral, small": lambda n: Ancestral(VE, n),
    "ancestral, large": lambda n: Ancestral(VE, n, variance="large"),
    "ddim": lambda n: DDIM(VE, n),
    "ddim, eta = 1": lambda n: DDIM(VE, n, eta=1.0),
    "reverse_sde": lambda n: ReverseSDE(VE, n),
    "reverse_sde, reverse diffusion": lambda n: ReverseSDE(VE, n, method="reverse_diffusion"),
    "predictor_corrector": lambda n: PredictorCorrector(
        ReverseSDE(VE, (n + 1) // 2, method="reverse_diffusion")
    ),
    "probability_flow, rk4": lambda n: ProbabilityFlow(VE, (n + 3) // 4),
    "heun": lambda n: Heun(VE, (n + 1) // 2),
    "heun, churn = n / 10": lambda n: Heun(VE, (n + 1) // 2, churn=n / 10),
    "dpm_solver, order 2": lambda n: DPMSolver(VE, n),
    "dpm_solver, order 3": lambda n: DPMSolver(VE, n, order=3),
    "dpm_solver, SDE": lambda n: DPMSolver(VE, n, eta=1.0),
    "unipc, order 2": lambda n: UniPC(VE, n),
    "unipc, order 3": lambda n: UniPC(VE, n, order=3),
}
# Chains on the law itself: their settings from its step size h and its variances.
CHAINS: dict[str, Callable[[Task], Any]] = {
    "langevin": lambda t: Langevin(t.step_size),
    "preconditioned_langevin": lambda t: PreconditionedLangevin(
        t.step_size, preconditioner=t.std**2
    ),
    "mala": lambda t: MALA(4 * t.step_size),
    "hmc": lambda t: HMC(math.sqrt(2 * t.step_size), 4, jitter=0.2),
    "nuts": lambda t: NUTS(math.sqrt(2 * t.step_size), max_depth=3),
    "underdamped": lambda t: Underdamped(math.sqrt(2 * t.step_size)),
    "parallel_tempering": lambda t: ParallelTempering(MALA(4 * t.step_size), (1.0, 3.0)),
    "tempered_transitions": lambda t: TemperedTransitions(MALA(4 * t.step_size), (1.0, 2.0, 4.0)),
}
# (std of .5, std of 2) on the Gaussian at n evaluations; the Runge-Kutta and corrector walks of
# azula took 100 steps
PEERS = {
    "diffusers DDPM": {20: (0.392, 1.745), 100: (0.468, 1.930)},
    "diffusers DDIM": {20: (0.433, 1.846), 100: (0.486, 1.993)},
    "diffusers DPM-Solver++ 2M": {20: (0.477, 2.001), 100: (0.497, 1.992)},
    "diffusers UniPC": {20: (0.475, 2.003), 100: (0.498, 2.002)},
    "azula DDPM": {100: (0.467, 1.917)},
    "azula DDIM": {100: (0.485, 1.963)},
    "azula Heun": {100: (0.503, 1.989)},
    "azula Ito": {100: (0.488, 2.007)},
    "azula PC": {100: (0.482, 1.977)},
    "score_models EM": {100: (0.498, 2.010)},
}


@final
@dataclass
class Counted(NoisyField, Field):
    """A law that counts how often it is asked, for each of `rows` draws."""

    target: Target
    rows: int
    asked: int = field(default=0, init=False)
    has_energy = True

    @property
    def evaluations(self) -> int:
        return self.asked // self.rows

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        self.asked += len(x)
        return self.target.denoise(x, sigma)

    def score(self, x: Tensor) -> Tensor:
        self.asked += len(x)
        return self.target.score(x)

    def energy(self, x: Tensor) -> Tensor:
        return self.target.energy(x)


def prior(task: Task, generator: torch.Generator) -> Tensor:
    """Standardised draws at the first level, [n, 2]."""
    z = torch.randn(task.draws, 2, generator=generator, dtype=torch.float64)
    return VE.sigma_max * (z - z.mean(0)) / z.std(0)


def walk(task: Task, make: Callable[[int], Any], budget: int, seed: int) -> tuple[Tensor, int]:
    """(draws, evaluations used) of a walk from the prior."""
    generator = seeded("walk", seed)
    counted = Counted(task.target, task.draws)
    sampler = make(budget)
    return (
        run(sampler, counted, prior(task, generator), sampler.steps, generator),
        counted.evaluations,
    )


def chain(
    task: Task, make: Callable[[Task], Any], budgets: Sequence[int], seed: int
) -> Iterator[tuple[Tensor, int]]:
    """(the state, evaluations used) of one chain when each budget is spent: the last step that
    fits.
    """
    generator = seeded("chain", seed)
    counted = Counted(task.target, task.draws)
    sampler = make(task)
    x = task.mean + 2 * task.std * torch.randn(
        task.draws, 2, generator=generator, dtype=torch.float64
    )
    with torch.no_grad():
        state = sampler.init(counted, x)
        kept, used = x, counted.evaluations
        for budget in budgets:
            while counted.evaluations <= budget:
                kept, used = state.x.clone(), counted.evaluations
                state, _ = sampler.step(counted, state, generator)
            yield kept, used


def flow(task: Task, seed: int) -> tuple[Tensor, int]:
    """The adaptive flow takes what its tolerance asks."""
    counted = Counted(task.target, task.draws)
    return (
        AdaptiveFlow(VE, rtol=1e-3, atol=1e-3).solve(counted, prior(task, seeded("walk", seed))),
        counted.evaluations,
    )


def directions() -> Tensor:
    """Evenly over half a turn, [2, DIRECTIONS]."""
    angle = torch.arange(DIRECTIONS, dtype=torch.float64) * math.pi / DIRECTIONS
    return torch.stack([angle.cos(), angle.sin()])


def sliced_distance(x: Tensor, y: Tensor) -> float:
    """The equation above for as many x as y, both [n, 2]."""
    a, b = ((v.double() @ directions()).sort(0).values for v in (x, y))
    return float((a - b).abs().mean())


def standard_errors(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of the mean and of the standard deviation of n independent draws, by their own moments, [2]
    each.
    """
    centred, n = x - x.mean(0), len(x)
    var, fourth = centred.square().mean(0), centred.pow(4).mean(0)
    return (var / n).sqrt(), ((fourth - var**2).clamp(min=0) / (4 * var * n)).sqrt()


def measured(
    name: str, sampler: str, task: Task, budget: int, x: Tensor, used: int
) -> dict[str, Any]:
    """One row; of the draws that have not left for infinity, and how large a share has."""
    stayed = (x.abs() < FAR).all(1)
    x, (exact, other) = x[stayed], task.exact
    error_mean, error_std = standard_errors(x)
    return {
        "target": name,
        "sampler": sampler,
        "budget": budget,
        "evaluations": used,
        "draws": task.draws,
        "lost": 1 - float(stayed.double().mean()),
        "mean": (x.mean(0) - task.mean).tolist(),
        "std": x.std(0).tolist(),
        "mean_error": error_mean.tolist(),
        "std_error": error_std.tolist(),
        "distance": sliced_distance(x, exact[: len(x)]),
        "reference": sliced_distance(other, exact),
    }


def rows(
    targets: Sequence[str] = tuple(TASKS),
    samplers: Sequence[str] | None = None,
    budgets: Sequence[int] = BUDGETS,
    draws: int | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Every sampler on every target at every budget; `draws` overrides how many."""
    with one_thread():
        return [row for name in targets for row in _of(name, samplers, budgets, draws, seed)]


def _of(
    name: str, samplers: Sequence[str] | None, budgets: Sequence[int], draws: int | None, seed: int
) -> Iterator[dict[str, Any]]:
    given = TASKS[name]()
    task = Task(given.target, given.mean, given.std, draws or given.draws, given.step_size)
    wanted = lambda sampler: samplers is None or sampler in samplers  # noqa: E731
    for sampler, make in filter(lambda item: wanted(item[0]), CHAINS.items()):
        for budget, (x, used) in zip(budgets, chain(task, make, budgets, seed), strict=True):
            yield measured(name, sampler, task, budget, x, used)
    for sampler, make_walk in filter(lambda item: wanted(item[0]), WALKS.items()):
        for budget in budgets:
            yield measured(name, sampler, task, budget, *walk(task, make_walk, budget, seed))
    if wanted("adaptive_flow"):
        x, used = flow(task, seed)
        yield measured(name, "adaptive_flow", task, used, x, used)


def relative_error(std: Sequence[float], exact: Sequence[float] = (0.5, 2.0)) -> float:
    """Root mean square over the coordinates of the error in standard deviation, relative to it."""
    return math.sqrt(sum((a / b - 1) ** 2 for a, b in zip(std, exact, strict=True)) / len(exact))


# --- the page ---


def page(rows: Sequence[dict[str, Any]]) -> str:
    sections = [STORY]
    for name in dict.fromkeys(r["target"] for r in rows):
        sections += _sections(name, [r for r in rows if r["target"] == name])
    return "\n\n".join(sections)


def _sections(name: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    task, first = TASKS[name](), rows[0]
    yield (
        f"## {TITLES[name]}\n\nn = {first['draws']:,}. Exact: mean {pair(task.mean)}, standard"
        f" deviation {pair(task.std)}. Langevin's h = {task.step_size:g}."
    )
    yield f"Sliced Wasserstein distance; the reference, of n exact draws, is {first['reference']:.3f}."
    yield _table(rows, lambda r: f"{r['distance']:.3f}")
    exact = standard_errors(task.exact[0])
    yield f"Standard deviations; the standard error of n exact draws is {pair(exact[1], 4)}."
    peers = [
        [peer, *(pair(found[b]) if b in found else "" for b in BUDGETS)]
        for peer, found in PEERS.items()
    ]
    yield _table(rows, lambda r: pair(r["std"]), peers if name == "gaussian" else [])
    yield f"Bias of the mean; the standard error of n exact draws is {pair(exact[0], 4)}."
    yield _table(rows, lambda r: pair(r["mean"], sign="+"))


def _table(
    rows: list[dict[str, Any]],
    cell: Callable[[dict[str, Any]], str],
    more: Sequence[Sequence[str]] = (),
) -> str:
    """Samplers down, budgets across; the adaptive one has a line of its own kind."""
    lost = lambda r: f" ({100 * r['lost']:.2g} % lost)" if r["lost"] else ""  # noqa: E731
    found = {(r["sampler"], r["budget"]): cell(r) + lost(r) for r in rows}
    names = [s for s in dict.fromkeys(r["sampler"] for r in rows) if s != "adaptive_flow"]
    lines = [[s, *(found.get((s, b), "") for b in BUDGETS)] for s in names]
    lines += [
        [f"adaptive_flow: {r['budget']} evaluations", "", "", "", cell(r)]
        for r in rows
        if r["sampler"] == "adaptive_flow"
    ]
    return table(("evaluations", *map(str, BUDGETS)), [*lines, *more])


def pair(values: Sequence[float] | Tensor, digits: int = 3, sign: str = "-") -> str:
    return ", ".join(f"{float(v):{sign}.{digits}f}" for v in values)


STORY = f"""# The sampler table

What each sampler draws after 10, 20, 50 and 100 evaluations of an *exact* field, on three laws in the plane. Nothing is learned, so
what is wrong is the sampler's own: the bias of its steps, or a chain that has not arrived. Read it to choose a sampler at a
budget, not to rank families: walks from noise are given the exact posterior mean at every level, which in life is a trained
network; chains know the clean law alone.

- *Chains* (first block) begin at a Gaussian of the law's mean and twice its standard deviation. With h the step size named below:
  Langevin h, MALA 4 h, HMC 4 leaps of sqrt(2 h) with jitter .2, NUTS sqrt(2 h) to depth 3, underdamped sqrt(2 h) at friction 1,
  preconditioned Langevin h with the law's variances, MALA under the temperatures 1, 3 (parallel) and 1, 2, 4 (transitions). Where
  Langevin without a test runs off to infinity, the share that is lost stands beside the figures of the rest.
- *Walks* (second block) begin at their prior, {VE.sigma_max:g} z, and go down a geometric ladder to {VE.sigma_min:g} and at last to
  0, in the most levels that the budget pays. The adaptive flow has tolerances of .001 and takes what they ask.
- An evaluation is one call of the field for each draw; a replica counts as one, and an energy that comes with its score is free.
- The peers' standard deviations are of the same task: an exact denoiser, 20,000 draws, each library's own schedule. Runge-Kutta and
  correctors are listed at their number of steps; their evaluations are twice as many."""
