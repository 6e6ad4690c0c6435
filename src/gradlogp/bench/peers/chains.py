"""Langevin chains on energies of networks, and the training step of contrastive divergence."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gradlogp.bench.peers.case import OURS, Case, Work, global_seed
from gradlogp.core.batch import Batch
from gradlogp.core.fields import Energy
from gradlogp.core.kernel import run
from gradlogp.core.random import from_seed, seeded
from gradlogp.models import ConvEnergy, MLPEnergy
from gradlogp.objectives import ContrastiveDivergence
from gradlogp.objectives.buffer import ReplayBuffer
from gradlogp.objectives.starts import FromBuffer
from gradlogp.samplers import Langevin

H = 0.01  # step size
IMAGE = (1, 28, 28)
CAPACITY, RESTART, L2, CHAIN = 4096, 0.05, 1e-3, 10


def mlp() -> nn.Module:
    return from_seed(0, lambda: MLPEnergy(2, (128, 128)))


def conv() -> nn.Module:
    return from_seed(0, lambda: ConvEnergy(IMAGE))


def cases() -> Iterator[Case]:
    yield langevin("MLP, batch 32", mlp(), (32, 2), 100)
    yield langevin("MLP, batch 1,024", mlp(), (1024, 2), 20)
    yield langevin("convolutions, batch 64", conv(), (64, *IMAGE), 4)
    yield divergence("MLP, batch 256", mlp, (256, 2), 5)
    yield divergence("convolutions, batch 64", conv, (64, *IMAGE), 1)


def langevin(name: str, energy: nn.Module, shape: tuple[int, ...], steps: int) -> Case:
    x = torch.randn(shape, generator=seeded("start"))

    def ours() -> Work:
        field = Energy(energy)
        return lambda: run(Langevin(H), field, x, steps, torch.Generator().manual_seed(0))

    def ebmkit() -> Work:
        import ebm

        sampler = ebm.LangevinDynamics(step_size=H, steps=steps)

        def work() -> Tensor:
            global_seed()
            return sampler.sample(energy, x)

        return work

    def torchebm() -> Work:
        from torchebm.samplers import LangevinDynamics

        sampler = LangevinDynamics(as_torchebm(energy), step_size=H, noise_scale=1.0)
        return lambda: sampler.sample(
            x=x, n_steps=steps, generator=torch.Generator().manual_seed(0)
        )

    makers = {OURS: ours, "ebmkit": ebmkit, "torchebm": torchebm}
    return Case("Langevin", name, "step", steps, "end", makers)


def as_torchebm(energy: nn.Module) -> Any:
    """An energy as a model of torchebm, which takes no other module."""
    from torchebm.core import BaseModel

    class Model(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.energy = energy

        def forward(self, x: Tensor) -> Tensor:
            return self.energy(x)

    return Model()


def training(model: nn.Module, loss: Any, steps: int) -> Work:
    """`steps` updates by Adam on what `loss()` returns."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def work() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

    return work


def divergence(name: str, network: Any, shape: tuple[int, ...], steps: int) -> Case:
    """Chains from a buffer with restarts, the loss with its regulariser, backward, and Adam."""
    x = torch.randn(shape, generator=seeded("data"))

    def ours() -> Work:
        model, generator = network(), seeded("chains")
        noise = lambda x, generator: x.normal_(generator=generator)  # noqa: E731
        buffer = ReplayBuffer(CAPACITY, shape[1:], noise, generator, RESTART)
        loss = ContrastiveDivergence(Langevin(H), FromBuffer(buffer), CHAIN, L2)
        return training(model, lambda: loss(model, Batch(x), generator).value.mean(), steps)

    def ebmkit() -> Work:
        import ebm

        model = network()
        buffer = ebm.ReplayBuffer(CAPACITY, shape[1:], reinit_prob=RESTART)
        sampler = ebm.LangevinDynamics(step_size=H, steps=CHAIN)
        loss = ebm.ContrastiveDivergence(sampler, buffer, energy_reg=L2)
        return training(model, lambda: loss(model, x).loss, steps)

    def torchebm() -> Work:
        from torchebm.losses import ContrastiveDivergence as Theirs
        from torchebm.samplers import LangevinDynamics

        model = as_torchebm(network())
        sampler = LangevinDynamics(model, step_size=H, noise_scale=1.0)
        loss = Theirs(
            model,
            sampler,
            k_steps=CHAIN,
            persistent=True,
            buffer_size=CAPACITY,
            init_steps=0,
            new_sample_ratio=RESTART,
            energy_reg_weight=L2,
        )
        return training(model, lambda: loss(x)[0], steps)

    makers = {OURS: ours, "ebmkit": ebmkit, "torchebm": torchebm}
    return Case("Contrastive divergence", name, "update", steps, "", makers)
