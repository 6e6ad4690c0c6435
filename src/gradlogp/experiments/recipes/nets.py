"""The network of an energy, which rivals share as their critic or encoder."""

from dataclasses import dataclass
from typing import Any, final

from gradlogp.core.errors import UserError, at_least
from gradlogp.harness.recipe import DataSpec
from gradlogp.models import ConvEnergy, DescriptorEnergy, EnergyModel, MLPEnergy, Proposed

# With steps of 10 a chain nears the data's mean by 1/50 a step, as it does by the steps of .1^2 / 2
# and the reference of .5 that DescriptorNet takes (arXiv 1804.00586, section 5).
REFERENCE = 22.0


@final
@dataclass(frozen=True)
class Net:
    """Channels of the strided convolutions, the width of the layer after them, and the patch that
    is folded into channels first.
    """

    channels: tuple[int, ...] = (16, 32, 64, 64)
    width: int = 64
    patch: int = 1

    def __post_init__(self) -> None:
        at_least(1, channels=self.channels, width=self.width, patch=self.patch)


def energy_of(spec: DataSpec, net: Net, classes: int = 0, reference: float = 0.0) -> EnergyModel:
    """The energy of data of `spec`; with a `reference`, it tilts a Gaussian of that deviation.
    Raises UserError for rows with one.
    """
    if len(spec.shape) == 1 and reference:
        raise UserError(
            "a reference is tilted by convolutions, so rows have none: set reference=0."
        )
    if len(spec.shape) == 1:
        return MLPEnergy(spec.shape[0], (net.width, net.width), classes)
    if reference:
        return DescriptorEnergy(spec.shape, reference, net.channels, net.width, classes, net.patch)
    return ConvEnergy(spec.shape, net.channels, net.width, classes, net.patch)


def descriptor_in(model: Any) -> DescriptorEnergy | None:
    """The energy in `model` that tilts a Gaussian, if it is one."""
    energy = model.model if isinstance(model, Proposed) else model
    return energy if isinstance(energy, DescriptorEnergy) else None
