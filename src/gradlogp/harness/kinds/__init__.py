"""Kinds of data, one file and one line each."""

from gradlogp.harness.kinds.base import Bounded, Kind, fill_uniform
from gradlogp.harness.kinds.caption import Caption
from gradlogp.harness.kinds.picture import Picture
from gradlogp.harness.kinds.row import Row, standardisation
from gradlogp.harness.kinds.volume import Volume
from gradlogp.harness.kinds.waveform import Waveform

KINDS: dict[str, type[Kind]] = {
    "picture": Picture,
    "volume": Volume,
    "waveform": Waveform,
    "row": Row,
    "caption": Caption,
}

__all__ = [
    "KINDS",
    "Bounded",
    "Caption",
    "Kind",
    "Picture",
    "Row",
    "Volume",
    "Waveform",
    "fill_uniform",
    "standardisation",
]
