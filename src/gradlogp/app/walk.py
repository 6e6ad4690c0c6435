"""A walk that is watched: chains that take some steps whenever a frame is asked for.

`core.kernel.run` takes all its steps at once. Here whoever watches decides when the next ones are
taken, so that a person can pause, step on, or move a chain by hand; the steps are the sampler's
own, and noise is drawn in the same order, so that paused or not it is the same walk.
"""

from typing import Any

import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.core.fields import Field
from gradlogp.core.kernel import NotFinite, check_state
from gradlogp.core.random import Streams
from gradlogp.tasks import Sampling


class Walk:
    """Chains of `how` from noise, or from `start` [n, *shape] in model coordinates; cond [n]."""

    def __init__(
        self,
        how: Sampling[Any],
        n: int,
        seed: int,
        cond: Tensor | None = None,
        start: Tensor | None = None,
    ) -> None:
        self.how = how
        self.streams = Streams(seed, 0, n, how.device)
        self.field = how.field(None if cond is None else cond.to(how.device))
        x = how.prior(torch.empty(n, *how.shape, device=how.device), self.streams)
        self.taken = 0
        self.info: Any = None
        self.moved = torch.zeros(n)
        self.begin(x if start is None else start.to(how.device))

    def begin(self, x: Tensor) -> None:
        """Go on from x [n, *shape]."""
        with torch.inference_mode(False), torch.no_grad():
            self.state = self.how.sampler.init(self.field, check_state(x))

    @property
    def x(self) -> Tensor:
        return self.state.x

    @property
    def last(self) -> int | None:
        """The step after which a sampler ends of itself; None for one that never does."""
        return getattr(self.how.sampler, "steps", None)

    def advance(self, steps: int) -> None:
        """Take `steps` steps, or as many as there are left. Raises UserError where a chain has left
        the numbers.
        """
        left = steps if self.last is None else min(steps, self.last - self.taken)
        with torch.inference_mode(False), torch.no_grad():
            for _ in range(left):
                before = self.x.clone()
                self.state, self.info = self.how.sampler.step(self.field, self.state, self.streams)
                self.taken += 1
        if left > 0:
            self._look(before)

    def _look(self, before: Tensor) -> None:
        """How far the last step moved each chain, as `core.diagnose` has it."""
        try:
            check_state(self.x, f"after {self.taken} steps", "take a smaller step or begin again")
        except NotFinite as error:
            raise UserError(str(error)) from error
        if before.shape == self.x.shape:
            self.moved = (self.x - before).flatten(1).norm(dim=1).cpu()

    def energy(self) -> Tensor | None:
        """E of each chain, [n]; None where the field is a score and nothing more."""
        if not (isinstance(self.field, Field) and self.field.has_energy):
            return None
        with torch.no_grad():
            return self.field.energy(self.x).detach().cpu()

    @property
    def level(self) -> float | None:
        """The noise level of the last step, where the sampler walks down levels."""
        sigma = getattr(self.info, "sigma", None)
        return None if sigma is None else float(torch.as_tensor(sigma).double().mean())

    @property
    def accept(self) -> float | None:
        """The mean acceptance of the last step, where there is a test."""
        accept = getattr(self.info, "accept", None)
        return None if accept is None else float(accept.double().mean())
