"""What every member of the table keeps, and what all refuse."""

import json
import math
import time

import pytest
import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.metrics import METRICS, Measure, generative


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
    assert str(got).startswith(f"{name} ") and f"{got.better} is better" in str(got)
    assert all(torch.equal(x, y) for x, y in zip(given, before, strict=True))


BETTER = [
    name
    for name, metric in METRICS.items()
    if metric.takes[0] in ("features", "images") and name != "memorisation"
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


def test_the_order_of_samples_hardly_matters_to_the_spread():
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
