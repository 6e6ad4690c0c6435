"""ArviZ: chains as it takes them, an xarray DataTree with a posterior and, where there are
energies, `sample_stats.lp` = -E.

    traces [chains, steps, *quantities]  ->  to_arviz({"x": traces}, energy)

Effective sample sizes and R-hat are ArviZ's own definitions already (`metrics.mcmc`): its "mean"
ESS, not the "bulk" one that it shows by default. Its plots and its tables are what this is for.

Reference: Kumar et al. (2019), ArviZ, a unified library for exploratory analysis of Bayesian
models, JOSS 4(33).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gradlogp.bridges.missing import needed
from gradlogp.core.errors import UserError


def to_arviz(chains: Tensor | Mapping[str, Tensor], energy: Tensor | None = None) -> Any:
    """chains [chains, steps, *quantities], one or by name, and their energies [chains, steps], as a
    DataTree. Raises UserError where their first two sizes differ. Needs the extra `arviz`.
    """
    library = needed("arviz_base", "arviz")
    named = {"x": chains} if isinstance(chains, Tensor) else dict(chains)
    every = {**named, **({} if energy is None else {"lp": energy})}
    sizes = {name: tuple(x.shape[:2]) for name, x in every.items()}
    if len(set(sizes.values())) != 1 or any(len(size) < 2 for size in sizes.values()):
        raise UserError(f"expected traces [chains, steps, ...] of one length, got {sizes}.")
    groups = {"posterior": {name: _array(x) for name, x in named.items()}}
    if energy is not None:
        groups["sample_stats"] = {"lp": -_array(energy)}
    return library.from_dict(groups)


def _array(x: Tensor) -> Any:
    return x.detach().cpu().numpy()
