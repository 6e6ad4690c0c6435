r"""Gaussian-Bernoulli restricted Boltzmann machines, learned by contrastive divergence in several
ways, and weighed by annealed importance sampling.

The likelihood of a machine is bracketed: up the ladder log Z comes out too low and the likelihood
too high, down it the other way round. The chains that come down begin at draws of the machine, here
at chains that went up the same ladder and then on for `settle` steps, since chains from the data
never find the mass that a machine wrongly has elsewhere.

References: Liao et al. (2022), Gaussian-Bernoulli RBMs Without Tears, arXiv 2210.10318; Tieleman
(2008), Training RBMs using Approximations to the Likelihood Gradient; Burda et al. (2015), arXiv
1412.8566 (the bracket).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Generator, Tensor, nn

from gradlogp.core.kernel import Sampler, run as walk
from gradlogp.core.random import normal_, seeded
from gradlogp.experiments.gibbs.common import (
    MEASURED,
    ByChains,
    distance,
    free_energies,
    generalisation,
    held_out,
    measure_walks,
)
from gradlogp.experiments.gibbs.standardised import Standardised
from gradlogp.experiments.gibbs.tempered import FromReplicas, TemperedGibbs
from gradlogp.harness.recipe import DataSpec, specify
from gradlogp.harness.record import Recorder
from gradlogp.harness.trial import Context
from gradlogp.metrics import Measure
from gradlogp.metrics.base import standard_error
from gradlogp.models.rbm import GaussianRBM
from gradlogp.objectives import ContrastiveDivergence, FromBuffer, FromData, Objective, ReplayBuffer
from gradlogp.objectives.augment import Augmented
from gradlogp.objectives.starts import Starts
from gradlogp.samplers.block import BlockGibbs, GibbsLangevin
from gradlogp.tasks.ais import Bracket, Machines, bracket, linear
from gradlogp.training import GuardSettings

Step = Literal["gibbs", "gibbs_langevin"]
Where = Literal["data", "buffer", "replicas"]
LANGEVIN = GibbsLangevin(0.1, 10)  # in units of the visible variance
ADJUSTED = GibbsLangevin(0.1, 10, adjust=True)


@final
@dataclass(frozen=True)
class Machine(ByChains):
    """hidden: units. noise: standard deviation, in model coordinates, of the noise in the pictures.
    step: of the chains that it learns by; start: where they begin. rungs: of parallel tempering.
    ladder: rungs of annealed importance sampling, by so many `ais_chains` each way. compared:
    whether samplers are compared on the machine.
    """

    hidden: int = 128
    noise: float = 0.2
    step: Step = "gibbs"
    start: Where = "data"
    rungs: int = 9
    ladder: int = 1000
    ais_chains: int = 50
    settle: int = 500
    compared: bool = False

    def build(self, spec: DataSpec) -> nn.Module:
        return GaussianRBM(spec.shape, self.hidden)

    def guard(self, spec: DataSpec) -> GuardSettings:
        """Limits that grow with the entries, of which energies are sums."""
        entries = math.prod(spec.shape)
        return GuardSettings(
            max_energy=100.0 * entries, max_gap=entries / 10, min_displacement=0, max_rollbacks=0
        )

    @property
    def evaluations(self) -> int:
        hot = self.rungs + 1 if self.start == "replicas" else 0
        return self.steps + hot + 2

    def objective(self, model: Any, x: Tensor, generator: Generator) -> Objective:
        sampler: Sampler[Any, Any] = BlockGibbs() if self.step == "gibbs" else LANGEVIN
        starts = self._starts(model, x.shape[1:], generator)
        divergence = ContrastiveDivergence(sampler, starts, self.steps, energy_l2=0.0)
        return Augmented(divergence, self.coordinates(x))

    def coordinates(self, x: Tensor) -> Standardised:
        return Standardised.fit(x[:MEASURED], self.noise)

    def _starts(self, model: Any, shape: Sequence[int], generator: Generator) -> Starts:
        chains = normal_(torch.empty(self.batch, *shape), generator)
        ways: dict[Where, Callable[[], Starts]] = {
            "data": FromData,
            "buffer": lambda: FromBuffer(ReplayBuffer.of(chains)),
            "replicas": lambda: FromReplicas(tempering(shape, self.rungs), model, chains),
        }
        return ways[self.start]()

    def measure(self, model: Any, x: Tensor, context: Context, recorder: Recorder) -> None:
        view, g = self.coordinates(x), seeded(self.seed, "measure")
        kind = specify(context.data).coordinates
        test, train = (
            view(kind.to_model(part.scaled(slice(0, self.weighed))), g)
            for part in (context.data.test, context.data.train)
        )
        recorder.add(generalisation(model, test, train))
        self._weigh(model, test, train, view, recorder)
        noise = normal_(torch.empty_like(test), g)
        begun = {"noise": noise[: self.samples], "data": test[: self.samples]}
        walks = {start: shown_along(model, z, self.stops, view, g) for start, z in begun.items()}
        says = "of block Gibbs, the last one shown without its noise"
        measure_walks(recorder, walks, context, kind, says)
        if self.compared:
            self._compare(model, begun["noise"], view, context, recorder)

    def _weigh(
        self, model: Any, test: Tensor, train: Tensor, view: Standardised, recorder: Recorder
    ) -> None:
        g = seeded(self.seed, "ais")
        found = bracketed(model, train, self.ladder, self.ais_chains, self.settle, g)
        energy = free_energies(model, test)
        rows = likelihoods(energy, found, view, self.ladder)
        high, low = rows["high"], rows["low"]
        recorder.add(high)
        recorder.add(open_gap(found))
        recorder.add(high, axes={"end": "high"})
        recorder.add(low, axes={"end": "low"})

    def _compare(
        self, model: Any, z: Tensor, view: Standardised, context: Context, recorder: Recorder
    ) -> None:
        """The Frechet distance from noise after equally many steps of each sampler."""
        evaluator = context.evaluator
        assert evaluator is not None, "samples are measured"
        kind = specify(context.data).coordinates
        real = evaluator.features(held_out(context, len(z)))
        for name, sampler in samplers(model.shape, self.rungs).items():
            g = seeded(self.seed, "sampler", name)
            for steps in COMPARED:
                drawn = walk(sampler, model.field(), z, steps - 1, g)
                x = kind.from_model(view.back(without_noise(model, drawn, g)))
                recorder.add(distance(real, x, evaluator), axes={"sampler": name, "after": steps})


COMPARED = (10, 50)  # steps after which samplers are compared


def samplers(shape: Sequence[int], rungs: int) -> dict[str, Sampler[Any, Any]]:
    return {
        "block Gibbs": BlockGibbs(),
        "Gibbs-Langevin": LANGEVIN,
        "Gibbs-Langevin, adjusted": ADJUSTED,
        "tempered block Gibbs": tempering(shape, rungs),
    }


def tempering(shape: Sequence[int], rungs: int) -> TemperedGibbs:
    """Down to N(0, 1), the Gaussian of standardised data."""
    standard = torch.zeros(tuple(shape))
    return TemperedGibbs((standard, standard), rungs)


def without_noise(machine: GaussianRBM, z: Tensor, generator: Generator) -> Tensor:
    """A last step of block Gibbs, its visible noise left out."""
    with torch.no_grad():
        return machine.visible(machine.sample_hidden(z, generator))


def shown_along(
    machine: GaussianRBM, z: Tensor, steps: Sequence[int], view: Standardised, generator: Generator
) -> Mapping[int, Tensor]:
    """Chains of block Gibbs from z [n, *shape] after each of the rising numbers of steps, in model
    coordinates, the last step without its noise; at 0 as they begin.
    """
    frames, done = {}, 0
    for count in steps:
        if count:
            z = walk(BlockGibbs(), machine.field(), z, count - 1 - done, generator)
            done = count - 1
        frames[count] = view.back(without_noise(machine, z, generator) if count else z)
    return frames


def bracketed(
    machine: GaussianRBM,
    train: Tensor,
    ladder: int,
    chains: int,
    settle: int,
    generator: Generator,
) -> Bracket:
    """log Z between annealing up from the Gaussian of `train` [n, *shape], and down from chains
    that went up and stayed.
    """
    bridge, betas = Machines(machine, machine.base(train)), linear(ladder)
    z = bridge.sample(chains, generator).detach()
    for beta in betas[1:]:
        z = walk(BlockGibbs(), bridge.at(beta), z, 1, generator, check=False)
    z = walk(BlockGibbs(), machine.field(), z, settle, generator)
    return bracket(bridge, BlockGibbs(), betas, z, generator)


def likelihoods(
    energy: Tensor, found: Bracket, view: Standardised, ladder: int
) -> dict[str, Measure]:
    """Mean log p(x) of noisy test pictures of these free energies [n], at either end of the bracket
    of log Z.
    """
    ways = {"high": (found.lower, "up"), "low": (found.upper, "down")}
    measures = {}
    for end, (estimate, way) in ways.items():
        each = -energy - estimate.value - view.log_volume
        error = math.hypot(standard_error(each) or 0.0, estimate.error)
        protocol = (
            f"{words(view, len(each))}; log Z by annealed importance sampling {way} {ladder} rungs,"
            f" {len(estimate.log_weights)} chains, effectively {estimate.ess:.0f}; standard error"
            " over pictures and chains"
        )
        measures[end] = likelihood(each, error, protocol)
    return measures


def likelihood(each: Tensor, error: float | None, protocol: str) -> Measure:
    value = float(each.mean())
    return Measure("log_likelihood", value, error, len(each), "higher", protocol, unit="nats")


def words(view: Standardised, n: int) -> str:
    return (
        f"nats, mean of {n} test pictures in [-1, 1] with noise of standard deviation"
        f" {view.sigma:g}"
    )


def open_gap(found: Bracket) -> Measure:
    """What the bracket leaves open."""
    error = math.hypot(found.lower.error, found.upper.error)
    protocol = (
        "log Z by annealing down, from chains that went up the ladder and stayed, minus that by"
        " annealing up; standard error over chains"
    )
    n = len(found.lower.log_weights)
    return Measure("bracket_gap", found.gap, error, n, "none", protocol, unit="nats", aim=0.0)
