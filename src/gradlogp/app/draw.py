"""The view of drawing: what a model makes of a picture while a hand draws it."""

import base64
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
from gradlogp.harness.recipe import Restoration

CHOICE = 8  # validation pictures that an energy's weight is chosen on
LEVELS = (0.1, 0.2, 0.3, 0.5)  # of noise for which an energy chooses one


def answer(library: Library, ask: Drawing) -> dict[str, Any]:
    """The restored picture, the energy and the score of what was drawn, and its class."""
    fitted = library.fitted(ask.run)
    x = drawing(fitted, ask.pixels)
    return {
        **_restored(library, ask, fitted, x),
        **_energy(fitted, x, ask.sigma),
        **_class(library, ask.run, x),
    }


def _restored(library: Library, ask: Drawing, fitted: Fitted, x: Tensor) -> dict[str, Any]:
    try:
        restoration = _restoration(library, ask, fitted)
    except UserError as error:
        return {"restored": None, "says": str(error)}
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


def _energy(fitted: Fitted, x: Tensor, sigma: float) -> dict[str, Any]:
    """The energy and the score at x: of a model with levels, the score at the level of the slider."""
    model: Any = fitted.model
    kind = fitted.spec.coordinates
    y = kind.to_model(x).to(fitted.device)
    field = model.field() if hasattr(model, "field") else None
    if isinstance(field, NoisyField):
        field = field.at(kind.gain * sigma)
    if not isinstance(field, Field):
        return {"energy": None, "score": None}
    with torch.no_grad():
        energy = float(field.energy(y)) if field.has_energy else None
        score = field.score(y).cpu()[0].mean(0)
    return {
        "energy": energy,
        "score": finite((score / score.abs().max().clamp(min=1e-12)).flatten()),
    }


def _class(library: Library, name: str, x: Tensor) -> dict[str, Any]:
    found = library.classifier(name)
    if found is None:
        return {"classes": None, "by": ""}
    logits, by = found
    return {"classes": finite(tasks.probabilities(logits, x)[0]), "by": by}


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
