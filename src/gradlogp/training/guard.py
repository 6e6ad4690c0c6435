"""The guard: it looks at every update *before* it is made, and says in words what is wrong.

An energy-based model that diverges does so without a word: the loss says nothing, and one
non-finite gradient makes every weight NaN at the next step. So, before each step:

| what the guard sees | what it does |
|---|---|
| NaN or infinity in the batch | leaves the batch out |
| a gradient that is not finite | rolls back to the last checkpoint, with a gentler learning rate |
| energies beyond `max_energy`, a gap that stays beyond 10 `max_gap`, a loss beyond `max_growth` times its best | the same |
| weights, or averaged weights, that are not finite when they are to be written | the same |
| more than `max_rollbacks` of those | stops, with the diagnosis |
| chains that hardly move, or that end far above the data for long | warns once, with the numbers and the setting to change |

What no update shows, samples that are worth nothing, is looked for when the training ends:
`health`.

References: Nijkamp et al. (2020), arXiv 1903.12370 (energy gap and gradient magnitude as health
signals); Du et al. (2021), Improved Contrastive Divergence, arXiv 2012.01316 (the energy's scale as
the sign of divergence).
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, final

import torch
from torch import Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError, at_least
from gradlogp.runs import Run

# Settings that ask what energies and chains do, and mean nothing where there are none.
OF_CHAINS = ("max_energy", "max_gap", "min_displacement")


class Diverged(UserError):
    """The run diverged more often than the guard may roll it back; the message is the diagnosis."""

    code = 3


class Verdict(Enum):
    STEP = "step"
    SKIP = "skip"
    ROLL_BACK = "roll back"


@final
@dataclass(frozen=True)
class GuardSettings:
    """max_energy: root mean square of the energies. min_displacement: mean |move| of a chain as a
    share of the data's range.
    """

    max_energy: float = 50.0
    max_growth: float = 20.0
    max_gap: float = 0.5
    min_displacement: float = 0.005
    lr_backoff: float = 0.2
    max_rollbacks: int = 5
    patience: int = 200  # steps over which the slow signals are averaged

    def __post_init__(self) -> None:
        at_least(1, patience=self.patience)
        at_least(
            0,
            max_rollbacks=self.max_rollbacks,
            max_energy=self.max_energy,
            max_growth=self.max_growth,
            lr_backoff=self.lr_backoff,
        )


@dataclass
class Guard:
    """`data_range` is the width of the interval that the data lie in; `max_displacement` the most a
    chain can move in one step.
    """

    settings: GuardSettings = field(default_factory=GuardSettings)
    data_range: float = 2.0
    max_displacement: float = math.inf
    rollbacks: int = 0
    came_from: int | None = None  # the checkpoint of the last roll-back
    chains: bool = False  # whether what is trained has chains, which have settings of their own
    skipped: int = 0
    seen: int = 0
    last_scale: float = 0.0
    running_mean: dict[str, float] = field(default_factory=dict)
    best_loss: float = math.inf
    warned: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def lr_scale(self) -> float:
        return self.settings.lr_backoff**self.rollbacks

    @property
    def healthy(self) -> bool:
        """Whether this is a state worth coming back to: energies and gap are far from their limits."""
        scale = max(self.last_scale, self.running_mean.get("energy_scale", 0.0))
        return (
            scale < self.settings.max_energy / 4
            and self.running_mean.get("gap", 0.0) < 2 * self.settings.max_gap
        )

    def check(
        self, step: int, batch: Batch, loss: float, grad_norm: float, info: Mapping[str, Tensor]
    ) -> Verdict:
        """What to do with the update of `step`, before it is made."""
        numbers = {k: float(v) for k, v in info.items()}
        self.chains = "displacement" in numbers
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return self._not_finite(step, batch, numbers)
        self.last_scale = numbers.get("energy_scale", 0.0)
        if self.last_scale > self.settings.max_energy:
            return self._roll_back(
                step,
                f"energies exploded: their root mean square is {self.last_scale:.3g}, the limit is "
                f"{self.settings.max_energy:g}",
            )
        self._follow(loss, numbers)
        if (gap := self.running_mean.get("gap", 0.0)) > 10 * self.settings.max_gap:
            return self._roll_back(
                step,
                f"chains end {gap:.3g} above the data in energy, step after step: the model outran"
                " them",
            )
        if "energy_scale" not in numbers and self._loss_grew():
            return self._roll_back(
                step,
                f"the loss rose to {self.running_mean['loss']:.3g}, from {self.best_loss:.3g} at best",
            )
        self._warn(step)
        return Verdict.STEP

    def weigh(self, step: int, finite: bool) -> Verdict:
        """What to do with weights, the averaged ones among them, that are to be written."""
        if finite:
            return Verdict.STEP
        return self._roll_back(step, "weights are not finite")

    def _not_finite(self, step: int, batch: Batch, numbers: Mapping[str, float]) -> Verdict:
        bad = int((~torch.isfinite(batch.x)).flatten(1).any(1).sum())
        if bad:
            self.skipped += 1
            self.say(
                step,
                f"the batch holds NaN or infinity in {bad} of {len(batch.x)} examples: left out. "
                "Look at the data",
            )
            return Verdict.SKIP
        culprits = [k for k, v in numbers.items() if not math.isfinite(v)] or ["the gradient alone"]
        return self._roll_back(step, f"the gradient is not finite ({', '.join(culprits)})")

    def _roll_back(self, step: int, why: str) -> Verdict:
        self.rollbacks += 1
        if self.rollbacks > self.settings.max_rollbacks:
            raise Diverged(
                f"training diverged at step {step}: {why}. It was rolled back {self.rollbacks - 1}"
                f" times, down to {self.lr_scale / self.settings.lr_backoff:.2g} of the learning rate,"
                f" and diverged again. {self._advice()}"
            )
        self.say(
            step,
            f"{why}: rolled back to the last checkpoint, the learning rate is now"
            f" {self.lr_scale:.2g} of its setting",
        )
        return Verdict.ROLL_BACK

    def _advice(self) -> str:
        if self.chains:
            return (
                "Lower training.learning_rate, raise energy_l2, or give the chains more steps"
                " (chain_steps)."
            )
        return "Lower training.learning_rate, or set training.grad_clip; look at the data's range."

    def _follow(self, loss: float, numbers: Mapping[str, float]) -> None:
        """Running means of the slow signals."""
        self.seen += 1
        keep = min(1 - 1 / self.settings.patience, self.seen / (self.seen + 1))
        for name, value in {**numbers, "loss": loss}.items():
            self.running_mean[name] = keep * self.running_mean.get(name, value) + (1 - keep) * value
        if self.seen >= self.settings.patience:
            self.best_loss = min(self.best_loss, self.running_mean["loss"])

    def _loss_grew(self) -> bool:
        """Only a loss that is never negative has a scale of its own to grow beyond."""
        return (
            self.seen > self.settings.patience
            and self.running_mean["loss"] > self.settings.max_growth * self.best_loss > 0
        )

    def _warn(self, step: int) -> None:
        """Each warning once, from the running means."""
        if self.seen < self.settings.patience or "displacement" not in self.running_mean:
            return
        share = self.running_mean["displacement"] / self.data_range
        if share < self.settings.min_displacement:
            self._warn_once(
                step,
                "still",
                f"chains move {share:.2g} of the data's range from start to end: they cannot reach"
                " the data. " + displacement_in_words(self.max_displacement, self.data_range),
            )
        if (
            self.seen >= 3 * self.settings.patience
            and self.running_mean.get("gap", 0.0) > self.settings.max_gap
        ):  # it rises at first, and falls
            self._warn_once(
                step,
                "gap",
                f"chains end {self.running_mean['gap']:.2g} above the data in energy, step after step: some"
                " are stuck far from it. Raise buffer.restart_prob, take more steps, or lower the"
                " learning rate",
            )

    def _warn_once(self, step: int, what: str, text: str) -> None:
        if what not in self.warned:
            self.warned.append(what)
            self.say(step, text)

    def say(self, step: int, text: str) -> None:
        self.events.append({"step": step, "text": text})

    def state(self) -> dict[str, Any]:
        kept = asdict(self)
        return {
            k: kept[k]
            for k in (
                "rollbacks",
                "came_from",
                "skipped",
                "seen",
                "running_mean",
                "best_loss",
                "warned",
            )
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Bring back the signals of a checkpoint; roll-backs are never forgotten."""
        self.rollbacks = max(self.rollbacks, state["rollbacks"])
        self.came_from = state["came_from"] if self.came_from is None else self.came_from
        self.skipped, self.seen = state["skipped"], state["seen"]
        self.running_mean = dict(
            state["running_mean"] if "running_mean" in state else state["slow"]
        )
        self.best_loss = float(state["best_loss"])
        self.warned = list(state["warned"])


@contextmanager
def diagnosed(run: Run) -> Iterator[None]:
    """A run that diverges inside keeps its diagnosis, as `diverged` of its status; one that has is
    refused: the same settings would end in the same way.
    """
    if said := run.status().get("diverged"):
        raise Diverged(said)
    try:
        yield
    except Diverged as error:
        run.log(f"guard: {error}")
        run.mark("training", diverged=str(error))
        raise


def displacement_in_words(displacement: float, data_range: float) -> str:
    """What step_size x grad_clip means for one pixel."""
    share = displacement / data_range
    if share >= 0.01:
        return f"step_size x grad_clip moves a pixel by at most {share:.2g} of its range per step"
    return (
        f"step_size x grad_clip moves a pixel by {share:.2g} of its range per step: chains cannot"
        " mix. Raise one of them until it is .1 to .3"
    )
