r"""What an update is: :math:`\theta \leftarrow \theta - \eta_k\, \mathrm{Adam}(\nabla_\theta
\tfrac1B \sum_b \ell_b)`, its settings, and everything that it changes.

The learning rate warms up linearly and falls along a cosine to `final_lr` of its peak. Samples are
drawn with the exponential moving average of the weights, whose horizon grows with the run: decay =
min(ema, (1 + n) / (10 + n)).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.stop import Waiting
from gradlogp.objectives import Objective
from gradlogp.runs.schema import COUNT, NUMBER, like, wrong
from gradlogp.training.guard import Guard, Verdict
from gradlogp.training.layout import Whole
from gradlogp.training.processes import ALONE, Processes

FEWEST = 5  # checkpoints of a run, however short it is
MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam
LARGEST_RATE = 1e37  # ten times as much overflows float32


@final
@dataclass(frozen=True)
class Training:
    """Budgets are in images, so that they survive a change of batch; the rest in steps or as named."""

    images: int
    batch: int = 64
    learning_rate: float = 1e-3
    beta1: float = 0.9
    grad_clip: float | None = None
    warmup: int = 50
    final_lr: float = 0.05
    ema: float = 0.995
    log_every: int = 20
    checkpoint_every: int = 400

    def __post_init__(self) -> None:
        at_least(1, images=self.images, batch=self.batch)
        at_least(1, log_every=self.log_every, checkpoint_every=self.checkpoint_every)
        if not self.learning_rate > 0:
            raise UserError(f"learning_rate must be above 0, got {self.learning_rate:g}.")
        if self.learning_rate > LARGEST_RATE:
            raise UserError(
                f"learning_rate must be {LARGEST_RATE:g} or less, got {self.learning_rate:g}: one"
                " step would leave the range of a weight."
            )
        at_least(0, warmup=self.warmup, final_lr=self.final_lr, grad_clip=self.grad_clip)
        if not (0 <= self.beta1 < 1 and 0 <= self.ema < 1) or self.grad_clip == 0:
            raise UserError(
                "training needs beta1 and ema in [0, 1) and grad_clip > 0 or none, got "
                f"{self.beta1}, {self.ema} and {self.grad_clip}."
            )
        if self.checkpoint_every % self.log_every:
            raise UserError(
                f"checkpoint_every must be a multiple of log_every, got {self.checkpoint_every} and"
                f" {self.log_every}; otherwise a resumed run would log other averages."
            )

    @property
    def steps(self) -> int:
        return max(1, self.images // self.batch)

    @property
    def spacing(self) -> int:
        """Steps between two checkpoints: `checkpoint_every`, and less in a run so short that the
        guard would have little but step 0 to go back to.
        """
        short = self.steps // FEWEST // self.log_every * self.log_every
        return min(self.checkpoint_every, max(self.log_every, short))

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * warm * (self.final_lr + (1 - self.final_lr) * cosine)


def averaging(decay: float) -> Callable[..., None]:
    """The update of `AveragedModel` with a horizon that grows with the number of updates."""

    def update(average: list[Tensor], current: list[Tensor], n: Tensor) -> None:
        now = min(decay, (1 + int(n)) / (10 + int(n)))
        torch._foreach_lerp_(average, current, 1 - now)

    return update


@dataclass
class Learner:
    """Everything that an update changes. `tensors` and `meta` are a checkpoint, `load` brings it
    back exactly.
    """

    model: nn.Module
    objective: Objective
    settings: Training
    generator: Generator
    guard: Guard = field(default_factory=Guard)
    step: int = 0
    seconds: float = 0.0
    processes: Processes = ALONE

    def __post_init__(self) -> None:
        self.ema = AveragedModel(self.model, multi_avg_fn=averaging(self.settings.ema))
        self.layout = self._layout()
        self.learned = [*self.model.parameters(), *self.objective.parameters()]
        betas = (self.settings.beta1, 0.999)
        groups = [{"params": [*part.parameters()]} for part in (self.model, self.objective)]
        # the first optimizer imports torch's compiler, which an interrupt would break half-way
        with Waiting():
            self.optimizer = torch.optim.Adam(groups, self.settings.learning_rate, betas=betas)

    def _layout(self) -> Whole:
        if not self.processes.sharded:
            return Whole()
        from gradlogp.training.sharded import Sharded

        asks = self.objective.asks(self.model)
        return Sharded(self.model, self.ema.module, asks, self.processes)

    @torch.enable_grad()  # whoever trains under no_grad wants to learn all the same
    def update(self, batch: Batch) -> tuple[Verdict, dict[str, Tensor]]:
        """One step of learning, or none if the guard forbids it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate(self.step) * self.guard.lr_scale
        part, chance = self.processes.part(batch, self.generator)
        loss = self.layout.inside(lambda: self.objective(self.model, part, chance))
        value = self.processes.mean(loss.value, len(batch.x))
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        share = len(part.x) / len(batch.x)
        unsummed = self.layout.unsummed(self.learned)
        value, said = self.processes.meet(unsummed, value, loss.info, share)
        limit = math.inf if self.settings.grad_clip is None else self.settings.grad_clip
        norm = self.layout.clip(self.learned, limit)
        info = {"loss": value.detach(), "grad_norm": norm.detach(), **said}
        verdict = self.guard.check(self.step, batch, float(info["loss"]), float(norm), said)
        if verdict is Verdict.STEP:
            self.optimizer.step()
            self.ema.update_parameters(self.model)
        if verdict is not Verdict.ROLL_BACK:
            self.step += 1
        return verdict, info

    @property
    def due(self) -> bool:
        """Whether a checkpoint is, that the guard may go back to."""
        last = self.step == self.settings.steps
        return last or (self.step % self.settings.spacing == 0 and self.guard.healthy)

    @property
    def averaged(self) -> nn.Module:
        """The network of the averaged weights as they were at `refresh`; rank 0 may call it alone."""
        return self.layout.callable(self.ema.module)

    def refresh(self) -> None:
        """Called by all processes, or by none."""
        self.layout.refresh(self.ema.module)

    def tensors(self) -> dict[str, Tensor]:
        """Whole, whatever the layout; asked by all processes, or by none."""
        parts = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "objective": self.objective.state(),
            "random": {"generator": self.generator.get_state()},
        }
        flat = {
            f"{part}.{name}": t for part, tensors in parts.items() for name, t in tensors.items()
        }
        for i, slots in self.optimizer.state_dict()["state"].items():
            flat |= {f"optimizer.{i}.{name}": t for name, t in slots.items()}
        return self.layout.gathered(flat)

    def finite(self) -> bool:
        """Whether all that is learned is finite, and its average, on all processes."""
        averages = (x for x in self.ema.module.state_dict().values() if x.is_floating_point())
        mine = self.layout.finite([*self.learned, *averages])
        return not self.processes.agree(not mine)

    def meta(self) -> dict[str, Any]:
        return {"step": self.step, "seconds": self.seconds, "guard": self.guard.state()}

    def load(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Raises ValueError, LookupError or RuntimeError where these are not of this learner."""
        parts: dict[str, dict[str, Tensor]] = {
            "model": {},
            "ema": {},
            "objective": {},
            "random": {},
            "optimizer": {},
        }
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        for part in ("model", "ema"):
            _finite(part, parts[part])
        _alike("objective", parts["objective"], self.objective.state())
        _alike("random", parts["random"], {"generator": self.generator.get_state()})
        self._check(meta)
        for part in ("model", "ema"):
            module: nn.Module = getattr(self, part)
            module.load_state_dict(self.layout.cut(parts[part], module.state_dict()))
        self.objective.load(parts["objective"])
        self.generator.set_state(parts["random"]["generator"].cpu())
        self._load_optimizer(parts["optimizer"])
        self.step, self.seconds = meta["step"], float(meta["seconds"])
        self.guard.load(meta["guard"])

    def _check(self, meta: dict[str, Any]) -> None:
        guard = like({**self.guard.state(), "came_from": None})
        shape = {"step": COUNT, "seconds": NUMBER, "guard": guard}
        if said := wrong(meta, shape, "its note"):
            raise ValueError(said)

    def _load_optimizer(self, slots: dict[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in slots.items():
            number, _, name = key.partition(".")
            state.setdefault(int(number), {})[name] = tensor
        for i, found in state.items():
            moment = torch.empty_like(self.learned[i])
            like_them = {"step": torch.zeros(()), **dict.fromkeys(MOMENTS, moment)}
            _alike(f"optimizer.{i}", found, like_them)
            _finite(f"optimizer.{i}", found)
            state[i] = self.layout.cut(found, dict.fromkeys(MOMENTS, moment))
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


def _alike(part: str, tensors: dict[str, Tensor], mine: dict[str, Tensor]) -> None:
    if odd := sorted(tensors.keys() ^ mine.keys()):
        raise ValueError(f"{part}.{odd[0]} is there and not here, or the other way round")
    for name, x in tensors.items():
        if x.shape != mine[name].shape or x.dtype != mine[name].dtype:
            raise ValueError(f"{part}.{name} has another shape or type")


def _finite(part: str, tensors: dict[str, Tensor]) -> None:
    for name, x in tensors.items():
        if x.is_floating_point() and not x.isfinite().all():
            raise ValueError(f"{part}.{name} holds NaN or infinity")
