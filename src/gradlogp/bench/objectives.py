r"""The objective table: what each objective reaches in the same seconds, against the exact score.

Each trains two models on two-dimensional data. The *Gaussian family* has a free mean and precision,
and so a parameter error,

.. math:: \sqrt{ \|\hat P - P\|_F^2 / \|P\|_F^2 + \|\hat\mu - \mu\|^2 / \mathrm{tr}\,\Sigma } .

A *network* has none, so what is compared is the field, on the Gaussian and on a mixture of three,

.. math:: E \| s_\theta(x) - s(x) \|^2 / E \| s(x) \|^2 , \qquad x \sim p_\sigma ,

where :math:`p_\sigma` is the law that the objective learns: the data's own (sigma = 0), or for
objectives of noised data that at `LEVEL`. Where an objective learns all levels at once, the family
is the Gaussian's at every level, with the same parameters.

A new objective is one line in `ENTRIES`.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from gradlogp.bench.families import DIM, GaussianEnergy, NoisyGaussian, Spins
from gradlogp.bench.page import one_thread, table
from gradlogp.core.batch import Batch
from gradlogp.core.fields import Field, NoisyEnergy, as_field, as_noisy
from gradlogp.core.noise import VarianceExploding, VariancePreserving
from gradlogp.core.random import seeded
from gradlogp.core.targets import GaussianMixture, Ising, gaussian
from gradlogp.models import MLPEnergy, mlp_noisy_energy, mlp_score
from gradlogp.objectives import (
    ConditionalNoiseContrastive,
    ContrastiveDivergence,
    DenoisingScoreMatching,
    DiscreteDiffusion,
    EnergyDiscrepancy,
    ExplicitScoreMatching,
    FiniteDifferenceScoreMatching,
    FlowMatching,
    FromBuffer,
    FromData,
    FromNoise,
    FromProcess,
    GaussianNoise,
    ImplicitScoreMatching,
    Ladder,
    LogNormal,
    NoiseContrastive,
    Objective,
    PseudoLikelihood,
    RatioMatching,
    RecoveryLikelihood,
    ReplayBuffer,
    SingleLevel,
    SlicedScoreMatching,
    Uncertainty,
    VariationalBound,
    ddpm_simple,
    improved_contrastive_divergence,
    persistent_contrastive_divergence,
)
from gradlogp.samplers import MALA, Gibbs, Langevin

BATCH = 256
POOL = 100_000
TEST_DRAWS = 10_000
LEVEL = 0.2
RATES = {"family": 5e-2, "network": 3e-3, "spins": 2e-2}
TARGETS: dict[str, GaussianMixture] = {
    "gaussian": gaussian([1.0, -1.0], [0.5, 2.0]),
    "mixture": GaussianMixture(
        torch.tensor([[-2.0, -1.0], [2.0, -1.0], [0.0, 2.0]]),
        torch.full((3, 2), 0.6),
        torch.tensor([0.5, 0.3, 0.2]),
    ),
}


@final
@dataclass(frozen=True)
class Problem:
    """A law, and `pool` [POOL, DIM] drawn from it, which is all that an objective sees (the
    explicit one sees the law).
    """

    target: GaussianMixture
    pool: Tensor

    @property
    def scale(self) -> float:
        return float(self.pool.var(0).mean().sqrt())

    def starts(self) -> Tensor:
        return self.pool[:BATCH].flip(0)


Kind = Literal["energy", "denoiser", "noisy energy"]


@final
@dataclass(frozen=True)
class Entry:
    """`make` an objective for a problem; `kind` is what it learns, `level` the noise at which it is
    measured.
    """

    make: Callable[[Problem], Objective]
    kind: Kind = "energy"
    level: float = 0.0


def wide_noise(x: Tensor, generator: torch.Generator) -> Tensor:
    return x.normal_(generator=generator).mul_(3)


def _buffer() -> FromBuffer:
    return FromBuffer(ReplayBuffer(4096, (DIM,), wide_noise, seeded("buffer"), 0.05))


CHAIN = MALA(0.15)
VE, VP = VarianceExploding(LEVEL, 20.0), VariancePreserving()
LADDER = tuple(LEVEL * 1.5**i for i in range(9))
ENTRIES: dict[str, Entry] = {
    "explicit score matching": Entry(lambda p: ExplicitScoreMatching(p.target.at())),
    "implicit score matching": Entry(lambda p: ImplicitScoreMatching()),
    "sliced score matching": Entry(lambda p: SlicedScoreMatching(variance_reduced=False)),
    "sliced, variance-reduced": Entry(lambda p: SlicedScoreMatching()),
    "sliced, finite differences": Entry(lambda p: FiniteDifferenceScoreMatching(epsilon=0.03)),
    "denoising, one level": Entry(
        lambda p: DenoisingScoreMatching(SingleLevel(LEVEL)), "energy", LEVEL
    ),
    "noise-contrastive, nu = 4": Entry(lambda p: NoiseContrastive(GaussianNoise.fit(p.pool), 4)),
    "conditional noise-contrastive": Entry(lambda p: ConditionalNoiseContrastive(p.scale / 3, 4)),
    "energy discrepancy": Entry(lambda p: EnergyDiscrepancy(p.scale / 3, 16)),
    "CD-1 from data": Entry(lambda p: ContrastiveDivergence(CHAIN, FromData(), 1, 0.0)),
    "CD-10 from data": Entry(lambda p: ContrastiveDivergence(CHAIN, FromData(), 10, 0.0)),
    "CD-50 from noise": Entry(
        lambda p: ContrastiveDivergence(CHAIN, FromNoise(wide_noise), 50, 0.0)
    ),
    "persistent CD-5": Entry(lambda p: persistent_contrastive_divergence(CHAIN, p.starts(), 5)),
    "persistent CD-10, 5 % restarts": Entry(
        lambda p: ContrastiveDivergence(CHAIN, _buffer(), 10, 0.0)
    ),
    "improved CD-10 from data": Entry(
        lambda p: improved_contrastive_divergence(Langevin(0.02), FromData(), 10, 0.0)
    ),
    "recovery likelihood": Entry(
        lambda p: RecoveryLikelihood(LADDER, MALA(0.3), 10), "noisy energy", LEVEL
    ),
    "denoising, ladder, sigma^2 (NCSN)": Entry(
        lambda p: DenoisingScoreMatching(Ladder(VE, 10)), "denoiser", LEVEL
    ),
    "denoising, log-normal, EDM": Entry(
        lambda p: DenoisingScoreMatching(LogNormal(-0.5), "edm", p.scale), "denoiser", LEVEL
    ),
    "denoising, log-normal, min-SNR": Entry(
        lambda p: DenoisingScoreMatching(LogNormal(-0.5), "min_snr"), "denoiser", LEVEL
    ),
    "denoising, log-normal, uncertainty": Entry(
        lambda p: DenoisingScoreMatching(LogNormal(-0.5), uncertainty=Uncertainty()),
        "denoiser",
        LEVEL,
    ),
    "denoising, VE, likelihood weight": Entry(
        lambda p: DenoisingScoreMatching(FromProcess(VE, importance=True), "likelihood"),
        "denoiser",
        LEVEL,
    ),
    "DDPM, simple": Entry(lambda p: ddpm_simple(VP.ladder(200)), "denoiser", LEVEL),
    "DDPM, variational bound": Entry(
        lambda p: VariationalBound(DiscreteDiffusion(tuple(VP.ladder(200)), p.scale**2)),
        "denoiser",
        LEVEL,
    ),
    "flow matching": Entry(lambda p: FlowMatching(), "denoiser", LEVEL),
}


def problem(target: str, seed: int) -> Problem:
    return Problem(TARGETS[target], TARGETS[target].sample(POOL, seeded(target, seed)).float())


def family(kind: Kind) -> GaussianEnergy:
    return GaussianEnergy() if kind == "energy" else NoisyGaussian()


def network(kind: Kind, p: Problem) -> nn.Module:
    """About 4,000 to 20,000 weights; an energy wherever the objective takes one."""
    if kind == "energy":
        return MLPEnergy(DIM, (64, 64))
    return (mlp_score if kind == "denoiser" else mlp_noisy_energy)(DIM, p.scale, width=64, blocks=2)


def learn(
    objective: Objective,
    model: nn.Module,
    pool: Tensor,
    rate: float,
    seed: int,
    used: Callable[[int], float],
) -> int:
    """Adam, its rate falling straight to 0 as the share `used` of the budget goes to 1; the number
    of updates.
    """
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=rate)
    g = seeded("learn", seed)
    updates = 0
    while (share := used(updates)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - share)
        x = pool[torch.randint(len(pool), (BATCH,), generator=g)]
        optimizer.zero_grad(set_to_none=True)
        objective(model, Batch(x), g).value.mean().backward()
        optimizer.step()
        updates += 1
    return updates


def cpu_seconds(budget: float) -> Callable[[int], float]:
    start = time.process_time()
    return lambda updates: (time.process_time() - start) / budget


def count(budget: int) -> Callable[[int], float]:
    return lambda updates: updates / budget


def field_of(model: nn.Module, entry: Entry) -> Field:
    """What was learned, at the level where it is measured."""
    if entry.kind == "energy":
        return as_field(model)
    if entry.kind == "denoiser":
        return as_noisy(model).at(entry.level)
    return NoisyEnergy(model).at(entry.level)


def score_error(field: Field, target: GaussianMixture, level: float) -> float:
    x = target.sample(TEST_DRAWS, seeded("judge"))
    x = (x + level * torch.randn(x.shape, generator=seeded("noise"), dtype=x.dtype)).float()
    with torch.no_grad():
        exact, learned = target.score(x, level), field.score(x)
    return float((learned - exact).square().sum() / exact.square().sum())


def parameter_error(model: GaussianEnergy, target: GaussianMixture, entry: Entry) -> float:
    """The first equation above; a family without levels that was fed noised data is held against
    the noised law.
    """
    variance = target.stds[0] ** 2 + (entry.level**2 if entry.kind == "energy" else 0.0)
    precision = torch.diag(1 / variance)
    with torch.no_grad():
        wrong = (model.precision - precision).square().sum() / precision.square().sum()
        return float(
            (wrong + (model.mean - target.means[0]).square().sum() / variance.sum()).sqrt()
        )


def row(
    name: str, target: str, learner: str, seed: int, used: Callable[[int], float]
) -> dict[str, Any]:
    """One fit of the entry `name`; `learner` is 'family' or 'network'."""
    entry, p = ENTRIES[name], problem(target, seed)
    torch.manual_seed(seed)  # of the network's first weights
    model = family(entry.kind) if learner == "family" else network(entry.kind, p)
    updates = learn(entry.make(p), model, p.pool, RATES[learner], seed, used)
    wrong = parameter_error(model, p.target, entry) if isinstance(model, GaussianEnergy) else None
    return {
        "objective": name,
        "target": target,
        "learner": learner,
        "level": entry.level,
        "seed": seed,
        "updates": updates,
        "parameter_error": wrong,
        "score_error": score_error(field_of(model, entry), p.target, entry.level),
    }


ISING = Ising(4, 4, coupling=0.3)
DISCRETE: dict[str, Callable[[Tensor], Objective]] = {
    "pseudo-likelihood": lambda pool: PseudoLikelihood(),
    "ratio matching": lambda pool: RatioMatching(),
    "CD-1 from data, Gibbs": lambda pool: ContrastiveDivergence(Gibbs(), FromData(), 1, 0.0),
    "persistent CD-1, Gibbs": lambda pool: persistent_contrastive_divergence(
        Gibbs(), pool[:BATCH].flip(0)
    ),
}


def discrete_row(name: str, seed: int, used: Callable[[int], float]) -> dict[str, Any]:
    """One fit of all couplings of an Ising model, and their relative error."""
    pool = ISING.sample(POOL, seeded("ising", seed)).float().flatten(1)
    sites = math.prod(ISING.shape)
    model = Spins(sites)
    updates = learn(DISCRETE[name](pool), model, pool, RATES["spins"], seed, used)
    exact = (
        ISING.score(torch.eye(sites)) - ISING.score(torch.zeros(1, sites))
    ) / 4  # of logits 2 (C s + b), a spin turned over
    wrong = float((model.couplings.detach() - exact).norm() / exact.norm())
    return {
        "objective": name,
        "target": "ising",
        "learner": "spins",
        "level": 0.0,
        "seed": seed,
        "updates": updates,
        "parameter_error": wrong,
        "score_error": None,
    }


TASKS = {
    "family": ("gaussian", "family"),
    "gaussian": ("gaussian", "network"),
    "mixture": ("mixture", "network"),
}


def rows(
    seconds: float = 10.0, seeds: int = 3, names: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """Every objective (or those of `names`) on each task, for each seed, with `seconds` of CPU time
    on one thread for each fit.
    """
    wanted = [*ENTRIES, *DISCRETE] if names is None else list(names)
    with one_thread():
        fits = [
            row(name, target, learner, seed, cpu_seconds(seconds))
            for name in wanted
            if name in ENTRIES
            for target, learner in TASKS.values()
            for seed in range(seeds)
        ]
        fits += [
            discrete_row(name, seed, cpu_seconds(seconds))
            for name in wanted
            if name in DISCRETE
            for seed in range(seeds)
        ]
    return [fit | {"seconds": seconds} for fit in fits]


def median_and_range(values: Sequence[float]) -> str:
    """The median, and how far the seeds lie apart."""
    three = min(values), statistics.median(values), max(values)
    low, middle, high = (f"{v:,}" if isinstance(v, int) else f"{v:.2g}" for v in three)
    return f"{middle} ({low} to {high})"


Column = Callable[[dict[str, Any]], float | None]


def ranking(fits: list[dict[str, Any]], columns: dict[str, Column], by: str) -> str:
    """One line for each objective, the best by the column `by` first; a cell is the median over
    seeds, and their range.
    """
    cells: dict[str, dict[str, list[float]]] = {}
    for fit in fits:
        for title, value in columns.items():
            if (number := value(fit)) is not None:
                cells.setdefault(fit["objective"], {}).setdefault(title, []).append(number)
    ranked = sorted(cells, key=lambda name: statistics.median(cells[name][by]))
    return table(
        ["objective", *columns],
        [[name, *(median_and_range(cells[name][title]) for title in columns)] for name in ranked],
    )


def of(task: str, key: str) -> Column:
    target, learner = TASKS[task]
    return lambda fit: fit[key] if (fit["target"], fit["learner"]) == (target, learner) else None


COLUMNS = {
    "Gaussian family: parameter error": of("family", "parameter_error"),
    "Gaussian family: score error": of("family", "score_error"),
    "network, Gaussian: score error": of("gaussian", "score_error"),
    "network, mixture: score error": of("mixture", "score_error"),
    "updates, mixture": of("mixture", "updates"),
}
PAGE = """# The objective table

What each objective reaches in {seconds:g} seconds of CPU time on one thread, for each fit, from the same {pool:,} examples in
batches of {batch}, with the same optimiser (Adam; rate {family} for the family, {network} for networks, {spins} for spins, falling
straight to 0). Median of {seeds} seeds, and their range. `gradlogp/bench/objectives.py` holds every setting.

- *Gaussian family*: mean and precision are free. Parameter error: sqrt(|P' - P|^2 / |P|^2 + |m' - m|^2 / tr S) on the Gaussian with
  means (1, -1) and standard deviations (.5, 2).
- *Network*: a small perceptron, as an energy wherever the objective takes one. Score error: E|s' - s|^2 / E|s|^2 against the exact
  score, over {test_draws:,} fresh examples; on the same Gaussian, and on a mixture of three.

Read down a table, not across the two: they judge against different scores. A method that is slow to start may pass another one
later, and a rate that is right for one is not for all. Two dimensions flatter what does not scale: noise-contrastive estimation,
energy discrepancy and exact traces. The noise of noise-contrastive estimation is a Gaussian fitted to the data. Chains are MALA's,
without bias; those of improved contrastive divergence are Langevin's, which at h = .02 are 4 % too wide where the data's standard
deviation is .5. Not here: JEM and cross-entropy, which need classes; energy matching, whose first phase does not aim at the score;
the hybrid loss, whose mean is that of the simple one.

## Of the data as they are (sigma = 0)

{clean}

## Of noised data, at sigma = {level:g}

The smallest level of the ladders; those that learn all levels (log-normal, flow matching, DDPM) are judged at the same one. The
family is a Gaussian at every level; denoising at one level learns the noised Gaussian as it is, and is held against that.

{noised}

## Of spins: an Ising model on a 4 x 4 torus, coupling .3

All 120 couplings and 16 fields are free. Parameter error: |C' - C| / |C|.

{discrete}
"""


def page(fits: list[dict[str, Any]]) -> str:
    """The page of the docs, in Markdown, from `rows()`."""
    clean = [fit for fit in fits if fit["level"] == 0 and fit["target"] != "ising"]
    noised = [fit for fit in fits if fit["level"] > 0]
    ising = [fit for fit in fits if fit["target"] == "ising"]
    spins: dict[str, Column] = {
        "parameter error": lambda fit: fit["parameter_error"],
        "updates": lambda fit: fit["updates"],
    }
    by = "network, mixture: score error"
    seeds = len({fit["seed"] for fit in fits})
    return PAGE.format(
        seconds=fits[0]["seconds"],
        pool=POOL,
        batch=BATCH,
        test_draws=TEST_DRAWS,
        seeds=seeds,
        level=LEVEL,
        **RATES,
        clean=ranking(clean, COLUMNS, by),
        noised=ranking(noised, COLUMNS, by),
        discrete=ranking(ising, spins, "parameter error"),
    )
