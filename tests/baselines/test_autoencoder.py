"""Autoencoders: their penalty is the Jacobian's norm, and denoising them is denoising score
matching.
"""

import torch

from gradlogp.baselines.autoencoder import (
    DenoisingError,
    Reconstruction,
    autoencoder,
    jacobian_norm,
    reconstruct,
)
from gradlogp.core.batch import Batch
from gradlogp.core.fields import Denoiser, column
from gradlogp.models import mlp_score
from gradlogp.objectives import DenoisingScoreMatching, LogNormal, SingleLevel


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_penalty_is_the_frobenius_norm_of_the_jacobian():
    weight = torch.randn(3, 5, generator=seeded(), dtype=torch.float64)
    x = torch.randn(20_000, 5, generator=seeded(1), dtype=torch.float64, requires_grad=True)
    each = jacobian_norm(x, x @ weight.T, seeded(2))
    error = each.std() / len(each) ** 0.5
    assert abs(each.mean() - weight.square().sum()) < 4 * error < 0.05 * weight.square().sum()


def test_a_denoising_autoencoder_is_score_matching_with_weight_sigma_4():
    """The same draws, the same network: the loss over 2 sigma^4 is Vincent's loss, in value and in
    gradient.
    """
    torch.manual_seed(0)
    model = mlp_score(4, 0.5, 16, 1).double()
    x = torch.randn(64, 4, generator=seeded(), dtype=torch.float64)
    assert_alike(
        model,
        x,
        (DenoisingScoreMatching(SingleLevel(0.3), "none"), 1.0),
        (DenoisingError(SingleLevel(0.3)), 4 / (2 * 0.3**4)),
    )
    density = LogNormal(-0.5, 1.0)
    assert_alike(
        model,
        x,
        (DenoisingScoreMatching(density, "edm", 0.5), 1.0),
        (DenoisingError(density, 0.5), 4 / 2),
    )


def assert_alike(model, x, *scaled):
    gradients, values = [], []
    for objective, scale in scaled:
        model.zero_grad()
        value = objective(model, Batch(x), seeded(1)).value * scale
        value.mean().backward()
        values.append(value.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(*values, rtol=1e-10, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_on_a_gaussian_the_optimum_of_both_is_wieners_filter():
    """Over all linear denoisers a x + b at each level: score matching with any weight, and the
    squared error, end at the same.
    """
    std, sigma = 0.7, 0.4
    x = 0.2 + std * torch.randn(200_000, 1, generator=seeded(), dtype=torch.float64)
    found = []
    for objective in (
        DenoisingScoreMatching(SingleLevel(sigma), "edm", std),
        DenoisingError(SingleLevel(sigma)),
    ):
        a, b = (torch.zeros((), dtype=torch.float64, requires_grad=True) for _ in range(2))
        solver = torch.optim.LBFGS(
            [a, b],
            max_iter=20,
            tolerance_grad=1e-12,
            tolerance_change=1e-16,
            line_search_fn="strong_wolfe",
        )

        def closure(objective=objective, a=a, b=b, solver=solver):
            solver.zero_grad()
            field = Denoiser(lambda y, s: a * y + b + 0 * column(s, y))
            loss = objective(field, Batch(x), seeded(1)).value.mean()
            loss.backward()
            return loss

        solver.step(closure)
        found.append((float(a.detach()), float(b.detach())))
    gain = std**2 / (std**2 + sigma**2)
    error = 4 * sigma * std / (std**2 + sigma**2) / len(x) ** 0.5
    assert abs(found[0][0] - found[1][0]) < 1e-8 and abs(found[0][1] - found[1][1]) < 1e-8
    assert abs(found[1][0] - gain) < error and abs(found[1][1] - (1 - gain) * 0.2) < error


def test_each_loss_of_a_narrow_autoencoder():
    torch.manual_seed(0)
    model = autoencoder((1, 8, 8), 4, (4, 8), 16).double()
    x = torch.rand(6, 1, 8, 8, generator=seeded(), dtype=torch.float64)
    plain = Reconstruction()(model, Batch(x), seeded())
    torch.testing.assert_close(plain.value, (reconstruct(model, x) - x).square().mean((1, 2, 3)))
    contractive = Reconstruction(contractive=2.0)(model, Batch(x), seeded())
    torch.testing.assert_close(
        contractive.value.mean(), plain.value.mean() + 2 * contractive.info["penalty"]
    )
    contractive.value.mean().backward()
    assert all(p.grad is not None for p in model.encoder.parameters())
    noisy = Reconstruction(LogNormal(0.0, 1.0))(model, Batch(x), seeded())
    assert noisy.value.shape == (6,) and bool((noisy.value != plain.value).all())
