r"""A class-conditional adversarial network with a projection critic under spectral normalisation.

The critic's features :math:`\phi(x)` meet the class by an inner product,

.. math:: D(x, y) = v_y^\top \phi(x) + w^\top \phi(x) + b ,

which is the form of :math:`\log p(x \mid y) - \log q(x \mid y)` wherever both are log-linear in
:math:`\phi`: two Gaussians, for example. Every weight of the critic is divided by its largest
singular value, which bounds how steep D becomes, and the game is the hinge's.

References: Miyato & Koyama (2018), cGANs with Projection Discriminator, arXiv 1802.05637, eq. 3 and
fig. 1; Miyato et al. (2018), Spectral Normalization, arXiv 1802.05957, algorithm 1.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gradlogp.baselines.decoder import Decoder
from gradlogp.baselines.gan import GAN
from gradlogp.models import EnergyModel
from gradlogp.models.nets.embedding import check_classes
from gradlogp.models.nets.residual import ResidualTrunk


class ProjectionEnergy(EnergyModel):
    """E(x, y) = -D(x, y) of any trunk (B, *shape) -> (B, width); x [B, *shape], cond [B] -> [B].

    `spectral` normalises the weights of the head; those of the trunk are its own affair.
    """

    def __init__(self, trunk: nn.Module, width: int, classes: int, spectral: bool = True) -> None:
        super().__init__()
        self.trunk, self.classes = trunk, classes
        self.linear, self.label = nn.Linear(width, 1), nn.Embedding(classes, width)
        if spectral:
            spectral_norm(self.linear)
            spectral_norm(self.label)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        if cond is None:
            raise ValueError(
                "a projection critic judges x as one of a class, but got no `cond`; pass a class"
                " number for each x."
            )
        check_classes(cond, self.classes)
        features = self.trunk(x)
        return -(self.label(cond) * features).sum(1) - self.linear(features)[:, 0]


def conditional_gan(
    shape: Sequence[int],
    classes: int,
    latent: int = 32,
    trunk: Sequence[int] = (32, 64, 64),
    width: int = 64,
    channels: Sequence[int] = (64, 32),
    norm: bool = True,
) -> GAN:
    """A generator told the class, against a residual projection critic: for `Adversarial("hinge")`.

    `norm` puts batch normalisation into the generator; call eval() before drawing.
    """
    critic = ProjectionEnergy(ResidualTrunk(shape, trunk, width, spectral=True), width, classes)
    return GAN(Decoder(shape, latent, channels, classes, norm=norm), critic)
