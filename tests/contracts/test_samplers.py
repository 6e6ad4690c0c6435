"""What every sampler promises. A new line in SAMPLERS is tested by being there; it only needs an example below."""

import json

import pytest
import torch

from gradlogp.core.fields import Energy
from gradlogp.core.kernel import run
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import seeded
from gradlogp.core.targets import gaussian
from gradlogp.experiments.settings import from_dict, to_dict
from gradlogp.samplers import SAMPLERS, Annealed

EXAMPLES = {
    "langevin": {"step_size": 0.1},
    "annealed_langevin": {"process": VarianceExploding(0.05, 5.0), "levels": 10},
    "consistent_annealed_langevin": {"process": VarianceExploding(0.05, 5.0), "levels": 10, "step_ratio": 0.6},
}
TARGET = gaussian([0.0, 0.0], [1.0, 0.5])


def example(name):
    sampler = SAMPLERS[name](**EXAMPLES[name])
    noisy = isinstance(sampler, Annealed)
    return sampler, TARGET if noisy else Energy(TARGET.energy), sampler.steps if noisy else 10


def start(n=64):
    return torch.randn(n, 2, generator=seeded(5), dtype=torch.float64)


def test_every_sampler_has_an_example():
    assert EXAMPLES.keys() == SAMPLERS.keys()


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_seed_decides_the_sample(name):
    sampler, field, steps = example(name)
    draw = lambda seed: run(sampler, field, start(), steps, seeded(seed))
    assert torch.equal(draw(0), draw(0)) and not torch.equal(draw(0), draw(1))


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_start_is_left_alone_and_the_shape_is_kept(name):
    sampler, field, steps = example(name)
    x, before = start(), start()
    end = run(sampler, field, x, steps, seeded(0))
    assert torch.equal(x, before) and end.shape == x.shape and end.dtype == x.dtype and not end.requires_grad


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_watcher_sees_every_step(name):
    sampler, field, steps = example(name)
    seen = []
    run(sampler, field, start(), steps, seeded(0), watch=lambda i, state, info: seen.append((i, state.x.shape)))
    assert seen == [(i, (64, 2)) for i in range(1, steps + 1)]


@pytest.mark.parametrize("name", SAMPLERS)
def test_zero_steps_stay_and_negative_steps_are_refused(name):
    sampler, field, _ = example(name)
    assert torch.equal(run(sampler, field, start(), 0, seeded(0)), start())
    with pytest.raises(ValueError, match="0 or more, got -1"):
        run(sampler, field, start(), -1, seeded(0))


@pytest.mark.parametrize("name", SAMPLERS)
def test_settings_become_json_and_come_back(name):
    sampler, _, _ = example(name)
    assert from_dict(type(sampler), json.loads(json.dumps(to_dict(sampler)))) == sampler


@pytest.mark.parametrize("name", SAMPLERS)
def test_it_says_what_it_is(name):
    assert len((SAMPLERS[name].__doc__ or "").strip()) > 20


@pytest.mark.parametrize(("name", "change", "message"), [
    ("langevin", {"step_size": -1.0}, "step_size > 0"),
    ("langevin", {"step_size": 1.0, "grad_clip": 0.0}, "grad_clip bounds a size"),
    ("annealed_langevin", {"levels": 1}, "levels >= 2"),
    ("annealed_langevin", {"step_ratio": 2.5}, "where the chain is stable"),
    ("consistent_annealed_langevin", {"step_ratio": 0.1}, "raise it, or take more levels"),
    ("consistent_annealed_langevin", {"levels": 1}, "use Langevin"),
])
def test_settings_that_cannot_work_are_refused(name, change, message):
    with pytest.raises(ValueError, match=message):
        SAMPLERS[name](**{**EXAMPLES[name], **change})


def test_a_lawful_langevin_is_a_density_sampler_and_any_other_a_generator():
    langevin = SAMPLERS["langevin"]
    assert langevin(0.1).kind == "density"
    for unlawful in ({"noise_std": 0.005}, {"grad_clip": 0.03}, {"clamp": (-1, 1)}):
        assert langevin(10.0, **unlawful).kind == "generator"
    assert langevin(10.0, grad_clip=0.03).reach == pytest.approx(0.3)
