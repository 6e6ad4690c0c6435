"""Free Spoken Digit Dataset: 3,000 recordings of ten digits by six speakers, mono, 8 kHz.

    DIR/fsdd/recordings/{digit}_{speaker}_{index}.wav

As its authors split it, recordings 0 to 4 of each digit and speaker test and 5 to 49 train, of
which 5 to 9 validate here. That split tests on voices that were trained on: a ridge regression on
log-mel features scores .94 there and .66 on a speaker it never heard. `fsdd:theo` leaves theo out
of training and tests on him. Clips are cut or padded to 4,096 samples, which hold three quarters of
them whole.

Reference: Jackson et al. (2018), Jakobovski/free-spoken-digit-dataset, v1.0.8, Zenodo, CC BY-SA
4.0.
"""

import re
from pathlib import Path

import torch

from gradlogp.core.errors import UserError
from gradlogp.data.base import Dataset, Progress, Split, mixed
from gradlogp.data.files import cache_folder, data_folder, joined, listing_sha256, split_option
from gradlogp.data.waves import read_wave, stacked

NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")
LENGTH = 4096


def fsdd(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """3,000 spoken digits, 4,096 samples at 8 kHz; fsdd:theo tests on a speaker it never trained
    on.

    `fsdd@8192` asks for another length. Raises UserError for a recording that cannot be read, an
    unknown speaker, and a split that would be empty.
    """
    speaker, option = split_option(which, r"[1-9]\d{0,5}")
    folder = _find(data_folder(root) or cache_folder())
    files = sorted(file for file in folder.iterdir() if NAME.fullmatch(file.name))
    recordings = [match.groups() for file in files if (match := NAME.fullmatch(file.name))]
    speakers = sorted({name for _, name, _ in recordings})
    if speaker and speaker not in speakers:
        raise UserError(
            f"fsdd: no speaker {speaker!r} in {folder}; there are {', '.join(speakers) or 'none'}."
        )
    parts = [_part(name, int(index), speaker) for _, name, index in recordings]
    if lost := {"train", "validation", "test"} - set(parts):
        raise UserError(
            f"{folder}: {len(files)} recordings are too few, none for {', '.join(sorted(lost))};"
            " put all 3,000 published files there."
        )
    x, rate, notes = stacked([read_wave(file) for file in files], int(option or LENGTH))
    whole = Split(x, torch.tensor([int(digit) for digit, _, _ in recordings]), max_value=1)
    names = ("train", "validation", "test")
    train, validation, test = (
        mixed(whole[torch.tensor([p == name for p in parts])]) for name in names
    )
    return Dataset(
        joined("fsdd", speaker, option),
        train,
        validation,
        test,
        tuple("0123456789"),
        {folder.name: listing_sha256(files, folder)},
        kind="waveform",
        rate=rate,
        notes=tuple(f"fsdd: {note}" for note in notes),
    )


def _find(root: Path) -> Path:
    places = (root / "fsdd" / "recordings", root / "recordings", root)
    for place in places:
        if place.is_dir() and any(NAME.fullmatch(file.name) for file in place.iterdir()):
            return place
    raise UserError(
        f"fsdd: no recordings DIGIT_SPEAKER_INDEX.wav found in {places[0]} or {root}; get them by"
        " git clone https://github.com/Jakobovski/free-spoken-digit-dataset fsdd."
    )


def _part(name: str, index: int, left_out: str) -> str:
    """The split of one recording. With a speaker left out: the others' 0 to 4 validate."""
    if left_out:
        return "test" if name == left_out else "validation" if index < 5 else "train"
    return "test" if index < 5 else "validation" if index < 10 else "train"
