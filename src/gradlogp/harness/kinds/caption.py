"""Captioned pictures: to a model of pictures alone they are pictures; the captions are the split's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from gradlogp.harness.kinds.picture import Picture
from gradlogp.models import ConvClassifier


@final
@dataclass(frozen=True)
class Caption(Picture):
    """Pictures with a sentence each (`Split.captions`): [0, 1] in files, [-1, 1] in models."""

    noun: ClassVar[str] = "captioned picture"
    plural: ClassVar[str] = "captioned pictures"

    def network(self, shape: Sequence[int], classes: int) -> nn.Module:
        """Drawn things in a few colours are no photographs, whatever their size."""
        return ConvClassifier(shape, classes)
