r"""Fields on data space. An energy E gives the score :math:`s(x) = -\nabla_x E(x)`; a score network
gives it directly.

Samplers ask a field for nothing but its score, so the two are interchangeable wherever the
mathematics allows. Energies add, and so do their scores: a product of experts is `Sum`, a
likelihood :math:`\|x - y\|^2 / 2\sigma^2` that ties a restoration to what was seen is
`GaussianLikelihood`, and :math:`E / T` is `Scaled` by 1 / T.

Shapes: x is [B, *shape], energy(x) is [B], score(x) is [B, *shape].
"""

import abc
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from gradlogp.core.inputs import check_floating


class Field(abc.ABC):
    """Anything with a score, and perhaps an energy. Fields add, subtract, weigh and temper: `a + b
    - c`, `2 * a`, `a / 0.5`.
    """

    @abc.abstractmethod
    def score(self, x: Tensor) -> Tensor:
        """The gradient of the log-density at x, [B, *shape].

        Under torch.no_grad it carries no graph; where gradients are enabled it can be
        differentiated, in x and in the weights.
        """

    @property
    def has_energy(self) -> bool:
        return False

    def energy(self, x: Tensor) -> Tensor:
        """-log p up to a constant, [B]; ValueError where the field is a score and nothing more."""
        raise ValueError(
            f"this needs an energy, but {type(self).__name__} has a score only; use a sampler that"
            " follows scores (Langevin, a reverse sampler), or a model that has an energy."
        )

    def energy_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both at the price of one, where one pass gives them."""
        return self.energy(x), self.score(x)

    def __add__(self, other: "Field") -> "Field":
        return Sum((self, other))

    def __sub__(self, other: "Field") -> "Field":
        return Sum((self, -other))

    def __rmul__(self, weight: float) -> "Field":
        return Scaled(self, weight)

    def __neg__(self) -> "Field":
        return Scaled(self, -1.0)

    def __truediv__(self, temperature: float) -> "Field":
        if temperature <= 0:
            raise ValueError(
                f"a temperature is positive, got {temperature}; to push away from a field"
                " subtract it."
            )
        return Scaled(self, 1 / temperature)


def check_energy(energy: Tensor, x: Tensor) -> Tensor:
    """`energy` as [B]; raises ValueError where it is not one number per example."""
    if energy.shape == (len(x), 1):
        energy = energy[:, 0]
    if energy.shape != x.shape[:1]:
        raise ValueError(
            f"an energy gives one number per example, shape [{len(x)}], but this one gave"
            f" {list(energy.shape)} for x of shape {list(x.shape)}; sum over everything but the"
            " batch."
        )
    return energy


def check_score(score: Tensor, x: Tensor) -> Tensor:
    """`score` as it is; raises ValueError where it would broadcast against x."""
    if score.shape != x.shape:
        raise ValueError(
            f"a score has the shape of x, {list(x.shape)}, but this one gave {list(score.shape)}; "
            "an energy belongs in Energy(...)."
        )
    return score


def check_denoised(denoised: Tensor, x: Tensor) -> Tensor:
    """`denoised` as it is; raises ValueError where it would broadcast against x."""
    if denoised.shape != x.shape:
        raise ValueError(
            f"the denoised x has the shape of x, {list(x.shape)}, but this denoiser gave"
            f" {list(denoised.shape)}."
        )
    return denoised


def check_cond(cond: Tensor | None, x: Tensor) -> tuple[Tensor, ...]:
    """The condition as further arguments, none or one; ValueError where it has not one entry per
    example.
    """
    if cond is None:
        return ()
    if cond.shape[:1] != x.shape[:1]:
        raise ValueError(
            f"expected one condition per example, cond of shape [{len(x)}, ...], got"
            f" {list(cond.shape)}; for one shared condition pass cond.expand(len(x))."
        )
    return (recorded(cond),)


def recording() -> AbstractContextManager[Any]:
    """Gradients are recorded within, under torch.no_grad and torch.inference_mode too."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else torch.enable_grad()


def leaf(x: Tensor) -> Tensor:
    """x at the beginning of a graph; ValueError where it has no gradients."""
    check_floating(x)
    return recorded(x).detach().requires_grad_(True)


def recorded(x: Tensor) -> Tensor:
    """x as it is; a copy where it was made in torch.inference_mode, which gradients cannot
    remember.
    """
    return x.clone() if x.is_inference() and not torch.is_inference_mode_enabled() else x


def transformable(energy: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Energy [B] and score by torch.func, which its transforms (vmap, jvp, jacfwd) and compilers
    see through.
    """

    def total(x: Tensor) -> tuple[Tensor, Tensor]:
        found = energy(x)
        return found.sum(), found

    gradient, found = torch.func.grad(total, has_aux=True)(x)
    return found, -gradient


@final
@dataclass(frozen=True)
class Energy(Field):
    """The field of any callable (B, *shape) -> (B,), low = likely; with `cond`, of (x, cond) ->
    (B,).
    """

    function: Callable[..., Tensor]
    cond: Tensor | None = None

    @property
    def has_energy(self) -> bool:
        return True

    def energy(self, x: Tensor) -> Tensor:
        return check_energy(self.function(x, *check_cond(self.cond, x)), x)

    def score(self, x: Tensor) -> Tensor:
        return self.energy_and_score(x)[1]

    def energy_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        graph = torch.is_grad_enabled()
        with recording():
            try:
                x = x if graph and getattr(x, "requires_grad", False) else leaf(x)
            except RuntimeError:  # within a transform of torch.func
                return transformable(self.energy, x)
            energy = self.energy(x)
            score = _slope(energy, x, graph)
        return (energy, score) if graph else (energy.detach(), score)


def _slope(energy: Tensor, x: Tensor, graph: bool) -> Tensor:
    """Minus the gradient of the energies [B] in x; ValueError where they do not hang on x."""
    score: Tensor | None = None
    if energy.requires_grad:
        down = energy.new_full(energy.shape, -1)
        (score,) = torch.autograd.grad(energy, x, down, create_graph=graph, allow_unused=True)
    if score is None:
        raise ValueError(
            "a score is the slope of an energy in x, but this energy has none: it does not depend"
            " on x, or torch.no_grad, .detach() or numpy within it has cut the graph; leave them out."
        )
    return score


@final
@dataclass(frozen=True)
class ClosedForm(Field):
    """A field whose energy (B, *shape) -> (B,) and score (B, *shape) -> (B, *shape) are both
    written down.
    """

    energy_function: Callable[[Tensor], Tensor]
    score_function: Callable[[Tensor], Tensor]

    @property
    def has_energy(self) -> bool:
        return True

    def energy(self, x: Tensor) -> Tensor:
        return check_energy(self.energy_function(x), x)

    def score(self, x: Tensor) -> Tensor:
        return check_score(self.score_function(x), x)


@final
@dataclass(frozen=True)
class Score(Field):
    """The field of any callable (B, *shape) -> (B, *shape) that is a score already; with `cond`, of
    (x, cond).
    """

    function: Callable[..., Tensor]
    cond: Tensor | None = None

    def score(self, x: Tensor) -> Tensor:
        return check_score(self.function(x, *check_cond(self.cond, x)), x)


@final
@dataclass(frozen=True)
class Sum(Field):
    """A product of experts: energies, and so scores, add."""

    fields: tuple[Field, ...]

    @property
    def has_energy(self) -> bool:
        return all(f.has_energy for f in self.fields)

    def energy(self, x: Tensor) -> Tensor:
        return torch.stack([f.energy(x) for f in self.fields]).sum(0)

    def score(self, x: Tensor) -> Tensor:
        first, *rest = (f.score(x) for f in self.fields)
        return sum(rest, start=first)

    def energy_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        energies, scores = zip(*(f.energy_and_score(x) for f in self.fields), strict=True)
        return torch.stack(energies).sum(0), sum(scores[1:], start=scores[0])


@final
@dataclass(frozen=True)
class Scaled(Field):
    """weight x E: tempering with weight = 1 / temperature, one for all or one for each row, [B]."""

    field: Field
    weight: float | Tensor

    def _times(self, score: Tensor) -> Tensor:
        return (
            column(self.weight, score) if isinstance(self.weight, Tensor) else self.weight
        ) * score

    @property
    def has_energy(self) -> bool:
        return self.field.has_energy

    def energy(self, x: Tensor) -> Tensor:
        return self.weight * self.field.energy(x)

    def score(self, x: Tensor) -> Tensor:
        return self._times(self.field.score(x))

    def energy_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        energy, score = self.field.energy_and_score(x)
        return self.weight * energy, self._times(score)


Level = Tensor | float  # one noise level for all, or one per example, [B]


def column(v: Tensor, x: Tensor) -> Tensor:
    """One number per example, [B], shaped to multiply x [B, *shape]."""
    # one by one: torch.Size compares as a whole only in numbers, which fixes a traced graph's batch
    if v.ndim != 1 or v.shape[0] != x.shape[0]:
        raise ValueError(
            f"expected one number per example, shape [{len(x)}], got {list(v.shape)}; "
            "for one shared number pass v.expand(len(x))."
        )
    return v.reshape(-1, *[1] * (x.ndim - 1))


def expand_level(sigma: Level, x: Tensor) -> Tensor | float:
    """A level, or one per example, to multiply x with."""
    return column(sigma, x) if isinstance(sigma, Tensor) else sigma


class NoisyField(abc.ABC):
    r"""A family of fields, one for each noise level: the score of the data with :math:`\mathcal
    N(0, \sigma^2)` added.

    Its one primitive is the posterior mean :math:`D(x, \sigma) = E[x_0 \mid x_0 + \sigma\varepsilon
    = x]`, from which the score follows by Tweedie, :math:`s = (D - x)/\sigma^2`. A process with
    :math:`\alpha_t \ne 1` asks at :math:`x_t/\alpha_t`, level :math:`\sigma_t/\alpha_t`.
    """

    @abc.abstractmethod
    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        """The posterior mean of x0 given x [B, *shape], [B, *shape]."""

    def moments(self, x: Tensor, sigma: Level) -> tuple[Tensor, Tensor]:
        """The posterior mean and variance of each entry of x0 given x; ValueError where only the
        mean is known.
        """
        raise ValueError(
            f"this needs the posterior variance of x0, but {type(self).__name__} has the mean only;"
            " give it `moments`."
        )

    @property
    def consistent(self) -> bool:
        """Whether the levels are those of one law with noise added, as far as the model goes;
        guidance and products break that.
        """
        return True

    def at(self, sigma: Level) -> Field:
        """The field of the data with noise sigma > 0 added."""
        return Score(lambda x: (self.denoise(x, sigma) - x) / expand_level(sigma, x) ** 2)


@final
@dataclass(frozen=True)
class Denoiser(NoisyField):
    """The field of any callable (x [B, *shape], sigma [B]) -> E[x0 | x] [B, *shape]; with `cond`,
    of (x, sigma, cond).
    """

    function: Callable[..., Tensor]
    cond: Tensor | None = None

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        sigma = sigma if isinstance(sigma, Tensor) else x.new_full((len(x),), sigma)
        return check_denoised(self.function(x, sigma, *check_cond(self.cond, x)), x)


@final
@dataclass(frozen=True)
class NoisyEnergy(NoisyField):
    """The fields of any callable (x [B, *shape], sigma [B]) -> energy [B], of noised data; with
    `cond`, of (x, sigma, cond).

    At each sigma it has an energy, so what is drawn there can be Metropolis-tested, and composed.
    """

    function: Callable[..., Tensor]
    cond: Tensor | None = None

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        sigma = sigma if isinstance(sigma, Tensor) else x.new_full((len(x),), sigma)
        return torch.addcmul(x, column(sigma**2, x), self.at(sigma).score(x))

    def at(self, sigma: Level) -> Energy:
        def energy(x: Tensor) -> Tensor:
            level = sigma if isinstance(sigma, Tensor) else x.new_full((len(x),), sigma)
            return self.function(x, level, *check_cond(self.cond, x))

        return Energy(energy)


def as_field(thing: Any, cond: Tensor | None = None) -> Field:
    """A Field as it is; a model's own `field(cond)`; any callable as an energy."""
    if not isinstance(thing, Field) and hasattr(thing, "field"):
        thing, cond = thing.field(cond), None
    if isinstance(thing, Field):
        return thing
    if isinstance(thing, NoisyField):
        raise ValueError(
            f"expected a field, but a {type(thing).__name__} is one for each noise level; choose"
            " one with at(sigma), or take a sampler that walks down the levels."
        )
    if callable(thing):
        return Energy(thing, cond)
    raise ValueError(
        f"expected a Field or a callable energy (B, *) -> (B,), got {type(thing).__name__}; "
        "wrap a score function in Score(...)."
    )


def as_noisy(thing: Any, cond: Tensor | None = None) -> NoisyField:
    """A NoisyField as it is; a model's own `field(cond)`; any callable as a denoiser."""
    if not isinstance(thing, NoisyField) and hasattr(thing, "field"):
        thing, cond = thing.field(cond), None
    if isinstance(thing, NoisyField):
        return thing
    if callable(thing) and not isinstance(thing, Field):
        return Denoiser(thing, cond)
    raise ValueError(
        "expected a NoisyField or a callable denoiser (x, sigma) -> x0, got"
        f" {type(thing).__name__}; a field without noise levels is learned by explicit, implicit or"
        " sliced score matching."
    )
