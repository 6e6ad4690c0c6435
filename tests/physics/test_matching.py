"""Score matching on laws in closed form: the losses differ by the constants that they should, and
are least at the true score.
"""

import itertools

import pytest
import torch
from torch import nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import Energy, Score
from gradlogp.core.random import seeded
from gradlogp.core.targets import GaussianMixture, gaussian
from gradlogp.objectives import (
    DenoisingScoreMatching,
    ExplicitScoreMatching,
    FiniteDifferenceScoreMatching,
    ImplicitScoreMatching,
    SingleLevel,
    SlicedScoreMatching,
)


def double(*rows):
    return torch.tensor(rows, dtype=torch.float64)


DENSITY = GaussianMixture(double([-1.0], [1.5]), double([0.6], [0.8]), double(0.3, 0.7))
WILD = Energy(
    lambda x: (x**4 / 20 + (1.3 * x).cos() + 0.3 * x).sum(1)
)  # an energy far from the law
MODELS = {
    "energy": WILD,
    "score": Score(lambda x: -(x**3 / 5 - 1.3 * (1.3 * x).sin() + 0.3)),
}  # the same field


def quadrature(points: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    """Points [n, 1] and weights [n] for means over LAW: the trapezoid rule, spectrally exact for
    what is smooth and dies out.
    """
    x = torch.linspace(-9, 11, points, dtype=torch.float64)[:, None]
    return x, (-DENSITY.energy(x)).exp() * (x[1, 0] - x[0, 0])


def value(objective, model, x, seed=0):
    return objective(model, Batch(x), seeded(seed)).value


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_implicit_is_explicit_less_half_the_scores_square(model):
    x, w = quadrature()
    explicit = (w * value(ExplicitScoreMatching(DENSITY.at()), model, x)).sum()
    implicit = (w * value(ImplicitScoreMatching(), model, x)).sum()
    constant = (w * DENSITY.score(x).square().sum(1)).sum() / 2
    assert abs(implicit - explicit + constant) < 1e-12 * explicit
    assert abs(implicit - explicit + 2 * constant) > 0.1  # a lost factor of two would show


def test_energies_and_scores_of_one_field_have_one_loss():
    x = torch.randn(50, 1, dtype=torch.float64, generator=seeded(0))
    for objective in (
        ExplicitScoreMatching(DENSITY.at()),
        ImplicitScoreMatching(),
        SlicedScoreMatching(2, "gaussian"),
        SlicedScoreMatching(variance_reduced=False),
        DenoisingScoreMatching(SingleLevel(0.3)),
    ):
        a, b = (value(objective, model, x) for model in MODELS.values())
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-10), objective


def test_in_one_dimension_a_rademacher_slice_is_everything():
    x, _ = quadrature(20)
    implicit = value(ImplicitScoreMatching(), WILD, x)
    for reduced in (False, True):
        assert torch.allclose(
            value(SlicedScoreMatching(1, "rademacher", reduced), WILD, x), implicit, atol=1e-12
        )


class Bent(nn.Module):
    """An energy in 4 dimensions with a Hessian neither diagonal nor constant; weights of its own
    for every example.
    """

    def __init__(self, examples):
        super().__init__()
        self.w = nn.Parameter(
            torch.randn(4, 4, dtype=torch.float64, generator=seeded(5))
            .expand(examples, 4, 4)
            .clone()
        )

    def forward(self, x):
        y = torch.einsum("bi,bij->bj", x, self.w)
        return y.sin().sum(1) + y.square().sum(1) / 4


def gradients(objective, x):
    """The gradient in the weights of the loss of each example, [B, weights]."""
    model = Bent(len(x))
    return torch.autograd.grad(value(objective, model, x).sum(), model.w)[0].flatten(1)


@pytest.mark.parametrize("distribution", ["rademacher", "gaussian", "sphere"])
@pytest.mark.parametrize("reduced", [True, False])
def test_the_gradient_of_slices_is_unbiased(distribution, reduced):
    """To 4 standard errors; directions of length 1 instead of sqrt(D) would make the divergence a
    quarter.
    """
    x = torch.tensor([[0.3, -1.0, 0.7, 1.2]], dtype=torch.float64)
    exact = gradients(ImplicitScoreMatching(), x)[0]
    found = gradients(SlicedScoreMatching(1, distribution, reduced), x.expand(30_000, 4))
    error = found.std(0) / 30_000**0.5
    assert ((found.mean(0) - exact) / error).abs().max() < 4
    assert error.mean() < 0.02 * exact.abs().mean()  # the test can see a bias of some percent


def test_the_reduced_form_has_the_lower_variance():
    x = torch.randn(20_000, 4, dtype=torch.float64, generator=seeded(1))
    model = gaussian([0.0] * 4, [0.5, 1.0, 1.5, 2.0]).at()
    std = {
        r: (
            (
                value(SlicedScoreMatching(1, "gaussian", r), model, x)
                - value(ImplicitScoreMatching(), model, x)
            ).var()
        )
        for r in (True, False)
    }
    assert std[True] < 0.8 * std[False]


@pytest.mark.parametrize("kind", ["energy", "score"])
def test_finite_differences_are_of_second_order(kind):
    model = Bent(8)
    fields = {"energy": Energy(model), "score": Score(Energy(model).score)}
    x = torch.randn(8, 4, dtype=torch.float64, generator=seeded(1))
    exact = value(
        SlicedScoreMatching(2, variance_reduced=kind == "score"), fields[kind], x
    ).detach()
    found = [
        value(FiniteDifferenceScoreMatching(2, epsilon=h), fields[kind], x).detach()
        for h in (0.04, 0.02, 0.01)
    ]
    errors = [(f - exact).abs().max() for f in found]
    ratios = [float(a / b) for a, b in itertools.pairwise(errors)]
    assert all(abs(r - 4) < 0.3 for r in ratios), ratios
    assert errors[-1] < 0.02 * exact.abs().max()


def fitted(objective, x):
    """(slope, centre) of the linear score a x + b that the loss is least at: it is quadratic in (a,
    b), so one Newton step.
    """
    theta = torch.tensor([-1.0, 0.0], dtype=torch.float64, requires_grad=True)
    loss = value(objective, Score(lambda x: theta[0] * x + theta[1]), x).mean()
    gradient = torch.autograd.grad(loss, theta, create_graph=True)[0]
    hessian = torch.stack([torch.autograd.grad(g, theta, retain_graph=True)[0] for g in gradient])
    a, b = (theta - torch.linalg.solve(hessian, gradient)).detach()
    return float(a), float(-b / a)


SAMPLE = 1.7 * torch.randn(4000, 1, dtype=torch.float64, generator=seeded(2)) + 0.6


@pytest.mark.parametrize(
    "objective",
    [
        ImplicitScoreMatching(),
        SlicedScoreMatching(),
        SlicedScoreMatching(3, "rademacher", False),
        FiniteDifferenceScoreMatching(epsilon=1e-3),
    ],
    ids=repr,
)
def test_the_linear_score_is_the_maximum_likelihood_one(objective):
    """a = -1 / var, m = mean, those of the sample: to 1e-6."""
    a, m = fitted(objective, SAMPLE)
    assert abs(a + 1 / SAMPLE.var(correction=0)) < 1e-6 and abs(m - SAMPLE.mean()) < 1e-6


def test_the_explicit_loss_finds_the_known_score():
    a, m = fitted(ExplicitScoreMatching(gaussian([0.6], [1.7]).at()), SAMPLE)
    assert abs(a + 1 / 1.7**2) < 1e-10 and abs(m - 0.6) < 1e-10


def test_denoising_finds_the_score_of_the_noised_distribution():
    """a = -1 / (var + sigma^2), not -1 / var: to 4 standard errors over batches of noise."""
    sigma = 0.8
    parts = [SAMPLE[i::40] for i in range(40)]
    slopes = double(
        *(
            fitted(DenoisingScoreMatching(SingleLevel(sigma), "none"), x.repeat(20, 1))[0]
            for x in parts
        )
    )
    exact = double(*(-1 / (float(x.var(correction=0)) + sigma**2) for x in parts))
    error = slopes - exact
    assert (
        abs(error.mean() / (error.std() / 40**0.5)) < 4
        and error.std() / 40**0.5 < 0.02 * exact.abs().mean()
    )
    assert abs(slopes.mean() + 1 / 1.7**2) > 10 * error.std() / 40**0.5


SHAPES = {"vector": (3,), "image": (2, 3, 3), "volume": (1, 2, 3, 2), "waveform": (1, 7)}
ALL = {
    "explicit": ExplicitScoreMatching(Score(lambda x: -x / 2)),
    "implicit": ImplicitScoreMatching(),
    "sliced": SlicedScoreMatching(2, "sphere"),
    "finite": FiniteDifferenceScoreMatching(2, epsilon=1e-3),
    "denoising": DenoisingScoreMatching(SingleLevel(0.5)),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("objective", ALL.values(), ids=ALL)
def test_the_loss_sums_over_everything_but_the_batch(objective, shape):
    """On N(0, I) the loss at the true score is that of the flattened data, and -D / 2 on average
    for the implicit ones.
    """
    x = torch.randn(400, *shape, dtype=torch.float64, generator=seeded(3))
    model = Energy(lambda x: x.flatten(1).square().sum(1) / 2)
    found = value(objective, model, x)
    assert found.shape == (400,)
    assert torch.allclose(found, value(objective, model, x.flatten(1)), atol=1e-8)
    if isinstance(objective, ImplicitScoreMatching | SlicedScoreMatching):
        dim = x[0].numel()
        assert abs((found.mean() + dim / 2) / (found.std() / 20)) < 4
