"""Small runs of each kind of model, trained for a moment."""

import pytest

from gradlogp import data
from gradlogp.experiments import RECIPES
from gradlogp.harness import Target, fit, override

BRIEF = (
    "training.images=64",
    "training.batch=16",
    "training.log_every=1",
    "training.checkpoint_every=2",
)


def trained(experiment, path, *changes):
    digits = data.load("digits")
    recipe = RECIPES[experiment](Target.of(digits), "quick", 0)
    fit(override(recipe, [*BRIEF, *changes]), digits, path).close()
    return path


@pytest.fixture(scope="session")
def energy_run(tmp_path_factory):
    steps = ("chain_steps=2", "generate_steps=3", "net.channels=4,8", "net.width=8")
    return trained("ebm_class", tmp_path_factory.mktemp("runs") / "energy", *steps)


@pytest.fixture(scope="session")
def score_run(tmp_path_factory):
    small = ("net.channels=8,16", "sampler.levels=4")
    return trained("ncsn_class", tmp_path_factory.mktemp("runs") / "score", *small)
