"""Small runs of each kind of model, trained for a moment."""

import pytest
import torch

from gradlogp import data
from gradlogp.experiments import RECIPES
from gradlogp.harness import Target, fit, override

BRIEF = (
    "training.images=64",
    "training.batch=16",
    "training.log_every=1",
    "training.checkpoint_every=2",
)


def trained(experiment, path, *changes, dataset="digits"):
    rows = data.load(dataset)
    recipe = RECIPES[experiment](Target.of(rows), "quick", 0)
    fit(override(recipe, [*BRIEF, *changes]), rows, path).close()
    return path


@pytest.fixture(scope="session")
def energy_run(tmp_path_factory):
    steps = ("chain_steps=2", "generate_steps=3", "net.channels=4,8", "net.width=8")
    return trained("ebm_class", tmp_path_factory.mktemp("runs") / "energy", *steps)


@pytest.fixture(scope="session")
def score_run(tmp_path_factory):
    small = ("net.channels=8,16", "sampler.levels=4")
    return trained("ncsn_class", tmp_path_factory.mktemp("runs") / "score", *small)


@pytest.fixture(scope="session")
def table_run(tmp_path_factory):
    """Of a score of a table of three columns."""
    folder = tmp_path_factory.mktemp("table")
    numbers = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)).tolist()
    lines = ["a,b,c", *(",".join(map(str, row)) for row in numbers)]
    (folder / "t.csv").write_text("\n".join(lines))
    return trained("ncsn", folder / "run", "sampler.levels=4", dataset=f"csv:{folder / 't.csv'}")
