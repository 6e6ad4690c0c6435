r"""A mixture of probabilistic principal components: a density of pictures in closed form.

.. math:: p(x) = \sum_k \pi_k\, \mathcal N(x; \mu_k, W_k W_k^T + s_k^2 I), \qquad W_k \in R^{D \times r} .

Around each of K centres the data lie near a plane of r dimensions. Given which example belongs to
which centre, the likeliest W and s are known: W holds the r leading principal components, each of
length :math:`\sqrt{\lambda_i - s^2}`, and :math:`s^2` is the mean of the variances left over. `fit`
finds the centres by k-means and takes that step once; it costs a second or two for 50,000 digits.

A draw without its residual noise, :math:`\mu_k + W_k z`, is a blurred picture of the right kind: a
place for the chains of an energy to begin (`Proposed`) that is far nearer to the data than noise;
with noise added, for a walk down the noise levels that skips the coarsest.

References: Tipping & Bishop (1999), Mixtures of Probabilistic Principal Component Analysers, Neural
Computation 11, eq. 2 and app. A; Richardson & Weiss (2018), On GANs and GMMs, arXiv 1805.12462
(such mixtures of pictures); Zheng et al. (2023), Truncated Diffusion Probabilistic Models, arXiv
2202.09671 (a walk from a learned start); Lloyd (1982), Least Squares Quantization in PCM (k-means).
"""

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Generator, Tensor, nn

from gradlogp.core.random import Randomness, normal_, uniform_
from gradlogp.models.energy import EnergyModel

BLOCK = 5000  # rows at a time where every example meets every centre
LEAST = 1e-6  # the smallest residual variance, as a share of that of all entries


class PrincipalMixture(EnergyModel):
    """A mixture of `components` Gaussians of `rank` principal components each; -log p, normalised.

    `fit` it to data in closed form, or learn it by any objective. It begins at N(0, I).
    """

    def __init__(self, shape: int | Sequence[int], components: int = 100, rank: int = 8) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        dim = math.prod(self.shape)
        if components < 1 or not 1 <= rank < dim:
            raise ValueError(
                f"a mixture has 1 component or more, of rank 1 to {dim - 1} in the {dim} dimensions of"
                f" {self.shape}, got {components} and {rank}."
            )
        self.means = nn.Parameter(torch.zeros(components, dim))
        self.factors = nn.Parameter(0.01 * torch.randn(components, dim, rank))
        self.log_variances = nn.Parameter(torch.zeros(components))
        self.logits = nn.Parameter(torch.zeros(components))

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        if cond is not None:
            raise ValueError("a mixture has no classes, but got a `cond`; fit one for each class.")
        return -(self.logits.log_softmax(0) + self.log_densities(x)).logsumexp(1)

    def log_densities(self, x: Tensor) -> Tensor:
        """log N(x; mu_k, W_k W_k^T + s_k^2 I), [B, K], by the matrix inversion lemma."""
        count, dim, rank = self.factors.shape
        flat, variances = x.flatten(1), self.log_variances.exp()
        along = flat @ self.factors.transpose(0, 1).reshape(dim, -1)
        along = along.view(-1, count, rank) - torch.einsum(
            "kdr,kd->kr", self.factors, self.means
        )  # W^T (x - mu), [B, K, r]
        inner = self.factors.mT @ self.factors + variances[:, None, None] * torch.eye(
            rank, dtype=x.dtype, device=x.device
        )
        chol = torch.linalg.cholesky(inner)
        explained = torch.linalg.solve_triangular(chol, along[..., None], upper=False)
        left = squared_distances(flat, self.means) - explained.square().sum((2, 3))
        log_det = (dim - rank) * self.log_variances + 2 * chol.diagonal(0, 1, 2).log().sum(1)
        return -(left / variances + log_det + dim * math.log(2 * math.pi)) / 2

    @torch.no_grad()
    def fit(self, x: Tensor, generator: Generator, rounds: int = 8, most: int = 30_000) -> Self:
        """k-means of `rounds` rounds over the first `most` rows of x [n, *shape], and the likeliest
        parameters of each cluster of all rows; with fewer rows than components some stay empty.
        """
        flat = x.flatten(1)
        centres = self._centres(flat[:most], generator, rounds)
        owner = nearest_centre(flat, centres)
        least = LEAST * float(flat.var(0).mean())
        for k, centre in enumerate(centres):
            members = flat[owner == k]
            mean = members.mean(0) if len(members) else centre
            self.means[k] = mean
            factor, variance = principal(members - mean, self.factors.shape[2], least)
            self.factors[k], self.log_variances[k] = factor, variance.log()
        counts = owner.bincount(minlength=len(centres)).to(flat)
        self.logits.copy_(counts.clamp(min=1e-12).log())
        return self

    def _centres(self, flat: Tensor, generator: Generator, rounds: int) -> Tensor:
        """Lloyd's k-means from random rows, [K, D]; a centre that nobody is nearest to stays."""
        order = torch.randperm(len(flat), generator=generator, device=flat.device)
        centres = flat[order[torch.arange(len(self.means), device=flat.device) % len(flat)]]
        for _ in range(rounds):
            owner = nearest_centre(flat, centres)
            counts = owner.bincount(minlength=len(centres))[:, None]
            sums = torch.zeros_like(centres).index_add_(0, owner, flat)
            centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
        return centres

    @torch.no_grad()
    def fill_(self, x: Tensor, generator: Randomness, residual: bool = True) -> Tensor:
        """Fill x [B, *shape] in place with draws; without `residual` noise, with draws of the
        planes alone: blurred examples.
        """
        shares = self.logits.softmax(0).cumsum(0)
        u = uniform_(x.new_empty(len(x)), generator)
        k = torch.searchsorted(shares, u).clamp(max=len(shares) - 1)
        z = normal_(x.new_empty(len(x), self.factors.shape[2]), generator)
        drawn = self.means[k] + torch.bmm(self.factors[k], z[..., None])[..., 0]
        if residual:
            deviation = (self.log_variances[k] / 2).exp()[:, None]
            drawn += deviation * normal_(torch.empty_like(drawn), generator)
        return x.copy_(drawn.view(x.shape))

    @torch.no_grad()
    def complete_(self, x: Tensor, free: Tensor, generator: Randomness) -> Tensor:
        """Fill the entries of x [B, *shape] where `free` [B, *shape] is True with a draw of the
        planes given the others: blurred completions. What lies in the free entries is not read.
        """
        flat, known = x.flatten(1).double(), ~free.flatten(1)
        found = [self._given(k, flat, known) for k in range(len(self.logits))]
        log_densities, means, factors = (torch.stack(each, 1) for each in zip(*found, strict=True))
        shares = (self.logits + log_densities).softmax(1).cumsum(1)
        u = uniform_(x.new_empty(len(x)), generator)
        k = torch.searchsorted(shares, u[:, None].to(shares))[:, 0].clamp(max=shares.shape[1] - 1)
        rows = torch.arange(len(x), device=x.device)
        noise = normal_(x.new_empty(len(x), self.factors.shape[2]), generator).double()
        inside = torch.linalg.solve_triangular(factors[rows, k].mT, noise[..., None], upper=True)
        deviation = (self.log_variances[k].double() / 2).exp()[:, None]
        z = means[rows, k] + deviation * inside[..., 0]
        drawn = self.means[k] + torch.bmm(self.factors[k], z[..., None].to(self.factors))[..., 0]
        return x.copy_(torch.where(free, drawn.view(x.shape), x))

    def _given(self, k: int, flat: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of component k and the known entries of each row: their log-density [B] up to what all
        components share, and of z its posterior mean A^-1 W^T (x - mu) [B, r] and the Cholesky
        factor of A = W^T W + s^2 I [B, r, r], whose inverse times s^2 is its covariance.
        """
        factor, variance = self.factors[k].double(), self.log_variances[k].double().exp()
        rank = factor.shape[1]
        shown = known.double()
        left = torch.where(known, flat - self.means[k], 0)
        along = left @ factor
        products = (factor[:, :, None] * factor[:, None, :]).flatten(1)
        inner = (shown @ products).view(-1, rank, rank)
        chol = torch.linalg.cholesky(inner + variance * torch.eye(rank).to(inner))
        mean = torch.cholesky_solve(along[..., None], chol)[..., 0]
        distance = (left.square().sum(1) - (along * mean).sum(1)) / variance
        log_det = (shown.sum(1) - rank) * variance.log() + 2 * chol.diagonal(0, 1, 2).log().sum(1)
        return -(distance + log_det) / 2, mean, chol


def squared_distances(flat: Tensor, centres: Tensor) -> Tensor:
    """|x - mu|^2 for each row and each centre, [n, K]."""
    norms = flat.square().sum(1, keepdim=True) + centres.square().sum(1)
    return torch.addmm(norms, flat, centres.T, alpha=-2).clamp(min=0)


def nearest_centre(flat: Tensor, centres: Tensor) -> Tensor:
    """The index of the centre that each row is nearest to, [n]."""
    return torch.cat([squared_distances(part, centres).argmin(1) for part in flat.split(BLOCK)])


def principal(residuals: Tensor, rank: int, least: float) -> tuple[Tensor, Tensor]:
    """The likeliest W [D, rank] and s^2 of centred rows [n, D]: eq. 7 and 8 of probabilistic PCA.

    By the smaller of the two products of the rows with themselves; s^2 is at least `least`. Their
    eigenvalues are found in float64: hundreds of pixels that never change are as many eigenvalues
    of 0, at which LAPACK does not converge in float32.
    """
    n, dim = residuals.shape
    factor = residuals.new_zeros(dim, rank)
    if n < 2:
        return factor, residuals.new_tensor(least)
    wide = n < dim
    products = residuals @ residuals.T if wide else residuals.T @ residuals
    values, vectors = (part.to(residuals) for part in torch.linalg.eigh(products.double() / n))
    values = values.flip(0).clamp(min=0)
    found = min(rank, len(values) - wide)  # centred rows span n - 1 dimensions
    directions = vectors.flip(1)[:, :found]
    if wide:
        directions = residuals.T @ directions
        directions = directions / directions.norm(dim=0).clamp(min=1e-12)
    variance = (values[found:].sum() / (dim - found)).clamp(min=least)
    factor[:, :found] = directions * (values[:found] - variance).clamp(min=0).sqrt()
    return factor, variance


class Proposed(nn.Module):
    """A model of energies or of scores together with a mixture of principal components, at whose
    draws its chains begin.

    It says what `model` says. The mixture is no part of what is learned: it is fitted once, and
    travels with the weights.
    """

    def __init__(self, model: Any, proposal: PrincipalMixture) -> None:
        super().__init__()
        self.model, self.proposal = model, proposal.requires_grad_(False)

    def forward(self, *arguments: Any) -> Tensor:
        return self.model(*arguments)

    def field(self, cond: Tensor | None = None) -> Any:
        return self.model.field(cond)

    def begin_(self, x: Tensor, generator: Randomness, sigma: float = 0.0) -> Tensor:
        """Fill x [B, *shape] in place with blurred examples, where chains begin, and noise of
        standard deviation `sigma`.
        """
        self.proposal.fill_(x, generator, residual=False)
        return with_noise_(x, generator, sigma)

    def begin_given_(
        self, x: Tensor, free: Tensor, generator: Randomness, sigma: float = 0.0
    ) -> Tensor:
        """The same for the entries of x where `free` is True, as the mixture has them given the
        others; the noise is everywhere.
        """
        return with_noise_(self.proposal.complete_(x, free, generator), generator, sigma)


def with_noise_(x: Tensor, generator: Randomness, sigma: float) -> Tensor:
    """Add noise of standard deviation `sigma` to x in place."""
    return x if sigma == 0 else x.add_(normal_(torch.empty_like(x), generator), alpha=sigma)


def without_proposal(model: Any) -> Any:
    """`model` itself; of a `Proposed`, the model that its mixture stands beside."""
    return model.model if isinstance(model, Proposed) else model
