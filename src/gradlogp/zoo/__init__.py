r"""Models that are there at once: `zoo:NAME` wherever a run folder is, without a download.

    gradlogp sample zoo:mnist-ebm --n 64 --out x.png
    gradlogp.load("zoo:digits-ncsn").draw(64)

A model of the zoo is a run folder made small, inside the package: its settings, what was measured
of it, a card (README.md), and its averaged weights, packed:

.. math:: W \approx C B, \qquad C \in R^{m \times k},\ B \in R^{k \times D},

for the matrices of a mixture of principal components, whose rows are smooth pictures, and half
precision for all numbers. Asked for the first time, it is unpacked into a run folder in the user's
cache, where what is measured and drawn later finds its place.

References: Eckart & Young (1936), The approximation of one matrix by another of lower rank (the
best C B of rank k is the truncated singular value decomposition).
"""

import difflib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradlogp.core.errors import UserError
from gradlogp.core.files import make_folder
from gradlogp.data.files import cache_folder, sha256
from gradlogp.runs import Damaged, Run, read, write

if TYPE_CHECKING:
    from torch import Tensor

ZOO = "zoo:"
FOLDER = Path(__file__).parent
PACKED = "model.safetensors"
CARD = "README.md"
LOADED = ("weights.safetensors", "ema.safetensors", "config.json")  # what a run is loaded from
KEPT = ("config.json", "status.json", "results.json", CARD)  # beside the weights, where there
MIXTURE = ("proposal.means", "proposal.factors")
PACKED_AS = ("proposal.coefficients", "proposal.basis")
DIRECTIONS = 64  # of the basis: 95 % of the squares of the mixtures of MNIST and Fashion-MNIST


@dataclass(frozen=True)
class Model:
    """A model of the zoo: what it is, what it is bad at, the sha256 of its packed weights, and the
    Frechet distance of 64 draws from the `reference` of its data, with the standard deviation of
    that number over other 64.
    """

    says: str
    bad_at: str
    sha256: str
    fd: float
    stderr: float


MODELS: Mapping[str, Model] = {
    "mnist-ebm": Model(
        "An energy of MNIST whose chains begin at a mixture of local principal components: digits"
        " in 60 steps.",
        "denoising (9 dB at noise .5, where a score network has 20); a draw in twenty is smudged or"
        " broken; it is a generator, not a density sampler.",
        "c5e028f1fbb95012b3acb8702f9aa4935e911e6f409c473a231f7d9b521ce322",
        5.38,
        0.86,
    ),
    "mnist-ncsn": Model(
        "A score of MNIST at many noise levels, its walk begun at a mixture of local"
        " principal components.",
        "strokes that end too early or do not meet, in about one draw of eight; faint"
        " dots in the black.",
        "7e7d486c64c8188e201ba61221fb31eaa3ca341e17d52a90e8facddb14148d81",
        5.29,
        0.79,
    ),
    "mnist-ncsn-class": Model(
        "A score of MNIST that is told the digit, walked down from noise with guidance.",
        "speed (120 evaluations a draw); one draw in eight is broken into pieces; faint"
        " dots and stripes in the black.",
        "49698eecf7f061614caf694386a1bd198a7137d43264da745a0ad6b34e1da7cb",
        5.41,
        0.50,
    ),
    "fashion-ebm": Model(
        "An energy of Fashion-MNIST whose chains begin at a mixture of local principal components:"
        " clothes in 60 steps.",
        "cloth: a grain of small squares in the place of prints, knits and seams; straps and thin"
        " soles; it is a generator, not a density sampler.",
        "1f3c6d3452ee902fba010d91685619fba42e90ec34e23a137c3b73d776f47483",
        3.91,
        0.56,
    ),
    "fashion-ncsn": Model(
        "A score of Fashion-MNIST at many noise levels, its walk begun at a mixture of local"
        " principal components.",
        "sandals, which come out as scraps; handles and straps; prints and knits, which become a"
        " streaked grain.",
        "1e7b416e8c5bd7f67a60fa3f258b01d26d3c94aa51bab2f2aac41181ac54df1e",
        3.83,
        0.64,
    ),
    "fashion-ncsn-class": Model(
        "A score of Fashion-MNIST that is told the class, walked down from noise with guidance.",
        "speed (120 evaluations a draw); sandals and prints, which are torn or smeared; a class's"
        " commonest shapes are drawn too often.",
        "c91ef4b26f4a5a4636d9f364cfd1e9feefe7a96bde969aea0039213bb2207ca9",
        4.06,
        1.02,
    ),
    "digits-ebm": Model(
        "An energy of 8x8 digits, trained by persistent chains that begin at noise.",
        "one draw in six is a stroke that is no digit; its 300 steps make it slow; it is a"
        " generator, not a density sampler.",
        "53613688b34d6eafee50e28c01ea2d6e6a66b3477c85ccc92a2c7263c57b8516",
        0.58,
        0.07,
    ),
    "digits-ncsn": Model(
        "A score of 8x8 digits at many noise levels, walked down from noise.",
        "greys: strokes are softer than real ones, and a draw in six could be two digits.",
        "ee9ad7ede99784e204e49de66e58827238007e7e6c11fd794e009617e8b7ffc3",
        0.58,
        0.05,
    ),
    "digits-ncsn-class": Model(
        "A score of 8x8 digits that is told the digit, walked down from noise with guidance.",
        "variety: the draws of a digit are more alike than real ones (recall .75 for .97); softer"
        " strokes in 8 and 9.",
        "dbae9778bc0b19b522a5f471af392b6e9e89a71dc60e5ada41ba25e4567499a2",
        0.52,
        0.03,
    ),
}


def unpacked(name: str, root: Path | None = None) -> Path:
    """The run folder of the model `name` of the zoo, unpacked at most once into the user's cache,
    or into the folder `root`; files that were lost or damaged since are put back.

    Raises UserError for a name that the zoo has not, and Damaged where the package's file is not
    the one of the card.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1, cutoff=0.0)[0]
        raise UserError(
            f"there is no {ZOO}{name}; did you mean {ZOO}{near}? There are {', '.join(MODELS)}."
        )
    place = (root or cache_folder() / "zoo") / MODELS[name].sha256[:8] / name
    if not all(_whole(place / file) for file in LOADED):
        make_folder(place.parent)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            _unpack(FOLDER / name, Path(scratch) / name, MODELS[name].sha256)
            _move(Path(scratch) / name, place)
    return place


def _whole(file: Path) -> bool:
    """Whether a file of a run is there and can be read."""
    try:
        json.loads(file.read_bytes()) if file.suffix == ".json" else read(file)
    except (Damaged, OSError, ValueError):
        return False
    return True


def _unpack(source: Path, place: Path, checksum: str) -> None:
    packed_file, config = source / PACKED, source / KEPT[0]
    given = packed_file.is_file() and sha256(packed_file) == checksum
    if not given or not _whole(config):
        raise Damaged(
            f"{config if given else packed_file} is missing or is not what this version of gradlogp"
            " came with; install gradlogp again: pip install --force-reinstall --no-deps gradlogp."
        )
    make_folder(place)
    for kept in KEPT:
        if (source / kept).is_file():
            shutil.copyfile(source / kept, place / kept)
    tensors, _ = read(source / PACKED)
    with Run.open(place) as run:
        for file in ("weights", "ema"):
            run.weights(unpack(tensors), file)


def _move(made: Path, place: Path) -> None:
    """Put the folder in its place; where there is one, only the files that are not whole there."""
    try:
        made.replace(place)
    except OSError:
        for file in LOADED:
            if not _whole(place / file):
                (made / file).replace(place / file)


def pack(run: Run, folder: Path) -> list[Path]:
    """Write a run made small into `folder`: what `unpacked` reads. Returns the files."""
    make_folder(folder)
    there = [name for name in KEPT if (run.path / name).is_file()]
    for name in there:
        shutil.copyfile(run.path / name, folder / name)
    write(folder / PACKED, packed(run.load("ema")[0]))
    return [folder / name for name in (*there, PACKED)]


def packed(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Tensors in half precision, and a mixture's means and factors as coefficients [K (1 + r), k]
    of a basis [k, D] of k = `DIRECTIONS`.
    """
    import torch

    small = dict(tensors)
    if MIXTURE[0] in small:
        means, factors = (small.pop(name).double() for name in MIXTURE)
        rows = torch.cat([means, factors.mT.flatten(0, 1)])
        u, s, v = torch.linalg.svd(rows, full_matrices=False)
        parts = (u[:, :DIRECTIONS] * s[:DIRECTIONS], v[:DIRECTIONS])
        small |= dict(zip(PACKED_AS, parts, strict=True))
    return {name: x.half() if x.is_floating_point() else x for name, x in small.items()}


def unpack(packed: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """What `packed` was given, in single precision, as near as it kept it."""
    full = {name: x.float() if x.is_floating_point() else x for name, x in packed.items()}
    if PACKED_AS[0] in full:
        coefficients, basis = (full.pop(name) for name in PACKED_AS)
        count = len(full["proposal.logits"])
        rows = coefficients @ basis
        factors = rows[count:].unflatten(0, (count, -1)).mT.contiguous()
        full |= dict(zip(MIXTURE, (rows[:count].clone(), factors), strict=True))
    return full
