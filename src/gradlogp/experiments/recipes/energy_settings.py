"""The settings of energies: their budgets by data and preset, chains that are kept, and posterior
chains.
"""

from dataclasses import dataclass
from typing import final

from gradlogp.core.errors import UserError, at_least
from gradlogp.harness.settings import Choices

BUDGETS: Choices = {
    "any": {
        "any": ("evaluation.steps=0,5,10,20,40,80,160,400",),
        "quick": ("training.images=128000",),
        "full": ("training.images=400000", "training.learning_rate=7e-4"),
        "gpu": ("training.images=4000000", "training.learning_rate=7e-4"),
    },
    # Pictures of 8x8 in 17 shades: smaller steps with more noise, a smaller network, a higher rate.
    "small": {
        "any": (
            "training.learning_rate=1e-2",
            "net.channels=16,32,64",
            "chain.step_size=4.0",
            "chain.noise_std=0.02",
            "buffer.capacity=2048",
            "buffer.restart_prob=0.05",
            "data_noise=0.03",
            "evaluation.samples=360",
            "evaluation.denoise=180",
            "evaluation.steps=20,",
        ),
        "quick": ("training.images=112000",),
        "full": ("training.images=200000",),
    },
    # 113 training examples a second on one core, 22 evaluations each.
    "cifar10": {"quick": ("training.images=60000",), "full": ("training.images=300000",)},
    # No interval holds the columns of a table, and their standard deviation is 1.
    "row": {"any": ("chain.clamp=none", "chain.step_size=3.0", "evaluation.steps=20,")},
}
# Volumes, and pictures of more than twelve pixels a side: chains begin at draws of a mixture.
PROPOSED: Choices = {
    "picture": {
        "any": (
            "proposal.components=400",
            "net.channels=32,64,64",
            "net.patch=4",
            "chain_steps=10",
            "generate_steps=60",
            "buffer.capacity=2048",
            "evaluation.steps=0,5,10,20,40,80,160,300",
        ),
        "quick": ("training.images=64000",),
        "full": ("training.images=200000",),
        "gpu": ("training.images=4000000",),
    },
    # A trunk of patches of 2 costs a chain's step of 16^3 voxels .3 ms of one core.
    "volume": {
        "any": (
            "proposal.components=400",
            "net.channels=16,32,64",
            "net.patch=2",
            "chain_steps=10",
            "generate_steps=60",
            "buffer.capacity=2048",
            "evaluation.steps=0,20,60,300",
        ),
        "quick": ("training.images=16000",),
        "full": ("training.images=150000",),
        "gpu": ("training.images=3000000",),
    },
}


@final
@dataclass(frozen=True)
class Buffer:
    """Chains kept, and the probability that a draw starts again from where chains begin."""

    capacity: int = 8192
    restart_prob: float = 0.1

    def __post_init__(self) -> None:
        at_least(1, capacity=self.capacity)
        if not 0 <= self.restart_prob <= 1:
            raise UserError(f"restart_prob is a share, in [0, 1], got {self.restart_prob}.")


@final
@dataclass(frozen=True)
class Posterior:
    """Posterior chains for denoising: the step as a share of sigma^2, their temperature, the most
    steps, how many are averaged.
    """

    step: float = 0.1
    temperature: float = 0.1
    steps: int = 60
    samples: int = 4
    weights: tuple[float, ...] = (100.0, 300.0, 600.0, 1000.0, 3000.0)

    def __post_init__(self) -> None:
        at_least(1, samples=self.samples)
        at_least(0, temperature=self.temperature, steps=self.steps, weights=self.weights)
        if self.step <= 0:
            raise UserError(f"step is a positive share of sigma^2, got {self.step}.")
