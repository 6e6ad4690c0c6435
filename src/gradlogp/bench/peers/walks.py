"""Steps of reverse diffusion: DDIM, Heun and DPM-Solver++ down the levels that the peer takes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from gradlogp.bench.peers.case import OURS, Case, Work
from gradlogp.core.fields import Denoiser, NoisyField
from gradlogp.core.kernel import run
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import from_seed, seeded
from gradlogp.models import unet_score
from gradlogp.samplers import DDIM, DPMSolver, Heun

LOW, HIGH, STD = 0.05, 20.0, 0.5
STEPS = 20
SHAPES = {"a stored tensor, batch 64": (64, 1, 28, 28), "a UNet, batch 8": (8, 1, 28, 28)}
Denoise = Callable[[Tensor, Tensor], Tensor]


def networks() -> Iterator[tuple[str, tuple[int, ...], Denoise]]:
    """What costs nothing, so that what is left is the sampler's own; and a real network."""
    (nothing, shape), (unet, small) = SHAPES.items()
    stored = 0.01 * torch.randn(shape, generator=seeded("stored"))
    yield nothing, shape, lambda x, sigma: stored
    yield unet, small, from_seed(0, lambda: unet_score(small[1:], STD))


def cases() -> Iterator[Case]:
    for name, shape, denoise in networks():
        x = HIGH * torch.randn(shape, generator=seeded("noise"))
        down = [HIGH * (LOW / HIGH) ** (i / STEPS) for i in range(STEPS + 1)]
        yield walk("DDIM", name, x, denoise, down, DDIM, azula="DDIMSampler")
        yield walk("Heun", name, x, denoise, down, Heun, azula="HeunSampler")
        karras = [
            (HIGH ** (1 / 7) + i / (STEPS - 1) * (LOW ** (1 / 7) - HIGH ** (1 / 7))) ** 7
            for i in range(STEPS)
        ]
        yield walk("DPM-Solver++ 2M", name, x, denoise, karras, DPMSolver, diffusers=True)


def walk(
    group: str,
    name: str,
    x: Tensor,
    denoise: Denoise,
    levels: Sequence[float],
    sampler: Any,
    azula: str = "",
    diffusers: bool = False,
) -> Case:
    steps = len(levels) - 1 if azula else len(levels)

    def ours() -> Work:
        walker = sampler(VarianceExploding(LOW, HIGH), levels=levels)
        field: NoisyField = Denoiser(denoise)
        return lambda: run(walker, field, x, steps, seeded(0))

    makers = {OURS: ours}
    if azula:
        makers["azula"] = lambda: _azula(azula, x, denoise, steps)
    if diffusers:
        makers["diffusers"] = lambda: _diffusers(x, denoise, steps)
    return Case(group, name, "step", steps, "end", makers)


def _azula(sampler: str, x: Tensor, denoise: Denoise, steps: int) -> Work:
    from azula import sample
    from azula.denoise import Denoiser as Theirs, DiracPosterior
    from azula.noise import VESchedule

    class Given(Theirs):
        def __init__(self) -> None:
            super().__init__()
            self.schedule = VESchedule(LOW, HIGH)

        def forward(self, x_t: Tensor, t: Tensor, **kwargs: Any) -> DiracPosterior:
            return DiracPosterior(mean=denoise(x_t, self.schedule.sigma(t).expand(len(x_t))))

    made = getattr(sample, sampler)(Given(), steps=steps, silent=True)
    return lambda: made(x)


def _diffusers(x: Tensor, denoise: Denoise, steps: int) -> Work:
    """EDM's multistep solver, fed what its preconditioned network would say."""
    from diffusers import EDMDPMSolverMultistepScheduler

    scheduler: Any = EDMDPMSolverMultistepScheduler(
        sigma_min=LOW, sigma_max=HIGH, sigma_data=STD, lower_order_final=False
    )

    def work() -> Tensor:
        scheduler.set_timesteps(steps)
        now = x
        with torch.no_grad():
            for i, t in enumerate(scheduler.timesteps):
                scheduler.scale_model_input(now, t)
                sigma = scheduler.sigmas[i]
                kept, scale = STD**2 / (sigma**2 + STD**2), sigma * STD / (sigma**2 + STD**2) ** 0.5
                network = (denoise(now, sigma.expand(len(now))) - kept * now) / scale
                now = scheduler.step(network, t, now, return_dict=False)[0]
        return now

    return work
