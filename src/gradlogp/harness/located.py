"""Where a run is: a folder; `zoo:NAME`, a model that comes with gradlogp; or `hf:USER/REPOSITORY`
on the Hugging Face Hub, which is fetched once into the cache of huggingface_hub (the extra `hub`)
and found there without a network.
"""

import importlib
from pathlib import Path

from gradlogp import zoo
from gradlogp.core.errors import UserError

HUB = "hf:"
FILES = ("*.json", "*.safetensors", "README.md")  # of a run; nothing else is fetched


def is_run(path: str | Path) -> bool:
    """Whether `path` names a run: a folder that holds one, or one of the zoo or of the Hub."""
    return str(path).startswith((HUB, zoo.ZOO)) or (Path(path) / "config.json").is_file()


def located(run: str | Path) -> Path:
    """The folder of a run. Raises UserError where the zoo or the Hub has none, or the Hub cannot be
    reached.
    """
    name = str(run)
    if name.startswith(zoo.ZOO):
        return zoo.unpacked(name.removeprefix(zoo.ZOO))
    if not name.startswith(HUB):
        return Path(run)
    repository = name.removeprefix(HUB)
    try:
        hub = importlib.import_module("huggingface_hub")
        errors = importlib.import_module("huggingface_hub.errors")
    except ImportError as error:
        raise UserError(
            f"{name} needs huggingface_hub; install it with pip install 'gradlogp[hub]'."
        ) from error
    try:
        return Path(hub.snapshot_download(repository, allow_patterns=list(FILES)))
    except (OSError, ValueError, errors.HfHubHTTPError) as error:
        said = str(error).strip().splitlines()[0]
        raise UserError(f"{name} cannot be had from the Hugging Face Hub: {said}") from error
