"""Schedulers of diffusers on a known score, and its networks under our samplers, step by step."""

import pytest
import torch

from gradlogp.bridges.diffusers import drive, field_of
from gradlogp.core.kernel import run
from gradlogp.core.random import seeded
from gradlogp.core.targets import Empirical
from gradlogp.samplers import DDIM

diffusers = pytest.importorskip("diffusers", reason="needs the extra diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def data():
    """A law whose denoiser is known, and 64 starts of variance 1."""
    rows = torch.randn(50, 3, generator=seeded(0, "rows"), dtype=torch.float64) / 2
    return Empirical(rows), torch.randn(64, 3, generator=seeded(0, "start"), dtype=torch.float64)


def ours(levels, field, start):
    sampler = DDIM(levels=tuple(levels))
    return run(sampler, field, start, sampler.steps, seeded(0))


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_ddim_is_ours_to_1e_6(kind, data):
    field, start = data
    scheduler = diffusers.DDIMScheduler(clip_sample=False, prediction_type=kind)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()  # theirs is rounded to 6e-8
    found = drive(scheduler, field, start.shape, 20, seeded(0), start)
    kept = scheduler.alphas_cumprod[scheduler.timesteps].double()
    levels = ((1 - kept) / kept).sqrt()
    # theirs begins at x_t of variance 1, ours at x_t / alpha
    want = ours(levels.tolist(), field, start / kept[0].sqrt())
    assert (found - want).abs().max() < 1e-6


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "EulerDiscreteScheduler"])
def test_their_euler_steps_are_ours(name, data):
    field, start = data
    edm = {"sigma_min": 0.05, "sigma_max": 10.0, "sigma_data": 0.5}
    scheduler = getattr(diffusers, name)(**edm if name.startswith("EDM") else {})
    found = drive(scheduler, field, start.shape, 20, seeded(0), start)
    levels = scheduler.sigmas[:-1].double().tolist()
    want = ours(levels, field, start * float(scheduler.init_noise_sigma))
    assert (found - want).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["EDMDPMSolverMultistepScheduler", "DPMSolverMultistepScheduler"])
def test_many_steps_of_a_second_order_solver_end_where_ours_do(name, data):
    """Both solve one ODE: 400 steps of theirs and 4,000 of Euler from one start agree to .02."""
    field, start = data
    scheduler = (
        diffusers.EDMDPMSolverMultistepScheduler(sigma_min=0.05, sigma_max=10.0, sigma_data=0.5)
        if name.startswith("EDM")
        else diffusers.DPMSolverMultistepScheduler(final_sigmas_type="zero")
    )
    found = drive(scheduler, field, start.shape, 400, seeded(0), start)
    sigmas = scheduler.sigmas.double()
    top, last = float(sigmas[0]), float(sigmas[sigmas > 0][-1])
    levels = torch.logspace(*torch.tensor([top, last]).log10().tolist(), 4000, dtype=torch.float64)
    scale = top if name.startswith("EDM") else (1 + top**2) ** 0.5
    want = ours(levels.tolist(), field, start * scale * _initial(scheduler, top))
    assert (found - want).abs().median() < 0.02


def _initial(scheduler, top):
    """init_noise_sigma over the level where it is the whole scale."""
    return (
        float(scheduler.init_noise_sigma) / top
        if hasattr(scheduler, "precondition_outputs")
        else 1.0
    )


def test_a_network_of_theirs_under_our_ddim_is_their_own_walk():
    torch.manual_seed(0)
    net = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
    ).eval()
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(10)
    start = torch.randn(4, 1, 8, 8, generator=seeded(0, "start"))
    x = start
    kept = scheduler.alphas_cumprod[scheduler.timesteps].double()
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(net(x, t).sample, t, x).prev_sample
        levels = ((1 - kept) / kept).sqrt().tolist()
        found = ours(levels, field_of(net, scheduler), start / float(kept[0].sqrt()))
    assert (found - x).abs().max() < 1e-4 * float(x.abs().max())
