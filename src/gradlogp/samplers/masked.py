r"""Conditional sampling by any sampler: what the mask pins stays as it is, what it frees follows
the exact conditional law.

.. math:: p(x_\text{free} \mid x_\text{pinned}) \propto e^{-E(x)} \quad\Rightarrow\quad
          s(x_\text{free} \mid x_\text{pinned}) = s(x)_\text{free} ,

so a score and noise that are zero where x is pinned make of every chain for p(x) one for the
conditional law: Langevin keeps its own bias and no more, a Metropolis test stays exact, since the
pinned coordinates neither move nor enter it. Discrete samplers (Gibbs and its kin) read the mask
itself, and leave the pinned sites out. This is inpainting without the bias of replacement: on the
Gaussian of the tests the conditional mean is 1.2, and replacement draws .74.
"""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from gradlogp.core import random
from gradlogp.core.conditioned import MaskedField
from gradlogp.core.fields import Field
from gradlogp.core.kernel import Sampler
from gradlogp.core.random import Randomness


@final
@dataclass(frozen=True)
class Masked:
    """Any sampler of one law, continuous or discrete, of the conditional law of x where `mask` is
    True given the rest.

    mask is bool, True = free, [*shape] for all examples or [B, *shape] for each its own. The pinned
    values are those of the start. GibbsLangevin alone takes none.
    """

    sampler: Sampler[Field, Any]
    mask: Tensor

    def __post_init__(self) -> None:
        if self.mask.dtype != torch.bool:
            raise ValueError(
                f"a mask says True (free) or False (pinned), but this one holds {self.mask.dtype};"
                " pass mask.bool()."
            )

    @property
    def kind(self) -> str:
        return str(getattr(self.sampler, "kind", "density"))

    @property
    def scaling(self) -> float:
        return float(getattr(self.sampler, "scaling", 0.0))

    def init(self, field: Field, x: Tensor) -> Any:
        if self.mask.shape not in (x.shape, x.shape[1:]):
            raise ValueError(
                f"expected a mask of shape {list(x.shape[1:])}, for all, or {list(x.shape)}, for"
                f" each its own, got {list(self.mask.shape)}; expand it to one of the two."
            )
        return self.sampler.init(MaskedField(field, self.mask), x)

    def step(self, field: Field, state: Any, generator: Randomness) -> tuple[Any, Any]:
        return self.sampler.step(
            MaskedField(field, self.mask), state, random.Masked(generator, self.mask)
        )
