r"""Energies that tilt a Gaussian reference, :math:`p(x) \propto e^{f(x)}\, \mathcal N(x; 0, s^2
I)`:

.. math:: E(x) = \frac{\|x - c\|^2}{2 s^2} - f(x) .

The reference keeps chains from running away, and where f says nothing the model is a Gaussian: of
volumes this is the 3-D DescriptorNet. Its centre c is 0 until `centre` makes it the mean of the
data, which the paper subtracts.

References: Xie et al. (2016), A Theory of Generative ConvNet, arXiv 1602.03264, eq. 2; Xie et al.
(2018), Learning Descriptor Networks for 3D Shape Synthesis and Analysis, arXiv 1804.00586, eq. 1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlogp.models.energy import JointEnergy
from gradlogp.models.nets.conv import ConvTrunk


class DescriptorEnergy(JointEnergy):
    """A convolutional tilt of a Gaussian: for volumes (DescriptorNet), and for waves and pictures.

    x [B, channels, *sizes] -> energy [B]; `reference` is s, the standard deviation of the Gaussian.
    """

    mean: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        reference: float = 0.5,
        channels: Sequence[int] = (32, 64),
        width: int = 64,
        classes: int = 0,
        patch: int = 1,
    ) -> None:
        if reference <= 0:
            raise ValueError(
                f"the reference is a standard deviation, so it is positive, got {reference}."
            )
        super().__init__(ConvTrunk(shape, channels, width, patch), width, classes)
        self.reference = reference
        self.register_buffer("mean", torch.zeros(*shape))

    def centre(self, x: Tensor) -> None:
        """Put the Gaussian at the mean of examples x [n, *shape]."""
        self.mean.copy_(x.mean(0))

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        about = (x - self.mean).flatten(1).square().sum(1) / (2 * self.reference**2)
        return about + super().forward(x, cond)
