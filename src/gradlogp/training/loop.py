r"""One loop for all learners: :math:`\theta \leftarrow \theta - \eta_k\,
\mathrm{Adam}(\nabla_\theta \tfrac1B \sum_b \ell_b)`.

A batch is a function of the step, the noise comes from one generator that is saved, and the guard's
rollback is the resume of the last checkpoint: a run that was killed and one that was not end at the
same numbers, and the same files.

A checkpoint falls due at steps that the settings decide; the guard goes back to these alone, so
that the clock has no say in the numbers. One to resume from falls due by the clock besides, and at
a signal that ends the run. What follows from a checkpoint (the model's files, pictures, snapshots)
is written after it, and written again from it when the run goes on: a kill in between leaves
nothing that is older than the checkpoint.

The learning rate warms up linearly and falls along a cosine to `final_lr` of its peak. Samples are
drawn with the exponential moving average of the weights, whose horizon grows with the run: decay =
min(ema, (1 + n) / (10 + n)).
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.progress import Listener, Silent
from gradlogp.core.random import seeded
from gradlogp.core.stop import Waiting
from gradlogp.objectives import Objective
from gradlogp.runs import Run
from gradlogp.runs.schema import COUNT, NUMBER, TEXT, like, wrong
from gradlogp.training.guard import Diverged, Guard, Verdict
from gradlogp.training.processes import ALONE, Processes

LONGEST = 20.0  # seconds between two checkpoints to resume from
FEWEST = 5  # checkpoints of a run, however short it is
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
        if (
            min(self.images, self.batch, self.log_every, self.checkpoint_every) < 1
            or self.learning_rate <= 0
        ):
            raise UserError(
                "training needs images, batch, log_every, checkpoint_every >= 1 and learning_rate"
                f" > 0, got {self.images}, {self.batch}, {self.log_every}, {self.checkpoint_every},"
                f" {self.learning_rate}."
            )
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
        betas = (self.settings.beta1, 0.999)
        self.learned = [*self.model.parameters(), *self.objective.parameters()]
        self.optimizer = torch.optim.Adam(self.learned, self.settings.learning_rate, betas=betas)
        self.ema = AveragedModel(self.model, multi_avg_fn=averaging(self.settings.ema))

    @torch.enable_grad()  # whoever trains under no_grad wants to learn all the same
    def update(self, batch: Batch) -> tuple[Verdict, dict[str, Tensor]]:
        """One step of learning, or none if the guard forbids it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate(self.step) * self.guard.lr_scale
        part, chance = self.processes.part(batch, self.generator)
        loss = self.objective(self.model, part, chance)
        value = self.processes.mean(loss.value, len(batch.x))
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        share = len(part.x) / len(batch.x)
        value, said = self.processes.meet(self.learned, value, loss.info, share)
        limit = math.inf if self.settings.grad_clip is None else self.settings.grad_clip
        norm = nn.utils.clip_grad_norm_(self.learned, limit)
        info = {"loss": value.detach(), "grad_norm": norm.detach(), **said}
        verdict = self.guard.check(self.step, batch, float(info["loss"]), float(norm), said)
        if verdict is Verdict.STEP:
            self.optimizer.step()
            self.ema.update_parameters(self.model)
        if verdict is not Verdict.ROLL_BACK:
            self.step += 1
        return verdict, info

    def tensors(self) -> dict[str, Tensor]:
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
        return flat

    def weights(self) -> Iterator[Tensor]:
        """All that is learned, and its average."""
        yield from self.learned
        yield from (x for x in self.ema.module.state_dict().values() if x.is_floating_point())

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
        self.model.load_state_dict(parts["model"])
        self.ema.load_state_dict(parts["ema"])
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
            like_them = {"step": torch.zeros(()), "exp_avg": moment, "exp_avg_sq": moment}
            _alike(f"optimizer.{i}", found, like_them)
            _finite(f"optimizer.{i}", found)
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


def learn(learner: Learner, x: Tensor, cond: Tensor | None = None, seed: int = 0) -> Any:
    """The exponential moving average, in evaluation mode, after training in memory on x [n, *shape]
    with conditions [n]: the updates of `train`, without a run folder to go back to.

    Raises Diverged where the guard would roll back.
    """
    order = shuffled(len(x), learner.settings.batch, seed)

    def batch(step: int) -> Batch:
        i = order(step)
        return Batch(x[i], None if cond is None else cond[i])

    return learn_from(learner, batch)


def learn_from(
    learner: Learner,
    batches: Callable[[int], Batch],
    watch: Callable[[int], None] | None = None,
) -> Any:
    """`learn` from any source of batches; `watch(step)` is called after every update.

    Raises Diverged where the guard would roll back.
    """
    for step in range(learner.settings.steps):
        verdict, _ = learner.update(batches(step))
        if verdict is Verdict.STEP and _writes(learner):
            verdict = learner.guard.weigh(learner.step, learner.weights())
        if verdict is Verdict.ROLL_BACK:
            raise Diverged(learner.guard.events[-1]["text"])
        if watch is not None:
            watch(step + 1)
    return learner.ema.module.eval().requires_grad_(False)


class Window:
    """Means of the logged numbers since the last log line, kept on the device until they are read."""

    def __init__(self, sums: dict[str, Tensor] | None = None, count: int = 0) -> None:
        self.sums = sums or {}
        self.count = count

    def add(self, info: dict[str, Tensor]) -> None:
        self.count += 1
        for name, value in info.items():
            self.sums[name] = self.sums.get(name, torch.zeros_like(value)) + value

    def read(self) -> dict[str, float]:
        means = {name: float(total) / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


def shuffled(n: int, batch: int, seed: int) -> Callable[[int], Tensor]:
    """step -> the indices of its batch: epochs of random order without replacement, decided by
    `seed` alone.
    """
    batch = min(batch, n)
    per_epoch = n // batch
    cache: dict[int, Tensor] = {}

    def indices(step: int) -> Tensor:
        epoch, i = divmod(step, per_epoch)
        if epoch not in cache:
            cache.clear()
            cache[epoch] = torch.randperm(n, generator=seeded(seed, "order", epoch))
        return cache[epoch][i * batch : (i + 1) * batch]

    return indices


def train(
    learner: Learner,
    batches: Callable[[int], Batch],
    run: Run,
    listener: Listener | None = None,
    watch: Callable[[int], None] | None = None,
    watch_at: frozenset[int] = frozenset(),
    fallback: bool = False,
) -> None:
    """Train until `learner.settings.steps`, from the newest checkpoint of `run` if there is one.

    `watch(step)` is called after the steps in `watch_at` (a picture of the progress, say); it must
    not draw from the learner's generator, and is called again for the step of a checkpoint that the
    run goes on from.

    A signal to end lets the step be made and a checkpoint be written, and then has the effect that
    it would have had (see `core.stop`). Raises `Diverged` when the guard gives up, `Damaged` for a
    checkpoint that is broken or another run's.
    """
    listener = listener or Silent()
    follow = _Follow(learner, run, watch, watch_at)
    settings = learner.settings
    window = _begin(learner, run, follow, fallback)
    began = time.perf_counter() - learner.seconds
    saved = time.monotonic()
    listener.begin("train", settings.steps, learner.step)
    with Waiting() as signals:
        while learner.step < settings.steps:
            verdict, info = learner.update(batches(learner.step))
            if verdict is Verdict.STEP and _writes(learner, watch_at):
                verdict = learner.guard.weigh(learner.step, learner.weights())
            _tell(learner.guard, run, listener)
            if verdict is Verdict.ROLL_BACK:
                _roll_back(learner, run)
                window = Window()
                listener.end()
                listener.begin("train", settings.steps, learner.step)
                continue
            if verdict is Verdict.STEP:
                window.add(info)
            learner.seconds = time.perf_counter() - began
            listener.advance()
            kept = _keep(learner, run, window)
            paused = time.perf_counter()
            if kept:
                follow.models()
            follow.watched()
            began += time.perf_counter() - paused
            stop = learner.processes.agree(signals.signum or 0)
            if not kept and (stop or time.monotonic() - saved >= LONGEST):
                _save(learner, run, window)
                kept = True
            saved = time.monotonic() if kept else saved
            if stop:
                signals.deliver(stop)
    listener.end()


def accompany(
    learner: Learner, batches: Callable[[int], Batch], watch_at: frozenset[int] = frozenset()
) -> None:
    """What the other processes do while rank 0 is in `train`, with the same learner and batches:
    the same updates, and nothing written.
    """
    learner.load(*learner.processes.receive())
    with Waiting() as signals:
        while learner.step < learner.settings.steps:
            verdict, _ = learner.update(batches(learner.step))
            if verdict is Verdict.STEP and _writes(learner, watch_at):
                verdict = learner.guard.weigh(learner.step, learner.weights())
            learner.guard.events.clear()
            if verdict is Verdict.ROLL_BACK:
                learner.load(*learner.processes.receive())
                continue
            if stop := learner.processes.agree(signals.signum or 0):
                signals.deliver(stop)


def _writes(learner: Learner, watch_at: frozenset[int] = frozenset()) -> bool:
    """Whether weights are written, or looked at, after this step."""
    last = learner.step == learner.settings.steps
    return last or learner.step % learner.settings.spacing == 0 or learner.step in watch_at


@dataclass
class _Follow:
    """What follows from a checkpoint: `models` from each, `watched` where it is due."""

    learner: Learner
    run: Run
    watch: Callable[[int], None] | None
    watch_at: frozenset[int]

    def models(self) -> None:
        self.run.weights(self.learner.model.state_dict(), "weights")
        self.run.weights(self.learner.ema.module.state_dict(), "ema")

    def watched(self) -> None:
        if self.watch is not None and self.learner.step in self.watch_at:
            self.watch(self.learner.step)


def _begin(learner: Learner, run: Run, follow: _Follow, fallback: bool) -> Window:
    """Go on from the newest checkpoint, or write the first; the window of the log line begun."""
    windows: list[Window] = []

    def accept(tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        windows.append(_load(learner, tensors, meta))

    begun = run.latest(fallback, accept) is not None
    learner.processes.send((learner.tensors(), learner.meta()))
    if not begun:
        run.checkpoint(0, learner.tensors(), learner.meta())
        return Window()
    run.rewind(learner.step)
    if learner.step in run.checkpoints and learner.step:
        follow.models()
        follow.watched()
    return windows[-1]


def _save(learner: Learner, run: Run, window: Window) -> None:
    """A checkpoint to resume from, at any step: with the log line that is begun."""
    sums = {f"window.{name}": total for name, total in window.sums.items()}
    meta = {**learner.meta(), "window": {"count": window.count, "names": list(window.sums)}}
    run.checkpoint(learner.step, {**learner.tensors(), **sums}, meta, resume=True)


def _load(learner: Learner, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Window:
    if said := wrong(meta, {"window?": {"count": COUNT, "names": [TEXT]}}, "its note"):
        raise ValueError(said)
    window = meta.get("window", {"count": 0, "names": []})
    sums = {name: tensors[f"window.{name}"] for name in window["names"]}
    learner.load({k: x for k, x in tensors.items() if not k.startswith("window.")}, meta)
    return Window(sums, window["count"])


def _roll_back(learner: Learner, run: Run) -> None:
    """Back to the last checkpoint; to the one before if that is where the run came from when it
    diverged again.

    The checkpoint is written anew with what the guard has learned, so that a killed run goes on in
    the same way.
    """
    newest, *older = run.checkpoints
    if newest == learner.guard.came_from and older:
        run.rewind(older[0])
    found = run.latest(resume=False, accept=learner.load)
    assert found is not None, "a run has a checkpoint from its first step on"
    run.rewind(learner.step)
    learner.guard.came_from = found[0]
    run.checkpoint(found[0], learner.tensors(), learner.meta())
    learner.processes.send((learner.tensors(), learner.meta()))


def _tell(guard: Guard, run: Run, listener: Listener) -> None:
    while guard.events:
        event = guard.events.pop(0)
        text = f"guard, step {event['step']}: {event['text']}."
        run.log(text)
        listener.say(text)


def _keep(learner: Learner, run: Run, window: Window) -> bool:
    """Write the log line and the checkpoint that are due; returns whether a checkpoint was."""
    settings = learner.settings
    last = learner.step == learner.settings.steps
    if window.count and (learner.step % settings.log_every == 0 or last):
        rate = settings.rate(learner.step - 1) * learner.guard.lr_scale
        run.record(
            learner.step, {**window.read(), "learning_rate": rate, "seconds": learner.seconds}
        )
    due = (learner.step % settings.spacing == 0 and learner.guard.healthy) or last
    if due:
        run.checkpoint(learner.step, learner.tensors(), learner.meta())
    return due
