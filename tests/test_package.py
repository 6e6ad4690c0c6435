"""What `import gradlogp` promises: nothing heavy, nothing changed, the rooms at hand."""

import subprocess
import sys
from pathlib import Path

import pytest

import gradlogp

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


def test_another_attribute_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sampler'; its rooms are .*samplers"):
        gradlogp.sampler  # noqa: B018
