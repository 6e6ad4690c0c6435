r"""What fields make of fields, beyond sums, differences and temperatures (`core.fields`); noise
decides what stays exact.

.. math:: \text{mixture:}\ E = -\log \sum_k w_k e^{-E_k}, \quad s = \sum_k \pi_k(x)\, s_k, \quad \pi_k \propto w_k e^{-E_k}
          \qquad \text{likelihood:}\ E = -\log p(y \mid x) .

Adding noise is linear in the density. So the noised mixture *is* the mixture of the noised
(`NoisyMixture`, exact), but the noised product is *not* the product of the noised:

.. math:: (p\,q) * \mathcal N(0, \sigma^2) \ne (p * \mathcal N(0, \sigma^2))\,(q * \mathcal N(0, \sigma^2)) .

`Composed` adds scores at every level all the same, as composable diffusion does: right as sigma
falls to 0, and too narrow or too wide above. A reverse sampler then draws neither law; Langevin at
each level, Metropolis-tested where there are energies, follows the composed fields down to the
exact product. (Classifier-free guidance is such a sum too; a noisy classifier's is exact.)

References: Hinton (2002), Training products of experts by minimizing contrastive divergence, eq. 1;
Liu et al. (2022), Compositional visual generation with composable diffusion models, arXiv
2206.01714 (conjunction, negation); Du et al. (2023), Reduce, reuse, recycle, arXiv 2302.11552 (why
to follow it with MCMC).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gradlogp.core.fields import Energy, Field, Level, NoisyField, Scaled, Sum, column, expand_level


def check_weights(weights: tuple[float, ...], fields: Sequence[object]) -> None:
    if not fields or len(weights) != len(fields):
        raise ValueError(
            f"expected one weight for each of {len(fields)} fields, at least one, got"
            f" {len(weights)}."
        )


@final
@dataclass(frozen=True)
class Mixture(Field):
    """A mixture of laws: each x is some component's. Needs energies; `weights` are shares where
    these are normalised.

    Energies that are not carry a factor: component k then has the share weights[k] Z_k.
    """

    fields: tuple[Field, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        check_weights(self.weights, self.fields)
        if min(self.weights) <= 0:
            raise ValueError(
                f"a mixture has positive weights, got {self.weights}; to push away from a field"
                " subtract it."
            )
        if scores := [type(f).__name__ for f in self.fields if not f.has_energy]:
            raise ValueError(
                f"a mixture weighs its components by their energies, but {', '.join(scores)} has a"
                " score only."
            )

    @property
    def has_energy(self) -> bool:
        return True

    def energy(self, x: Tensor) -> Tensor:
        return -self._log_parts([f.energy(x) for f in self.fields]).logsumexp(0)

    def score(self, x: Tensor) -> Tensor:
        return self.energy_and_score(x)[1]

    def energy_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        energies, scores = zip(*(f.energy_and_score(x) for f in self.fields), strict=True)
        log_parts = self._log_parts(energies)
        shares = [column(share, x) for share in log_parts.softmax(0)]
        score = sum(share * s for share, s in zip(shares, scores, strict=True))
        return -log_parts.logsumexp(0), score

    def _log_parts(self, energies: Sequence[Tensor]) -> Tensor:
        """log w_k - E_k, [K, B]."""
        e = torch.stack(list(energies))
        return e.new_tensor(self.weights).log()[:, None] - e


def class_likelihood(logits: Callable[[Tensor], Tensor], label: Tensor) -> Energy:
    """The field of -log p(label | x), for a classifier x -> logits [B, classes] and labels [B]:
    added to a prior, Bayes' rule.
    """

    def energy(x: Tensor, label: Tensor) -> Tensor:
        z = logits(x)
        if z.ndim != 2 or label.ndim != 1:
            raise ValueError(
                f"expected logits [{len(x)}, classes] and labels [{len(x)}], got {list(z.shape)}"
                f" and {list(label.shape)}; a binary classifier gives two columns."
            )
        return -z.log_softmax(1).gather(1, label[:, None])[:, 0]

    return Energy(energy, label)


@final
@dataclass(frozen=True)
class NoisyMixture(NoisyField):
    """The mixture at every noise level, exactly: noise is added to each component. Needs energies,
    normalised, at every level.
    """

    fields: tuple[NoisyField, ...]
    weights: tuple[float, ...]

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        return x + expand_level(sigma, x) ** 2 * self.at(sigma).score(x)

    def at(self, sigma: Level) -> Mixture:
        return Mixture(tuple(f.at(sigma) for f in self.fields), self.weights)


@final
@dataclass(frozen=True)
class Composed(NoisyField):
    """Weighted scores added at every level, which is *not* the noised product: an approximation,
    right as sigma falls to 0.

    A negative weight pushes away (a negative prompt). `conjunction` makes the weights of composable
    diffusion. With energies at every level the sum has one too, so that MCMC at each level can be
    exact for it.
    """

    fields: tuple[NoisyField, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        check_weights(self.weights, self.fields)

    @property
    def consistent(self) -> bool:
        return False

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        pulls = (
            w * (f.denoise(x, sigma) - x) for w, f in zip(self.weights, self.fields, strict=True)
        )
        return sum(pulls, start=x)

    def at(self, sigma: Level) -> Sum:
        return Sum(
            tuple(Scaled(f.at(sigma), w) for w, f in zip(self.weights, self.fields, strict=True))
        )


@final
@dataclass(frozen=True)
class InTurn(NoisyField):
    """Another of the fields at each level of `ladder`, in turn, for the price of one: over a walk,
    their mean.

    Guided away from it, x leaves all of them behind, where one alone would send it to the others.
    """

    fields: tuple[NoisyField, ...]
    ladder: tuple[float, ...]

    @property
    def consistent(self) -> bool:
        return len(self.fields) == 1 and self.fields[0].consistent

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        return self._of(sigma).denoise(x, sigma)

    def at(self, sigma: Level) -> Field:
        return self._of(sigma).at(sigma)

    def _of(self, sigma: Level) -> NoisyField:
        """The field whose turn it is."""
        lowest, level = map(float, torch.as_tensor(sigma).aminmax())
        if lowest < level:
            raise ValueError(
                f"fields take turns by a level that all examples share, got {lowest:g} to"
                f" {level:g}; ask for each level by itself."
            )
        return self.fields[sum(above > level for above in self.ladder) % len(self.fields)]


def conjunction(
    marginal: NoisyField, conditionals: Sequence[NoisyField], weights: Sequence[float] | None = None
) -> Composed:
    r"""All conditions at once, :math:`s(x) + \sum_i w_i\,(s(x \mid c_i) - s(x))`, for conditions
    independent given x.

    weights: 1 each by default; a negative one excludes its condition.
    """
    w = tuple(weights or [1.0] * len(conditionals))
    return Composed((marginal, *conditionals), (1 - sum(w), *w))
