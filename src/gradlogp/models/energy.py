r"""Energy models: :math:`p(x) \propto e^{-E(x)}`, low energy = likely.

With classes, one network holds the joint energy :math:`E(x, y)`. Its negatives are the logits of a
classifier, and the marginal energy is

.. math:: E(x) = -\log\sum_y e^{-E(x, y)} .

A quadratic energy is a Gaussian with its precision P learned, and the one energy here whose log Z
is known,

.. math:: E(x) = \tfrac12 (x - \mu)^T P (x - \mu), \qquad \log Z = \tfrac D2 \log 2\pi - \tfrac12 \log\det P .

References: Grathwohl et al. (2020), Your Classifier is Secretly an Energy Based Model, arXiv
1912.03263, section 3; Du & Mordatch (2019), arXiv 1903.08689, app. A.8 (residual energies).
"""

import abc
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradlogp.core.fields import Energy
from gradlogp.models.nets.conv import ConvTrunk
from gradlogp.models.nets.embedding import check_classes
from gradlogp.models.nets.mlp import perceptron
from gradlogp.models.nets.residual import ResidualTrunk


class EnergyModel(nn.Module, abc.ABC):
    """x [B, *shape] -> energy [B]; with cond [B] (class numbers), the joint energy of x and its
    class.
    """

    @abc.abstractmethod
    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor: ...

    def field(self, cond: Tensor | None = None) -> Energy:
        return Energy(self, cond)


class JointHead(nn.Module):
    """Features [B, width] -> energy [B]: of one output, or of one output for each class."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.linear = nn.Linear(width, max(classes, 1))

    def forward(self, features: Tensor, cond: Tensor | None) -> Tensor:
        check_classes(cond, self.classes)
        energies = self.linear(features)  # [B, classes or 1]
        if self.classes == 0:
            return energies[:, 0]
        if cond is None:
            return -torch.logsumexp(-energies, 1)
        return energies.gather(1, cond[:, None])[:, 0]


class JointEnergy(EnergyModel):
    """A trunk (B, *shape) -> (B, width) under a linear head: one energy, or the joint energy of x
    and `classes` classes.
    """

    def __init__(self, trunk: nn.Module, width: int, classes: int = 0) -> None:
        super().__init__()
        self.trunk, self.head = trunk, JointHead(width, classes)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.head(self.trunk(x), cond)

    def logits(self, x: Tensor) -> Tensor:
        """-E(x, y) for every class y, [B, classes]: what a classifier calls its logits."""
        if self.head.classes == 0:
            raise ValueError(
                "this energy was built without classes, so it has no logits; build it with"
                " classes=n."
            )
        return -self.head.linear(self.trunk(x))


class ConvEnergy(JointEnergy):
    """A convolutional energy for data of `shape` (channels, *sizes), 1 to 3 sizes.

    `classes` = 0 is unconditional. `patch` > 1 folds patches into channels first, which is quicker.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[int] = (16, 32, 64, 64),
        width: int = 64,
        classes: int = 0,
        patch: int = 1,
    ) -> None:
        super().__init__(ConvTrunk(shape, channels, width, patch), width, classes)


class MLPEnergy(JointEnergy):
    """A multi-layer perceptron energy for vectors of `dim` entries (or anything that flattens to
    them).
    """

    def __init__(self, dim: int, hidden: Sequence[int] = (128, 128), classes: int = 0) -> None:
        super().__init__(perceptron([dim, *hidden]), hidden[-1], classes)


class ResidualEnergy(JointEnergy):
    """A residual convolutional energy, without batch norm: deeper than ConvEnergy, for larger
    pictures.

    `spectral` norm bounds its slope: choose it where training runs away.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[int] = (32, 64, 64),
        width: int = 64,
        classes: int = 0,
        spectral: bool = False,
    ) -> None:
        super().__init__(ResidualTrunk(shape, channels, width, spectral), width, classes)


class TiltedEnergy(EnergyModel):
    """A correction to N(0, I), E(x) = |x|^2 / 2 + f(x) of x with `dim` entries, f constant at the
    start.
    """

    def __init__(self, dim: int, width: int = 64) -> None:
        super().__init__()
        self.trunk = perceptron([dim, width, width])
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        flat = x.flatten(1)
        return flat.square().sum(1) / 2 + self.head(self.trunk(flat))[:, 0]


class QuadraticEnergy(EnergyModel):
    r"""A Gaussian energy with a learned mean and precision, full or diagonal plus low rank; its log
    Z is exact.

    For vectors of `dim` entries, or anything that flattens to them. :math:`P = L L^T` with L lower
    triangular, its diagonal an exponential; with `rank`, :math:`P = \mathrm{diag}(d) + V V^T` with
    V [dim, rank], for many dimensions. It begins at N(0, I).
    """

    def __init__(self, dim: int, rank: int | None = None) -> None:
        super().__init__()
        if rank is not None and not 0 <= rank <= dim:
            raise ValueError(
                f"the rank of a precision lies between 0 and its {dim} dimensions, got {rank}; None"
                " is full."
            )
        self.low_rank = rank is not None
        self.mean = nn.Parameter(torch.zeros(dim))
        self.log_diagonal = nn.Parameter(torch.zeros(dim))
        # V begins small, not zero: at V = 0 its gradient is zero as well.
        self.factor = nn.Parameter(
            torch.zeros(dim, dim) if rank is None else 0.01 * torch.randn(dim, rank)
        )

    @property
    def cholesky(self) -> Tensor:
        """L of the full precision, [dim, dim]."""
        return self.factor.tril(-1) + self.log_diagonal.exp().diag()

    @property
    def precision(self) -> Tensor:
        """P, [dim, dim]."""
        if self.low_rank:
            return self.log_diagonal.exp().diag() + self.factor @ self.factor.mT
        return self.cholesky @ self.cholesky.mT

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        if cond is not None:
            raise ValueError(
                "a quadratic energy has no classes, but got a `cond`; fit one for each class."
            )
        r = x.flatten(1) - self.mean
        if self.low_rank:
            return ((r.square() @ self.log_diagonal.exp()) + (r @ self.factor).square().sum(1)) / 2
        return (r @ self.cholesky).square().sum(1) / 2

    def log_z(self) -> Tensor:
        """log of the integral of exp(-E), a scalar: -log p(x) is E(x) + log_z()."""
        return len(self.mean) / 2 * math.log(2 * math.pi) - self._log_det() / 2

    def _log_det(self) -> Tensor:
        """log det P; in low rank by the matrix determinant lemma, at the price of rank^3."""
        if not self.low_rank:
            return 2 * self.log_diagonal.sum()
        inner = self.factor.mT @ (self.factor / self.log_diagonal.exp()[:, None])
        return self.log_diagonal.sum() + torch.logdet(
            torch.eye(len(inner), dtype=inner.dtype, device=inner.device) + inner
        )
