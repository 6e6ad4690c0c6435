"""What `import gradlogp` promises: nothing heavy, nothing changed, the rooms at hand."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import gradlogp
from tests.lowest import bounds

HOUSE = Path(gradlogp.__file__).parent
HEAVY = ["torch", "numpy", "matplotlib", "PIL", "sklearn", "pydantic", "tyro", "rich"]


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import gradlogp, gradlogp.runs, sys; print(sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=HOUSE.parent
    )
    assert done.stdout == "[]\n", done.stderr


def test_each_room_is_an_attribute() -> None:
    rooms = {path.parent.name for path in HOUSE.glob("*/__init__.py")}
    assert rooms <= set(dir(gradlogp))
    assert gradlogp.runs.Run.__module__ == "gradlogp.runs.folder"


def test_a_model_is_loaded_in_a_fresh_process(tmp_path: Path) -> None:
    """Without importing the recipes that its folder names."""
    code = "import gradlogp; print(type(gradlogp.load('zoo:digits-ebm', 'cpu').model).__name__)"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(HOUSE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout == "ConvEnergy\n", done.stderr


def test_another_attribute_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sampler'; its rooms are .*samplers"):
        gradlogp.sampler  # noqa: B018


def test_what_is_installed_is_what_was_promised() -> None:
    """Also in an environment of the oldest versions (`tests.lowest`)."""
    for name, oldest in bounds().items():
        there = [int(part) for part in re.findall(r"\d+", version(name))]
        assert there[:3] >= [int(part) for part in oldest.split(".")], name


def test_every_requirement_of_every_extra_has_a_lower_bound() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    assert all(bounds(extra) is not None for extra in project["optional-dependencies"])
