import math

import pytest
import torch

from gradlogp.core.algebra import (
    Composed,
    InTurn,
    Mixture,
    NoisyMixture,
    class_likelihood,
    conjunction,
)
from gradlogp.core.calculus import divergence, jacobian
from gradlogp.core.fields import Denoiser, Energy, NoisyEnergy, Score, Sum, as_field, as_noisy
from gradlogp.core.kernel import run
from gradlogp.core.random import seeded
from gradlogp.core.targets import Banana, GaussianMixture, Rings, gaussian
from gradlogp.samplers import Langevin

PARTS = (gaussian([-2.0, 0.0], [0.5, 1.0]), gaussian([1.0, 0.5], [1.0, 0.7]))
WEIGHTS = (0.3, 0.7)
WHOLE = GaussianMixture(
    torch.cat([p.means for p in PARTS]),
    torch.cat([p.stds for p in PARTS]),
    torch.tensor(WEIGHTS, dtype=torch.float64),
)
X = 1.5 * torch.randn(20, 2, dtype=torch.float64, generator=seeded("x"))


def same(found, exact, tolerance=1e-10):
    torch.testing.assert_close(found, exact, atol=tolerance, rtol=tolerance)


def test_a_mixture_of_fields_is_the_mixture_of_distributions():
    mixture = Mixture(tuple(p.at() for p in PARTS), WEIGHTS)
    energy, score = mixture.energy_and_score(X)
    same(energy, WHOLE.energy(X))
    same(score, WHOLE.score(X))
    same(mixture.energy(X), energy)
    same(Energy(mixture.energy).score(X), score)


def test_an_unnormalised_component_weighs_as_much_as_its_z():
    half = Energy(lambda x: PARTS[0].energy(x) + math.log(2))  # Z = 1/2
    same(Mixture((half, PARTS[1].at()), (0.6, 0.7)).score(X), WHOLE.score(X))


def test_the_score_of_a_mixture_can_be_differentiated():
    mixture = Mixture(tuple(Energy(p.energy) for p in PARTS), WEIGHTS)
    same(divergence(mixture.score, X), divergence(WHOLE.score, X))


def test_noise_passes_through_a_mixture_exactly():
    noisy = NoisyMixture(PARTS, WEIGHTS)
    levels = torch.linspace(0.1, 3, 20, dtype=torch.float64)
    for sigma in (0.4, levels):
        same(noisy.denoise(X, sigma), WHOLE.denoise(X, sigma))
        same(noisy.at(sigma).energy(X), WHOLE.energy(X, sigma))
    of_unlike = NoisyMixture((Banana(), Rings()), (0.5, 0.5))
    same(
        (-of_unlike.at(0.3).energy(X)).exp(),
        ((-Banana().energy(X, 0.3)).exp() + (-Rings().energy(X, 0.3)).exp()) / 2,
    )


def test_a_prior_and_a_class_likelihood_are_the_posterior():
    """The class of x is its component: log p(k | x) = log w_k - E_k - log p(x), so that prior x
    likelihood is that component.
    """
    logits = lambda x: (
        torch.stack([math.log(w) - p.energy(x) for w, p in zip(WEIGHTS, PARTS, strict=True)], 1) + 5
    )
    label = torch.arange(len(X)) % 2
    posterior = WHOLE.at() + class_likelihood(logits, label)
    exact = torch.where(label[:, None] == 0, PARTS[0].score(X), PARTS[1].score(X))
    same(posterior.score(X), exact)
    same(
        posterior.energy(X),
        torch.stack(
            [p.energy(X) - math.log(w) for p, w in zip(PARTS, WEIGHTS, strict=True)], 1
        ).gather(1, label[:, None])[:, 0],
    )
    assert not torch.allclose(
        (WHOLE.at() + 2 * class_likelihood(logits, label)).score(X), exact, atol=1e-3
    )


def test_fields_subtract_and_weigh():
    a, b = (p.at() for p in PARTS)
    same((a - b).score(X), PARTS[0].score(X) - PARTS[1].score(X))
    same((0.5 * a / 0.25).energy(X), 2 * PARTS[0].energy(X))


def gaussian_1d(std):
    return gaussian([0.0], [std])


@pytest.mark.parametrize("sigma", [0.01, 1.0])
def test_composed_scores_are_the_noised_product_only_as_the_noise_falls(sigma):
    """N(0, 1)^2 is N(0, 1/2). Noised its precision is 1 / (1/2 + s^2), but the composed scores have
    2 / (1 + s^2).
    """
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    composed = Composed((gaussian_1d(1.0),) * 2, (1.0, 1.0))
    exact = gaussian_1d(0.5**0.5)
    found = composed.at(sigma).score(x)
    same(found, -2 * x / (1 + sigma**2))
    same(composed.denoise(x, sigma), x + sigma**2 * found)
    assert torch.allclose(found, exact.score(x, sigma), rtol=1e-3) == (sigma < 0.1)


def test_a_conjunction_of_independent_conditions_is_their_joint():
    """x ~ N(0, 1), c_i = x + N(0, 1): p(x | c1, c2) = N((c1 + c2) / 3, 1 / 3), without noise; a
    negative weight takes one out.
    """
    prior = gaussian_1d(1.0)
    given = [gaussian([c / 2], [0.5**0.5]) for c in (1.0, -0.4)]
    x = X[:, :1]
    exact = lambda both: both.at(1e-4).score(x)
    torch.testing.assert_close(
        exact(conjunction(prior, given)), gaussian([0.2], [3**-0.5]).score(x), atol=1e-6, rtol=0
    )
    without = conjunction(prior, [given[0], given[1], given[1]], [1.0, 1.0, -1.0])
    torch.testing.assert_close(exact(without), given[0].score(x), atol=1e-6, rtol=0)
    assert conjunction(prior, given).at(0.3).has_energy


def test_fields_take_turns_down_the_levels():
    fields = tuple(gaussian([float(k), 0.0]) for k in range(3))
    turns = InTurn(fields, (8.0, 4.0, 2.0, 1.0))
    for sigma, turn in ((9.0, 0), (8.0, 0), (4.0, 1), (2.5, 2), (2.0, 2), (1.0, 0), (0.1, 1)):
        same(turns.denoise(X, sigma), fields[turn].denoise(X, sigma))
        same(
            turns.at(torch.full((20,), sigma, dtype=X.dtype)).score(X),
            fields[turn].at(sigma).score(X),
        )
    assert not turns.consistent and InTurn(fields[:1], ()).consistent
    with pytest.raises(ValueError, match="a level that all examples share, got 1 to 2"):
        turns.denoise(X, torch.linspace(1, 2, 20))


def test_langevin_follows_a_composed_field_to_its_own_distribution_at_each_level():
    """At sigma = 1 that is N(0, (1 + 1) / 2) = N(0, 1), not the noised product N(0, 3/2); ULA
    widens it by 1 / (1 - h / 2).
    """
    h = 0.1
    field = Composed((gaussian_1d(1.0),) * 2, (1.0, 1.0)).at(1.0)
    x = run(Langevin(h), field, torch.zeros(20_000, 1, dtype=torch.float64), 60, seeded("langevin"))
    z = (x.var() * (1 - h / 2) - 1) / (2 / len(x)) ** 0.5
    assert abs(z) < 4 < abs((x.var() * (1 - h / 2) - 1.5) / (2 / len(x)) ** 0.5)


@pytest.mark.parametrize("sigma", [0.5, torch.linspace(0.1, 2, 20, dtype=torch.float64)])
def test_a_noisy_energy_and_a_noisy_score_are_interchangeable(sigma):
    energies = NoisyEnergy(WHOLE.energy)
    scores = Denoiser(WHOLE.denoise)
    same(energies.denoise(X, sigma), scores.denoise(X, sigma))
    same(energies.at(sigma).score(X), scores.at(sigma).score(X))
    same(energies.at(sigma).energy(X), WHOLE.energy(X, sigma))
    assert energies.at(sigma).has_energy and not scores.at(sigma).has_energy
    same(jacobian(energies.at(sigma).score, X), jacobian(lambda x: WHOLE.score(x, sigma), X))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Mixture((), ()), "at least one"),
        (
            lambda: Mixture((PARTS[0].at(),), (0.5, 0.5)),
            "one weight for each of 1 fields, at least one, got 2",
        ),
        (lambda: Mixture((PARTS[0].at(), PARTS[1].at()), (1.5, -0.5)), "subtract it"),
        (
            lambda: Mixture((PARTS[0].at(), Score(PARTS[1].score)), WEIGHTS),
            "Score has a score only",
        ),
        (
            lambda: NoisyMixture((PARTS[0], Denoiser(PARTS[1].denoise)), WEIGHTS).denoise(X, 0.5),
            "Score has a score only",
        ),
        (lambda: Composed(PARTS, (1.0,)), "one weight for each of 2 fields"),
        (
            lambda: class_likelihood(lambda x: x[:, 0], torch.zeros(20, dtype=torch.long)).energy(
                X
            ),
            "two columns",
        ),
        (
            lambda: class_likelihood(lambda x: x, torch.zeros(3, dtype=torch.long)).energy(X),
            "one condition per example",
        ),
        (lambda: Sum((PARTS[0].at(), Score(PARTS[1].score))).energy(X), "has a score only"),
        (
            lambda: Energy(lambda x, c: x.sum(1) + c, torch.zeros(1)).energy(X),
            r"cond of shape \[20, ...\], got \[1\]",
        ),
        (
            lambda: Denoiser(lambda x, s, c: x, torch.zeros(5)).denoise(X, 0.1),
            "one condition per example",
        ),
        (
            lambda: NoisyEnergy(lambda x, s, c: x.sum(1), torch.zeros(5)).denoise(X, 0.1),
            "one condition per example",
        ),
        (lambda: as_field(WHOLE), "choose one with at"),
        (lambda: as_noisy(WHOLE.at()), "expected a NoisyField"),
    ],
)
def test_fields_that_cannot_be_combined_are_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
