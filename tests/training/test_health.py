"""The test of samples: closed forms of the energy distance, and verdicts on samples of every shape."""

import math

import pytest
import torch

from gradlogp.core.kernel import NotFinite
from gradlogp.data import load
from gradlogp.objectives import (
    ContrastiveDivergence,
    DenoisingScoreMatching,
    FromNoise,
    SingleLevel,
)
from gradlogp.samplers import Langevin
from gradlogp.training import doubts, energy_distance, examine, not_finite, sample_health, unhealthy

HELP = "train longer, or lower training.learning_rate"
SHAPES = {
    "row": (6,),
    "picture": (1, 8, 8),
    "colour": (3, 8, 8),
    "volume": (1, 6, 6, 6),
    "waveform": (1, 400),
}


def normal(n: int, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def smooth(n: int, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Bumps of any number of dimensions at random places: data with much structure, in [-1, 1]."""
    g = torch.Generator().manual_seed(seed)
    bumps = torch.ones(n, *([1] * len(shape)))
    for axis, size in enumerate(shape):
        if size > 3 or len(shape) == 1:
            at = torch.linspace(0, 1, size)
            centre = torch.rand(n, 1, generator=g)
            bump = (-((at - centre) ** 2) / 0.08).exp()
            bumps = bumps * bump.view(n, *(size if i == axis else 1 for i in range(len(shape))))
    return (2 * bumps.expand(n, *shape) - 1).contiguous()


def mean_norm(dim: int, scale: float) -> float:
    """E|z| of z ~ N(0, scale^2 I) in `dim` dimensions."""
    return scale * math.sqrt(2) * math.exp(math.lgamma((dim + 1) / 2) - math.lgamma(dim / 2))


@pytest.mark.parametrize("dim", [1, 3, 50])
def test_the_energy_distance_of_two_gaussians_is_the_known_one(dim):
    """2 E|x - y| - E|x - x'| - E|y - y'| with x ~ N(0, I), y ~ N(0, 4 I), over 20 repetitions."""
    exact = 2 * mean_norm(dim, 5**0.5) - mean_norm(dim, 2**0.5) - mean_norm(dim, 8**0.5)
    found = torch.tensor(
        [
            energy_distance(normal(200, dim, seed=2 * i), 2 * normal(200, dim, seed=2 * i + 1))
            for i in range(20)
        ]
    )
    assert abs(float(found.mean()) - exact) < 4 * float(found.std()) / 20**0.5
    assert float(found.std()) / 20**0.5 < 0.1 * exact


def test_the_energy_distance_of_a_distribution_to_itself_is_nothing():
    found = torch.tensor(
        [
            energy_distance(normal(100, 3, seed=2 * i), normal(100, 3, seed=2 * i + 1))
            for i in range(40)
        ]
    )
    assert abs(float(found.mean())) < 4 * float(found.std()) / 40**0.5


def test_one_point_is_as_far_as_the_closed_form_says():
    y = normal(2000, 4)
    exact = 2 * mean_norm(4, 1.0) - mean_norm(4, 2**0.5)
    assert energy_distance(torch.zeros(1, 4, dtype=torch.float64), y) == pytest.approx(
        exact, rel=0.05
    )


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_fresh_data_are_usable_in_any_shape(shape):
    health = sample_health(smooth(64, shape, 1), smooth(600, shape, 2))
    assert health.healthy and health.verdict.startswith("usable") and health.finite == 1
    assert abs(health.distance) < 0.2 and abs(health.remoteness) < 0.2


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_what_takes_no_learning_is_useless_in_any_shape(shape):
    data = smooth(600, shape, 2)
    low, high = float(data.min()), float(data.max())
    noise = torch.empty(64, *shape)
    noise.uniform_(low, high, generator=torch.Generator().manual_seed(3))
    ends = torch.where(noise < (low + high) / 2, low, high)
    mean = data.mean(0, keepdim=True).expand(64, *shape)
    for x, says in (
        (noise, ""),
        (mean, "all the same"),
        (data[:1].expand(64, *shape), "all the same"),
        (ends, "100% of their entries"),
        (100 * noise, ""),
    ):
        health = sample_health(x, data)
        assert not health.healthy and "useless" in health.verdict and says in health.verdict
    assert sample_health(mean, data).distance > 0.95


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", ["of the data's entries", "of their means and deviations"])
def test_noise_that_has_learned_each_entry_by_itself_is_useless(kind, shape):
    """Its energy distance may be that of the data; no entry goes with another."""
    data = smooth(600, shape, 2)
    if kind == "of the data's entries":
        rows = torch.randint(
            600, (64, math.prod(shape)), generator=torch.Generator().manual_seed(4)
        )
        x = data.flatten(1).gather(0, rows).view(64, *shape)
    else:
        x = data.mean(0) + data.std(0) * normal(64, *shape, seed=4, dtype=torch.float32)
    health = sample_health(x, data)
    assert not health.healthy and health.structure > 0.9
    assert sample_health(smooth(64, shape, 1), data).structure < 0.2


def test_few_examples_tell_nothing_of_structure():
    data = smooth(600, (1, 8, 8), 2)
    assert sample_health(smooth(8, (1, 8, 8), 1), data).structure == 0
    assert sample_health(smooth(64, (1, 8, 8), 1), data[:50]).structure == 0


def test_pictures_that_a_model_draws_as_noise_are_useless():
    """Digits, of which a model has learned the histogram of each pixel and no more."""
    digits = load("digits").train.scaled() * 2 - 1
    rows = torch.randint(len(digits), (64, 64), generator=torch.Generator().manual_seed(0))
    health = sample_health(digits.flatten(1).gather(0, rows).view(64, 1, 8, 8), digits)
    assert health.distance < 0.1 and health.remoteness < 0.6, "this is what it passed by"
    assert not health.healthy and health.verdict.startswith("useless")
    assert sample_health(digits[:64], digits[64:]).healthy


def test_a_gaussian_of_many_dimensions_is_usable_and_a_narrow_or_a_shifted_one_is_not():
    data = normal(512, 30)
    assert sample_health(normal(64, 30, seed=1), data).healthy
    assert sample_health(0.8 * normal(64, 30, seed=1), data).healthy
    assert not sample_health(0.1 * normal(64, 30, seed=1), data).healthy
    assert not sample_health(3 + normal(64, 30, seed=1), data).healthy


def test_units_play_no_part():
    x, data = smooth(64, (1, 8, 8), 1) + 0.3, smooth(300, (1, 8, 8), 2)
    one, other = sample_health(x, data), sample_health(1e3 * x - 7, 1e3 * data - 7)
    assert other.distance == pytest.approx(one.distance, rel=1e-3)
    assert other.remoteness == pytest.approx(one.remoteness, rel=1e-3)


def test_nan_is_a_verdict_and_so_is_a_chain_that_ends_there():
    x = smooth(64, (1, 8, 8), 1)
    x[:16, 0, 0, 0] = math.nan
    data = smooth(300, (1, 8, 8), 2)
    health = sample_health(x, data)
    assert not health.healthy and health.finite == 0.75 and "25% of the samples" in health.verdict

    def burst() -> torch.Tensor:
        raise NotFinite("over the edge")

    assert examine([burst], data).verdict == f"{not_finite().verdict}; {HELP}"
    assert examine([burst, lambda: smooth(64, (1, 8, 8), 3)], data).healthy
    assert examine([burst], data, ["data_noise=10 is much"]).verdict.endswith(
        "; data_noise=10 is much"
    )


def test_data_with_holes_are_measured_by_the_rest_and_data_that_never_change_by_finiteness_alone():
    data = smooth(300, (1, 8, 8), 2)
    data[::10, 0, 0, 0] = math.nan
    assert sample_health(smooth(64, (1, 8, 8), 1), data).healthy
    same = torch.full((20, 1, 8, 8), 0.3)
    assert sample_health(same, same).healthy and not sample_health(same + 1, same).healthy


def test_the_global_random_state_and_the_samples_are_left_alone():
    x, data, before = smooth(64, (4,), 1), smooth(300, (4,), 2), torch.get_rng_state()
    kept = x.clone()
    assert sample_health(x, data) == sample_health(x, data)
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(x, kept)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="expected two samples or more"):
        sample_health(torch.zeros(4, 2), torch.zeros(4, 3))


def test_a_status_says_what_is_wrong():
    assert unhealthy({"samples": not_finite().as_dict()}) == (
        "the samples are useless: 100% of the samples hold NaN or infinity"
    )
    assert unhealthy({}) == "" and unhealthy({"samples": {"healthy": True}}) == ""


def contrastive(**settings) -> ContrastiveDivergence:
    chain = Langevin(4.0, grad_clip=0.03, clamp=settings.pop("clamp", (-1, 1)))
    return ContrastiveDivergence(chain, FromNoise(lambda x, g: x), **settings)


def test_settings_with_which_nothing_can_be_learned_are_named():
    data = smooth(100, (1, 8, 8), 1)
    assert doubts(contrastive(), data) == []
    assert doubts(DenoisingScoreMatching(SingleLevel(0.5)), data) == []
    assert "data_noise=10 drowns" in doubts(contrastive(data_noise=10), data)[0]
    assert "energy_l2=1e+06 holds" in doubts(contrastive(energy_l2=1e6), data)[0]
    holes = torch.where(
        torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.001, math.nan, data
    )
    bad = int(holes.isnan().flatten(1).any(1).sum())
    assert 0 < bad < 100 and doubts(contrastive(), holes)[0].startswith(f"{bad} of the first 100 ")
    assert "widen it" in doubts(contrastive(clamp=(-0.01, 0.01)), data)[0]
