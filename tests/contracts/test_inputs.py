"""What every member of every table makes of what people hand over: other types, other layouts,
other modes of torch. It is served with the same numbers, or refused in one clear line; nothing in
between.
"""

import math

import numpy as np
import pytest
import torch

from gradlogp import tasks
from gradlogp.core.batch import Batch
from gradlogp.core.fields import Energy, NoisyField
from gradlogp.core.kernel import run
from gradlogp.core.noise import PROCESSES
from gradlogp.core.random import normal_, seeded
from gradlogp.core.targets import TARGETS, Lattice, gaussian
from gradlogp.models import MODELS, BernoulliRBM, ConvClassifier
from gradlogp.objectives import OBJECTIVES
from gradlogp.samplers import SAMPLERS, Heun, Langevin
from gradlogp.tasks import TASKS
from tests.contracts import (
    test_models as models,
    test_objectives as objectives,
    test_samplers as samplers,
)

REFUSED = {
    "an array": (lambda x: x.numpy(), "is a torch.Tensor, got ndarray"),
    "a list": (lambda x: x.tolist(), "is a torch.Tensor, got list"),
    "integers": (lambda x: x.long(), "is in floating point, got torch.int64"),
    "bfloat16": (lambda x: x.bfloat16(), "is in float32 or float64, got torch.bfloat16"),
    "half": (lambda x: x.half(), "is in float32 or float64, got torch.float16"),
}
refused = pytest.mark.parametrize("kind", REFUSED)


def strided(x):
    """The same numbers, every other one in memory."""
    return torch.stack([x, x + 1], -1)[..., 0]


def in_inference(f):
    with torch.inference_mode():
        return f()


def with_default_double(f):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return f()
    finally:
        torch.set_default_dtype(before)


# how the same x is given -> the same answer: a way to call f with x
SERVED = {
    "a stride": lambda f, x: f(strided(x)),
    "gradients asked for": lambda f, x: f(x.clone().requires_grad_(True)).detach(),
    "no_grad": lambda f, x: torch.no_grad()(f)(x),
    "inference mode": lambda f, x: in_inference(lambda: f(x)),
    "x of inference mode": lambda f, x: in_inference(lambda: f(x + 0)),
    "x out of inference mode": lambda f, x: f(in_inference(lambda: x + 0)),
    "another default dtype": lambda f, x: with_default_double(lambda: f(x)),
}
served = pytest.mark.parametrize("kind", SERVED)


def check_served(kind, f, x, exact=True):
    """f(x) does not depend on how x is given, nor does its dtype."""
    found, expected = SERVED[kind](f, x), f(x).detach()
    assert found.dtype == expected.dtype
    if exact:
        assert torch.equal(found, expected)
    else:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


# --- samplers ---


def walk(name):
    sampler, field, steps = samplers.example(name)
    return lambda x: run(sampler, field, x, min(steps, 4), seeded(0))


@refused
@pytest.mark.parametrize("name", SAMPLERS)
def test_no_sampler_starts_from_what_is_no_state(name, kind):
    change, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        walk(name)(change(samplers.start(name, 8)))


@served
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sample_does_not_depend_on_how_its_start_is_given(name, kind):
    check_served(kind, walk(name), samplers.start(name, 8))


def test_the_end_of_a_chain_is_one_that_gradients_can_remember():
    """Its states are kept outside of inference mode, or each step would have to copy them."""
    assert not in_inference(lambda: walk("langevin")(samplers.start("langevin", 8))).is_inference()


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"block_gibbs", "gibbs_langevin"}))
def test_a_chain_in_float32_stays_there(name):
    end = walk(name)(samplers.start(name, 8).float())
    assert end.dtype == torch.float32 and end.isfinite().all()


@pytest.mark.parametrize("generator", [None, 0], ids=repr)
@pytest.mark.parametrize("name", SAMPLERS)
def test_chance_has_a_source(name, generator):
    sampler, field, steps = samplers.example(name)
    draw = lambda: run(sampler, field, samplers.start(name, 8), steps, generator)
    if getattr(sampler, "deterministic", False):
        assert draw().isfinite().all()
    else:
        with pytest.raises(ValueError, match="expected a torch.Generator or Streams, got"):
            draw()


TESTED = ["mala", "hmc", "nuts", "parallel_tempering", "tempered_transitions"]


@pytest.mark.parametrize("name", [*TESTED, "gibbs", "gibbs_with_gradients"])
@pytest.mark.parametrize("offset", [1e7, 1e8, -1e9])
def test_energies_without_digits_are_refused(name, offset):
    """At 1e8 in float32 MALA took every step: variance 1.28 on N(0, 1)."""
    sampler, field, _ = samplers.example(name)
    lifted = Energy(lambda x: field.energy(x) + offset)
    x = samplers.start(name, 8)
    with pytest.raises(ValueError, match="subtract the constant"):
        run(sampler, lifted, x.float(), 1, seeded(0))
    assert run(sampler, lifted, x, 1, seeded(0)).isfinite().all()


@pytest.mark.parametrize("name", ["mala", "hmc", "nuts"])
def test_a_start_far_out_is_no_constant(name):
    """Energies of 5e7 that the first steps change by 1e6."""
    sampler, _, _ = samplers.example(name)
    far = Energy(lambda x: x.square().sum(1) / 2)
    assert run(sampler, far, torch.full((4, 2), 7e3), 2, seeded(0)).isfinite().all()


# --- objectives ---


def loss(name, generator=None):
    objective, model = objectives.build(name)
    cond, generator = objectives.batch(name).cond, generator or seeded(0)
    return lambda x: objective(model, Batch(x, cond), generator).value


@refused
@pytest.mark.parametrize("name", objectives.EXAMPLES)
def test_no_loss_takes_what_is_no_batch(name, kind):
    change, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        loss(name)(change(objectives.batch(name).x))


@pytest.mark.parametrize("name", objectives.EXAMPLES)
def test_a_tensor_is_no_batch(name):
    objective, model = objectives.build(name)
    with pytest.raises(ValueError, match=r"takes a Batch, got Tensor; pass Batch\(x\)"):
        objective(model, objectives.batch(name).x, seeded(0))


@served
@pytest.mark.parametrize("name", objectives.EXAMPLES)
def test_a_loss_does_not_depend_on_how_x_is_given(name, kind):
    inner = any(word in name for word in ("recovery", "dual_score"))  # gradients of its own
    needs_gradients = "improved" in name or (inner and kind != "no_grad")
    if needs_gradients and kind in ("no_grad", "inference mode", "x of inference mode"):
        with pytest.raises(ValueError, match="gradients"):
            SERVED[kind](loss(name), objectives.batch(name).x)
        return
    x = objectives.batch(name).x
    found, expected = SERVED[kind](loss(name), x), loss(name)(x).detach()
    assert found.dtype == expected.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("generator", [None, 0], ids=repr)
@pytest.mark.parametrize("name", objectives.EXAMPLES)
def test_a_loss_draws_from_the_generator_or_not_at_all(name, generator):
    batch = objectives.batch(name)
    value = lambda g: (lambda built: built[0](built[1], batch, g).value)(objectives.build(name))
    if torch.equal(value(seeded(1)), value(seeded(2))):
        assert torch.equal(value(generator), value(seeded(1)))
    else:
        with pytest.raises(ValueError, match="expected a torch.Generator or Streams, got"):
            value(generator)


@pytest.mark.parametrize("name", [n for n in objectives.EXAMPLES if "score" in n or "bound" in n])
def test_nan_stays_in_its_example(name):
    """So that training can leave that one out."""
    x = objectives.batch(name).x.clone()
    clean = loss(name)(x).isfinite()
    x[2, 0, 0, 0] = math.nan
    found = loss(name)(x).isfinite()
    assert clean.all() and not found[2] and found.sum() == len(x) - 1


# --- models ---


def model_call(name):
    more = models.EXAMPLES[name][1]
    model = models.stirred(models.build(name))
    return lambda x: model(x, *more)


@served
@pytest.mark.parametrize("name", models.EXAMPLES)
def test_a_model_does_not_depend_on_how_x_is_given(name, kind):
    if kind == "x out of inference mode":
        return  # torch says itself that weights cannot learn from such an x, and what to do
    check_served(kind, model_call(name), models.data(name), exact=False)


def field_score(name):
    model = models.stirred(models.build(name)).requires_grad_(False)
    field = model.field(*(m for m in models.EXAMPLES[name][1] if not m.is_floating_point()))
    return (field.at(0.7) if isinstance(field, NoisyField) else field).score


FIELDS = [name for name in models.EXAMPLES if hasattr(models.build(name), "field")]


@served
@pytest.mark.parametrize("name", FIELDS)
def test_a_score_does_not_depend_on_how_x_is_given(name, kind):
    check_served(kind, field_score(name), models.data(name), exact=False)


ENERGIES = [name for name in FIELDS if models.EXAMPLES[name][2] == (models.B,)]


@pytest.mark.parametrize("name", ENERGIES)
def test_the_score_of_an_energy_goes_through_the_transforms_of_torch(name):
    score, x = field_score(name), models.data(name)
    one = lambda x: score(x[None])[0]
    if name.endswith("caption_energy"):
        return  # each example has a caption of its own
    torch.testing.assert_close(torch.func.vmap(one)(x), score(x), rtol=1e-4, atol=1e-4)
    if name == "unet_noisy_energy":
        return  # torch's group norm has no forward mode where channels come last
    v = torch.randn(x.shape, generator=seeded(0))
    value, along = torch.func.jvp(score, (x,), (v,))
    torch.testing.assert_close(value, score(x), rtol=1e-4, atol=1e-4)
    with torch.enable_grad():
        leaf = x.clone().requires_grad_(True)
        (expected,) = torch.autograd.grad(score(leaf), leaf, v)  # a Hessian is symmetric
    torch.testing.assert_close(along, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("change", [lambda x: x.numpy(), lambda x: x.long()], ids=["array", "long"])
@pytest.mark.parametrize("name", ENERGIES)
def test_the_score_of_an_energy_is_taken_of_numbers_alone(name, change):
    with pytest.raises(ValueError, match="x is a torch.Tensor, got|x is in floating point, got"):
        field_score(name)(change(models.data(name)))


@pytest.mark.parametrize("name", models.EXAMPLES)
def test_a_model_is_built_and_runs_in_float64(name):
    build = lambda: models.build(name).double()
    more = [m.double() if m.is_floating_point() else m for m in models.EXAMPLES[name][1]]
    assert build()(models.data(name).double(), *more).dtype == torch.float64
    built = with_default_double(lambda: models.build(name)(models.data(name).double(), *more))
    assert built.dtype == torch.float64


TINY = [name for name in models.EXAMPLES if "shape" in models.EXAMPLES[name][0]]


@pytest.mark.parametrize("side", [1, 2, 3, 4])
@pytest.mark.parametrize("name", TINY)
def test_a_model_runs_on_small_data_or_says_what_is_too_small(name, side):
    settings, more, _ = models.EXAMPLES[name]
    old = settings["shape"]
    shape = (old[0], *[side] * (len(old) - 1)) if isinstance(old, tuple) and len(old) > 1 else old
    try:
        model = MODELS[name.split()[0]](**{**settings, "shape": shape})
    except ValueError as error:
        assert "got" in str(error) and str(shape) in str(error)
        return
    x = torch.randn(models.B, *((shape,) if isinstance(shape, int) else shape))
    assert model(x, *more).isfinite().all()


# --- targets ---


def target_call(name):
    target = TARGETS[name]()
    x = target.sample(6, seeded(0))
    if isinstance(target, Lattice):
        return target, x, [target.energy, target.score]
    noisy = lambda f: lambda x: f(x, 0.3)
    return target, x, [target.energy, target.score, noisy(target.energy), noisy(target.denoise)]


@refused
@pytest.mark.parametrize("name", TARGETS)
def test_no_target_takes_what_is_no_number(name, kind):
    _, x, functions = target_call(name)
    change, message = REFUSED[kind]
    for f in functions:
        with pytest.raises(ValueError, match=message):
            f(change(x))


@served
@pytest.mark.parametrize("name", TARGETS)
def test_a_target_does_not_depend_on_how_x_is_given(name, kind):
    _, x, functions = target_call(name)
    for f in functions:
        check_served(kind, f, x)
        check_served(kind, f, x.float())


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_in_float32_has_the_numbers_of_float64(name):
    _, x, functions = target_call(name)
    x = x.float().double()
    for f in functions:
        torch.testing.assert_close(f(x.float()).double(), f(x), rtol=1e-3, atol=1e-3)
        twin = with_default_double(lambda f=f: f(x))
        assert torch.equal(twin, f(x))


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_is_drawn_from_a_generator(name):
    with pytest.raises(ValueError, match="expected a torch.Generator or Streams, got None"):
        TARGETS[name]().sample(3, None)


# --- processes ---

TIMES = {
    "a float": lambda t: t,
    "float32": lambda t: torch.tensor(t, dtype=torch.float32),
    "bfloat16": lambda t: torch.tensor(t, dtype=torch.bfloat16),
    "half": lambda t: torch.tensor(t, dtype=torch.float16),
    "an array": lambda t: np.array(t),
    "gradients asked for": lambda t: torch.tensor(t, requires_grad=True),
    "a stride": lambda t: torch.tensor([[t, 0.0], [t, 0.0]])[:, 0][0],
}


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_answers_in_float64_whatever_a_time_is_given_as(name, kind):
    process, t = PROCESSES[name](), 0.25
    for f in (
        process.alpha,
        process.sigma,
        process.drift,
        process.diffusion,
        process.time,
        process.alpha_at,
        lambda level: process.sde_at(level)[1],
    ):
        expected = f(torch.tensor(t, dtype=torch.float64))
        for call in (f, torch.inference_mode()(f)):
            found = call(TIMES[kind](t))
            assert found.dtype == torch.float64 and torch.equal(found.detach(), expected)
        assert torch.equal(with_default_double(lambda f=f: f(TIMES[kind](t))).detach(), expected)


# --- tasks ---

X = torch.randn(6, 2, generator=seeded(0))
NORMAL = Energy(lambda x: x.square().sum(1) / 2)
CLASSIFIER = ConvClassifier((1, 8, 8), 3, (4, 8), 8).eval()
PICTURES = torch.rand(6, 1, 8, 8, generator=seeded(1))


def drawn(_):
    start = lambda x, g: normal_(x, g)
    return tasks.generate(
        tasks.Generator(lambda cond: NORMAL, Langevin(0.1), start, 3, (2,)), 6, seed=0
    )


def completed(shape):
    flat = Energy(lambda x: x.square().flatten(1).sum(1) / 2)
    return tasks.Sampling(lambda cond: flat, Langevin(0.1), lambda x, g: normal_(x, g), 3, shape)


def filled(y):
    return tasks.inpaint(completed((6, 2)), y, torch.arange(2) == 1, 4, seed=0)


def imputed(y):
    return tasks.impute(completed((2,)), y, (torch.arange(2) == 1).expand(6, 2), 4, seed=0)


CALLS = {
    "generate": (drawn, None),
    "inpaint": (filled, X),
    "impute": (imputed, X),
    "embed": (lambda x: tasks.embed(CLASSIFIER, x), PICTURES),
    "denoise": (lambda y: tasks.posterior_mean(NORMAL, Langevin(0.1), y, 0.5, 1.0, 3, 2, 0), X),
    "classify": (lambda x: tasks.labels(CLASSIFIER, x), PICTURES),
    "detect": (lambda x: tasks.detect.energy(NORMAL, x), X),
    "likelihood": (lambda x: tasks.likelihood(Heun(levels=30), gaussian(), x), X),
    "likelihood of an energy": (lambda x: tasks.likelihood(Langevin(0.1), NORMAL, x, 0.0), X),
    "tweedie": (lambda y: tasks.tweedie(gaussian(), y, 0.5), X),
}


def test_every_table_is_here():
    assert set(TASKS) <= set(CALLS)
    assert {n.split(" ")[0] for n in objectives.EXAMPLES} == set(OBJECTIVES)
    assert {n.split()[0] for n in models.EXAMPLES} == set(MODELS)


@refused
@pytest.mark.parametrize("name", [n for n in CALLS if CALLS[n][1] is not None])
def test_no_task_takes_what_is_no_number(name, kind):
    call, x = CALLS[name]
    change, message = REFUSED[kind]
    if name in ("classify", "embed") and kind in ("bfloat16", "half"):
        return  # a network may be in any of them: it has its own to say
    with pytest.raises(ValueError, match=message):
        call(change(x))


@served
@pytest.mark.parametrize("name", [n for n in CALLS if CALLS[n][1] is not None])
def test_a_task_does_not_depend_on_how_x_is_given(name, kind):
    check_served(kind, *CALLS[name])


def test_a_machine_draws_from_a_generator():
    with pytest.raises(ValueError, match="expected a torch.Generator or Streams, got 0"):
        BernoulliRBM((3,), 2).sample(4, 0)
