"""Energy-based models by contrastive divergence: with a replay buffer, without one, and without one
by longer chains.

The chains are generators, on purpose: a large step on a clipped score, little noise, entries
clamped. `step_size x grad_clip` = 0.3 lets a pixel cross a seventh of its range per step, which is
what makes 20 steps from noise worth anything.

Chains begin at noise, or at blurred examples: draws of a mixture of principal components that is
fitted to the training part in closed form, in seconds, before learning begins. Then the energy is
left with what the mixture cannot do, and sixty steps do what took three hundred.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Union, final

import torch
from torch import Generator, Tensor

from gradlogp import tasks
from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.random import Randomness, normal_
from gradlogp.experiments.recipes import chains
from gradlogp.experiments.recipes.energy_losses import (
    ByDivergence,
    ByPersistence,
    Chainless,
    Chains,
    EnergyLoss,
)
from gradlogp.experiments.recipes.energy_settings import BUDGETS, PROPOSED, Buffer, Posterior
from gradlogp.experiments.recipes.nets import REFERENCE, Net, descriptor_in, energy_of
from gradlogp.experiments.recipes.proposal import Proposal, fit_mixture, serves
from gradlogp.harness.recipe import (
    DataSpec,
    Evaluation,
    Generative,
    Restoration,
    Subject,
    Target,
    configured,
)
from gradlogp.harness.record import Recorder
from gradlogp.harness.settings import chosen
from gradlogp.models import EnergyModel, Proposed
from gradlogp.objectives import (
    FromBuffer,
    FromNoise,
    Objective,
    ReplayBuffer,
    WarmedUp,
)
from gradlogp.samplers import STEP_SAMPLERS, Langevin
from gradlogp.training import GuardSettings, Training

RANGE = (-1.0, 1.0)
if TYPE_CHECKING:
    EnergySampler = Any
else:
    EnergySampler = Union[tuple(STEP_SAMPLERS.values())]  # noqa: UP007
STOPS = (2, 5, 10, 20, 40)  # numbers of steps that a restoration chooses from, beside the most


@final
@dataclass(frozen=True)
class EnergyRecipe(Generative):
    """chain_steps: Langevin steps per update. generate_steps: from the start of a chain to a
    sample. buffer=None starts all chains anew. proposal: where they begin. reference: the standard
    deviation of the Gaussian at the data's mean that the energy tilts; 0 for none.
    """

    experiment: str
    dataset: str
    preset: str
    training: Training
    seed: int = 0
    conditional: bool = False
    net: Net = field(default_factory=Net)
    chain: EnergySampler = field(
        default_factory=lambda: Langevin(10.0, noise_std=0.01, grad_clip=0.03, clamp=RANGE)
    )
    chain_steps: int = 20
    generate_steps: int = 300
    buffer: Buffer | None = field(default_factory=Buffer)
    proposal: Proposal = field(default_factory=Proposal)
    reference: float = 0.0
    energy_l2: float = 0.1
    data_noise: float = 0.005
    posterior: Posterior = field(default_factory=Posterior)
    objective: EnergyLoss = field(default_factory=ByDivergence)
    guard: GuardSettings = field(default_factory=GuardSettings)
    evaluation: Evaluation = field(default_factory=Evaluation)
    takes_steps: ClassVar[bool] = True
    sampler_field: ClassVar[str] = "chain"

    def __post_init__(self) -> None:
        at_least(1, chain_steps=self.chain_steps)
        if isinstance(self.objective, ByPersistence) and self.buffer is None:
            raise UserError(
                f"objective.kind={ByPersistence.named} keeps its chains, and this recipe has no"
                f" buffer to keep them in; take ebm, or {ByDivergence.named}."
            )
        if self.buffer is not None and self.buffer.capacity < self.training.batch:
            raise UserError(
                f"a batch draws {self.training.batch} different chains, so buffer.capacity must be"
                f" as much, got {self.buffer.capacity}."
            )
        if self.conditional and self.proposal.components:
            raise UserError(
                "a mixture knows no classes, so the chains of a conditional energy begin at noise:"
                f" set proposal.components=0, got {self.proposal.components}."
            )
        at_least(
            0,
            seed=self.seed,
            generate_steps=self.generate_steps,
            energy_l2=self.energy_l2,
            data_noise=self.data_noise,
            reference=self.reference,
        )

    def accept(self, spec: DataSpec, examples: Callable[[], Tensor]) -> None:
        if self.objective.normal and self.proposal.components:
            raise UserError(
                f"objective.kind={self.objective.named} leads from noise to data, so its chains begin"
                f" at no mixture: set proposal.components=0, got {self.proposal.components}."
            )

    @property
    def evaluations_per_example(self) -> int:
        return self.objective.evaluations(self.chain_steps)

    @property
    def trained_steps(self) -> tuple[int, ...]:
        return () if isinstance(self.objective, Chainless) else (self.chain_steps,)

    @property
    def max_displacement(self) -> float:
        return getattr(self.chain, "max_displacement", float("inf"))

    def model(self, spec: DataSpec) -> Any:
        return self.proposal.around(self._energy(spec), spec)

    def _energy(self, spec: DataSpec) -> EnergyModel:
        classes = spec.classes if self.conditional else 0
        return energy_of(spec, self.net, classes, self.reference)

    def build_objective(
        self, spec: DataSpec, generator: Generator, device: torch.device | str
    ) -> Objective:
        noise = self._noise(spec)
        starts = (
            FromNoise(noise)
            if self.buffer is None or isinstance(self.objective, Chainless)
            else FromBuffer(self._chains(self.buffer, spec, generator, device))
        )
        chains = Chains(
            self.chain,
            starts,
            self.chain_steps,
            self.energy_l2,
            self.data_noise,
            spec.coordinates.bounds,
            self.training.steps,
        )
        return self.objective.build(chains)

    def _noise(self, spec: DataSpec) -> Any:
        return normal_ if self.objective.normal else spec.coordinates.noise

    def prepare(
        self, model: Any, objective: Any, examples: Callable[[], Batch], generator: Generator
    ) -> None:
        """Put a reference at the data's mean; fit the mixture, and let all chains begin at its
        draws.
        """
        if (tilted := descriptor_in(model)) is not None:
            tilted.centre(examples().x)
        fit_mixture(model, examples, generator)
        if not isinstance(model, Proposed) or isinstance(self.objective, Chainless):
            return
        begin = self._begin(model)
        objective = objective.then if isinstance(objective, WarmedUp) else objective
        starts = objective.starts
        if isinstance(starts, FromBuffer):
            starts.buffer.noise = begin
            begin(starts.buffer.x, generator)
        else:
            objective.starts = FromNoise(begin)

    def _begin(self, model: Proposed) -> Callable[[Tensor, Randomness], Tensor]:
        """Where chains begin: a draw of the mixture, kept within the chains' own range."""

        def begin(x: Tensor, generator: Randomness) -> Tensor:
            return self._clamped(model.begin_(x, generator))

        return begin

    def _begin_given(self, model: Proposed) -> Callable[[Tensor, Tensor, Randomness], Tensor]:
        """The same where part of an example is known."""

        def begin(x: Tensor, free: Tensor, generator: Randomness) -> Tensor:
            return self._clamped(model.begin_given_(x, free, generator))

        return begin

    def _clamped(self, x: Tensor) -> Tensor:
        clamp = getattr(self.chain, "clamp", None)
        return x if clamp is None else x.clamp_(*clamp)

    def _chains(
        self, settings: Buffer, spec: DataSpec, generator: Generator, device: torch.device | str
    ) -> ReplayBuffer:
        classes = None
        if self.conditional:  # slots hold the classes in the shares that the data have
            shares = torch.tensor(spec.per_class, dtype=torch.float64)
            classes = torch.multinomial(
                shares, settings.capacity, replacement=True, generator=generator
            )
        return ReplayBuffer(
            settings.capacity,
            spec.shape,
            spec.coordinates.noise,
            generator,
            0.0 if isinstance(self.objective, ByPersistence) else settings.restart_prob,
            classes,
            device,
        )

    def sampling(
        self, model: Any, spec: DataSpec, device: torch.device | str = "cpu"
    ) -> tasks.Sampling[Any]:
        kind = spec.coordinates
        return tasks.Sampling(
            model.field,
            self.chain,
            self._begin(model) if isinstance(model, Proposed) else self._noise(spec),
            self.generate_steps,
            spec.shape,
            kind.from_model,
            device,
            given=self._begin_given(model) if isinstance(model, Proposed) else None,
        )

    def restoration(
        self, model: Any, spec: DataSpec, validation: Tensor, sigma: float, seed: int
    ) -> Restoration:
        r, kind = self.posterior, spec.coordinates
        scale = kind.gain * sigma
        sampler = Langevin(r.step * scale**2, temperature=r.temperature, clamp=kind.bounds)

        def along(noisy: Tensor, weight: float, at: Sequence[int]) -> Tensor:
            y = kind.to_model(noisy).to(next(model.parameters()).device)
            path = tasks.posterior_path(
                model.field(), sampler, y, scale, weight, at, r.samples, seed
            )
            return kind.from_model(path).cpu()

        generator = torch.Generator().manual_seed(seed)
        eps = torch.randn(validation.shape, generator=generator)
        noisy = validation + sigma * kind.unit(validation) * eps
        at = sorted({*(s for s in STOPS if s < r.steps), r.steps})
        tried = (
            ((w, s), x) for w in r.weights for s, x in zip(at, along(noisy, w, at), strict=True)
        )
        weight, steps = tasks.choose(tried, validation)
        says = (
            f"mean of {r.samples} Langevin chains of {steps} steps on {weight:g} x energy + |x -"
            f" y|^2 / 2 sigma^2 at temperature {r.temperature:g}; steps and weight chosen on"
            f" {len(validation)} validation {kind.plural}"
        )
        return Restoration(
            lambda y: along(y, weight, (steps,))[0],
            says,
            steps * r.samples,
            lambda y, at: along(y, weight, at),
        )

    def steps_setting(self) -> str:
        return "generate_steps"

    def coarsest_level(self) -> float:
        raise UserError(
            f"{self.experiment} is an energy trained by short chains: a generator, which has no"
            " known density; take a run of ncsn, or train an energy by score matching and find its"
            " log Z with gradlogp.tasks.ais."
        )

    def study(self, subject: Subject, recorder: Recorder) -> None:
        chains.study(subject, recorder)

    def title(self) -> str:
        buffer = "with a replay buffer"
        none = f"without a replay buffer, chains of {self.chain_steps} steps"
        told = ", told the class" if self.conditional else ""
        begun = ", its chains begun at a mixture's draws" if self.proposal.components else ""
        if isinstance(self.objective, Chainless):
            by = self.objective.named.replace("_", " ")
            return f"Energy-based model by {by}{begun}{told}"
        tilts = "that tilts a Gaussian, " if self.reference else ""
        return f"Energy-based model {tilts}{none if self.buffer is None else buffer}{begun}{told}"

    def about(self) -> str:
        number = "The network gives every example one number, its **energy**: low means likely."
        paragraphs = (
            [f"{number} {self.objective.story}"]
            if isinstance(self.objective, Chainless)
            else [f"{number} {self._about_chains()}", self._about_buffer()]
        )
        paragraphs += self.proposal.story()
        if self.conditional:
            paragraphs.append(TOLD)
        if self.chain.kind == "generator":
            paragraphs.append(
                "Its steps are larger and less noisy than Langevin dynamics allows. That makes it a"
                " generator, not a density sampler: it draws examples, but not in proportion to"
                " their likelihood."
            )
        return "\n\n".join(paragraphs)

    def _about_chains(self) -> str:
        return (
            "To learn, it needs counterexamples, and it makes them itself. Chains walk downhill in"
            f" energy for {self.chain_steps} small steps; then the energy of real examples is pushed"
            " down and the energy where the chains ended is pushed up. Once the chains end in"
            " examples like the real ones, there is nothing left to push."
        )

    def _about_buffer(self) -> str:
        begin = "a blurred draw of the mixture" if self.proposal.components else "noise"
        if self.buffer is None:
            return (
                f"There is **no replay buffer**: every chain begins with {begin} at every update and"
                f" has {self.chain_steps} steps to become an example. This is the control"
                " experiment, which shows what the buffer is worth."
            )
        return (
            f"Chains are kept in a **replay buffer** of {self.buffer.capacity:,}: at each update"
            f" most go on where they last stopped, and only {100 * self.buffer.restart_prob:g} %"
            f" begin again from {begin}. So they grow old and good, at the price of a few steps an"
            " update."
        )


TOLD = (
    "It is **told the class** of every example that it learns from, so a class can be asked of it."
)


def ebm(target: Target, preset: str = "quick", seed: int = 0) -> EnergyRecipe:
    """An energy-based model with a replay buffer; of larger pictures, its chains begin at a
    mixture's draws.
    """
    recipe = replace(ebm_from_noise(target, preset, seed), experiment="ebm")
    if not serves(target):
        return recipe
    recipe = chosen(recipe, PROPOSED, target.families, preset)
    images = target.fitted(recipe.training.images)
    training = replace(recipe.training, images=images)
    return replace(recipe, proposal=recipe.proposal.of(target), training=training)


def ebm_from_noise(target: Target, preset: str = "quick", seed: int = 0) -> EnergyRecipe:
    """An energy-based model with a replay buffer whose chains begin at noise."""
    training = Training(1, learning_rate=1e-3, beta1=0.0, grad_clip=0.1)
    recipe = EnergyRecipe("ebm_from_noise", target.name, preset, training, seed)
    return configured(recipe, BUDGETS, target, preset)


def ebm_no_buffer(target: Target, preset: str = "quick", seed: int = 0) -> EnergyRecipe:
    """The same energy-based model, but every chain starts from noise at every update."""
    return replace(ebm_from_noise(target, preset, seed), experiment="ebm_no_buffer", buffer=None)


def descriptor(target: Target, preset: str = "quick", seed: int = 0) -> EnergyRecipe:
    """An energy that tilts a Gaussian at the data's mean, as DescriptorNet does, with a buffer."""
    recipe = ebm_from_noise(target, preset, seed)
    return replace(recipe, experiment="descriptor", reference=REFERENCE)


def ebm_long_chains(target: Target, preset: str = "quick", seed: int = 0) -> EnergyRecipe:
    """No buffer, but chains five times as long, for as many fewer pictures: the network evaluations
    are those of ebm.
    """
    short = ebm_no_buffer(target, preset, seed)
    long = replace(short, experiment="ebm_long_chains", chain_steps=5 * short.chain_steps)
    shares = short.evaluations_per_example, long.evaluations_per_example  # 22 / 102 of the pictures
    images = short.training.images * shares[0] // shares[1]
    steps = tuple(sorted({*short.evaluation.steps, long.chain_steps}))
    return replace(
        long,
        training=replace(short.training, images=images),
        evaluation=replace(short.evaluation, steps=steps),
    )


def ebm_class(target: Target, preset: str = "quick", seed: int = 0) -> EnergyRecipe:
    """A class-conditional energy-based model: a joint energy of picture and class, with a buffer
    divided by class.
    """
    return replace(ebm_from_noise(target, preset, seed), experiment="ebm_class", conditional=True)
