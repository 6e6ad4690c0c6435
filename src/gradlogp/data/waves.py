"""Waveforms of one's own, `waves:PATH`, or `waves:PATH@4096` samples, or `waves:PATH@4096,8000` Hz.

    file -> mean of its channels -> resampled -> its first samples, silence behind what is short

Below PATH lie WAV and FLAC files; subfolders are classes. Values are in [-1, 1] whatever the bits.
All clips take the lowest rate among them, or the one that is asked for, and one length: the
smallest power of two that holds three quarters of the clips whole, or what is asked for. What was
done is said in the data set's notes.

Reference for resampling: Smith (1984), A flexible sampling-rate conversion method, as in soxr.
"""

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gradlogp.core.errors import UserError, printable
from gradlogp.core.files import replacing
from gradlogp.data.base import Dataset, Progress, Split, require_classes, stratified_split
from gradlogp.data.files import (
    class_folders,
    files_below,
    listing_sha256,
    needs,
    reason,
    require_file,
    require_memory,
    split_option,
)

ENDINGS = {".wav", ".flac"}
LONGEST = 2**20  # samples: a minute at 16 kHz


@dataclass(frozen=True)
class Clip:
    """One recording: float32 (channels, length) in [-1, 1], and its samples a second."""

    path: Path
    samples: np.ndarray
    rate: int

    @property
    def length(self) -> int:
        return self.samples.shape[1]


def waves(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """Recordings of your own: waves:PATH of WAV and FLAC files, waves:PATH@4096,8000 (samples, Hz).

    Cut 7 : 1 : 2 into stratified splits. Raises UserError for fewer than three clips and for a file
    that cannot be read, is empty or is not finite.
    """
    named = which or str(root or "")
    name, option = split_option(named, r"\d+(?:,\d+)?", Path.is_dir)
    path = Path(name).expanduser()
    if not name or not path.is_dir():
        raise UserError(
            f"expected waves:PATH with a folder of recordings, got {named or 'no path'}."
        )
    length, rate = _option(option)
    files = files_below(path, ENDINGS)
    if len(files) < 3:
        raise UserError(f"{path}: expected at least 3 WAV or FLAC files, found {len(files)}.")
    size = sum(file.stat().st_size for file in files)
    require_memory(4 * size, f"{path}: {len(files):,} recordings", "take fewer")
    x, rate, notes = stacked([read_wave(file) for file in files], length, rate)
    classes, places = class_folders(path, files)
    labels = None if places is None else torch.tensor(places)
    splits = stratified_split(Split(x, labels, max_value=1))
    require_classes(path, classes, *splits)
    return Dataset(
        f"waves:{named}",
        *splits,
        classes,
        {printable(path.resolve().name): listing_sha256(files, path)},
        kind="waveform",
        rate=rate,
        notes=tuple(f"{path.name}: {note}" for note in notes),
    )


def read_wave(path: Path) -> Clip:
    """A recording of whole numbers (WAV) by the standard library, all others by soundfile. Raises
    UserError naming the file.
    """
    require_file(path)
    try:
        clip = _plain(path) or _by_soundfile(path)
    except UserError:
        raise
    except Exception as error:  # damaged files make decoders raise errors of every kind
        raise UserError(f"{path}: cannot be read as a recording ({reason(error)}).") from error
    if not clip.samples.size or clip.rate < 1:
        raise UserError(f"{path}: expected a recording, got {clip.length} samples.")
    if not np.isfinite(clip.samples).all():
        raise UserError(f"{path}: some samples are not finite numbers; leave it out.")
    return clip


def write_wave(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write one channel (length,) in [-1, 1] as WAV of 16 bits; whole or not at all."""
    whole = (np.asarray(samples, dtype=np.float64).clip(-1, 1) * 32767).round().astype("<i2")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file, wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(whole.tobytes())


def stacked(
    clips: Sequence[Clip], length: int | None = None, rate: int | None = None
) -> tuple[Tensor, int, tuple[str, ...]]:
    """(x float32 (n, 1, length), rate in Hz, what was done, a sentence each) of recordings."""
    notes = []
    rates = {clip.rate for clip in clips}
    rate = rate or min(rates)
    stereo = sum(len(clip.samples) > 1 for clip in clips)
    if stereo:
        notes.append(f"{stereo:,} clips of several channels are averaged to one.")
    if rates != {rate}:
        changed = sum(clip.rate != rate for clip in clips)
        notes.append(f"{changed:,} of {len(clips):,} clips are resampled to {rate:,} Hz.")
    sounds = [_resampled(clip, rate) for clip in clips]
    longest = [len(sound) for sound in sounds]
    length = length or _usual(longest)
    require_memory(
        4 * len(sounds) * length, f"{len(sounds):,} clips of {length:,} samples", "ask for shorter"
    )
    x = torch.zeros(len(sounds), 1, length)
    for i, sound in enumerate(sounds):
        x[i, 0, : len(sound)] = torch.from_numpy(sound[:length])
    cut, short = sum(n > length for n in longest), sum(n < length for n in longest)
    notes.append(
        f"{length:,} samples ({length / rate:.2f} s) a clip: {cut:,} are cut after these, {short:,}"
        " have silence behind."
    )
    return x, rate, tuple(notes)


def _option(option: str) -> tuple[int | None, int | None]:
    length, _, rate = option.partition(",")
    if option and not (0 < int(length) <= LONGEST and 100 <= int(rate or 8000) <= 400_000):
        raise UserError(
            f"expected waves:PATH@SAMPLES,HZ of 1 to {LONGEST:,} samples and 100 to 400,000 Hz, got"
            f" {option}."
        )
    return int(length) if length else None, int(rate) if rate else None


def _usual(lengths: Sequence[int]) -> int:
    """The smallest power of two that holds three quarters of the clips whole."""
    quartile = sorted(lengths)[max(0, -(-3 * len(lengths) // 4) - 1)]
    return min(LONGEST, 1 << max(0, quartile - 1).bit_length())


def _plain(path: Path) -> Clip | None:
    """A WAV of whole numbers; None for anything else."""
    if path.suffix.lower() != ".wav":
        return None
    try:
        with wave.open(str(path)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            raw = file.readframes(file.getnframes())
            promised = file.getnframes()
    except wave.Error as error:
        if "unknown format" in str(error):
            return None
        raise
    if len(raw) != promised * width * channels:
        raise ValueError(
            f"its header promises {promised:,} samples, but {len(raw) // (width * channels):,}"
            " follow: it is cut short"
        )
    frames = _whole_numbers(raw, width).reshape(-1, channels)
    return Clip(path, np.ascontiguousarray(frames.T), rate)


def _whole_numbers(raw: bytes, width: int) -> np.ndarray:
    """Little-endian whole numbers of 1 (unsigned), 2, 3 or 4 bytes as float32 in [-1, 1)."""
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / 128
    padded = np.zeros((len(raw) // width, 4), np.uint8)
    padded[:, 4 - width :] = np.frombuffer(raw, np.uint8).reshape(-1, width)
    return (padded.view("<i4")[:, 0] / 2.0**31).astype(np.float32)


def _by_soundfile(path: Path) -> Clip:
    try:
        import soundfile
    except ImportError as error:
        raise needs("audio", f"{path}: a recording that is not plain WAV", error) from error
    with soundfile.SoundFile(path) as file:
        require_memory(4 * file.frames * file.channels, f"{path}", "it is damaged or too long")
        samples = file.read(dtype="float32", always_2d=True)
        return Clip(path, np.ascontiguousarray(samples.T), file.samplerate)


def _resampled(clip: Clip, rate: int) -> np.ndarray:
    """The mean of the channels at `rate`, float32 (length,)."""
    sound = clip.samples.mean(0)
    if clip.rate == rate:
        return sound
    try:
        import soxr
    except ImportError as error:
        raise needs("audio", f"{clip.path}: resampling {clip.rate} Hz", error) from error
    return soxr.resample(sound, clip.rate, rate).clip(-1, 1).astype(np.float32)
