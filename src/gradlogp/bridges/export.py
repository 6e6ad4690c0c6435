r"""A run in the form of another tool: ONNX, PyTorch's own export, the Hugging Face Hub,
TensorBoard, CSV; or slim, the two files that load.

What a model can be asked is exported as functions of tensors, for any batch:

| file | function | of |
|---|---|---|
| `denoise` | :math:`D(x, \sigma)` (and `cond`) | scores, energies with levels |
| `energy` | :math:`E(x)` | energies |
| `score` | :math:`-\nabla_x E(x)` | energies |

The score of an energy is a gradient, which no exporter takes as it is. `make_fx` writes it out as a
graph of forward operations; two of them have no counterpart elsewhere and are replaced: the
gradient of a convolution with regard to its input, which is the transposed convolution, and empty
memory, which is written as zeros.

x is in model coordinates ([-1, 1] for pictures), as in `Fitted.model`.

References: PyTorch documentation, torch.export and torch.onnx; Dumoulin & Visin (2016), A guide to
convolution arithmetic, arXiv 1603.07285, relationship 14 (the output padding).
"""

import csv
import io
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._decomp import core_aten_decompositions
from torch.fx.experimental import _config
from torch.fx.experimental.proxy_tensor import make_fx

from gradlogp.bridges.missing import needed
from gradlogp.bridges.track import tracker
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Field, column
from gradlogp.core.files import make_folder
from gradlogp.data.files import reason
from gradlogp.harness import Fitted, load, to_dict
from gradlogp.models import NoisyEnergyModel
from gradlogp.runs import Run
from gradlogp.runs.files import write_text
from gradlogp.zoo import CARD as README, pack

SLIM = ("config.json", "ema.safetensors")
CARD = ("status.json", "results.json")  # what else goes to the Hub, where it is there
BATCH = 3  # examples that a graph is traced with; any number can be asked of it


@dataclass(frozen=True)
class Asked:
    """A function of tensors that a model is asked for, and an example of what it takes; a number of
    all examples has no dimensions.
    """

    function: Callable[..., Any]
    inputs: dict[str, Tensor]


def functions(fitted: Fitted) -> dict[str, Asked]:
    """All that the model of a run can be asked, by name. Raises UserError where that is nothing."""
    x = torch.zeros(BATCH, *fitted.spec.shape)
    cond = {"cond": torch.zeros(BATCH, dtype=torch.long)} if fitted.recipe.conditional else {}
    if not hasattr(fitted.model, "field"):
        raise UserError(
            f"{fitted.run.path} holds a generator of one pass, with neither a score nor an energy to"
            " export; take a run of an energy or a score."
        )
    return asked_of(fitted.model.cpu(), x, cond)


def asked_of(model: Any, x: Tensor, cond: dict[str, Tensor]) -> dict[str, Asked]:
    """The functions of a model with a field, asked with x [B, *shape] and, by name, conditions."""
    if isinstance(model.field(), Field):
        return _of_energy(model, x, cond) if model.field().has_energy else _of_score(model, x, cond)
    levels = {"x": x, "sigma": torch.ones(len(x))} | cond
    if isinstance(model, NoisyEnergyModel):
        return _of_noisy_energy(model, levels)
    return {"denoise": Asked(model, levels)}


def _of_noisy_energy(model: Any, inputs: dict[str, Tensor]) -> dict[str, Asked]:
    def score(x: Tensor, sigma: Tensor, *told: Tensor) -> Tensor:
        return torch.func.grad(lambda y: -model(y, sigma, *told).sum())(x)

    def denoise(x: Tensor, sigma: Tensor, *told: Tensor) -> Tensor:
        return x + column(sigma, x) ** 2 * score(x, sigma, *told)

    return {"energy": Asked(model, inputs), "denoise": Asked(denoise, inputs)}


def _of_energy(model: Any, x: Tensor, cond: dict[str, Tensor]) -> dict[str, Asked]:
    def score(x: Tensor, *told: Tensor) -> Tensor:
        return torch.func.grad(lambda y: -model(y, *told).sum())(x)

    inputs = {"x": x} | cond
    return {"energy": Asked(model, inputs), "score": Asked(score, inputs)}


def _of_score(model: Any, x: Tensor, cond: dict[str, Tensor]) -> dict[str, Asked]:
    return {"score": Asked(model, {"x": x} | cond)}


def _transposed(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    mask: list[bool],
) -> tuple[Tensor, None, None]:
    """The gradient of a convolution with regard to its input, all that is asked of frozen weights."""
    if transposed:
        raise UserError("the score of an energy with transposed convolutions cannot be exported.")
    sizes = zip(
        x.shape[2:], gradient.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True
    )
    rest = [a - ((g - 1) * s - 2 * p + d * (k - 1) + 1) for a, g, k, s, p, d in sizes]
    back = torch.ops.aten.convolution(
        gradient, weight, None, stride, padding, dilation, True, rest, groups
    )
    return back, None, None


def _zeros(size: list[int], physical_layout: list[int], **options: Any) -> Tensor:
    return torch.zeros(size, dtype=options.get("dtype"))


def decompositions() -> dict[Any, Callable[..., Any]]:
    """PyTorch's table of core operations, and the two that a gradient needs besides."""
    return {
        **core_aten_decompositions(),
        torch.ops.aten.convolution_backward.default: _transposed,
        torch.ops.aten.empty_permuted.default: _zeros,
    }


@contextmanager
def tracing() -> Iterator[None]:
    """torch.compiler.is_compiling() is true within, as it is within torch.export: what looks at
    numbers must not.
    """
    before = torch.compiler._is_compiling_flag
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before


def graph(asked: Asked) -> nn.Module:
    """The function as a graph of forward operations, for any number of examples: sizes that are
    equal in the example, such as three rows of three columns, are not taken for one.
    """
    symbols: Any = _config
    with tracing(), symbols.patch(use_duck_shape=False):
        traced = make_fx(
            asked.function,
            decomposition_table=decompositions(),
            tracing_mode="symbolic",
            _allow_non_fake_inputs=True,
        )(*asked.inputs.values())
    return traced.eval()


def program(asked: Asked) -> Any:
    """The function as a torch.export.ExportedProgram, its batch of any size. Raises UserError where
    PyTorch cannot trace it.
    """
    batch = torch.export.Dim("batch", min=1)
    shapes = tuple({0: batch} if x.ndim else {} for x in asked.inputs.values())
    try:
        with torch.no_grad():
            return torch.export.export(
                graph(asked), tuple(asked.inputs.values()), dynamic_shapes=shapes, strict=False
            )
    except UserError:
        raise
    except Exception as error:  # of every kind, as a network does what it likes
        raise UserError(
            f"this network cannot be exported for any number of examples ({reason(error)}); where it"
            " is your own, let it ask for x.shape[0], not len(x), and for no number of a tensor, or"
            " take --slim, the two files that load."
        ) from error


def to_pt2(fitted: Fitted, folder: Path) -> list[Path]:
    """<name>.pt2 of each function, for torch.export.load and AOTInductor."""
    paths = []
    for name, asked in functions(fitted).items():
        path = folder / f"{name}.pt2"
        torch.export.save(program(asked), path)
        paths.append(path)
    return paths


def to_onnx(fitted: Fitted, folder: Path) -> list[Path]:
    """<name>.onnx of each function. Needs the extra `onnx`."""
    asked = functions(fitted).items()
    return [onnx_file(one, folder / f"{name}.onnx", [name]) for name, one in asked]


def onnx_file(asked: Asked, path: Path, outputs: list[str]) -> Path:
    """One function as an ONNX file; returns its path."""
    needed("onnxscript", "onnx")
    with _unheard():
        torch.onnx.export(
            program(asked),
            (),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=list(asked.inputs),
            output_names=outputs,
        )
    return path


@contextmanager
def _unheard() -> Iterator[None]:
    """Without what PyTorch says of itself: operators of torchvision, which no model here has, and a
    function of its own that it will drop.
    """

    def of_ours(record: logging.LogRecord) -> bool:
        return "torchvision is not installed" not in record.getMessage()

    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    logger.addFilter(of_ours)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
            yield
    finally:
        logger.removeFilter(of_ours)


def to_csv(fitted: Fitted, folder: Path) -> list[Path]:
    """metrics.csv, a row for each log step, and results.csv, a row for each number; what there is."""
    return [
        _table(folder / f"{name}.csv", rows)
        for name, rows in (("metrics", fitted.run.metrics()), ("results", fitted.run.results()))
        if rows
    ]


def _table(path: Path, rows: list[dict[str, Any]]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, names)
    table.writeheader()
    table.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    write_text(path, text.getvalue())
    return path


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def to_tensorboard(fitted: Fitted, folder: Path) -> list[Path]:
    """An event file with the curves of training and the pictures of the run. Needs the extra
    `trackers`.
    """
    with tracker("tensorboard", folder, fitted.run.path.name, to_dict(fitted.recipe)) as told:
        for row in fitted.run.metrics():
            step = int(row["step"])
            told.record(step, {name: x for name, x in row.items() if name != "step"})
        for path in sorted(fitted.run.path.glob("samples/*.png")):
            told.picture(fitted.recipe.training.steps, path.stem, path)
    return [folder]


def to_slim(fitted: Fitted, folder: Path) -> list[Path]:
    """The two files that load: settings and averaged weights."""
    return [_copied(fitted.run, name, folder) for name in SLIM]


def to_zoo(fitted: Fitted, folder: Path) -> list[Path]:
    """The run as the zoo holds it: settings, what was measured, and weights in half precision, a
    mixture's as products of thin matrices.
    """
    return pack(fitted.run, folder)


def _copied(run: Run, name: str, folder: Path) -> Path:
    shutil.copyfile(run.path / name, folder / name)
    return folder / name


def to_hub(fitted: Fitted, folder: Path) -> list[Path]:
    """A folder as a repository of the Hugging Face Hub has it: the files that load, what was
    measured, and a model card, README.md. Needs the extra `hub`.
    """
    there = [name for name in CARD if (fitted.run.path / name).exists()]
    paths = [_copied(fitted.run, name, folder) for name in (*SLIM, *there)]
    card = folder / README
    if not (fitted.run.path / README).exists():
        write_text(card, model_card(fitted))
        return [*paths, card]
    return [*paths, _copied(fitted.run, README, folder)]


def model_card(fitted: Fitted) -> str:
    """The card of a run: its metadata as the Hub reads them, how to load it, what was measured."""
    hub = needed("huggingface_hub", "hub")
    recipe, data = fitted.recipe, fitted.run.config["data"]
    name = fitted.run.path.name
    metadata = hub.ModelCardData(
        library_name="gradlogp",
        tags=["energy-based-model", "score-matching", "gradlogp"],
        model_name=name,
        eval_results=[
            hub.EvalResult(
                task_type="unconditional-image-generation",
                dataset_type=str(data["name"]),
                dataset_name=str(data["name"]),
                metric_type=row["metric"],
                metric_value=row["value"],
            )
            for row in _measured(fitted.run)
        ],
    )
    rows = [
        f"| {row['metric']} | {row['value']:.4g} | {row.get('stderr') or ''} | {row['n']} |"
        for row in _measured(fitted.run)
    ]
    about = fitted.run.about
    made = f"gradlogp {about.get('gradlogp')}, commit {about.get('commit')}, seed {recipe.seed}"
    return "\n".join(
        [
            f"---\n{metadata.to_yaml()}\n---\n\n# {name}\n",
            f"{recipe.title()}, trained on {data['name']} ({made}).\n\n{recipe.about()}\n",
            "```python\nimport gradlogp\n",
            'samples, labels = gradlogp.load("hf:USER/REPOSITORY").draw(64)\n```\n',
            *(["| metric | value | stderr | n |\n|---|---|---|---|", *rows] if rows else []),
            "",
        ]
    )


def _measured(run: Run) -> list[dict[str, Any]]:
    """The rows that hold one finite number and no axes: those that a card can show."""
    return [
        row
        for row in run.results()
        if not row.get("axes") and isinstance(row["value"], (int, float)) and isfinite(row["value"])
    ]


def upload(folder: Path, repository: str) -> str:
    """Put a folder of `to_hub` into the repository user/name of the Hub, made where it is not
    there; the account is the one that huggingface_hub is logged in with. Returns its address.
    """
    api = needed("huggingface_hub", "hub").HfApi()
    address = api.create_repo(repository, exist_ok=True)
    api.upload_folder(folder_path=folder, repo_id=repository)
    return str(address)


EXPORTS: Mapping[str, Callable[[Fitted, Path], list[Path]]] = {
    "onnx": to_onnx,
    "pt2": to_pt2,
    "tensorboard": to_tensorboard,
    "csv": to_csv,
    "hub": to_hub,
    "slim": to_slim,
    "zoo": to_zoo,
}


def export(run: str | Path, to: str, folder: Path) -> list[Path]:
    """Write the run in another form into `folder`; returns what was written."""
    fitted = load(run, "cpu")
    make_folder(folder)
    return EXPORTS[to](fitted, folder)
