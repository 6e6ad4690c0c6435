"""The view of strange examples: the score of a file, or of a drawing, against those of test
examples, as `gradlogp detect` has them.
"""

import base64
import binascii
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradlogp.app.asks import Odd
from gradlogp.app.chains import finite
from gradlogp.app.draw import encoded
from gradlogp.app.library import Library, drawing
from gradlogp.core.errors import UserError
from gradlogp.harness.detection import Scores, Threshold, model_scores, threshold
from gradlogp.harness.forms import Form, form_of

SHARE = 0.05  # of normal examples that may be called strange
SCORED = 300  # validation and test examples
BINS = 40
MOST = 200  # rows of a table, or files, at a time


@dataclass(frozen=True)
class Usual:
    """What is usual: the scores of test examples, and how a score is made."""

    form: Form
    score: Scores
    by: str
    limit: Threshold
    test: Tensor


def usual(library: Library, name: str) -> Usual:
    def measured() -> Usual:
        fitted, data = library.fitted(name), library.dataset(name)
        normal = data.validation.scaled(slice(0, SCORED))
        score, by = model_scores(fitted, normal)
        limit = threshold(score(normal), SHARE, clean=True)
        return Usual(
            form_of(fitted.spec, data), score, by, limit, score(data.test.scaled(slice(0, SCORED)))
        )

    return library.kept(name, "usual", measured)


def histogram(library: Library, name: str) -> dict[str, Any]:
    """Counts of the test examples' scores between `low` and `high`, and the threshold."""
    found = usual(library, name)
    scores = found.test.double()
    low, high = float(scores.min()), max(float(scores.max()), found.limit.value)
    counts = torch.histc(scores, BINS, low, high)
    return {
        "counts": [int(c) for c in counts],
        "low": low,
        "high": high,
        "n": len(scores),
        "threshold": found.limit.value,
        "says": found.limit.says,
        "by": found.by,
    }


def scored(library: Library, ask: Odd) -> dict[str, Any]:
    """The score of each example of the file, or of the drawing, and the share of test examples that
    score higher.
    """
    found = usual(library, ask.run)
    x, names = _given(library, ask, found.form)
    scores = found.score(x).double()
    above = [float((found.test.double() > s).double().mean()) for s in scores]
    shape = list(x.shape[1:])
    seen = encoded((x[0] * 255).round().clamp(0, 255).byte()) if len(shape) == 3 else None
    return {
        "names": list(names),
        "scores": finite(scores),
        "above": above,
        "strange": (scores > found.limit.value).tolist(),
        "shape": shape,
        "pixels": seen,
    }


def _given(library: Library, ask: Odd, form: Form) -> tuple[Tensor, Sequence[str]]:
    if (ask.content is None) == (ask.pixels is None):
        raise UserError("expected a file or a drawing, one of the two.")
    if ask.pixels is not None:
        return drawing(library.fitted(ask.run), ask.pixels), ["your drawing"]
    assert ask.content is not None
    return _read(ask.content, ask.ending, form)


def _read(content: str, ending: str, form: Form) -> tuple[Tensor, Sequence[str]]:
    """The examples of an uploaded file, which is called `upload` here whatever it was there."""
    try:
        data = base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise UserError(f"the file did not come as base64 ({error}); choose it again.") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{ending}"
        path.write_bytes(data)
        try:
            items = form.read([path])
        except UserError as error:
            raise UserError(str(error).replace(f"{folder}/", "")) from error
        wrong = [line.replace(f"{folder}/", "") for line in items.wrong]
    if not len(items):
        raise UserError("; ".join(wrong) or "the file holds no example.")
    return items.x[:MOST], items.names[:MOST]
