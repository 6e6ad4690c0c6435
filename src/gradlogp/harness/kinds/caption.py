"""Captioned pictures: to a model of pictures alone they are pictures; the captions are the split's."""

from dataclasses import dataclass
from typing import ClassVar, final

from gradlogp.harness.kinds.picture import Picture


@final
@dataclass(frozen=True)
class Caption(Picture):
    """Pictures with a sentence each (`Split.captions`): [0, 1] in files, [-1, 1] in models."""

    noun: ClassVar[str] = "captioned picture"
    plural: ClassVar[str] = "captioned pictures"
