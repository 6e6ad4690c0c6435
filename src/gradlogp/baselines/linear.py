r"""Linear energies of two classes, fitted to the last digit, and the features that they take.

Two energies under cross-entropy are logistic regression: only their difference x w + b decides, and

.. math:: \tfrac1n \sum_i -\log \sigma\big(\pm(x_i w + b)\big) + \tfrac\lambda2 |w|^2

has one minimum, which Newton's method finds. On products of principal components the same fit is a
quadratic energy.

References: Hastie, Tibshirani & Friedman (2009), The Elements of Statistical Learning, section
4.4.1; Ortega & Rheinboldt (1970), Iterative Solution of Nonlinear Equations (the chord method).
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from gradlogp.core.spectrum import Spectrum

STEPS = 300
TOLERANCE = 1e-11  # of the largest entry of the gradient


def fit_convex(features: Tensor, y: Tensor, decay: float, begin: Tensor | None = None) -> nn.Linear:
    r"""The linear logits that minimise cross-entropy + decay / 2 |w_1 - w_0|^2, in float64, by
    Newton's method; features [n, d], y [n] 0 or 1, begin [d + 1] the difference to start at.

    With p the sigmoid of x w + b the gradient is X^T (p - y) / n + decay w and the Hessian X^T
    diag(p (1 - p)) X / n + decay. The bias is not decayed. A step costs a hundredth of a Hessian,
    so each Hessian serves for as long as its steps take a third off the gradient (the chord
    method).
    """
    x = torch.cat([features, features.new_ones(len(features), 1)], 1)
    ridge = torch.full((x.shape[1],), decay, dtype=x.dtype)
    ridge[-1] = 0.0
    w = torch.zeros_like(ridge) if begin is None else begin.clone()
    factor = torch.empty(0)
    last = 0.0
    for _ in range(STEPS):
        p = (x @ w).sigmoid()
        gradient = x.T @ (p - y) / len(x) + ridge * w
        size = float(gradient.abs().max())
        if size < TOLERANCE:
            break
        if 3 * size > 2 * last:
            factor = _hessian_factor(x, p * (1 - p), ridge)
        w = w - torch.cholesky_solve(gradient[:, None], factor)[:, 0]
        last = size
    return _logits(w)


def difference(layer: nn.Linear) -> Tensor:
    """What decides between the two energies of a linear layer: w and b in one vector [d + 1]."""
    return torch.cat([layer.weight[1] - layer.weight[0], layer.bias[1:] - layer.bias[:1]])


def _hessian_factor(x: Tensor, weight: Tensor, ridge: Tensor) -> Tensor:
    """The Cholesky factor of X^T diag(weight) X / n + ridge."""
    return torch.linalg.cholesky((x * weight[:, None]).T @ x / len(x) + (ridge + 1e-12).diag())


def _logits(w: Tensor) -> nn.Linear:
    """Two logits with the difference w, its last entry the bias: one is minus the other."""
    layer = nn.Linear(len(w) - 1, 2, dtype=w.dtype).requires_grad_(False)
    layer.weight.copy_(torch.stack([-w[:-1], w[:-1]]) / 2)
    layer.bias.copy_(torch.stack([-w[-1], w[-1]]) / 2)
    return layer


@final
@dataclass(frozen=True)
class Principal:
    """The features of x [n, *shape]: its leading principal components, of unit variance, and with
    `squares` their products too; [n, rank] or [n, rank + rank (rank + 1) / 2].
    """

    mean: Tensor
    basis: Tensor
    squares: bool = False

    @classmethod
    def fit(cls, x: Tensor, rank: int, squares: bool = False) -> "Principal":
        spectrum = Spectrum.fit(x.double(), ddof=1)
        basis = spectrum.directions[:, :rank] / spectrum.variances[:rank].sqrt()
        return cls(spectrum.mean, basis.flip(1), squares)  # the largest last

    def __call__(self, x: Tensor) -> Tensor:
        z = (x.flatten(1).double() - self.mean) @ self.basis
        if not self.squares:
            return z
        i, j = torch.triu_indices(z.shape[1], z.shape[1])
        return torch.cat([z, z[:, i] * z[:, j]], 1)
