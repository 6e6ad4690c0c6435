r"""A mixture of Gaussians with noise added, one for each class, for scores and energies to stand on.

Given the class the best linear denoiser is that of the class's own Gaussian; without it Bayes' rule
weighs them,

.. math:: D(x, \sigma, c) = \mu_c + C_c (C_c + \sigma^2 I)^{-1} (x - \mu_c), \qquad
          D(x, \sigma) = \sum_c p(c \mid x, \sigma)\, D(x, \sigma, c), \qquad
          p(c \mid x, \sigma) \propto \pi_c\, \mathcal N(x; \mu_c, C_c + \sigma^2 I) .

Their difference, which guidance multiplies, is :math:`\sigma^2 \nabla_x \log p(c \mid x, \sigma)` of
quadratic discriminant analysis at that noise. It is nearly right where the noise is large, and there
the class is decided. Wired in, a network that has seen little draws what it was asked for.

With U the principal components of all examples, classes differ in covariance along the first r of
them alone; along the others they share the variances within classes, those of all less those
between the classes' means,

.. math:: C_c = U \begin{pmatrix} S_c & 0 \\ 0 & \Lambda \end{pmatrix} U^T, \qquad
          S_c = \frac{n_c \hat S_c + r \bar S}{n_c + r} ,

where :math:`\hat S_c` is the covariance of the class's :math:`n_c` examples, and :math:`\bar S` that
within all classes.

References: Friedman (1989), Regularized Discriminant Analysis, J. Am. Stat. Assoc. 84, eq. 18
(covariances of classes drawn to the one within them); Ho & Salimans (2022), arXiv 2207.12598, eq. 6
(what guidance multiplies).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp.core.inputs import in_own_precision
from gradlogp.core.spectrum import Spectrum

LEAST = 1e-12  # the share of a class without examples
RANK = 128  # directions along which each class has a covariance of its own


class NoisyGaussians(nn.Module):
    """The classes' N(mu_c, C_c + sigma^2 I) at every sigma [B], for x [B, *shape] and cond [B], in
    which -1 stands for no class, as cond None does for all; N(0, sigma_data^2 I) until `fit`.
    """

    mean: Tensor
    directions: Tensor
    centres: Tensor
    turns: Tensor
    variances: Tensor
    rest: Tensor
    shares: Tensor

    def __init__(
        self, shape: Sequence[int], sigma_data: float, classes: int, rank: int = RANK
    ) -> None:
        super().__init__()
        dim = math.prod(shape)
        rank, variance = min(rank, dim), float(sigma_data) ** 2
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("directions", torch.eye(dim))
        self.register_buffer("centres", torch.zeros(classes, dim))
        self.register_buffer("turns", torch.eye(rank).repeat(classes, 1, 1))
        self.register_buffer("variances", torch.full((classes, rank), variance))
        self.register_buffer("rest", torch.full((dim - rank,), variance))
        self.register_buffer("shares", torch.full((classes,), 1 / classes))

    @property
    def rank(self) -> int:
        return self.variances.shape[1]

    def fit(self, x: Tensor, cond: Tensor | None) -> None:
        """To examples x [n, *shape] and their classes [n], in closed form. Those without a class
        (-1) count for the principal components alone; a class without examples has the mean of all.
        """
        if cond is None or not 0 <= int(cond.max()) < len(self.shares):
            raise ValueError(
                "a Gaussian for each class is fitted to examples with their classes, from 0 to"
                f" {len(self.shares) - 1}, got {'none' if cond is None else f'{cond.max()} at most'}."
            )
        whole = Spectrum.fit(x)
        self.mean.copy_(whole.mean)
        self.directions.copy_(whole.directions)
        told = cond >= 0
        flat, member = x[told].flatten(1), cond[told]
        counts = member.bincount(minlength=len(self.shares)).to(flat)
        sums = torch.zeros_like(self.centres).index_add_(0, member, flat)
        means = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], self.mean)
        self.shares.copy_((counts / counts.sum()).clamp(min=LEAST))
        self.centres.copy_((means - self.mean) @ self.directions)
        between = (self.shares @ self.centres.square())[self.rank :]
        self.rest.copy_((whole.variances[self.rank :] - between).clamp(min=0))
        head = (flat - self.mean) @ self.directions[:, : self.rank]
        self._fit_classes(head - self.centres[member, : self.rank], member)

    def _fit_classes(self, head: Tensor, member: Tensor) -> None:
        """S_c of the examples' first components [n, r] from the mean of their class."""
        within = head.T @ head / len(head)
        for c in range(len(self.shares)):
            own = head[member == c]
            covariance = (own.T @ own + self.rank * within) / (len(own) + self.rank)
            values, vectors = torch.linalg.eigh(covariance.double())
            self.variances[c] = values.clamp(min=0)
            self.turns[c] = vectors

    def denoise(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        """E[x0 | x] given the class, or given none."""
        with in_own_precision(x):
            head, tail, logs = self._inside(x, sigma)
            noise = sigma[:, None] ** 2
            weights = self._weights(logs, cond)
            kept = head * (self.variances / (self.variances + noise[:, None]))
            first = torch.einsum("bck,crk->br", weights[..., None] * kept, self.turns)
            last = (weights[:, None] @ tail)[:, 0] * (self.rest / (self.rest + noise))
            z = weights @ self.centres + torch.cat([first, last], 1)
            return (self.mean + z @ self.directions.T).view_as(x)

    def error(self, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        """Root mean squared error of an entry after `denoise` given the class, [B]; given none, what
        it would be if the classes were known.
        """
        noise = sigma[:, None, None] ** 2
        variances = torch.cat([self.variances, self.rest.expand(len(self.shares), -1)], 1)
        errors = (variances * noise / (variances + noise)).mean(2)
        logs = self.shares.log().expand_as(errors)
        return (self._weights(logs, cond) * errors).sum(1).sqrt()

    def energy(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        """-log density given the class, or given none, [B]."""
        logs = self._inside(x, sigma)[2]
        if cond is None:
            return -logs.logsumexp(1)
        own = logs - self.shares.log()
        given = own.gather(1, cond.clamp(min=0)[:, None])[:, 0]
        return -torch.where(cond < 0, logs.logsumexp(1), given)

    def _inside(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For each class x's components along its own principal ones [B, K, r] and along the others
        [B, K, D - r], from its mean; and log(pi_c N(x; mu_c, C_c + sigma^2 I)) [B, K].
        """
        with in_own_precision(x):
            z = (x.flatten(1) - self.mean) @ self.directions
            left = z[:, None] - self.centres
            tail = left[..., self.rank :]
            head = torch.einsum("bcr,crk->bck", left[..., : self.rank], self.turns)
        noise = sigma[:, None, None] ** 2
        inner, outer = self.variances + noise, self.rest + noise
        squares = (head**2 / inner).sum(2) + (tail**2 / outer).sum(2)
        log_det = (2 * math.pi * inner).log().sum(2) + (2 * math.pi * outer).log().sum(2)
        return head, tail, self.shares.log() - (squares + log_det) / 2

    def _weights(self, logs: Tensor, cond: Tensor | None) -> Tensor:
        """How much each class counts, [B, K]: by Bayes' rule, or the one that is given alone."""
        found = logs.softmax(1)
        if cond is None:
            return found
        given = F.one_hot(cond.clamp(min=0), len(self.shares)).to(found)
        return torch.where(cond[:, None] < 0, found, given)
