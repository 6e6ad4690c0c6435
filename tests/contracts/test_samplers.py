"""What every sampler promises. A new line in SAMPLERS is tested by being there, with the usual
settings; where it needs others, or a field of its own, that is a line below.
"""

import inspect
import json

import pytest
import torch

from gradlogp.core.fields import Energy, Score
from gradlogp.core.kernel import run
from gradlogp.core.noise import EDM, VarianceExploding, VariancePreserving
from gradlogp.core.random import Streams, seeded
from gradlogp.core.targets import gaussian
from gradlogp.harness.settings import from_dict, to_dict
from gradlogp.models import BernoulliRBM, GaussianRBM
from gradlogp.samplers import (
    HMC,
    MALA,
    SAMPLERS,
    Ancestral,
)

LISTED = {
    "langevin": {"step_size": 0.1},
    "preconditioned_langevin": {"step_size": 0.1, "adapt": 5},
    "mala": {"step_size": 0.1, "adapt": 5},
    "hmc": {"step_size": 0.3, "leapfrog_steps": 3, "jitter": 0.1},
    "nuts": {"step_size": 0.3, "max_depth": 4},
    "underdamped": {"step_size": 0.3},
    "descent": {"step_size": 0.1},
    "parallel_tempering": {"inner": HMC(0.3, leapfrog_steps=2), "temperatures": (1.0, 2.0, 4.0)},
    "tempered_transitions": {"inner": MALA(0.1), "temperatures": (1.0, 2.0)},
    "gibbs": {"random_sites": 1},
    "checkerboard_gibbs": {},
    "block_gibbs": {},
    "gibbs_langevin": {"step_size": 0.3, "inner": 2, "adjust": True},
    "gibbs_with_gradients": {},
    "annealed_langevin": {"process": VarianceExploding(0.05, 5.0), "levels": 10},
    "consistent_annealed_langevin": {
        "process": VarianceExploding(0.05, 5.0),
        "levels": 10,
        "step_ratio": 0.6,
    },
    "recovery_langevin": {"process": VarianceExploding(0.05, 5.0), "levels": 5, "inner": 3},
    "ancestral": {
        "process": VariancePreserving(),
        "levels": 10,
        "variance": 0.5,
        "clip": (-3.0, 3.0),
    },
    "ddim": {"levels": (5.0, 1.0, 0.3, 0.1), "eta": 0.5, "clip": 0.99},
    "reverse_sde": {"levels": 10, "method": "reverse_diffusion"},
    "predictor_corrector": {
        "predictor": Ancestral(VariancePreserving(), 10),
        "corrections": 2,
        "adjusted": True,
    },
    "probability_flow": {"process": EDM(0.02, 10.0), "levels": 10, "method": "rk4"},
    "adaptive_flow": {"process": EDM(0.02, 10.0), "rtol": 0.01, "steps": 15},
    "heun": {"process": EDM(0.02, 10.0), "levels": 10, "churn": 3.0, "s_max": 5.0},
    "dpm_solver": {"levels": 10, "order": 3, "eta": 1.0},
    "unipc": {"levels": 10, "order": 3},
}
USUAL = {"step_size": 0.1, "process": VarianceExploding(0.05, 5.0), "levels": 10}


def usual(sampler):
    """Settings of a sampler for which none are listed: those of the usual that it has."""
    known = inspect.signature(sampler).parameters
    return {name: value for name, value in USUAL.items() if name in known}


EXAMPLES = {name: LISTED.get(name) or usual(sampler) for name, sampler in SAMPLERS.items()}
TARGET = gaussian([0.0, 0.0], [1.0, 0.5])
WEIGHT = torch.tensor([[1.0, -0.5, 0.2], [0.3, 0.8, -1.0]], dtype=torch.float64)
BITS = Energy(lambda x: x[:, 0] * x[:, 1] - x[:, 0])  # of two binary sites
FIELDS = {  # of the samplers that are not for every energy
    "gibbs": BITS,
    "checkerboard_gibbs": BITS,
    "gibbs_with_gradients": BITS,
    "block_gibbs": BernoulliRBM.of(WEIGHT, WEIGHT[:, 0], WEIGHT[0]).field(),
    "gibbs_langevin": GaussianRBM.of(WEIGHT, WEIGHT[:, 0], WEIGHT[:, 1], WEIGHT[0]).field(),
}


def example(name):
    sampler = SAMPLERS[name](**EXAMPLES[name])
    noisy = hasattr(sampler, "ladder")  # it walks down noise levels, in a fixed number of steps
    field = TARGET if noisy else FIELDS.get(name, Energy(TARGET.energy))
    return sampler, field, sampler.steps if noisy else 10


def start(name, n=64):
    x = torch.randn(n, 2, generator=seeded(5), dtype=torch.float64)
    return (x > 0).double() if name in FIELDS and name != "gibbs_langevin" else x


def test_what_is_listed_is_there():
    assert LISTED.keys() <= SAMPLERS.keys()


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_seed_decides_the_sample(name):
    sampler, field, steps = example(name)
    draw = lambda seed: run(sampler, field, start(name), steps, seeded(seed))
    assert torch.equal(draw(0), draw(0)) and torch.equal(draw(0), draw(1)) == getattr(
        sampler, "deterministic", False
    )


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_start_is_left_alone_and_the_shape_is_kept(name):
    sampler, field, steps = example(name)
    x, before = start(name), start(name)
    end = run(sampler, field, x, steps, seeded(0))
    assert (
        torch.equal(x, before)
        and end.shape == x.shape
        and end.dtype == x.dtype
        and not end.requires_grad
    )


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_watcher_sees_every_step(name):
    sampler, field, steps = example(name)
    seen = []
    run(
        sampler,
        field,
        start(name),
        steps,
        seeded(0),
        watch=lambda i, state, info: seen.append((i, state.x.shape)),
    )
    assert seen == [(i, (64, 2)) for i in range(1, steps + 1)]


@pytest.mark.parametrize("name", SAMPLERS)
def test_zero_steps_stay_and_negative_steps_are_refused(name):
    sampler, field, _ = example(name)
    assert torch.equal(run(sampler, field, start(name), 0, seeded(0)), start(name))
    with pytest.raises(ValueError, match="0 or more, got -1"):
        run(sampler, field, start(name), -1, seeded(0))


@pytest.mark.parametrize("name", SAMPLERS)
def test_settings_become_json_and_come_back(name):
    sampler, _, _ = example(name)
    assert from_dict(type(sampler), json.loads(json.dumps(to_dict(sampler)))) == sampler


@pytest.mark.parametrize("name", SAMPLERS)
def test_it_says_what_it_is(name):
    assert len((SAMPLERS[name].__doc__ or "").strip()) > 20


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("langevin", {"step_size": -1.0}, "step_size > 0"),
        ("langevin", {"step_size": 1.0, "grad_clip": 0.0}, "grad_clip bounds a size"),
        ("langevin", {"step_size": 1.0, "clamp": (1.0, -1.0)}, r"low < high, got \(1.0, -1.0\)"),
        ("langevin", {"step_size": 1.0, "clamp": (0.0, float("nan"))}, "low < high"),
        (
            "preconditioned_langevin",
            {"adapt": 0},
            "got no preconditioner and adapt=0; for P = 1 use Langevin",
        ),
        (
            "preconditioned_langevin",
            {"preconditioner": torch.ones(2)},
            "got a preconditioner and adapt=5",
        ),
        (
            "preconditioned_langevin",
            {"adapt": 0, "preconditioner": -torch.ones(2)},
            "positive, got -1",
        ),
        ("preconditioned_langevin", {"decay": 1.0}, r"decay in \[0, 1\)"),
        ("mala", {"step_size": 0.0}, "MALA needs step_size > 0"),
        ("mala", {"target": 1.0}, r"target acceptance in \(0, 1\)"),
        ("mala", {"mass": torch.zeros(2)}, "every mass is positive, got a smallest of 0"),
        ("hmc", {"leapfrog_steps": 0}, "one leapfrog step is MALA"),
        ("hmc", {"jitter": 1.0}, r"jitter in \[0, 1\)"),
        ("nuts", {"max_depth": 0}, "at least once, got max_depth=0"),
        ("nuts", {"adapt": -1}, "adapt >= 0 steps"),
        ("underdamped", {"friction": -1.0}, "friction >= 0"),
        (
            "parallel_tempering",
            {"temperatures": (1.0,)},
            r"two or more rising temperatures above 0, such as .* got \(1.0,\)",
        ),
        ("parallel_tempering", {"temperatures": (1.0, 1.0)}, "rising temperatures"),
        ("tempered_transitions", {"temperatures": (0.0, 1.0)}, "rising temperatures above 0"),
        (
            "tempered_transitions",
            {"inner": MALA(0.1, adapt=10)},
            "a kernel that adapts is not reversible",
        ),
        ("gibbs", {"random_sites": 0}, "None sweeps all sites"),
        ("gibbs", {"values": (1.0, 0.0)}, "low < high"),
        ("checkerboard_gibbs", {"values": (1.0, 0.0)}, "low < high"),
        ("gibbs_with_gradients", {"values": (1.0, 1.0)}, "low < high"),
        ("gibbs_langevin", {"step_size": 2.0}, "where the chain is stable"),
        ("gibbs_langevin", {"inner": 0}, "inner >= 1"),
        ("annealed_langevin", {"levels": 1}, "levels >= 2"),
        ("annealed_langevin", {"step_ratio": 2.5}, "where the chain is stable"),
        ("consistent_annealed_langevin", {"step_ratio": 0.1}, "raise it, or take more levels"),
        ("consistent_annealed_langevin", {"levels": 1}, "use Langevin"),
        ("ancestral", {"levels": 0}, "levels >= 1"),
        ("ancestral", {"variance": -1.0}, "variance is that of the data"),
        ("ddim", {"levels": (1.0, 2.0)}, "fall from the noisiest"),
        ("ddim", {"clip": 2.0}, "a quantile in"),
        ("ddim", {"eta": 1.5}, "eta must lie in"),
        ("predictor_corrector", {"snr": 0.0}, "snr > 0"),
        ("adaptive_flow", {"rtol": 0.0, "atol": 0.0}, "not both 0"),
        ("heun", {"churn": -1.0}, "amounts of noise"),
        ("dpm_solver", {"order": 4}, "order is 1, 2 or 3"),
        ("dpm_solver", {"eta": -0.5}, "1 is the reverse SDE"),
    ],
)
def test_settings_that_cannot_work_are_refused(name, change, message):
    with pytest.raises(ValueError, match=message):
        SAMPLERS[name](**{**EXAMPLES[name], **change})


def test_a_lawful_langevin_is_a_density_sampler_and_any_other_a_generator():
    langevin = SAMPLERS["langevin"]
    assert langevin(0.1).kind == "density"
    for unlawful in ({"noise_std": 0.005}, {"grad_clip": 0.03}, {"clamp": (-1, 1)}):
        assert langevin(10.0, **unlawful).kind == "generator"
    assert langevin(10.0, grad_clip=0.03).max_displacement == pytest.approx(0.3)


@pytest.mark.parametrize(
    "name", ["mala", "hmc", "nuts", "parallel_tempering", "tempered_transitions"]
)
def test_a_metropolis_test_needs_an_energy_and_a_start_inside_the_distribution(name):
    sampler = SAMPLERS[name](**EXAMPLES[name])
    with pytest.raises(ValueError, match="needs an energy, but Score has a score only"):
        sampler.init(Score(lambda x: -x), start(name))
    with pytest.raises(ValueError, match="finite energy at every start, got inf or NaN at"):
        sampler.init(
            Energy(lambda x: torch.where(x[:, 0] > 0, 0.0, torch.inf) + 0 * x[:, 1]), start(name)
        )


@pytest.mark.parametrize(
    "name", ["mala", "hmc", "nuts", "parallel_tempering", "tempered_transitions"]
)
def test_where_the_energy_is_not_finite_nothing_is_accepted(name):
    """A half line with a NaN cliff: no chain ever leaves it, and all move."""
    cliff = Energy(lambda x: torch.where((x > 0).all(1), x.sum(1), torch.nan))
    end = run(SAMPLERS[name](**EXAMPLES[name]), cliff, start(name).abs(), 20, seeded(0))
    assert (end > 0).all() and (end != start(name).abs()).any(1).all()


@pytest.mark.parametrize(
    "name",
    [
        "langevin",
        "preconditioned_langevin",
        "mala",
        "hmc",
        "underdamped",
        "parallel_tempering",
        "tempered_transitions",
    ],
)
def test_a_chain_does_not_depend_on_its_batch(name):
    sampler, field, _ = example(name)
    draw = lambda first, count: run(
        sampler, field, start(name)[first : first + count], 6, Streams(0, first, count)
    )
    assert torch.allclose(draw(0, 64)[25:45], draw(25, 20), atol=1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_it_samples_a_density_or_says_that_it_only_generates(name):
    assert example(name)[0].kind == (
        "generator" if name in ("ancestral", "ddim", "descent") else "density"
    )  # two that are clipped, and one without noise


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mala", {"mass": torch.ones(3)}),
        ("hmc", {"mass": torch.ones(1)}),
        ("nuts", {"mass": torch.ones(3)}),
        ("preconditioned_langevin", {"adapt": 0, "preconditioner": torch.ones(1)}),
    ],
)
def test_scales_that_would_broadcast_are_refused(name, change):
    sampler = SAMPLERS[name](**{**EXAMPLES[name], **change})
    with pytest.raises(ValueError, match=r"expected a (mass|preconditioner) .*shape \[2\]"):
        run(sampler, Energy(TARGET.energy), start(name), 1, seeded(0))
