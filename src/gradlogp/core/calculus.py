r"""Derivatives of fields: the divergence :math:`\nabla\cdot s = \sum_i \partial s_i/\partial x_i =
\operatorname{tr} J`, the Laplacian :math:`\Delta E = -\nabla\cdot s`, and products with Jacobians
and Hessians.

Exact traces take one vector-Jacobian product for each dimension. Hutchinson's takes one for each
probe v,

.. math:: \operatorname{tr} J = E[v^\top J\, v], \qquad E[v v^\top] = I,

without bias. With S the symmetric part of J, one probe has variance :math:`2\sum_{i \ne j}
S_{ij}^2` where its entries are -1 or 1 (Rademacher, the least that independent entries can have:
none at all where S is diagonal), and :math:`2\sum_{ij} S_{ij}^2` where they are normal. Probes are
tensors, drawn once: a solver that meets the same ones at every step follows a single smooth
function.

Where gradients are enabled the results can be differentiated, in x and in the weights; under
torch.no_grad they carry no graph.

References: Hutchinson (1990), A Stochastic Estimator of the Trace of the Influence Matrix;
Grathwohl et al. (2019), FFJORD, arXiv 1810.01367, section 3.1 (probes fixed for a solve); Song et
al. (2019), Sliced Score Matching, arXiv 1905.07088.
"""

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor

from gradlogp.core.fields import Field, leaf, recording
from gradlogp.core.random import Randomness, normal_, uniform_

VectorField = Callable[[Tensor], Tensor]  # (B, *shape) -> (B, *shape)


def draw_probes(
    x: Tensor,
    count: int,
    generator: Randomness,
    distribution: Literal["rademacher", "gaussian"] = "rademacher",
) -> Tensor:
    """`count` random directions for each row of x [B, *shape], [count, B, *shape]."""
    if count < 1 or distribution not in ("rademacher", "gaussian"):
        raise ValueError(
            f"expected count >= 1 and a distribution 'rademacher' or 'gaussian', got {count} and {distribution!r}."
        )
    probes = x.new_empty(count, *x.shape)
    for v in probes:
        (
            normal_(v, generator)
            if distribution == "gaussian"
            else uniform_(v, generator).round_().mul_(2).sub_(1)
        )
    return probes


def products(
    function: VectorField, x: Tensor, vectors: Iterable[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """The value at x [B, *shape], and :math:`v^\\top J` for each v [B, *shape] of `vectors`, from
    one forward pass.
    """
    graph = torch.is_grad_enabled()
    with recording():
        x = x if graph and x.requires_grad else _leaf(x)
        value = function(x)
        if value.shape != x.shape:
            raise ValueError(
                f"a vector field has the shape of x, {list(x.shape)}, but this one gave"
                f" {list(value.shape)}; pass the score of an energy, not the energy."
            )
        rows = [_pull(value, x, v, graph) for v in vectors]
    return value if graph else value.detach(), rows


def _leaf(x: Tensor) -> Tensor:
    try:
        return leaf(x)
    except RuntimeError as error:
        raise ValueError(
            "divergences and products with Jacobians do not go through vmap, jvp and their kin; take"
            " them outside, or torch.func.jacrev of the score inside."
        ) from error


def _pull(value: Tensor, x: Tensor, v: Tensor, graph: bool) -> Tensor:
    if not value.requires_grad:  # a constant field
        return torch.zeros_like(x)
    if v.shape != x.shape:
        raise ValueError(
            f"expected a vector of the shape of x, {list(x.shape)}, got {list(v.shape)}; "
            "draw_probes(x, ...) draws such vectors."
        )
    (row,) = torch.autograd.grad(
        value, x, v, retain_graph=True, create_graph=graph, materialize_grads=True
    )
    return row


def _axes(x: Tensor) -> Iterable[Tensor]:
    """The unit vectors of x [B, *shape], one at a time."""
    for i in range(x[0].numel()):
        axis = torch.zeros_like(x).flatten(1)
        axis[:, i] = 1
        yield axis.reshape(x.shape)


def with_divergence(
    function: VectorField, x: Tensor, probes: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The value [B, *shape] and the divergence [B] at x: exact, or Hutchinson's mean over probes
    [n, B, *shape].
    """
    if probes is None:
        value, rows = products(function, x, _axes(x))
        return value, torch.stack([row.flatten(1)[:, i] for i, row in enumerate(rows)]).sum(0)
    value, rows = products(function, x, probes)
    return value, torch.stack(
        [(row * v).flatten(1).sum(1) for row, v in zip(rows, probes, strict=True)]
    ).mean(0)


def divergence(function: VectorField, x: Tensor, probes: Tensor | None = None) -> Tensor:
    """The divergence [B] of a vector field at x [B, *shape]: exact, or Hutchinson's mean over
    probes [n, B, *shape].
    """
    return with_divergence(function, x, probes)[1]


def laplacian(field: Field, x: Tensor, probes: Tensor | None = None) -> Tensor:
    """The Laplacian of the energy, [B], the trace of its Hessian: minus the divergence of the
    score.
    """
    return -divergence(field.score, x, probes)


def hessian_vector(field: Field, x: Tensor, v: Tensor) -> Tensor:
    """The energy's Hessian at x times v, [B, *shape], never formed; of a score that has no energy,
    its -J transposed.
    """
    return -products(field.score, x, [v])[1][0]


def jacobian(function: VectorField, x: Tensor) -> Tensor:
    """All of J, [B, D, D] with D the entries of an example and J[b, i, j] = d value_i / d x_j: for
    small D.
    """
    return torch.stack([row.flatten(1) for row in products(function, x, _axes(x))[1]], 1)
