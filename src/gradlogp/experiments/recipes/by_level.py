r"""What a noise-conditional score has learned, level by level.

With the weight :math:`\sigma^2` the loss of a level per dimension is
:math:`\ell(\sigma) = \tfrac{1}{2D} E\|\sigma s(x) + \varepsilon\|^2`. Of the exact score
:math:`E[s \cdot \varepsilon] = -\sigma E\|s\|^2`, so its length and its loss are one number,

.. math:: \frac{\sigma^2}{D} E\|s(x)\|^2 = 1 - 2\,\ell(\sigma) ,

near 1 at noise that hides the data: there :math:`\|s\|^2 = D/\sigma^2`. Gaussian data whose
covariance has the eigenvalues :math:`\lambda_j` have
:math:`\ell = \tfrac12 \overline{\lambda_j / (\lambda_j + \sigma^2)}`, the best that a linear score
can do.

Reference: Song & Ermon (2019), Generative Modeling by Estimating Gradients of the Data
Distribution, arXiv 1907.05600, section 4.2 (the length of the score).
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gradlogp.core.fields import NoisyField
from gradlogp.core.random import normal_, seeded
from gradlogp.data import Dataset
from gradlogp.harness.fit import Fitted
from gradlogp.harness.recipe import specify
from gradlogp.harness.record import Recorder
from gradlogp.metrics.base import Measure, standard_error
from gradlogp.models.gaussian import LARGEST
from gradlogp.objectives.denoising import squared_error

MEASURED = 20_000  # training examples whose covariance is taken
EXAMPLES = 500  # of the test part
SHOWN = 3
AVERAGED, LAST = "averaged", "of the last update"


class AtLevel(NamedTuple):
    """For each example [n]: the loss per dimension, and sigma^2 |s|^2 per dimension."""

    loss: Tensor
    length: Tensor


def eigenvalues(data: Dataset) -> Tensor:
    """Of the covariance of the training examples, [D], in float64."""
    x = specify(data).coordinates.to_model(data.train.scaled(slice(0, MEASURED)))
    return torch.linalg.eigvalsh(x.flatten(1).double().T.cov()).clamp(min=0)


def linear_loss(spectrum: Tensor, sigma: float) -> float:
    """The loss per dimension of the best linear score, on data with the eigenvalues `spectrum`."""
    return float((spectrum / (spectrum + sigma**2)).mean()) / 2


def at_level(
    field: NoisyField, x0: Tensor, sigma: float, noise: Tensor, batch: int = 250
) -> AtLevel:
    """x0 and noise [n, *shape]."""
    dim = x0[0].numel()
    loss, length = [], []
    with torch.no_grad():
        for clean, eps in zip(x0.split(batch), noise.split(batch), strict=True):
            level = clean.new_full((len(clean),), sigma)
            error = squared_error(field, clean, level, eps)
            x = clean + sigma * eps
            pull = (field.denoise(x, level) - x).flatten(1).square().sum(1)  # sigma^4 |s|^2
            loss.append(error / (2 * sigma**2 * dim))
            length.append(pull / (sigma**2 * dim))
    return AtLevel(torch.cat(loss), torch.cat(length))


def study(fitted: Fitted, data: Dataset, recorder: Recorder) -> None:
    """Loss and length of the score at `evaluation.levels` levels, of the averaged weights and of the
    last; and a picture of what it sees, says and restores at each. Of examples of more numbers than
    a covariance is taken of there is nothing to compare with, which is said.
    """
    levels = ladder(fitted)
    if not levels:
        return
    if (numbers := math.prod(fitted.spec.shape)) > LARGEST:
        return recorder.listener.say(
            f"not measured level by level: the best linear score of {numbers:,} numbers is beyond the"
            f" {LARGEST:,} that a covariance is taken of."
        )
    spectrum = eigenvalues(data)
    x = fitted.spec.coordinates.to_model(data.test.scaled(slice(0, EXAMPLES))).to(fitted.device)
    noise = normal_(torch.empty_like(x), seeded(recorder.seed, "by level", device=fitted.device))
    model: Any = fitted.model
    averaged = {name: value.clone() for name, value in model.state_dict().items()}
    _show(fitted, x[:SHOWN], noise[:SHOWN], levels, recorder)
    for which, weights in ((AVERAGED, averaged), (LAST, fitted.run.load("weights")[0])):
        model.load_state_dict(weights)
        for sigma in levels:
            found = at_level(model.field(), x, sigma, noise)
            for measured in measures(found, linear_loss(spectrum, sigma)):
                recorder.add(measured, axes={"level": sigma, "weights": which})
    model.load_state_dict(averaged)


def ladder(fitted: Fitted) -> list[float]:
    """Levels at equal ratios, from the coarsest of the sampler's to its finest."""
    settings: Any = fitted.recipe
    n, all_of_them = settings.evaluation.levels, [s for s in settings.sampler.ladder if s > 0]
    high, low = all_of_them[0], all_of_them[-1]
    return [high * (low / high) ** (i / max(1, n - 1)) for i in range(n)]


def measures(found: AtLevel, linear: float) -> list[Measure]:
    """The loss per dimension beside that of the best linear score, as a share of it, and the score's
    length.
    """
    n, loss, share = len(found.loss), float(found.loss.mean()), found.loss / linear
    said = (
        f"per dimension, weight sigma^2, the same noise for all; standard error over {n} examples"
    )
    length = float(found.length.mean())
    return [
        Measure("level_loss", loss, standard_error(found.loss), n, "lower", said, trivial=linear),
        Measure("level_share", loss / linear, standard_error(share), n, "lower", said, trivial=1.0),
        Measure(
            "score_length", length, standard_error(found.length), n, "none", said, 1 - 2 * loss
        ),
    ]


def _show(
    fitted: Fitted, clean: Tensor, noise: Tensor, levels: list[float], recorder: Recorder
) -> None:
    """Three rows for each example, the levels across: with noise, the score, restored."""
    kind, model = fitted.spec.coordinates, fitted.model
    rows = []
    with torch.no_grad():
        for x0, eps in zip(clean, noise, strict=True):
            level = torch.tensor(levels, device=x0.device, dtype=x0.dtype)
            sigma = level.view(-1, *[1] * x0.ndim)
            x = x0 + sigma * eps
            denoised = model.field().denoise(x, level)  # type: ignore[operator]
            rows += [x / (1 + sigma**2).sqrt(), (denoised - x) / sigma, denoised]
    said = ", ".join(f"{sigma:.2g}" for sigma in levels)
    caption = (
        "Three rows for each of three test examples: with noise, at one scale; the score times the"
        f" noise level; the posterior mean. Noise levels, in model coordinates: {said}."
    )
    shown = kind.from_model(torch.cat(rows)).cpu()
    kind.preview(recorder.figure("levels", caption), shown, columns=len(levels))
