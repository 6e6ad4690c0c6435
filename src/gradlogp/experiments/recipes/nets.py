"""The networks: of an energy, which rivals share as their critic or encoder, and of scores."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

from gradlogp.core.errors import UserError, at_least
from gradlogp.harness.recipe import DataSpec
from gradlogp.models import (
    ConvEnergy,
    DescriptorEnergy,
    EnergyModel,
    MLPEnergy,
    PreconditionedEnergy,
    Proposed,
    conv_noisy_energy,
    mlp_noisy_energy,
)

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


@final
@dataclass(frozen=True)
class UNetShape:
    """Channels per resolution, residual blocks at each, and the patch that the stem folds into
    channels. Rows of a table have a perceptron, as wide as twice the last entry of `channels`.
    """

    channels: tuple[int, ...] = (32, 64)
    blocks: int = 1
    patch: int = 2
    named: ClassVar[str] = "unet"

    def __post_init__(self) -> None:
        at_least(1, channels=self.channels, blocks=self.blocks, patch=self.patch)


@final
@dataclass(frozen=True)
class WaveShape:
    """A WaveNet for waveforms: channels, gated layers, layers after which dilations begin anew."""

    channels: int = 32
    layers: int = 16
    cycle: int = 8
    named: ClassVar[str] = "wavenet"

    def __post_init__(self) -> None:
        at_least(1, channels=self.channels, layers=self.layers, cycle=self.cycle)


@final
@dataclass(frozen=True)
class EnergyShape:
    """An energy at every noise level, whose slope is the score: the convolutions of `ebm`, of
    patches, and the width of the layer after them. Rows of a table have a perceptron.
    """

    channels: tuple[int, ...] = (32, 64, 64)
    width: int = 64
    patch: int = 1
    named: ClassVar[str] = "energy"

    def __post_init__(self) -> None:
        at_least(1, channels=self.channels, width=self.width, patch=self.patch)


def noisy_energy(spec: DataSpec, net: EnergyShape, classes: int) -> PreconditionedEnergy:
    """The energy at every noise level of data of `spec`."""
    if len(spec.shape) == 1:
        return mlp_noisy_energy(spec.shape, spec.std, 2 * net.channels[-1], 2, classes)
    return conv_noisy_energy(spec.shape, spec.std, net.channels, net.width, classes, net.patch)
