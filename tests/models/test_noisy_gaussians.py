"""A Gaussian for each class, with noise: Bayes' rule in closed form, given the class and given none."""

import pytest
import torch
from torch.distributions import MultivariateNormal

from gradlogp.core.batch import Batch
from gradlogp.core.guidance import Guided
from gradlogp.core.targets import Gaussian
from gradlogp.models import (
    GaussianEnergy,
    GaussianScore,
    NoisyGaussians,
    Preconditioned,
    fit_gaussian,
    unet_score,
    with_gaussian,
)

DIM, CLASSES = 5, 3
SIGMA = torch.tensor([0.1, 0.6, 3.0], dtype=torch.float64)
COND = torch.tensor([2, 0, 1])


def drawn(counts, seed=1):
    """Examples of classes far from one variance, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for c, n in enumerate(counts):
        mix = torch.randn(DIM, DIM, generator=generator, dtype=torch.float64)
        parts.append(torch.randn(n, DIM, generator=generator, dtype=torch.float64) @ mix + c)
    return torch.cat(parts), torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def fitted(rank=DIM, counts=(400, 300, 300)):
    mixture = NoisyGaussians((DIM,), 0.5, CLASSES, rank).double()
    mixture.fit(*drawn(counts))
    return mixture


def covariance(mixture, c):
    """C_c, written out."""
    inner = mixture.turns[c] @ mixture.variances[c].diag() @ mixture.turns[c].T
    return mixture.directions @ torch.block_diag(inner, mixture.rest.diag()) @ mixture.directions.T


def exact(mixture, c):
    mean = mixture.mean + mixture.directions @ mixture.centres[c]
    return Gaussian(mean, covariance(mixture, c))


def log_density(gaussian, x, sigma):
    noisy = gaussian.covariance + sigma**2 * torch.eye(DIM, dtype=torch.float64)
    return MultivariateNormal(gaussian.mean, noisy).log_prob(x)


@pytest.fixture
def x():
    return torch.randn(3, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("rank", [2, DIM])
def test_given_the_class_it_is_the_gaussian_of_the_class(x, rank):
    mixture = fitted(rank)
    for i, (sigma, c) in enumerate(zip(SIGMA.tolist(), COND.tolist(), strict=True)):
        one, level, cond = x[i : i + 1], SIGMA[i : i + 1], COND[i : i + 1]
        own = exact(mixture, c)
        torch.testing.assert_close(mixture.denoise(one, level, cond), own.denoise(one, sigma))
        found = mixture.energy(one, level, cond)
        torch.testing.assert_close(found, -log_density(own, one, sigma))


@pytest.mark.parametrize("rank", [2, DIM])
def test_given_none_it_is_the_mixture(x, rank):
    mixture = fitted(rank)
    logs = torch.stack(
        [
            mixture.shares[c].log()
            + torch.cat(
                [log_density(exact(mixture, c), x[i : i + 1], s) for i, s in enumerate(SIGMA)]
            )
            for c in range(CLASSES)
        ]
    )
    torch.testing.assert_close(mixture.energy(x, SIGMA), -logs.logsumexp(0))
    y = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(mixture.energy(y, SIGMA).sum(), y)
    torch.testing.assert_close(mixture.denoise(x, SIGMA), x - SIGMA[:, None] ** 2 * slope)


def test_what_guidance_multiplies_is_the_slope_of_the_class_given_x(x):
    mixture, weight = fitted(), 1.5
    zero = GaussianScore(lambda x, level, cond: torch.zeros_like(x), mixture, 0.5).double()
    guided = Guided(zero.field(COND), zero.field(None), weight).denoise(x, SIGMA)
    y = x.clone().requires_grad_()
    told = mixture.energy(y, SIGMA) - mixture.energy(y, SIGMA, COND)  # log p(c | x), less log pi_c
    (slope,) = torch.autograd.grad(told.sum(), y)
    expected = mixture.denoise(x, SIGMA, COND) + weight * SIGMA[:, None] ** 2 * slope
    torch.testing.assert_close(guided, expected)


def test_minus_one_is_no_class(x):
    mixture = fitted()
    cond = torch.tensor([-1, 0, -1])
    for method in (mixture.denoise, mixture.energy):
        found, whole, own = method(x, SIGMA, cond), method(x, SIGMA), method(x, SIGMA, COND)
        torch.testing.assert_close(found, torch.stack([whole[0], own[1], whole[2]]))
    found, own = mixture.error(SIGMA, cond), mixture.error(SIGMA, COND)
    torch.testing.assert_close(found[1], own[1])


def test_covariances_are_drawn_to_the_one_within_classes():
    """By rank / (n + rank); along the directions that classes share, it is the one within alone."""
    counts = (400, 30, 4)
    examples, _ = drawn(counts)
    left = torch.cat([part - part.mean(0) for part in examples.split(counts)])
    within = left.T @ left / len(left)
    mixture = fitted(counts=counts)
    for c, part in enumerate(left.split(counts)):
        expected = (part.T @ part + DIM * within) / (len(part) + DIM)
        torch.testing.assert_close(covariance(mixture, c), expected)
    shared = fitted(2, counts)
    along = shared.directions[:, 2:]
    torch.testing.assert_close(shared.rest, (along.T @ within @ along).diagonal())


def test_the_network_speaks_in_units_of_what_is_left_given_the_class():
    mixture = fitted()
    own, c = exact(mixture, 1), torch.full((40_000,), 1)
    generator = torch.Generator().manual_seed(2)
    clean = own.sample(len(c), generator)
    for sigma in SIGMA.tolist():
        noisy = clean + sigma * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        level = torch.full((len(c),), sigma, dtype=torch.float64)
        left = (clean - mixture.denoise(noisy, level, c)).square().mean().sqrt()
        assert float(left / mixture.error(level, c)[0]) == pytest.approx(1, abs=0.015)


def test_unfitted_it_is_the_usual_preconditioning(x):
    def net(x, level, cond):
        return torch.sin(x) * level[:, None]

    mixture = NoisyGaussians((DIM,), 0.5, CLASSES).double()
    usual = Preconditioned(net, 0.5).double()(x, SIGMA)
    for cond in (None, COND):
        found = GaussianScore(net, mixture, 0.5).double()(x, SIGMA, cond)
        torch.testing.assert_close(found, usual, atol=1e-7, rtol=0)


def test_a_class_without_examples_is_finite_and_has_no_weight(x):
    mixture = fitted(counts=(50, 60, 0))
    some = fitted(counts=(50, 60, 0)).energy(x, SIGMA, torch.full((3,), 2))
    assert some.isfinite().all()
    two = [mixture.denoise(x, SIGMA, torch.full((3,), c)) for c in range(2)]
    found = mixture.denoise(x, SIGMA)
    low, high = torch.stack(two).amin(0), torch.stack(two).amax(0)
    assert ((found >= low - 1e-6) & (found <= high + 1e-6)).all()


@pytest.mark.parametrize("label", [-1, CLASSES])
def test_examples_of_no_class_at_all_or_of_one_too_many_are_refused(x, label):
    mixture = NoisyGaussians((DIM,), 0.5, CLASSES)
    with pytest.raises(ValueError, match=f"from 0 to 2, got {label} at most"):
        mixture.fit(x.float(), torch.full((3,), label))


def test_it_stands_around_a_network_that_is_told_the_class():
    shape = (1, 4, 4)
    examples, cond = torch.randn(30, *shape), torch.arange(30) % CLASSES
    model = with_gaussian(unet_score(shape, 0.5, (4,), 1, 2, CLASSES), shape, 0.5, CLASSES)
    fit_gaussian(model, lambda: Batch(examples, cond))
    assert isinstance(model.gaussian, NoisyGaussians)
    torch.testing.assert_close(model.gaussian.mean, examples.flatten(1).mean(0))
    with pytest.raises(ValueError, match="with their classes"):
        fit_gaussian(model, lambda: Batch(examples))
    energy = GaussianEnergy(lambda x, level, cond: 0 * level, model.gaussian, 0.5)
    sigma = torch.full((30,), 0.4)
    torch.testing.assert_close(
        energy(examples, sigma, cond), model.gaussian.energy(examples, sigma, cond)
    )


def test_autocast_leaves_it_as_it_is():
    generator = torch.Generator().manual_seed(3)
    examples, cond = torch.randn(200, 30, generator=generator), torch.arange(200) % CLASSES
    mixture = NoisyGaussians((30,), 1.0, CLASSES, 8)
    mixture.fit(examples, cond)
    sigma = torch.full((200,), 0.05)
    plain = mixture.denoise(examples, sigma), mixture.energy(examples, sigma, cond)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(mixture.denoise(examples, sigma), plain[0])
        torch.testing.assert_close(mixture.energy(examples, sigma, cond), plain[1])
