"""What a run folder says of itself: what decides its numbers, and where they were computed."""

import platform
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import torch

from gradlogp.data import Dataset
from gradlogp.harness.recipe import DataSpec, Generative, Recipe
from gradlogp.harness.settings import as_stored, to_dict
from gradlogp.runs import Run


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def describe(recipe: Recipe, data: Dataset, spec: DataSpec) -> dict[str, Any]:
    """What decides the numbers: with this, config.json holds everything needed to run it again."""
    origin = {"name": data.name, "classes": list(data.classes), "checksums": dict(data.checksums)}
    return {"recipe": to_dict(recipe), "spec": to_dict(spec), "data": origin}


def in_its_words(path: Path, config: dict[str, Any], settings: Any) -> dict[str, Any]:
    """`config` with the settings as the run at `path`, where there is one, has stored the same."""
    if not (path / "config.json").is_file():
        return config
    return {**config, "recipe": as_stored(settings, Run.open(path).config.get("recipe"))}


def about(recipe: Recipe, device: str) -> dict[str, Any]:
    """What may differ when a run goes on elsewhere, and the words for its report."""
    words = (
        {"title": recipe.title(), "story": recipe.about()} if isinstance(recipe, Generative) else {}
    )
    return environment(device) | words


def environment(device: str) -> dict[str, Any]:
    """What may differ when a run goes on elsewhere."""
    name = (
        torch.cuda.get_device_name()
        if device.startswith("cuda")
        else platform.processor() or platform.machine()
    )
    return {
        "device": device,
        "commit": commit(),
        "processor": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": date.today().isoformat(),
    }


def commit() -> str | None:
    """The commit of the source, with + where it has been changed since; None outside a checkout."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return done.stdout.strip()

    try:
        # else the checkout is somebody else's, with us installed in it
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("describe", "--always", "--dirty=+", "--abbrev=7", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
