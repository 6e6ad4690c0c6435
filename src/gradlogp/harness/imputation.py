"""Missing entries of examples of one's own, filled in by a trained model: the empty cells of rows."""

import torch
from torch import Tensor

from gradlogp import tasks
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Listener
from gradlogp.harness.fit import Fitted


def require_completing(fitted: Fitted) -> None:
    """Raises UserError for a model whose chains are not of examples, so that none can be pinned."""
    if tuple(fitted.sampling().shape) != tuple(fitted.spec.shape):
        raise UserError(
            f"{fitted.recipe.experiment} draws in one pass and cannot complete an example; take an"
            " energy or a score."
        )


def impute(
    fitted: Fitted,
    x: Tensor,
    n: int = 16,
    seed: int = 0,
    cls: int | None = None,
    listener: Listener | None = None,
) -> Tensor:
    """Examples x [B, *shape] in the data's own range with the mean of `n` completions in place of
    every NaN, and all else as it is.

    cls: of this class (conditional models; by default of any). Raises UserError for examples of
    another shape, infinite entries, and a model that cannot complete.
    """
    spec = fitted.spec
    require_completing(fitted)
    if tuple(x.shape[1:]) != tuple(spec.shape) or x.isinf().any():
        raise UserError(
            f"expected {spec.coordinates.plural} of shape [n, {', '.join(map(str, spec.shape))}] of"
            f" finite numbers, NaN where one is missing, got {list(x.shape)}"
            f"{' with infinity among them' if x.isinf().any() else ''}."
        )
    free = x.isnan()
    y = spec.coordinates.to_model(x).float().masked_fill(free, 0)
    cond = None if cls is None else fitted.asked(len(x), cls)
    filled = tasks.impute(fitted.sampling(), y, free, n, seed, cond, spec.std, listener=listener)
    return torch.where(free, filled.to(x.dtype), x)
