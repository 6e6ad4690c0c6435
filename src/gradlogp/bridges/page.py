r"""An energy's Langevin chains in the visitor's own browser: one static page, no server.

.. math:: x' = \mathrm{clamp}(x + h\, \mathrm{clip}(-\nabla E(x)) + \tau z)

One step of the run's own sampler, clip and clamp included, is exported as an ONNX graph of (x, z,
h, tau) -> (x', E(x)); the page draws z and shows x. onnxruntime-web evaluates the graph, so the
page takes the very step that Python takes. Temperature T scales tau as Langevin's equation has it:
:math:`\tau = \sqrt{2hT}` of a density sampler, :math:`\tau_0 \sqrt T` of a generator.

The page holds everything that it needs, compressed: the graph, STARTS chains' beginnings as bytes,
and the runtime, which is no part of this package. `npm pack onnxruntime-web` fetches it.

References: ONNX Runtime documentation, onnxruntime-web; Du & Mordatch (2019), arXiv 1903.08689 (the
chains).
"""

import base64
import gzip
import json
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradlogp.bridges.export import BATCH, Asked, onnx_file
from gradlogp.core.errors import UserError
from gradlogp.core.fields import transformable
from gradlogp.core.random import Streams
from gradlogp.harness import Fitted
from gradlogp.runs.files import write_text
from gradlogp.samplers import Langevin

STARTS = 64  # chains' beginnings that the page holds
RUNTIME = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
HOW = "`npm pack onnxruntime-web` fetches it; then --runtime onnxruntime-web-VERSION.tgz"
PICTURES = {1, 3}  # channels


@dataclass(frozen=True)
class Step:
    """One Langevin step of an energy [B, *shape] -> [B], with its noise given."""

    energy: Callable[[Tensor], Tensor]
    sampler: Langevin

    def __call__(self, x: Tensor, z: Tensor, h: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
        """x' [B, *shape] and the energy of x, [B]."""
        energy, score = transformable(self.energy, x)
        if self.sampler.grad_clip is not None:
            score = score.clamp(-self.sampler.grad_clip, self.sampler.grad_clip)
        x = x + h * score + tau * z
        return (x if self.sampler.clamp is None else x.clamp(*self.sampler.clamp)), energy


def step(fitted: Fitted) -> Asked:
    """The step of a run, and an example of what it takes. Raises UserError for what has none."""
    sampler, shape = fitted.sampling().sampler, fitted.spec.shape
    if not isinstance(sampler, Langevin):
        raise UserError(
            f"the page follows an energy by Langevin steps, but {fitted.recipe.experiment} is drawn"
            f" by {type(sampler).__name__}; take a run of an energy such as ebm."
        )
    if fitted.spec.kind != "picture" or len(shape) != 3 or shape[0] not in PICTURES:
        raise UserError(f"the page shows pictures, got {fitted.spec.kind}s of {list(shape)}.")
    x = torch.zeros(BATCH, *shape)
    given = {"x": x, "z": x.clone(), "h": torch.tensor(1.0), "tau": torch.tensor(0.1)}
    return Asked(Step(fitted.model.cpu(), sampler), given)


def starts(fitted: Fitted, n: int = STARTS) -> tuple[bytes, tuple[float, float]]:
    """n chains' beginnings, one byte an entry, and the values that 0 and 255 stand for."""
    how = fitted.sampling()
    x = how.prior(torch.empty(n, *how.shape), Streams(0, 0, n, "cpu")).cpu()
    low, high = float(x.min()), float(x.max())
    return ((x - low) / (high - low) * 255).round().byte().numpy().tobytes(), (low, high)


def runtime(place: Path | None) -> dict[str, bytes]:
    """The files of onnxruntime-web, from the archive of `npm pack` or from the folder of the
    package; by default node_modules. Raises UserError where they are not all there.
    """
    place = place or Path("node_modules") / "onnxruntime-web"
    try:
        found = _packed(place) if place.is_file() else _unpacked(place)
    except (OSError, tarfile.TarError, KeyError) as error:
        raise UserError(
            f"the page runs on onnxruntime-web, which {place} does not hold whole; {HOW}."
        ) from error
    return found


def _packed(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        files = {name: tar.extractfile(f"package/dist/{name}") for name in RUNTIME}
        return {name: file.read() for name, file in files.items() if file is not None}


def _unpacked(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "dist" / name).read_bytes() for name in RUNTIME}


def to_page(fitted: Fitted, place: Path, runtime_at: Path | None = None) -> list[Path]:
    """Write the page, `place` if it ends in .html, else index.html in the folder `place`. Needs the
    extra `onnx` and onnxruntime-web.
    """
    asked, code = step(fitted), runtime(runtime_at)
    path = place if place.suffix.lower() == ".html" else place / "index.html"
    with tempfile.TemporaryDirectory() as folder:
        graph = onnx_file(asked, Path(folder) / "step.onnx", ["next", "energy"]).read_bytes()
    write_text(path, rendered(settings(fitted), {"graph": graph, **code}))
    return [path]


def settings(fitted: Fitted) -> dict[str, Any]:
    """What the page must know of the run."""
    how, (data, (low, high)) = fitted.sampling(), starts(fitted)
    sampler: Any = how.sampler
    return {
        "title": fitted.recipe.title(),
        "data": str(fitted.recipe.dataset),
        "shape": list(how.shape),
        "steps": how.steps,
        "h": sampler.step_size,
        "tau": None if sampler.noise_std is None else sampler.noise_std,
        "starts": base64.b64encode(gzip.compress(data, mtime=0)).decode(),
        "low": low,
        "high": high,
    }


def rendered(said: Mapping[str, Any], held: Mapping[str, bytes]) -> str:
    """The page with its settings, and with files in it as compressed base64."""
    template = (files("gradlogp.bridges") / "page.html").read_text(encoding="utf-8")
    text = json.dumps(dict(said)).replace("<", "\\u003c")
    packed = {
        n: base64.b64encode(gzip.compress(data, mtime=0)).decode() for n, data in held.items()
    }
    blocks = (
        f'<script type="text/plain" id="{name}">{data}</script>' for name, data in packed.items()
    )
    return template.replace("@SETTINGS@", text).replace("@FILES@", "\n".join(blocks))
