"""The mixture of principal components is the density that it says, and `fit` finds the likeliest."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from gradlogp.core.fields import as_field
from gradlogp.core.random import Streams, seeded
from gradlogp.experiments.recipes.energy import ebm, ebm_from_noise
from gradlogp.experiments.recipes.score import ncsn
from gradlogp.harness.recipe import DataSpec, Target
from gradlogp.models import MLPEnergy, PrincipalMixture, Proposed, mlp_score
from gradlogp.models.mixture import nearest_centre, principal


def mixture(components=3, dim=5, rank=2):
    torch.manual_seed(0)
    model = PrincipalMixture(dim, components, rank).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p))
    return model.requires_grad_(False)


def parts(model):
    eye = torch.eye(model.means.shape[1], dtype=torch.float64)
    covariances = model.factors @ model.factors.mT + model.log_variances.exp()[:, None, None] * eye
    return [MultivariateNormal(m, c) for m, c in zip(model.means, covariances, strict=True)]


def test_its_energy_is_the_negative_log_density_of_the_mixture():
    model = mixture()
    x = 2 * torch.randn(20, 5, dtype=torch.float64)
    log_parts = torch.stack([part.log_prob(x) for part in parts(model)], 1)
    exact = (model.logits.log_softmax(0) + log_parts).logsumexp(1)
    torch.testing.assert_close(model.log_densities(x), log_parts, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(-model(x), exact, atol=1e-10, rtol=1e-10)
    x.requires_grad_(True)
    logs = torch.stack([part.log_prob(x) for part in parts(model)], 1)
    (slope,) = torch.autograd.grad((model.logits.log_softmax(0) + logs).logsumexp(1).sum(), x)
    torch.testing.assert_close(as_field(model).score(x), slope, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("residual", [True, False])
def test_its_draws_have_the_mean_and_the_covariance_of_the_mixture(residual):
    model = mixture()
    n = 200_000
    x = model.fill_(torch.empty(n, 5, dtype=torch.float64), seeded(1), residual)
    weights = model.logits.softmax(0)
    mean = weights @ model.means
    eye = torch.eye(5, dtype=torch.float64)
    inside = model.factors @ model.factors.mT
    inside = inside + residual * model.log_variances.exp()[:, None, None] * eye
    around = model.means - mean
    covariance = torch.einsum("k,kij->ij", weights, inside + around[:, :, None] * around[:, None])
    z = (x.mean(0) - mean) / (covariance.diagonal() / n).sqrt()
    assert z.abs().max() < 4
    products = (x - mean)[:, :, None] * (x - mean)[:, None]
    z = (products.mean(0) - covariance) / (products.std(0) / n**0.5)
    assert z.abs().max() < 4


def conditional(model, x, free):
    """Mean and covariance of the planes' free entries given the others of x [D], by the Gaussian
    conditioning of each component on its own.
    """
    known, each = ~free, []
    for part, factor in zip(parts(model), model.factors, strict=True):
        plane = factor @ factor.T
        gain = plane[free][:, known] @ part.covariance_matrix[known][:, known].inverse()
        mean = part.loc[free] + gain @ (x[known] - part.loc[known])
        shown = MultivariateNormal(part.loc[known], part.covariance_matrix[known][:, known])
        inside = plane[free][:, free] - gain @ plane[known][:, free]
        each.append((shown.log_prob(x[known]), mean, inside))
    logs, means, inside = (torch.stack(of) for of in zip(*each, strict=True))
    weights = (model.logits + logs).softmax(0)
    mean = weights @ means
    around = means - mean
    return mean, torch.einsum("k,kij->ij", weights, inside + around[:, :, None] * around[:, None])


@pytest.mark.parametrize("hidden", [(3, 4), (0, 2, 4), (1,)])
def test_completions_have_the_mean_and_the_covariance_given_what_is_known(hidden):
    model, n = mixture(), 200_000
    x = torch.randn(5, dtype=torch.float64, generator=seeded(7))
    free = torch.zeros(5, dtype=torch.bool)
    free[list(hidden)] = True
    filled = model.complete_(x.repeat(n, 1), free.expand(n, 5), seeded(1))
    assert torch.equal(filled[:, ~free], x[~free].expand(n, -1))
    mean, covariance = conditional(model, x, free)
    drawn = filled[:, free]
    assert ((drawn.mean(0) - mean) / (covariance.diagonal() / n).sqrt()).abs().max() < 4
    products = (drawn - mean)[:, :, None] * (drawn - mean)[:, None]
    assert ((products.mean(0) - covariance) / (products.std(0) / n**0.5)).abs().max() < 4


def test_with_nothing_known_a_completion_is_a_draw():
    model, n = mixture(), 50_000
    everything = torch.ones(n, 5, dtype=torch.bool)
    filled = model.complete_(torch.zeros(n, 5, dtype=torch.float64), everything, seeded(1))
    drawn = model.fill_(torch.empty(n, 5, dtype=torch.float64), seeded(2), residual=False)
    stderr = ((filled.var(0) + drawn.var(0)) / n).sqrt()
    assert ((filled.mean(0) - drawn.mean(0)) / stderr).abs().max() < 4


def test_a_completion_depends_on_its_own_row_alone():
    model = mixture()
    x = torch.randn(60, 5, dtype=torch.float64, generator=seeded(3))
    free = torch.rand(60, 5, generator=seeded(4)) < 0.5
    whole = model.complete_(x.clone(), free, Streams(0, 0, 60))
    part = model.complete_(x[25:45].clone(), free[25:45], Streams(0, 25, 20))
    torch.testing.assert_close(whole[25:45], part)


def test_what_lies_where_nothing_is_known_is_not_read():
    model = mixture()
    x = torch.randn(20, 5, dtype=torch.float64, generator=seeded(3))
    free = torch.rand(20, 5, generator=seeded(4)) < 0.5
    holes = model.complete_(x.masked_fill(free, torch.nan), free, seeded(1))
    assert torch.equal(holes, model.complete_(x.clone(), free, seeded(1)))


def test_a_draw_does_not_depend_on_its_batch():
    model = mixture()
    whole = model.fill_(torch.empty(60, 5, dtype=torch.float64), Streams(0, 0, 60))
    part = model.fill_(torch.empty(20, 5, dtype=torch.float64), Streams(0, 25, 20))
    assert torch.equal(whole[25:45], part)


@pytest.mark.parametrize("n", [4, 30])
def test_the_likeliest_parameters_of_a_cluster(n):
    """Those of probabilistic PCA: the sample covariance's leading eigenvalues are kept, and the
    others become their mean; with fewer rows than dimensions too.
    """
    rows = torch.randn(n, 6, dtype=torch.float64, generator=seeded(0))
    rows = (rows - rows.mean(0)) * torch.tensor([3, 2, 1, 1, 0.5, 0.2], dtype=torch.float64)
    factor, variance = principal(rows, 2, 1e-12)
    values, axes = torch.linalg.eigh(rows.T @ rows / n)
    kept = torch.cat([values[:4].mean().expand(4), values[4:]])
    model = factor @ factor.T + variance * torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(model, axes @ kept.diag() @ axes.T, atol=1e-10, rtol=1e-10)


def test_pixels_that_never_change_do_no_harm(monkeypatch):
    """As in MNIST, where LAPACK finds no eigenvectors in float32 among hundreds of zeros: refused
    here as it refuses them there.
    """
    found = torch.linalg.eigh

    def strict(matrix):
        if matrix.dtype == torch.float32:
            raise torch.linalg.LinAlgError("linalg.eigh: The algorithm failed to converge")
        return found(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", strict)
    x = torch.randn(300, 8, generator=seeded(0)) * (torch.arange(8) < 3)
    model = PrincipalMixture(8, 4, 3).fit(x, seeded(1))
    drawn = model.fill_(torch.empty(50, 8), seeded(2), residual=False)
    assert model.means.dtype == torch.float32 and torch.isfinite(model(x)).all()
    assert (drawn[:, 3:] == 0).all() and (drawn[:, :3] != 0).all()


def test_no_other_parameters_are_likelier():
    rows = torch.randn(200, 4, dtype=torch.float64, generator=seeded(1))
    rows = rows @ torch.randn(4, 4, dtype=torch.float64, generator=seeded(2))
    model = PrincipalMixture(4, 1, 2).double().fit(rows, seeded(0))
    best = float(model(rows).detach().mean())
    gradients = torch.autograd.grad(model(rows).mean(), list(model.parameters()))
    assert max(float(g.abs().max()) for g in gradients) < 1e-10
    density = MultivariateNormal(rows.mean(0), rows.T.cov())
    assert best > -float(density.log_prob(rows).mean())  # the full covariance explains them better


def test_fit_finds_clusters_and_their_planes():
    """Three flat clouds far apart: every one is found, with its weight, and the fit is nearly as
    likely as the truth.
    """
    generator = seeded(3)
    truth = mixture(dim=8)
    truth.means.mul_(20)
    truth.log_variances.fill_(math.log(0.01))
    x = truth.fill_(torch.empty(3000, 8, dtype=torch.float64), generator)
    found = PrincipalMixture(8, 3, 2).double().fit(x, seeded(5))
    near = nearest_centre(truth.means, found.means.detach())
    assert sorted(near.tolist()) == [0, 1, 2]
    weights = found.logits.detach().softmax(0)[near]
    assert (weights - truth.logits.softmax(0)).abs().max() < 4 * 0.5 / 3000**0.5
    gain = truth(x).mean() - found(x).detach().mean()
    assert 0 < gain < 0.03  # half a nat for each of some 75 parameters, over 3,000 examples


def test_more_components_than_examples_leave_some_empty_and_nothing_breaks():
    x = torch.randn(3, 4, generator=seeded(0))
    model = PrincipalMixture(4, 5, 2).fit(x, seeded(1))
    drawn = model.fill_(torch.empty(50, 4), seeded(2), residual=False)
    assert torch.isfinite(model(x)).all()
    assert torch.cdist(drawn, x).min(1).values.max() < 1e-3


def test_a_proposed_model_says_what_it_says_alone_and_keeps_its_mixture_out_of_learning():
    net = MLPEnergy(4, (8,))
    model = Proposed(net, PrincipalMixture(4, 3, 2).fit(torch.randn(90, 4), seeded(0)))
    x = torch.randn(5, 4)
    assert torch.equal(model(x), net(x))
    assert torch.equal(as_field(model).score(x), as_field(net).score(x))
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learned == {f"model.{name}" for name, _ in net.named_parameters()}
    assert "proposal.means" in model.state_dict()
    begun = model.begin_(torch.empty(7, 4), seeded(1))
    assert torch.equal(begun, model.proposal.fill_(torch.empty(7, 4), seeded(1), residual=False))
    score = mlp_score(4, 0.5, 8, 1)
    noisy = Proposed(score, model.proposal)
    sigma = torch.full((5,), 0.3)
    assert torch.equal(noisy(x, sigma), score(x, sigma))
    assert torch.equal(noisy.field().denoise(x, 0.3), score(x, sigma))


def test_noise_comes_on_top_of_a_begun_chain():
    model = Proposed(MLPEnergy(5, (8,)), mixture())
    shape = (100_000, 5)
    clean, noisy = (
        model.begin_(torch.empty(shape, dtype=torch.float64), seeded(1), s) for s in (0.0, 0.7)
    )
    found = (noisy - clean).std(0)
    assert (found - 0.7).abs().max() < 4 * 0.7 / (2 * shape[0]) ** 0.5


@pytest.mark.parametrize("settings", [(4, 0, 2), (4, 3, 4), (4, 3, 0)])
def test_sizes_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match="a mixture has 1 component or more"):
        PrincipalMixture(*settings)


def test_classes_are_refused():
    with pytest.raises(ValueError, match="no classes"):
        mixture()(torch.zeros(2, 5, dtype=torch.float64), torch.zeros(2, dtype=torch.long))


def test_a_chain_that_completes_begins_at_a_completion_and_noise_everywhere():
    proposed = Proposed(MLPEnergy(5), mixture().float())
    x = torch.randn(2000, 5, generator=seeded(3))
    free = torch.arange(5).expand(2000, 5) > 2
    plain = proposed.begin_given_(x.clone(), free, seeded(1))
    assert torch.equal(plain, proposed.proposal.complete_(x.clone(), free, seeded(1)))
    noise = proposed.begin_given_(x.clone(), free, seeded(1), sigma=0.5) - plain
    assert (noise.std(0) / 0.5 - 1).abs().max() < 4 / (2 * 2000) ** 0.5


@pytest.mark.parametrize(("make", "begins"), [(ebm, True), (ncsn, True), (ebm_from_noise, False)])
def test_recipes_that_begin_at_a_mixture_complete_from_it(make, begins):
    target = Target("mnist", examples=200)
    spec = DataSpec(target.shape, (20,) * 10, 0.6)
    recipe = make(target)
    how = recipe.sampling(recipe.model(spec), spec)
    assert (how.given is not None) == begins
    if begins:
        x = torch.full((3, *spec.shape), 0.9)
        free = torch.zeros_like(x, dtype=torch.bool)
        free[:, :, 7:21] = True
        begun = how.given(x.clone(), free, seeded(0))
        assert begun.isfinite().all()
        assert abs(begun[~free].mean() - 0.9) < 0.1 and abs(begun[free].mean()) < 0.1
