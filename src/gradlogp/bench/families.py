"""The families of the objective table: energies whose parameters are known where their scores are,
so that what was learned has a parameter error. x: [B, DIM], or spins [B, *sites].
"""

from typing import Any

import torch
from torch import Tensor, nn

from gradlogp.core.fields import Denoiser, Energy

DIM = 2


class GaussianEnergy(nn.Module):
    r""":math:`E(x) = \tfrac12 (x - \mu)^T P (x - \mu) + c` with :math:`P = F F^T`, all free. x: [B,
    DIM].
    """

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(DIM))
        self.factor = nn.Parameter(torch.eye(DIM))
        self.constant = nn.Parameter(torch.zeros(()))

    @property
    def precision(self) -> Tensor:
        return self.factor @ self.factor.T

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) @ self.factor).square().sum(1) / 2 + self.constant

    def field(self, cond: Tensor | None = None) -> Any:
        return Energy(self)


class NoisyGaussian(GaussianEnergy):
    r"""The same with noise of any level added: :math:`P_\sigma = P (I + \sigma^2 P)^{-1}`. sigma:
    [B].
    """

    def _shrunk(self, x: Tensor, sigma: Tensor) -> Tensor:
        """(I + sigma^2 P)^-1 (x - mean), [B, DIM]."""
        matrices = torch.eye(DIM) + sigma[:, None, None] ** 2 * self.precision
        return torch.linalg.solve(matrices, (x - self.mean)[..., None])[..., 0]

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:  # type: ignore[override]
        return ((x - self.mean) * (self._shrunk(x, sigma) @ self.precision)).sum(
            1
        ) / 2 + self.constant

    def field(self, cond: Tensor | None = None) -> Any:
        return Denoiser(lambda x, sigma: self.mean + self._shrunk(x, sigma))


class Spins(nn.Module):
    """Every pair of spins has a free coupling, every spin a free field: E(x) = -s^T C s / 2 - b^T s
    with s = 2x - 1.
    """

    def __init__(self, sites: int) -> None:
        super().__init__()
        self.coupling = nn.Parameter(torch.zeros(sites, sites))
        self.bias = nn.Parameter(torch.zeros(sites))

    @property
    def couplings(self) -> Tensor:
        """Symmetric, [S, S], without self-coupling."""
        upper = self.coupling.triu(1)
        return upper + upper.T

    def forward(self, x: Tensor) -> Tensor:
        s = 2 * x.flatten(1) - 1
        return -((s @ self.couplings) * s).sum(1) / 2 - s @ self.bias
