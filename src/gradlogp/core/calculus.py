r"""Derivatives of fields: :math:`\nabla\cdot s = \sum_i \partial s_i / \partial x_i` and :math:`\Delta E = -\nabla\cdot s`.

Exact, by one vector-Jacobian product for each dimension: meant for closed-form checks and small problems.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def divergence(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The exact divergence [B] of a vector field (B, *shape) -> (B, *shape)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        value = function(x).flatten(1)
        rows = [torch.autograd.grad(value[:, i].sum(), x, retain_graph=True)[0].flatten(1)[:, i]
                for i in range(value.shape[1])]
    return torch.stack(rows).sum(0)
