"""CLIP: pictures and captions as unit vectors, near where they belong together.

The same encoders as `caption_energy`, without the fusion and without a density of pictures, learned
by the objective `CLIP` alone: the two differ in what the joint energy adds.

Reference: Radford et al. (2021), Learning Transferable Visual Models From Natural Language
Supervision, arXiv 2103.00020, section 2.3.
"""

from collections.abc import Sequence

from gradlogp.models.caption import CaptionEnergy, caption_energy
from gradlogp.models.text import TextKind, Vocabulary


def clip(
    shape: Sequence[int],
    vocabulary: Vocabulary,
    channels: Sequence[int] = (32, 64, 64),
    width: int = 64,
    kind: TextKind = "transformer",
) -> CaptionEnergy:
    """Encoders of pictures and captions that agree in their angle, for the objective `CLIP`."""
    return caption_energy(shape, vocabulary, channels, width, kind, fusion=False)
