"""Where chains begin, instead of at noise: at draws of a mixture of principal components.

The mixture is fitted to the training part in closed form, in seconds, before learning begins, and
travels with the weights. Its draws are blurred examples; the model only has to do what the mixture
cannot.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

from torch import Generator, nn

from gradlogp.core.batch import Batch
from gradlogp.core.errors import at_least
from gradlogp.harness.recipe import DataSpec, Target
from gradlogp.models import PrincipalMixture, Proposed

EXAMPLES_EACH = 40  # of the training part for each component, at least
STORY = (
    "Before it learns, a **mixture** of Gaussians ({components}, of {rank} principal components each) is"
    " fitted to the training part, in closed form and in seconds. Its draws are blurred examples, and"
    " there the chains begin: the network only has to do what the mixture cannot."
)


@final
@dataclass(frozen=True)
class Proposal:
    """The mixture that chains begin at: its components, 0 for none (chains begin at noise), and
    their rank.
    """

    components: int = 0
    rank: int = 6

    def __post_init__(self) -> None:
        at_least(0, components=self.components)
        at_least(1, rank=self.rank)

    def of(self, target: Target) -> "Proposal":
        """With no more components than the examples of `target` can fill."""
        most = max(1, target.examples // EXAMPLES_EACH)
        return replace(self, components=min(self.components, most))

    def around(self, model: Any, spec: DataSpec) -> Any:
        """`model` together with the mixture, not yet fitted; `model` itself where there is none."""
        if self.components == 0:
            return model
        return Proposed(model, PrincipalMixture(spec.shape, self.components, self.rank))

    def story(self) -> list[str]:
        return [STORY.format(components=self.components, rank=self.rank)] * bool(self.components)


def serves(target: Target) -> bool:
    """Whether recipes begin at a mixture by default: with volumes, and with pictures of more than
    twelve pixels a side.
    """
    return target.kind in ("picture", "volume") and not target.small


def fit_mixture(model: nn.Module, examples: Callable[[], Batch], generator: Generator) -> None:
    """Fit the mixture of `model`, if it has one, to the training examples."""
    if isinstance(model, Proposed):
        model.proposal.fit(examples().x, generator)
