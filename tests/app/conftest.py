"""A studio with two small models, trained for a moment."""

import pytest

pytest.importorskip("fastapi", reason="needs the extra app")
pytest.importorskip("httpx", reason="needs httpx, of the extra test")

from fastapi.testclient import TestClient

from gradlogp import data
from gradlogp.app import Library, create
from gradlogp.experiments import RECIPES
from gradlogp.harness import Target, fit, override

BRIEF = (
    *("training.images=64", "training.batch=16"),
    *("training.log_every=1", "training.checkpoint_every=2"),
)
SMALL = {
    "ebm_class": (
        *("chain_steps=2", "generate_steps=6", "net.channels=4,8", "net.width=8"),
        *("posterior.steps=4", "posterior.weights=100.0,"),
    ),
    "ncsn_class": ("net.channels=8,16", "sampler.levels=4"),
}
HOST = "http://localhost"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Run folders named energy and score, and a third that has learned nothing."""
    root = tmp_path_factory.mktemp("studio")
    digits = data.load("digits")
    for name, (experiment, changes) in zip(("energy", "score"), SMALL.items(), strict=True):
        recipe = RECIPES[experiment](Target.of(digits), "quick", 0)
        fit(override(recipe, [*BRIEF, *changes]), digits, root / name).close()
    blank = root / "blank"
    blank.mkdir()
    (blank / "config.json").write_text((root / "energy" / "config.json").read_text())
    return root


@pytest.fixture
def library(folder):
    return Library(folder)


@pytest.fixture
def client(library):
    studio = create(library, report=lambda path: f"<h1>{path.name}</h1>")
    with TestClient(studio, base_url=HOST, headers={"origin": HOST}) as client:
        yield client


@pytest.fixture
def watch(client):
    """Opens a websocket of the studio as its own page does."""
    return lambda path: client.websocket_connect(
        path, headers={"origin": HOST, "host": "localhost"}
    )
