"""What every member of the table keeps, and what all refuse."""

import json
import math
import time

import pytest
import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.metrics import METRICS, QUANTITIES, Measure, generative, quantity


def example(kind: str, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return {
        "features": lambda: torch.randn(60, 5, generator=g),
        "images": lambda: torch.rand(40, 1, 8, 8, generator=g),
        "labels": lambda: torch.randint(10, (50,), generator=g),
        "logits": lambda: torch.randn(50, 10, generator=g),
        "scores": lambda: torch.randn(50, generator=g),
        "chains": lambda: torch.randn(60, 40, 3, generator=g),
    }[kind]()


@pytest.mark.parametrize("name", METRICS)
def test_a_member_returns_a_whole_measure(name):
    metric = METRICS[name]
    given = [example(kind, seed) for seed, kind in enumerate(metric.takes)]
    before = [x.clone() for x in given]
    got = metric.call(*given)
    assert (
        isinstance(got, Measure)
        and got.metric == name
        and got.n in (len(given[0]), sum(map(len, given)))
    )
    assert math.isfinite(got.value) and got.stderr is not None and got.stderr >= 0
    assert json.loads(json.dumps(got.as_dict()))["value"] == got.value == float(got)
    assert "standard error" in got.protocol and "\n" not in got.protocol and "\n" not in metric.says
    good = f"{got.better} is better" if got.better != "none" else f"{got.aim:g} is right"
    assert str(got).startswith(f"{name} ") and good in str(got)
    assert (got.better, got.unit, got.aim) == (metric.better, metric.unit, metric.aim)
    assert metric.key == name and metric.name and len(metric.meaning) > 30
    assert all(torch.equal(x, y) for x, y in zip(given, before, strict=True))


BETTER = [
    name
    for name, metric in METRICS.items()
    if metric.takes[0] in ("features", "images") and metric.better != "none"
]


@pytest.mark.parametrize("name", BETTER)
def test_near_is_better_than_far(name):
    metric = METRICS[name]
    x, y = (example(metric.takes[0], seed) for seed in (0, 1))
    near = metric.call(x, x + 0.01 * y)
    far = metric.call(x, x + 10)
    assert (near.value > far.value) == (near.better == "higher")


@pytest.mark.parametrize(
    "name", [n for n, metric in METRICS.items() if metric.takes == ("features", "features")]
)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x.view(60, 5, 1), r"shape \[n, d\], but has \[60, 5, 1\]; pass"),
        (lambda x: x[:, :4], "same feature width, but have 5 and 4; pass"),
        (
            lambda x: x.index_fill(0, torch.tensor([3, 4]), math.nan),
            "finite numbers, but 2 of 60 examples hold NaN",
        ),
        (lambda x: x / (x > x.min()), "finite numbers, but 1 of 60 examples"),
        (lambda x: x[:2], "at least [36] examples, but has 2; draw more"),
        (lambda x: x[:0], "at least [36] examples, but has 0; draw more"),
    ],
)
def test_bad_features_are_refused(name, spoil, message):
    with pytest.raises(ValueError, match=message):
        METRICS[name].call(example("features", 0), spoil(example("features", 1)))


def test_a_diverged_sampler_is_the_users_business():
    with pytest.raises(UserError, match="diverged sampler"):
        generative(example("features", 0), example("features", 1) * math.inf, network="lenet")


def test_generative_is_the_whole_row():
    real = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    fake = example("features", 1)
    row = generative(real, fake, k=3, network="lenet 1a2b")
    assert [x.metric for x in row] == ["fd", "kid", "precision", "recall", "density", "coverage"]
    assert all("lenet 1a2b" in x.protocol and x.reference is not None for x in row)
    assert "k = 3" in row[-1].protocol


def test_the_order_of_samples_hardly_matters_to_the_error():
    """Sorted by class, contiguous groups would differ by class: the jackknife deals them like
    cards.
    """
    g = torch.Generator().manual_seed(0)
    label = torch.arange(10).repeat_interleave(40)
    centres = 4 * torch.randn(10, 5, generator=g)
    real, fake = (torch.randn(400, 5, generator=g) + centres[label] for _ in range(2))
    mixed = torch.randperm(400, generator=g)
    for by_class, shuffled in zip(
        generative(real, fake + 0.3, network="x"),
        generative(real[mixed], fake[mixed] + 0.3, network="x"),
        strict=True,
    ):
        assert by_class.value == pytest.approx(shuffled.value)
        assert by_class.stderr < 1.5 * shuffled.stderr


def repeat(name: str, g: torch.Generator) -> tuple[Tensor, ...]:
    """Fresh examples for a metric, away from where it is best or worst."""
    if name in ("psnr", "ssim"):
        clean = torch.rand(40, 1, 8, 8, generator=g)
        noise = torch.rand(40, 1, 1, 1, generator=g) * torch.randn(40, 1, 8, 8, generator=g)
        return clean, clean + 0.2 * noise
    if name == "memorisation":
        train = torch.rand(100, 1, 2, 2, generator=torch.Generator().manual_seed(0))
        return (
            torch.rand(80, 1, 2, 2, generator=g) ** 1.3,
            train,
            torch.rand(80, 1, 2, 2, generator=g),
        )
    if name == "class_entropy":
        return (torch.multinomial(0.7 ** torch.arange(10.0), 300, True, generator=g),)
    if name == "agreement":
        asked = torch.randint(10, (150,), generator=g)
        return (asked + (torch.rand(150, generator=g) < 0.3)) % 10, asked
    if METRICS[name].takes[0] == "logits":
        logits = 2 * torch.randn(150, 5, generator=g)
        labels = torch.multinomial(logits.softmax(1), 1, generator=g)[:, 0]
        return (2.5 * logits, labels)[: len(METRICS[name].takes)]  # too sure of itself
    if name in ("ess", "rhat"):
        x = torch.randn(40, 60, 2, generator=g)
        for t in range(1, 60):
            x[:, t] = 0.7 * x[:, t - 1] + math.sqrt(0.51) * x[:, t]
        return (x,)
    if METRICS[name].takes[0] == "scores":
        return torch.randn(150, generator=g), 1.5 + torch.randn(150, generator=g)
    return torch.randn(120, 6, generator=g), 0.5 + 1.3 * torch.randn(120, 6, generator=g)


@pytest.mark.parametrize("name", METRICS)
def test_the_stated_standard_error_is_that_of_repeats(name):
    """Over 60 repeats the scatter is known to 9 %, so that 1.4 leaves four such errors and room for
    a subsample's; those that are slow make do with fewer.
    """
    count = 12 if name == "c2st" else 60
    found = [
        METRICS[name].call(*repeat(name, torch.Generator().manual_seed(seed)))
        for seed in range(count)
    ]
    scatter = float(torch.tensor([m.value for m in found]).std())
    stated = float(torch.tensor([m.stderr for m in found]).square().mean().sqrt())
    room = 1.4 if count == 60 else 2.0
    assert scatter / room < stated < scatter * room


GIVEN = {
    "numpy": lambda x: x.numpy(),
    "numpy reversed twice": lambda x: x.numpy()[::-1].copy()[::-1],
    "a list": lambda x: x.tolist(),
    "with a graph": lambda x: x.requires_grad_() if x.is_floating_point() else x,
    "strided": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "float16": lambda x: x.half() if x.is_floating_point() else x.short(),
}


@pytest.mark.parametrize("how", GIVEN)
@pytest.mark.parametrize("name", METRICS)
def test_whatever_holds_the_numbers_the_value_is_one(name, how):
    kinds = METRICS[name].takes
    held = [example(kind, seed) for seed, kind in enumerate(kinds)]
    if how == "float16":
        held = [x.half().float() if x.is_floating_point() else x for x in held]
    given = [GIVEN[how](x.clone()) for x in held]
    assert METRICS[name].call(*given).value == pytest.approx(METRICS[name].call(*held).value)


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if "labels" not in m.takes])
def test_whole_numbers_are_numbers(name):
    held = [
        (4 * example(kind, seed)).round().clamp(0, 1 if kind == "images" else None)
        for seed, kind in enumerate(METRICS[name].takes)
    ]
    whole = METRICS[name].call(*(x.long() for x in held))
    assert whole.value == pytest.approx(METRICS[name].call(*held).value)


@pytest.mark.parametrize("name", METRICS)
def test_complex_numbers_and_words_are_refused(name):
    given = [example(kind, seed) for seed, kind in enumerate(METRICS[name].takes)]
    with pytest.raises(UserError, match="real numbers"):
        METRICS[name].call(*(x * (1 + 1j) for x in given))
    with pytest.raises(UserError, match="array of numbers"):
        METRICS[name].call(*(["a", "b"] for _ in given))


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if m.takes[0] == "features"])
def test_it_is_said_which_part_is_too_small(name):
    x, y = (example("features", seed) for seed in (0, 1))
    with pytest.raises(UserError, match="`real` needs at least .* larger test part"):
        METRICS[name].call(x[:2], y)
    with pytest.raises(UserError, match="`fake` needs at least .* draw more samples"):
        METRICS[name].call(x, y[:2])


def test_a_quantity_is_found_by_its_name():
    assert quantity("fd") is METRICS["fd"]
    assert quantity("energy_gap").aim == 0 and quantity("energy").aim is None
    assert quantity("brand_new") is None
    assert not METRICS.keys() & QUANTITIES.keys()
    assert all(each.better == "none" for each in QUANTITIES.values() if each.aim is not None)


@pytest.mark.slow
def test_two_thousand_points_take_seconds_on_one_core():
    # about 1 s when measured; the margin is for slow machines, the test for a lost block or matrix
    # product
    real, fake = (torch.randn(2000, 64, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        start = time.process_time()
        generative(real, fake, network="x")
        assert time.process_time() - start < 5
    finally:
        torch.set_num_threads(threads)
