"""The embedded default: 1,797 real handwritten digits, 8x8 with 17 grey levels, that come with
scikit-learn.

Source: Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI; its test half.
"""

from importlib import resources
from pathlib import Path

import torch

from gradlogp.data.base import Dataset, Progress, Split, stratified_split
from gradlogp.data.files import sha256, takes_nothing


def digits(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """1,797 handwritten digits, grey, 8x8; they are always there.

    1,257 train, 180 validation, 360 test, each class in its share. Folder and progress go unused.
    """
    takes_nothing("digits", which)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy(bunch.images).byte()[:, None]  # 0..16
    train, validation, test = stratified_split(
        Split(x, torch.from_numpy(bunch.target).long(), max_value=16)
    )
    with resources.as_file(resources.files("sklearn.datasets.data") / "digits.csv.gz") as path:
        return Dataset(
            "digits", train, validation, test, tuple("0123456789"), {path.name: sha256(path)}
        )
