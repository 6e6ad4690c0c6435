r"""gradlogp: learn the gradient of the log-density, and put it to work.

An energy gives the score, :math:`s(x) = \nabla \log p(x) = -\nabla E(x)`; a score network gives it
directly. The rooms (`gradlogp.core`, `gradlogp.samplers`, ...) are imported when they are first
touched, so that `import gradlogp` costs milliseconds and changes nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_ROOMS = (
    "core",
    "models",
    "objectives",
    "samplers",
    "data",
    "metrics",
    "runs",
    "training",
    "tasks",
    "baselines",
    "zoo",
    "harness",
    "experiments",
    "bridges",
    "bench",
    "reports",
    "app",
    "show",
    "cli",
)


def __getattr__(name: str) -> Any:
    if name == "fit":  # any network on any data
        return importlib.import_module("gradlogp.harness.own").fit
    if name == "load":  # a run folder, zoo:NAME or hf:USER/NAME, whatever recipe it names
        importlib.import_module("gradlogp.experiments")
        return importlib.import_module("gradlogp.harness").load
    if name not in _ROOMS:
        raise AttributeError(
            f"module 'gradlogp' has no attribute {name!r}; its rooms are {', '.join(_ROOMS)}."
        )
    return importlib.import_module(f"gradlogp.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS, "fit", "load"])
