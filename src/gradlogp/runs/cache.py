"""Tensors that several methods need, made once by the first that asks: weights, say, and features.

What is kept carries a digest of all that decides its content, so that nothing stale is ever found.
Two processes that ask at once wait for one.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlogp.core.errors import UserError
from gradlogp.runs import tensors
from gradlogp.runs.lock import hold

if TYPE_CHECKING:
    from torch import Tensor

WAIT = 0.5  # seconds between two looks at what another process makes


@dataclass(frozen=True)
class Cache:
    """Files in `folder`, one for each (name, key)."""

    folder: Path

    def __call__(
        self, name: str, key: Any, make: Callable[[], Mapping[str, "Tensor"]]
    ) -> dict[str, "Tensor"]:
        """The tensors of `make()`, and among them `seconds`, which is how long that took. The key
        is JSON, and holds all that decides them.
        """
        path = self.folder / f"{name.replace(' ', '-')}-{_digest(key)}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        while not path.exists():
            with contextlib.suppress(UserError), _alone(path):
                if not path.exists():
                    tensors.write(path, _timed(make))
            if not path.exists():
                time.sleep(WAIT)
        return tensors.read(path)[0]


def checksum(x: "Tensor") -> str:
    """The SHA-256 of the numbers of x and of its shape."""
    content = x.detach().cpu().contiguous()
    head = f"{content.dtype} {list(content.shape)}".encode()
    return hashlib.sha256(head + content.numpy().tobytes()).hexdigest()


def _digest(key: Any) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:10]


def _timed(make: Callable[[], Mapping[str, "Tensor"]]) -> dict[str, "Tensor"]:
    import torch

    began = time.perf_counter()
    made = {name: x.contiguous() for name, x in make().items()}
    return made | {"seconds": torch.tensor(time.perf_counter() - began, dtype=torch.float64)}


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """The only writer of `path`. Raises UserError where another process is."""
    place = path.with_suffix(".lock")
    place.mkdir(exist_ok=True)
    lock, _ = hold(place)
    yield
    del lock
