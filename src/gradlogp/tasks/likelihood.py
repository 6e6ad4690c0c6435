r"""Likelihood: how probable a model finds each example, in nats, :math:`-\log p(x)`, and in bits
per dimension.

**The probability-flow ODE** carries data to noise without chance, so densities follow. In scaled
coordinates, with :math:`u = \ln\ell`,

.. math:: \frac{dx}{du} = x - D(x, \ell), \qquad \log p_{\ell_{min}}(x) = \log \pi(x(u_{max})) + \int \nabla\cdot(x - D)\,du .

What it measures is the data with the finest noise :math:`\ell_{min}` added, so choose that far
below the width of a bin. The prior :math:`\pi` (`Prior`) is part of the model, and is stated. The
divergence is exact, at one vector-Jacobian product per dimension, or Hutchinson's with the same
probes throughout: then the nats are unbiased.

**The variational bound** of a diffusion chain (`objectives.diffusion.DiscreteDiffusion`),
:math:`-\log p(x_0) \le` prior + terms + decoder, has one term per level. With the optimal reverse
variance :math:`s^2 b + b^2\,\mathrm{Var}(x_0|x)` it is exact on Gaussians, where it comes to the
entropy and :math:`\mathrm{KL}(q_T\,\|\,\pi)`; DDPM's two fixed variances are right for data N(0, 1)
and for a point. `measure_variance` finds the optimal one for any model (Analytic-DPM).

**Energies** have :math:`-\log p = E(x) + \log Z`, with log Z by enumeration or by annealed
importance sampling.

Likelihood is offered only where the sampler targets the density (`likelihood`): a generator draws
from no law that is known. By a guided field the flow still has a density, that of its own draws,
which is not the tilted law; samplers that draw noise have none.

References: Song et al. (2021), arXiv 2011.13456, eq. 39 and app. D.2; Grathwohl et al. (2019),
FFJORD, arXiv 1810.01367; Ho et al. (2020), arXiv 2006.11239, eq. 5; Bao et al. (2022),
Analytic-DPM, arXiv 2201.06503, eq. 7; Theis et al. (2016), arXiv 1511.01844, section 3.1
(dequantisation).
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.calculus import with_divergence
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Level, NoisyField, as_field, as_noisy, column
from gradlogp.core.inputs import check_numbers
from gradlogp.core.random import Randomness, normal_, uniform_
from gradlogp.objectives.diffusion import DiscreteDiffusion
from gradlogp.samplers.masked import Masked
from gradlogp.tasks.ode import adapt, cut, walk


class Likelihood(NamedTuple):
    """-log p in nats, [B]; the noise that each example is carried to, [B, *shape]; evaluations of
    the model for each example.
    """

    nats: Tensor
    latent: Tensor
    evaluations: int


@final
@dataclass(frozen=True)
class Prior:
    """The law at the coarsest level, in scaled coordinates: independent normals; mean and std are
    numbers or [*shape].
    """

    mean: Tensor | float
    std: Tensor | float

    def nats(self, x: Tensor) -> Tensor:
        """-log of its density at x [B, *shape], [B]."""
        mean, std = (
            torch.as_tensor(v, dtype=x.dtype, device=x.device).expand(x.shape[1:])
            for v in (self.mean, self.std)
        )
        return (
            (((x - mean) / std).square() / 2 + (2 * math.pi * std**2).log() / 2).flatten(1).sum(1)
        )


def noise_prior(level: float) -> Prior:
    """N(0, level^2), the noise alone: for VE, EDM and straight lines, where level is many times the
    size of the data.
    """
    return Prior(0.0, level)


def unit_prior(level: float) -> Prior:
    """N(0, 1) in the coordinates of a process that preserves variance (VP, DDPM, cosine): N(0, 1 +
    level^2) in scaled ones.
    """
    return Prior(0.0, math.sqrt(1 + level**2))


def measured_prior(x0: Tensor, level: float) -> Prior:
    """The mean and variance of each entry over the training data x0 [n, *shape], and the noise: the
    best of independent normals.
    """
    return Prior(x0.mean(0), (x0.var(0, correction=0) + level**2).sqrt())


def ode_likelihood(
    model: Any,
    x: Tensor,
    levels: Sequence[float],
    prior: Prior | None = None,
    probes: Tensor | None = None,
    tolerance: float | None = None,
    cond: Tensor | None = None,
    told: Callable[[], None] | None = None,
) -> Likelihood:
    """-log p(x) of x [B, *shape] by the probability-flow ODE between the ends of `levels` (a
    process's ladder, noisiest first).

    prior: at the coarsest level; None is `noise_prior`. probes: of calculus.draw_probes; None is
    the exact divergence. Steps of RK4 from level to level, of order 4 in ln level, evenly cut where
    a level is more than twice the next (Cosine's and Rectified's are, at their noisy end): with 40
    steps of EDM's ladder a Gaussian is 4e-4 nats off, with any other's no more than .02. Or with
    `tolerance`, Dormand and Prince's, each example at its own pace, where `levels` gives the ends
    alone and the host is asked once a step. `told` is called after each evaluation. Computed in
    float64.
    """
    if len(levels) < 2 or not all(a > b > 0 for a, b in itertools.pairwise(levels)):
        raise ValueError(
            "levels fall from the noisiest and stay above 0, two or more, got"
            f" {list(levels)[:4]}...; take process.ladder(n)."
        )
    flow = Flow(as_noisy(model, cond), check_numbers(x), probes, told)
    nodes = cut([math.log(level) for level in reversed(levels)])
    with torch.no_grad():
        y = (
            walk(flow, flow.start(), nodes)
            if tolerance is None
            else adapt(flow, flow.start(), nodes[0], nodes[-1], tolerance)
        )
        latent = y[:, :-1].reshape(x.shape)
        nats = (prior or noise_prior(levels[0])).nats(latent) + y[:, -1]
    return Likelihood(check_nats(nats), latent.to(x.dtype), flow.evaluations)


@dataclass
class Flow:
    r"""The probability flow and the density that it carries, side by side, [B, D + 1]:
    :math:`d(x, -\log p)/du = (x - D, \nabla\cdot(D - x))`. It counts its evaluations.
    """

    field: NoisyField
    x: Tensor
    probes: Tensor | None
    told: Callable[[], None] | None = None
    evaluations: int = 0

    def start(self) -> Tensor:
        """Of x itself, where -log p begins at 0, float64."""
        return torch.cat([self.x.flatten(1), self.x.new_zeros(len(self.x), 1)], 1).double()

    def __call__(self, u: Tensor, y: Tensor) -> Tensor:
        self.evaluations += 1
        level = u.exp().to(self.x.dtype)
        x = y[:, :-1].reshape(self.x.shape).to(self.x.dtype)
        denoised, divergence = with_divergence(
            lambda x: self.field.denoise(x, level), x, self.probes
        )
        if self.told is not None:
            self.told()
        dim = self.x[0].numel()
        return torch.cat([y[:, :-1] - denoised.flatten(1), (divergence - dim)[:, None]], 1)


def check_nats(nats: Tensor) -> Tensor:
    """nats [B] as they are; ValueError where the model gave NaN or infinity on the way."""
    if bad := int((~nats.isfinite()).sum()):
        raise ValueError(
            f"the model gave NaN or infinity for {bad} of {len(nats)} examples, so they have no"
            " likelihood; look for a run that diverged."
        )
    return nats


class Bound(NamedTuple):
    """A bound on -log p in nats: KL to the prior [B], and its terms [T, B] from the decoder (k = 0)
    to the noisiest level.
    """

    prior: Tensor
    terms: Tensor

    @property
    def nats(self) -> Tensor:
        return self.prior + self.terms.sum(0)


def variational_bound(
    model: Any,
    x0: Tensor,
    chain: DiscreteDiffusion,
    generator: Randomness,
    cond: Tensor | None = None,
) -> Bound:
    """The variational bound of `chain` for x0 [B, *shape], every term of it, with one draw of noise
    and one evaluation for each.

    chain: `DiscreteDiffusion(ddpm_ladder(betas), variance)` has 1 for DDPM's large variance, 0 for
    its small one, the data's own for Gaussians, 'learned' for models with `moments`, which
    `measure_variance` gives to any.
    """
    field, terms = as_noisy(model, cond), []
    with torch.no_grad():
        for i in range(len(chain)):
            k = torch.full((len(x0),), i, device=x0.device)
            terms.append(bound_term(field, x0, chain, k, normal_(torch.empty_like(x0), generator)))
        return Bound(chain.prior(x0), torch.stack(terms))


def bound_term(
    field: NoisyField, x0: Tensor, chain: DiscreteDiffusion, k: Tensor, eps: Tensor
) -> Tensor:
    """Term k [B] of the bound for x0 with noise eps [B, *shape], in nats, [B]."""
    step = chain.at(k, x0)
    return chain.nats(k, step, x0, *chain.denoise(field, x0, eps, step))


@final
@dataclass(frozen=True)
class Analytic(NoisyField):
    """A field with the posterior variance of x0, one number for each of `levels` (rising), that was
    measured for it.
    """

    field: NoisyField
    levels: Tensor
    variances: Tensor

    @property
    def consistent(self) -> bool:
        return self.field.consistent

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        return self.field.denoise(x, sigma)

    def moments(self, x: Tensor, sigma: Level) -> tuple[Tensor, Tensor]:
        """The mean, and the variance at the nearest level, in ratio."""
        level = torch.as_tensor(sigma, dtype=torch.float64, device=x.device).expand(len(x))
        nearest = torch.bucketize(
            level.log(), (self.levels[1:] * self.levels[:-1]).log().to(x.device) / 2
        )
        return self.denoise(x, sigma), column(self.variances.to(x)[nearest], x)


def measure_variance(
    model: Any,
    x0: Tensor,
    levels: Sequence[float],
    generator: Randomness,
    cond: Tensor | None = None,
    same_noise: bool = False,
) -> Analytic:
    """The model with `moments`: at each level the mean square error of its denoising x0 [B,
    *shape], which are training data; with the same noise at all levels, or fresh noise at each.

    The best reverse variance that is the same for all x: for the bound, and for ancestral sampling
    with few levels.
    """
    field, noise = as_noisy(model, cond), torch.empty_like(x0)
    rising = sorted(levels)
    errors = []
    with torch.no_grad():
        for i, level in enumerate(rising):
            eps = noise if same_noise and i else normal_(noise, generator)
            errors.append((field.denoise(x0 + level * eps, level) - x0).square().mean())
    variances = torch.stack(errors).double().cpu()
    return Analytic(field, torch.tensor(rising, dtype=torch.float64), variances)


def energy_nats(model: Any, x: Tensor, log_z: float | Tensor, cond: Tensor | None = None) -> Tensor:
    """-log p(x) = E(x) + log Z, [B], of an energy; log_z in nats, by enumeration or annealed
    importance sampling.

    The latter is on average too low, so the nats are too low with it (a model seems better than it
    is): bracket it from above.
    """
    with torch.no_grad():
        return as_field(model, cond).energy(check_numbers(x)) + log_z


def check_temperature(sampler: Any) -> None:
    """UserError where the law that `sampler` draws is the field's to another power than 1."""
    temperature = getattr(sampler, "temperatures", (getattr(sampler, "temperature", 1.0),))[0]
    if temperature != 1:
        raise UserError(
            f"this {type(sampler).__name__} draws the law at temperature {temperature:g}, whose log"
            f" Z is another; take temperature 1 and the field / {temperature:g}."
        )


def check_consistent(sampler: Any, field: NoisyField) -> None:
    """UserError where noise is drawn along levels that are not one law's: the law of the draws is
    then not the ODE's.
    """
    if not field.consistent and not getattr(sampler, "deterministic", False):
        raise UserError(
            f"the levels of {type(field).__name__} are not one law with noise added, so what"
            f" {type(sampler).__name__} draws by it has no known density; take a deterministic"
            " sampler, such as Heun, or the field unguided."
        )


def likelihood(
    sampler: Any,
    model: Any,
    x: Tensor,
    log_z: float | Tensor | None = None,
    cond: Tensor | None = None,
    **ode: Any,
) -> Tensor:
    """-log p(x) in nats, [B], of the law that `sampler` draws by `model`; a generator, which has
    none, is refused.

    UserError there. For samplers that walk down noise levels, `ode_likelihood` between them, which
    takes the rest; for others, the energy and log_z.
    """
    if getattr(sampler, "kind", None) != "density":
        raise UserError(
            "likelihood is offered where the sampler targets the density, but"
            f" {type(sampler).__name__} is a generator as it is set, and its draws have no known"
            " density; keep its law: no clip, no clamp, noise_std=None."
        )
    if isinstance(sampler, Masked):
        raise UserError(
            "a masked sampler draws x given what is pinned, and the likelihood of that is not the"
            f" model's of x; ask for that of the {type(sampler.sampler).__name__} within."
        )
    check_temperature(sampler)
    sampler, whole = getattr(sampler, "predictor", sampler), sampler
    if hasattr(sampler, "ladder"):
        check_consistent(whole, as_noisy(model, cond))
        levels = [level for level in sampler.ladder if level > 0]
        tolerance = getattr(sampler, "rtol", None)
        return ode_likelihood(model, x, levels, cond=cond, **{"tolerance": tolerance, **ode}).nats
    if log_z is None:
        raise UserError(
            f"the likelihood that {type(sampler).__name__} targets is an energy's, which needs"
            " log_z; estimate it by annealed importance sampling, or enumerate."
        )
    return energy_nats(model, x, log_z, cond)


@final
@dataclass(frozen=True)
class Quantised:
    """Data of whole numbers, 0 to values - 1, laid side by side on [low, high]: number k fills the
    k-th of `values` equal bins.
    """

    values: int = 256
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.values < 2 or not self.low < self.high:
            raise ValueError(
                f"expected two values or more and low < high, got {self.values} on [{self.low},"
                f" {self.high}]."
            )

    @property
    def data_scale(self) -> float:
        """Bins per unit of x: 128 for 256 values on [-1, 1]."""
        return self.values / (self.high - self.low)

    @property
    def width(self) -> float:
        """Of a bin."""
        return 1 / self.data_scale

    def dequantise(
        self, codes: Tensor, generator: Randomness, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Uniform draws within the bins of `codes` [B, *shape]: their density, averaged over a bin,
        bounds its probability.
        """
        low, high = (
            float(codes.min()),
            float(codes.max()),
        )  # as numbers: a byte compared with 256 is compared with 0
        if low < 0 or high > self.values - 1 or bool((codes != codes.round()).any()):
            raise UserError(
                f"dequantisation takes whole numbers from 0 to {self.values - 1}, got {low:g} to"
                f" {high:g}; for pixels in [0, 1] pass (x * {self.values - 1}).round()."
            )
        u = uniform_(torch.empty(codes.shape, dtype=dtype, device=codes.device), generator)
        return self.low + (codes.to(dtype) + u) / self.data_scale


def bits_per_dim(nats: Tensor, dim: int, data_scale: float) -> Tensor:
    r""":math:`\mathrm{nats}/(\mathrm{dim}\ln 2) + \log_2 \mathrm{scale}`, of nats [B] of a density
    of x with `dim` entries.

    data_scale: bins of the data per unit of x: 128 where 256 values fill [-1, 1], 256 where they
    fill [0, 1]; 1 where nats are already those of a probability (a bound with `bins`). Say how the
    data were dequantised beside the number.
    """
    if dim < 1 or data_scale <= 0:
        raise ValueError(
            f"dim counts entries and data_scale bins per unit, so both are positive, got {dim} and"
            f" {data_scale}."
        )
    return nats / (dim * math.log(2)) + math.log2(data_scale)
