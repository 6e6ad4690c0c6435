r"""A joint energy of pictures and their captions, which is CLIP's with something added,

.. math:: E(x, t) = -\frac{\cos(f(x), g(t))}{\tau} - h\big([f, g, f \odot g]\big) .

The first term alone is CLIP: over a batch, :math:`-\log p(t \mid x)` of this energy is its loss.
The fusion h sees both at once and can tell "red on blue" from "blue on red" where two vectors'
angle cannot; it is zero at the start. As an energy of x, given t, it can be sampled once a
contrastive divergence has made it a density; CLIP's alone is no density of pictures.

References: Radford et al. (2021), Learning Transferable Visual Models From Natural Language
Supervision, arXiv 2103.00020, section 2.3 and fig. 3; Ganz & Elad (2024), Text-to-Image Generation
Via Energy-Based CLIP, arXiv 2408.17046, section 3 (an energy of its cosine).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp.models.energy import EnergyModel
from gradlogp.models.nets.conv import ConvTrunk
from gradlogp.models.text import TextKind, Vocabulary, text_encoder


class CaptionEnergy(EnergyModel):
    """x [B, *shape], cond [B, L] (tokens) -> energy [B], of any encoders of pictures and texts to
    vectors of `width`.

    `pairs(x, cond)` are the energies of all pictures with all texts; `features(x)` are f, [B,
    width]. Without `fusion` it is CLIP.
    """

    def __init__(
        self,
        image: nn.Module,
        text: nn.Module,
        width: int,
        fusion: bool = True,
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        self.image, self.text = image, text
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.fusion = Fusion(width) if fusion else None

    def features(self, x: Tensor) -> Tensor:
        return self.image(x)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        if cond is None:
            raise ValueError(
                "this is the energy of a picture with its caption, but got no `cond`; pass tokens"
                " [B, L]."
            )
        f, g = self.image(x), self.text(cond)
        return self._energy(F.cosine_similarity(f, g), f, g)

    def pairs(self, x: Tensor, cond: Tensor) -> Tensor:
        """E(x_i, t_j), [n, m], for n pictures and m texts."""
        f, g = self.image(x), self.text(cond)
        return self._energy(F.normalize(f) @ F.normalize(g).T, f[:, None], g[None])

    def _energy(self, cosine: Tensor, f: Tensor, g: Tensor) -> Tensor:
        energy = -cosine * (-self.log_temperature).exp()
        return energy if self.fusion is None else energy - self.fusion(f, g)


class Fusion(nn.Module):
    """h of the equation above: f and g [..., width], which broadcast, -> [...]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.image, self.text, self.both = (nn.Linear(width, width) for _ in range(3))
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, f: Tensor, g: Tensor) -> Tensor:
        return self.head(F.silu(self.image(f) + self.text(g) + self.both(f * g)))[..., 0]


def caption_energy(
    shape: Sequence[int],
    vocabulary: Vocabulary,
    channels: Sequence[int] = (32, 64, 64),
    width: int = 64,
    kind: TextKind = "transformer",
    fusion: bool = True,
) -> CaptionEnergy:
    """The joint energy of pictures and captions: finds the caption, and draws the picture.

    kind: 'transformer' or 'bag' of words. For `CaptionJoint`; the objective `CLIP` alone makes it
    CLIP.
    """
    text = text_encoder(vocabulary, width, kind)
    return CaptionEnergy(ConvTrunk(shape, channels, width), text, width, fusion)
