"""The view of drawing: what a model makes of a picture while a hand draws it."""

import base64
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gradlogp import tasks
from gradlogp.app.asks import Drawing, Example
from gradlogp.app.chains import finite
from gradlogp.app.library import Library, drawing
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Field, NoisyField
from gradlogp.harness import Fitted
from gradlogp.harness.evaluator import own_logits
from gradlogp.harness.recipe import Restoration

CHOICE = 8  # validation pictures that an energy's weight is chosen on
LEVELS = (0.1, 0.2, 0.3, 0.5)  # of noise for which an energy chooses one


def weighed(library: Library, ask: Drawing) -> dict[str, Any]:
    """The energy of what was drawn, the score there, and its class; energy and class by another
    model of the same data where this one has none.
    """
    x = drawing(library.fitted(ask.run), ask.pixels)
    return {
        **_energy(library, ask.run, x),
        "score": _score(library.fitted(ask.run), x, ask.sigma),
        **_class(library, ask.run, x),
    }


def restored(library: Library, ask: Drawing) -> dict[str, Any]:
    """What the model takes the drawing for, if it were a picture with noise `sigma` added."""
    fitted = library.fitted(ask.run)
    x = drawing(fitted, ask.pixels)
    restoration = _restoration(library, ask, fitted)
    pixels = (restoration.restore(x)[0] * 255).round().clamp(0, 255).byte()
    return {"restored": encoded(pixels), "says": restoration.says}


def _restoration(library: Library, ask: Drawing, fitted: Fitted) -> Restoration:
    """How the model restores. An energy is told its weight on a few validation pictures, once for
    each of LEVELS; a score has nothing to choose.
    """
    if not fitted.recipe.takes_steps:
        none = torch.empty(0, *fitted.spec.shape)
        return fitted.recipe.restoration(fitted.model, fitted.spec, none, ask.sigma, 0)
    sigma = min(LEVELS, key=lambda level: abs(level - ask.sigma))

    def choose() -> Restoration:
        some = library.dataset(ask.run).validation.scaled(slice(0, CHOICE))
        return fitted.recipe.restoration(fitted.model, fitted.spec, some, sigma, 0)

    return library.kept(ask.run, f"restoration {sigma}", choose)


def _field(fitted: Fitted) -> Field | NoisyField | None:
    model: Any = fitted.model
    return model.field() if hasattr(model, "field") else None


def _energy(library: Library, name: str, x: Tensor) -> dict[str, Any]:
    def own(fitted: Fitted) -> float | None:
        field = _field(fitted)
        if not (isinstance(field, Field) and field.has_energy):
            return None
        y = fitted.spec.coordinates.to_model(x).to(fitted.device)
        with torch.no_grad():
            return float(field.energy(y))

    found = library.nearest(name, own)
    return {"energy": found and found[0], "energy_by": found and found[1]}


def _score(fitted: Fitted, x: Tensor, sigma: float) -> list[float | None] | None:
    """The score at x over its largest entry, the mean of the channels; of a model with levels at
    noise `sigma` in the data's own range. None for a model that has none.
    """
    kind, field = fitted.spec.coordinates, _field(fitted)
    if isinstance(field, NoisyField):
        field = field.at(kind.gain * sigma)
    if field is None:
        return None
    with torch.no_grad():
        score = field.score(kind.to_model(x).to(fitted.device)).cpu()[0].mean(0)
    return finite((score / score.abs().max().clamp(min=1e-12)).flatten())


def _class(library: Library, name: str, x: Tensor) -> dict[str, Any]:
    """By the evaluation classifier, where one has been taught; else by a joint energy."""
    found = _classifier(library, name)
    if found is None:
        return {"classes": None, "classes_by": None, "taught": False}
    logits, by, taught = found
    classes = finite(tasks.probabilities(logits, x)[0])
    return {"classes": classes, "classes_by": by, "taught": taught}


def _classifier(library: Library, name: str) -> tuple[Callable[[Tensor], Tensor], str, bool] | None:
    try:
        evaluator = library.evaluator(name)
    except UserError:  # the data are not here; a joint energy needs none
        evaluator = None
    if evaluator is not None:
        return evaluator.logits, f"the {evaluator.name}", True
    found = library.nearest(name, own_logits)
    return None if found is None else (*found, False)


def teach(library: Library, name: str) -> dict[str, Any]:
    """Train the evaluation classifier of the data that a model learned, once, into the folder."""
    if library.folder is None:
        raise UserError("there is no folder to teach a classifier into; begin with --runs DIR.")
    evaluator = library.evaluator(name, teach=True)
    return {"taught": evaluator is not None}


def example(library: Library, ask: Example) -> dict[str, Any]:
    """A test example of the data that the model learned, as numbers."""
    fitted, data = library.fitted(ask.run), library.dataset(ask.run)
    if fitted.spec.kind != "picture":
        raise UserError(f"{ask.run} learned {fitted.spec.coordinates.plural}, which are not drawn.")
    index = ask.index % len(data.test)
    label = "" if data.test.labels is None else data.classes[int(data.test.labels[index])]
    pixels = (data.test.scaled(slice(index, index + 1))[0] * 255).round().byte()
    return {"pixels": encoded(pixels), "label": label, "index": index}


def encoded(pixels: Tensor) -> str:
    """Bytes as base64."""
    return base64.b64encode(pixels.contiguous().numpy().tobytes()).decode()
