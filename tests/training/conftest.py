from dataclasses import dataclass

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.models import MLPEnergy
from gradlogp.objectives import ContrastiveDivergence, FromBuffer, ReplayBuffer
from gradlogp.runs import Run
from gradlogp.samplers import Langevin
from gradlogp.training import Guard, GuardSettings, Learner, Training, shuffled


def ring(n: int) -> torch.Tensor:
    """Points on the unit circle, noise of .1 added."""
    g = torch.Generator().manual_seed(7)
    angle = 2 * torch.pi * torch.rand(n, generator=g)
    return 0.7 * torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(n, 2, generator=g)


@dataclass
class Ring:
    """A small energy-based model of the ring with a replay buffer, trained in seconds."""

    learning_rate: float = 1e-2
    images: int = 64 * 60
    chain: Langevin = Langevin(0.01, clamp=(-1, 1))  # noqa: RUF009
    guard: GuardSettings = GuardSettings(max_energy=20.0, patience=20)  # noqa: RUF009
    energy_l2: float = 0.03
    poison: int | None = None  # the step whose batch holds NaN

    def learner(self) -> Learner:
        torch.manual_seed(0)
        g = seeded(0, "noise")
        uniform = lambda x, g: x.uniform_(-1, 1, generator=g)
        buffer = ReplayBuffer(256, (2,), uniform, g, 0.05)
        objective = ContrastiveDivergence(
            self.chain, FromBuffer(buffer), 10, energy_l2=self.energy_l2
        )
        settings = Training(
            self.images,
            learning_rate=self.learning_rate,
            beta1=0.0,
            grad_clip=0.1,
            ema=0.9,
            log_every=5,
            checkpoint_every=10,
            warmup=5,
        )
        return Learner(
            MLPEnergy(2, (32, 32)),
            objective,
            settings,
            g,
            Guard(self.guard, 2.0, self.chain.max_displacement),
        )

    def batches(self):
        data, order = ring(1000), shuffled(1000, 64, 0)

        def batch(step: int) -> Batch:
            x = data[order(step)]
            if step == self.poison:
                x[3:5] = float("nan")
            return Batch(x)

        return batch


@pytest.fixture
def run(tmp_path):
    with Run.create(tmp_path / "run", {"what": "ring"}) as run:
        yield run
