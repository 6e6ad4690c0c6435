r"""Whatever has a field on the plane, and the part of the plane that is worth looking at.

A step size that every part of a density bears is a share of the inverse of its stiffness,

.. math:: h = \tfrac14 / L, \qquad L = \text{the .9 quantile of}\ \|s(x + \delta) - s(x)\| / \|\delta\|,

with x at draws of the density, or on the square where it has none to give.

Reference: Roberts & Tweedie (1996), Exponential Convergence of Langevin Distributions (the step
beyond which the chain leaves).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gradlogp.core.errors import UserError, unknown
from gradlogp.core.fields import Energy, Field, NoisyField
from gradlogp.core.random import seeded
from gradlogp.core.targets import TARGETS, Empirical, Lattice, Target

STEP = 0.25  # of the inverse of the stiffness
DRAWS = 2000  # of a density, to see where it is
REACH = 3.0  # of the square around the origin, where nothing else says it


@dataclass(frozen=True)
class Density:
    """A field on the plane; `noisy` is the same at every noise level, where there are levels.

    low, high: the corners of a square that holds what matters. probes: points [n, 2] to measure
    at; std: of the draws.
    """

    name: str
    field: Field
    noisy: NoisyField | None
    low: tuple[float, float]
    high: tuple[float, float]
    probes: Tensor
    std: float

    @cached_property
    def step_size(self) -> float:
        """A step that a Langevin chain bears nearly everywhere."""
        x = self.probes
        delta = 1e-3 * self.std * torch.randn(x.shape, generator=seeded("stiffness"))
        with torch.no_grad():
            change = (self.field.score(x + delta) - self.field.score(x)).norm(dim=1)
        return STEP / float((change / delta.norm(dim=1)).quantile(0.9).clamp(min=1e-6))

    def at(self, sigma: float) -> Field:
        """The field with noise `sigma` added. Raises UserError where there are no levels."""
        if not sigma:
            return self.field
        if self.noisy is None:
            raise UserError(f"{self.name} is known without noise only; take sigma=0.")
        return self.noisy.at(sigma)

    def begin(self, n: int, seed: int) -> Tensor:
        """n points anywhere on the square, [n, 2]."""
        low, high = torch.tensor([self.low, self.high])
        return low + (high - low) * torch.rand(n, 2, generator=seeded(seed, "begin"))


def density(what: Any, sigma: float = 0.0) -> Density:
    """The density that a name, points [n, 2], a target, a field, a model or an energy stands for.

    Points have a density only with noise; sigma=0 takes a tenth of their standard deviation.
    """
    if isinstance(what, str):
        return _of_target(_named(what), what)
    if isinstance(what, Target):
        return _of_target(what, type(what).__name__)
    if hasattr(what, "field") and not isinstance(what, Field):
        what = what.field()
    if isinstance(what, NoisyField):
        return _square("the model", what.at(sigma or 0.1), what)
    if isinstance(what, Field):
        return _square("the field", what)
    points = _points(what)
    if points is not None:
        return _of_points(points, sigma)
    if callable(what):
        return _square("the energy", Energy(what))
    raise UserError(
        "expected the name of a density, points [n, 2], a model, a field or an energy (B, 2) ->"
        f" (B,), got {type(what).__name__}."
    )


def names() -> list[str]:
    """Densities on the plane."""
    return [name for name, make in TARGETS.items() if _planar(make)]


def _planar(make: Callable[..., Any]) -> bool:
    made = make()
    return not isinstance(made, Lattice) and made.shape == (2,)


def _named(name: str) -> Target:
    known = names()
    found = [n for n in known if n == name or n.partition("_")[0] == name]
    if name in found:
        found = [name]
    if len(found) != 1:
        raise unknown(f"there is no run folder or density on the plane {name!r}", name, known)
    made = TARGETS[found[0]]()
    assert isinstance(made, Target)
    return made


def _points(what: Any) -> Tensor | None:
    try:
        points = torch.as_tensor(what).float()
    except (TypeError, ValueError, RuntimeError):
        return None
    return points if points.ndim == 2 and points.shape[1] == 2 else None


def _of_target(target: Target, name: str) -> Density:
    if target.shape != (2,):
        raise UserError(f"only what is on the plane can be shown, got examples {target.shape}.")
    draws = target.sample(DRAWS, seeded("density")).float()
    return Density(name, target.at(), target, *_frame(draws), draws, float(draws.std(0).max()))


def _of_points(points: Tensor, sigma: float) -> Density:
    std = float(points.std(0).max())
    noisy = Empirical(points)
    field = noisy.at(sigma or 0.1 * std)
    return Density(f"{len(points):,} points", field, noisy, *_frame(points), points[:DRAWS], std)


def _square(name: str, field: Field, noisy: NoisyField | None = None) -> Density:
    probes = REACH * (2 * torch.rand(DRAWS, 2, generator=seeded("square")) - 1)
    return Density(name, field, noisy, (-REACH, -REACH), (REACH, REACH), probes, REACH / 2)


def _frame(draws: Tensor) -> tuple[tuple[float, float], tuple[float, float]]:
    """The corners of the square around all but one in two hundred of the draws, and a margin."""
    low, high = draws.quantile(0.005, 0), draws.quantile(0.995, 0)
    middle, half = (low + high) / 2, 0.62 * float((high - low).max())
    return tuple((middle - half).tolist()), tuple((middle + half).tolist())
