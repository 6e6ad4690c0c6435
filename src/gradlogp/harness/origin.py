"""The data that a run was trained on, found again: what a threshold, an energy's weight or a label's
name is taken from.
"""

from pathlib import Path

from gradlogp import data
from gradlogp.core.errors import UserError
from gradlogp.data import Dataset, Progress
from gradlogp.harness.fit import spec_of
from gradlogp.runs import Run, blamed


def trained_on(run: Run, folder: Path | None = None, progress: Progress | None = None) -> Dataset:
    """The data set that `run` was trained on, in `folder` or where data sets are looked for.

    Raises UserError if it is another: its test part may hold what the run saw.
    """
    with blamed(run.path / "config.json", "does not say what the run was trained on"):
        there = run.config["data"]
        shape = list(spec_of(run).shape)
    kind = there["name"].partition(":")[0]
    name = kind if folder and kind == "folder" else there["name"]
    dataset = data.load(name, folder, progress)
    if (
        sorted(dataset.checksums.values()) != sorted(there["checksums"].values())
        or list(dataset.shape) != shape
    ):
        raise UserError(
            f"{run.path} was trained on other pictures of {there['name']} than those found here; "
            "name the folder that has them with --data."
        )
    return dataset
