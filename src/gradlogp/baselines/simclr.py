"""SimCLR: features by contrast, what an energy's features are measured against.

An encoder, whose output is the feature, under a small head that only training sees: `NTXent` pulls
two views of an example together in the head's output, and the head may forget what augmentations
change, so that the feature need not.

Reference: Chen et al. (2020), A Simple Framework for Contrastive Learning of Visual
Representations, arXiv 2002.05709, sections 2.1 and 4.2 (the head).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from gradlogp.models.nets.conv import ConvTrunk


class SimCLR(nn.Module):
    """x [B, *shape] -> embeddings [B, projection], for `NTXent`; `features(x)` is the encoder's
    output, [B, width].
    """

    def __init__(self, encoder: nn.Module, width: int, projection: int = 64) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, projection))

    def features(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def simclr(
    shape: Sequence[int],
    trunk: Sequence[int] = (16, 32, 64, 64),
    width: int = 64,
    projection: int = 64,
) -> SimCLR:
    """Contrastive features by the trunk of `ConvEnergy`, so that the two differ in what they learn
    alone.
    """
    return SimCLR(ConvTrunk(shape, trunk, width), width, projection)
