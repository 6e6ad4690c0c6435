"""What is particular to one kind of data: its files, its pictures, its sounds."""

import base64
import io
import math
import wave
from dataclasses import replace

import pytest
import torch

from gradlogp import reports
from gradlogp.data import Column, Columns, Dataset, Split
from gradlogp.harness import fit, specify
from gradlogp.harness.kinds.waveform import HEIGHT, spectrograms
from gradlogp.harness.settings import from_dict, to_dict
from tests.contracts.test_data_and_recipes import made, tiny


def test_rows_are_written_back_with_the_columns_they_came_with(tmp_path):
    """The columns go with the settings of a run, and come back from them as they were."""
    names = Columns(
        (
            Column("age", whole=True, mean=40.0, std=9.0),
            Column("town", ("Bern", "Köln", "")),
            Column("constant", constant=7),
            Column("pay", missing=True, mean=10.0, std=2.0),
        )
    )
    x = torch.tensor([[40.2, 1, 0, 0, 9.5, 0], [31.0, 0, 0.2, 0.9, 3.0, 0.8]])
    split = Split(x, None, max_value=1)
    data = Dataset("csv:own.csv", split, split, split, kind="row", columns=names)
    spec = specify(data)
    again = from_dict(type(spec), to_dict(spec))
    assert again == spec and type(again.columns.members[2].constant) is int
    again.coordinates.write(tmp_path / "x.csv", x)
    assert (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines() == [
        '"age","town","constant","pay"',
        '40,"Bern",7,9.5',
        "31,,7,",
    ]


def test_rows_without_known_columns_are_numbered(tmp_path):
    kind = replace(specify(made("row")).coordinates, table_columns=None)
    kind.write(tmp_path / "x.csv", torch.tensor([[0.5, 1.0], [0.25, 2.0]]))
    assert (tmp_path / "x.csv").read_text().splitlines() == ['"x1","x2"', "0.5,1", "0.25,2"]


def test_a_tone_is_bright_at_its_own_height():
    """Mel bands are at 2595 log10(1 + f / 700): the brightest row of a tone is that of its pitch."""
    rate = 8000
    for pitch in (400.0, 1500.0, 3000.0):
        tone = 0.5 * torch.sin(2 * math.pi * pitch * torch.arange(4096) / rate)
        row = int(spectrograms(tone[None, None], rate)[0].sum(0).mean(1).argmax())
        share = math.log10(1 + pitch / 700) / math.log10(1 + rate / 2 / 700)
        assert abs(row / HEIGHT - (1 - share)) < 0.05


@pytest.mark.parametrize(
    ("kind", "tag"), [("waveform", "<audio controls"), ("volume", "data:image/gif;base64,R0lG")]
)
def test_a_report_plays_sounds_and_turns_volumes(kind, tag, tmp_path):
    data = made(kind)
    run = fit(tiny("ncsn", data), data, tmp_path / "run")
    shown = run.picture("final")
    spec = specify(data)
    spec.coordinates.preview(shown, data.test.scaled(slice(0, 12)), columns=6)
    spec.coordinates.enliven(shown, data.test.scaled(slice(0, 12)))
    run.close()
    page = reports.write(tmp_path / "run").read_text(encoding="utf-8")
    assert tag in page and "<script" not in page
    if kind == "waveform":
        coded = page.partition("data:audio/wav;base64,")[2].partition('"')[0]
        with wave.open(io.BytesIO(base64.b64decode(coded))) as heard:
            assert heard.getframerate() == 8000 and heard.getnframes() == 10 * (64 + 1600)
