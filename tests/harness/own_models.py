"""Models of a person's own, for tests/harness/test_own.py."""

import torch
from torch import nn

from gradlogp.core.fields import Denoiser
from gradlogp.models import EnergyModel, Preconditioned, mlp_score


class Tiny(nn.Module):
    """Any network (x, level, cond) -> like x."""

    def __init__(self, dim):
        super().__init__()
        self.net = nn.Linear(dim + 1, dim)

    def forward(self, x, level, cond=None):
        return self.net(torch.cat([x, level[:, None]], 1))


class Bowl(EnergyModel):
    def __init__(self, dim):
        super().__init__()
        self.scale = nn.Parameter(0.3 * torch.ones(dim))

    def forward(self, x, cond=None):
        return (x * self.scale).square().sum(1) / 2


def score(spec):
    return mlp_score(spec.shape, spec.std, 32, 2)


def plain(spec):
    return Preconditioned(Tiny(spec.shape[0]), spec.std)


def bowl(spec):
    return Bowl(spec.shape[0])


def nothing(spec):
    return nn.Linear(2, 2)


class Wiener(nn.Module):
    """The exact posterior mean of a Gaussian of two columns of deviation 1 and correlation .8."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x, sigma, cond=None):
        covariance = torch.tensor([[1, 0.8], [0.8, 1]])
        total = covariance + sigma[:, None, None] ** 2 * torch.eye(2)
        return self.gain * torch.linalg.solve(total, x) @ covariance

    def field(self, cond=None):
        return Denoiser(self)


def wiener(spec):
    return Wiener()
