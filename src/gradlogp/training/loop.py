"""One loop for all learners: updates, and the checkpoints, log lines and pictures between them.

A batch is a function of the step, the noise comes from one generator that is saved, and the guard's
rollback is the resume of the last checkpoint: a run that was killed and one that was not end at the
same numbers, and the same files.

A checkpoint falls due at steps that the settings decide; the guard goes back to these alone, so
that the clock has no say in the numbers. One to resume from falls due by the clock besides, and at
a signal that ends the run. What follows from a checkpoint (the model's files, pictures, snapshots)
is written after it, and written again from it when the run goes on: a kill in between leaves
nothing that is older than the checkpoint.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.progress import Listener, Silent
from gradlogp.core.random import seeded
from gradlogp.core.stop import Waiting
from gradlogp.runs import Run
from gradlogp.runs.schema import COUNT, TEXT, wrong
from gradlogp.training.guard import Diverged, Guard, Verdict
from gradlogp.training.learner import Learner
from gradlogp.training.processes import beside_others

LONGEST = 20.0  # seconds between two checkpoints to resume from


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
        verdict, _ = _update(learner, batches(step))
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


@beside_others()
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
    window = _begin(learner, run, follow, fallback)
    clock = _Clock(learner)
    listener.begin("train", learner.settings.steps, learner.step)
    with Waiting() as signals:
        while learner.step < learner.settings.steps:
            verdict, info = _update(learner, batches(learner.step), watch_at)
            _tell(learner.guard, run, listener)
            if verdict is Verdict.ROLL_BACK:
                window = _begin_again(learner, run, listener)
                continue
            if verdict is Verdict.STEP:
                window.add(info)
            clock.read()
            listener.advance()
            _record(learner, run, window)
            kept = _keep(learner, run)
            if learner.step in watch_at:
                learner.refresh()
            with clock.paused():
                follow.step(kept)
            stop, save = learner.processes.largest(signals.signum or 0, clock.due)
            if not kept and (stop or save):
                _save(learner, run, window)
            if kept or stop or save:
                clock.saved()
            if stop:
                signals.deliver(stop)
    learner.refresh()
    listener.end()


def _begin_again(learner: Learner, run: Run, listener: Listener) -> Window:
    """Roll back, and a new window."""
    _roll_back(learner, run)
    listener.end()
    listener.begin("train", learner.settings.steps, learner.step)
    return Window()


class _Clock:
    """The seconds of learning, without those of what follows from a checkpoint; and whether it is
    time for one to resume from.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.began = time.perf_counter() - learner.seconds
        self.saved()

    def read(self) -> None:
        self.learner.seconds = time.perf_counter() - self.began

    @contextmanager
    def paused(self) -> Iterator[None]:
        since = time.perf_counter()
        yield
        self.began += time.perf_counter() - since

    def saved(self) -> None:
        self.last = time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self.last >= LONGEST


@beside_others()
def accompany(
    learner: Learner, batches: Callable[[int], Batch], watch_at: frozenset[int] = frozenset()
) -> None:
    """What the other processes do while rank 0 is in `train`, with the same learner and batches:
    the same updates, and nothing written.
    """
    learner.tensors()
    learner.load(*learner.processes.receive())
    learner.refresh()
    with Waiting() as signals:
        while learner.step < learner.settings.steps:
            verdict, _ = _update(learner, batches(learner.step), watch_at)
            learner.guard.events.clear()
            if verdict is Verdict.ROLL_BACK:
                learner.load(*learner.processes.receive())
                continue
            if kept := learner.due:
                learner.tensors()
            if learner.step in watch_at:
                learner.refresh()
            stop, save = learner.processes.largest(signals.signum or 0, False)
            if not kept and (stop or save):
                learner.tensors()
            if stop:
                signals.deliver(stop)
    learner.refresh()


def _update(
    learner: Learner, batch: Batch, watch_at: frozenset[int] = frozenset()
) -> tuple[Verdict, dict[str, Tensor]]:
    """An update; where its weights are to be written or looked at, the guard weighs them first."""
    verdict, info = learner.update(batch)
    if verdict is Verdict.STEP and _writes(learner, watch_at):
        verdict = learner.guard.weigh(learner.step, learner.finite())
    return verdict, info


def _writes(learner: Learner, watch_at: frozenset[int] = frozenset()) -> bool:
    """Whether weights are written, or looked at, after this step."""
    last = learner.step == learner.settings.steps
    return last or learner.step % learner.settings.spacing == 0 or learner.step in watch_at


@dataclass
class _Follow:
    """What follows from a checkpoint: `models` from its tensors, `watched` where it is due."""

    learner: Learner
    run: Run
    watch: Callable[[int], None] | None
    watch_at: frozenset[int]

    def step(self, kept: Mapping[str, Tensor] | None) -> None:
        """After a step, and after its checkpoint where one was kept."""
        if kept:
            self.models(kept)
        self.watched()

    def models(self, tensors: Mapping[str, Tensor]) -> None:
        self.run.weights(_under("model.", tensors), "weights")
        self.run.weights(_under("ema.module.", tensors), "ema")

    def watched(self) -> None:
        if self.watch is not None and self.learner.step in self.watch_at:
            self.watch(self.learner.step)


def _under(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(start): x for name, x in tensors.items() if name.startswith(start)}


def _begin(learner: Learner, run: Run, follow: _Follow, fallback: bool) -> Window:
    """Go on from the newest checkpoint, or write the first; the window of the log line begun."""
    windows: list[Window] = []

    def accept(tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        windows.append(_load(learner, tensors, meta))

    tensors = learner.tensors()
    if found := run.latest(fallback, accept):
        tensors = {name: x for name, x in found[1].items() if not name.startswith("window.")}
    learner.processes.send((tensors, learner.meta()))
    learner.refresh()
    if not found:
        run.checkpoint(0, tensors, learner.meta())
        return Window()
    run.rewind(learner.step)
    if learner.step in run.checkpoints and learner.step:
        follow.step(tensors)
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
    run.checkpoint(found[0], found[1], learner.meta())
    learner.processes.send((found[1], learner.meta()))


def _tell(guard: Guard, run: Run, listener: Listener) -> None:
    while guard.events:
        event = guard.events.pop(0)
        text = f"guard, step {event['step']}: {event['text']}."
        run.log(text)
        listener.say(text)


def _record(learner: Learner, run: Run, window: Window) -> None:
    """Write the log line where it is due."""
    settings = learner.settings
    last = learner.step == settings.steps
    if window.count and (learner.step % settings.log_every == 0 or last):
        rate = settings.rate(learner.step - 1) * learner.guard.lr_scale
        run.record(
            learner.step, {**window.read(), "learning_rate": rate, "seconds": learner.seconds}
        )


def _keep(learner: Learner, run: Run) -> dict[str, Tensor] | None:
    """Write the checkpoint where it is due, and return what it holds."""
    if not learner.due:
        return None
    tensors = learner.tensors()
    run.checkpoint(learner.step, tensors, learner.meta())
    return tensors
