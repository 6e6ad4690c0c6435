"""The joint energy and CLIP, taught on the same captioned pictures, and what is drawn from either.

A quarter of the training sentences say one thing alone ("a red three left of"), so that a model can
be asked for two things by the sum of two energies. Chains are Langevin's, from noise, given the
sentence; a chain of the replay buffer keeps its own.

References: Radford et al. (2021), arXiv 2103.00020; Ganz & Elad (2024), arXiv 2408.17046, section
3; Du & Mordatch (2019), arXiv 1903.08689 (the chains).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from gradlogp import tasks
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Field, Sum
from gradlogp.core.random import seed_for, seeded
from gradlogp.data import Dataset, Split
from gradlogp.experiments.captions.measures import (
    axes_of,
    halves,
    parts,
    retrieval,
    scenes,
    swapped,
)
from gradlogp.harness.compare import Maker
from gradlogp.harness.recipe import DataSpec, Target, specify
from gradlogp.harness.record import Recorder
from gradlogp.harness.settings import Choices, chosen
from gradlogp.harness.trial import Context, Trial, trained
from gradlogp.metrics import classes
from gradlogp.models.caption import caption_energy
from gradlogp.models.text import TextKind, Vocabulary
from gradlogp.objectives import ContrastiveDivergence, FromBuffer, Objective, ReplayBuffer
from gradlogp.objectives.caption import CLIP, CaptionJoint
from gradlogp.samplers import Langevin
from gradlogp.training import Guard, GuardSettings, Training

BUDGETS: Choices = {
    "any": {
        "quick": ("images=200000", "pictures=600", "draws=60"),
        "full": ("images=2000000",),
        "gpu": ("images=20000000", "channels=64,128,128,128", "width=128"),
    },
}
SHOWN = 10
WHOLE = 0.75  # of the training sentences; the others say one thing alone


@dataclass(frozen=True)
class Captioned(Trial):
    """images: training pictures. pictures: of the test part that retrieval is asked about, draws:
    pictures drawn, of each kind of sentence. steps: of a chain to a drawing.
    """

    images: int = 2_000_000
    pictures: int = 1000
    draws: int = 200
    batch: int = 128
    learning_rate: float = 1e-3
    channels: tuple[int, ...] = (16, 32, 64, 64)
    width: int = 64
    text: TextKind = "transformer"
    fusion: bool = True
    chain: Langevin = field(
        default_factory=lambda: Langevin(10.0, noise_std=0.01, grad_clip=0.03, clamp=(-1.0, 1.0))
    )
    steps: int = 100

    def objective(self, spec: DataSpec, tokens: Tensor) -> Objective:
        """The loss of batches of pictures and tokens; `tokens` [n, L] are those of training."""
        return CLIP()

    @property
    def evaluations_per_example(self) -> float:
        return 1

    def perform(self, context: Context, recorder: Recorder) -> None:
        data, spec = context.data, specify(context.data)
        vocabulary = Vocabulary.of(_captions(data, data.train))
        with recorder.training() as cost:
            model = self._learned(data, spec, vocabulary, recorder)
            cost.parameters = sum(p.numel() for p in model.parameters())
            cost.images = self.images
            cost.evaluations = round(self.images * self.evaluations_per_example)
        self._find(model, data, spec, vocabulary, recorder)
        self._draw(model, context, spec, vocabulary, recorder)

    def _learned(
        self, data: Dataset, spec: DataSpec, vocabulary: Vocabulary, recorder: Recorder
    ) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = caption_energy(
                spec.shape, vocabulary, self.channels, self.width, self.text, self.fusion
            )
        said = shortened(_captions(data, data.train), self.seed)
        tokens = vocabulary.tokens(said)
        x = spec.coordinates.to_model(data.train.scaled())
        training = Training(self.images, self.batch, self.learning_rate, beta1=0.0, grad_clip=1.0)
        objective = self.objective(spec, tokens)
        return trained(recorder, "network", model, objective, x, tokens, training, _guard())

    def _find(
        self,
        model: Any,
        data: Dataset,
        spec: DataSpec,
        vocabulary: Vocabulary,
        recorder: Recorder,
    ) -> None:
        """Retrieval and swapped colours, of seen and of unseen combinations."""
        test = _captions(data, data.test)
        for part, members in parts(test).items():
            some = torch.tensor(members[: self.pictures])
            x = spec.coordinates.to_model(data.test.scaled(some))
            captions = [test[i] for i in some.tolist()]
            for query, found in retrieval(model, x, captions, vocabulary.tokens).items():
                recorder.add(*found, axes=axes_of(part, query))
                if part == "seen":
                    recorder.add(*found, axes={"query": query})
            told = swapped(model, x, captions, vocabulary.tokens)
            if told is not None:
                recorder.add(told, axes={"picture_of": part})
                recorder.add(*([told] if part == "seen" else []))

    def _draw(
        self,
        model: Any,
        context: Context,
        spec: DataSpec,
        vocabulary: Vocabulary,
        recorder: Recorder,
    ) -> None:
        """Pictures from sentences, judged by the class of each sentence's own picture."""
        test, labels = context.data.test, context.data.test.labels
        assert labels is not None and context.evaluator is not None, "drawings are judged"
        captions = _captions(context.data, test)
        found, drawn = self._asked(captions, vocabulary), {}
        for part, asked in found.items():
            how = self.sampling(asked.field_of(model), spec)
            began = time.perf_counter()
            seed = seed_for("samples", self.seed)
            x = tasks.generate(
                how, len(asked.members), seed, asked.rows, listener=recorder.listener
            )
            seconds = (time.perf_counter() - began) / len(x)
            logits = context.evaluator.logits(x)
            wanted = labels[torch.tensor(asked.members)]
            recorder.add(
                classes.agreement(logits.argmax(1), wanted, context.evaluator.accuracy),
                classes.class_probability(logits),
                axes={"sentence": part},
                seconds=seconds,
                evaluations=self.steps * asked.energies,
            )
            drawn[part] = x[:SHOWN]
        self._show(drawn, [captions[i] for i in found["seen"].members[:SHOWN]], spec, recorder)

    def _show(
        self,
        drawn: Mapping[str, Tensor],
        said: Sequence[str],
        spec: DataSpec,
        recorder: Recorder,
    ) -> None:
        caption = (
            f"Pictures drawn from sentences, a row each: {'; '.join(drawn)}. The sentences of the"
            f" first row: {'; '.join(said)}."
        )
        columns = max(map(len, drawn.values()))
        blank = torch.zeros(columns, *spec.shape)
        rows = [torch.cat([x, blank[len(x) :]]) for x in drawn.values()]
        spec.coordinates.preview(recorder.figure("drawn", caption), torch.cat(rows), columns)

    def sampling(
        self, field_of: Callable[[Tensor | None], Field], spec: DataSpec
    ) -> tasks.Sampling[Any]:
        kind = spec.coordinates
        return tasks.Sampling(
            field_of, self.chain, kind.noise, self.steps, spec.shape, kind.from_model
        )

    def _asked(self, captions: Sequence[str], vocabulary: Vocabulary) -> dict[str, "Asked"]:
        """Sentences of the test part; and the same in two halves, whose energies are summed."""
        found = {}
        for part, members in parts(captions).items():
            some = members[: self.draws]
            said = [captions[i] for i in some]
            found[part] = Asked(some, (vocabulary.tokens(said),))
            if (of := scenes(said)) is not None:
                first, second = zip(*map(halves, of), strict=True)
                tokens = (vocabulary.tokens(first), vocabulary.tokens(second))
                found[f"{part}, composed"] = Asked(some, tokens)
        return found


@dataclass(frozen=True)
class Asked:
    """The numbers of test pictures, and the tokens of what is asked for each, [n, L] a sentence;
    the energies of several are summed.
    """

    members: list[int]
    tokens: tuple[Tensor, ...]

    @property
    def energies(self) -> int:
        return len(self.tokens)

    @property
    def rows(self) -> Tensor:
        """The number of each, [n], which stands for its sentences."""
        return torch.arange(len(self.members))

    def field_of(self, model: Any) -> Callable[[Tensor | None], Field]:
        """Numbers of sentences -> the sum of their energies."""

        def of(rows: Tensor | None) -> Field:
            assert rows is not None, "a sentence is asked for"
            fields = [model.field(tokens[rows]) for tokens in self.tokens]
            return fields[0] if len(fields) == 1 else Sum(tuple(fields))

        return of


@final
@dataclass(frozen=True)
class Joint(Captioned):
    """weight: of the contrastive divergence beside CLIP's loss; share: of a batch that it is of."""

    weight: float = 0.1
    share: float = 0.25
    chain_steps: int = 20
    capacity: int = 4096
    restart_prob: float = 0.1
    energy_l2: float = 0.05
    data_noise: float = 0.005

    @property
    def evaluations_per_example(self) -> float:
        return 1 + self.share * (self.chain_steps + 2)

    def objective(self, spec: DataSpec, tokens: Tensor) -> Objective:
        kind = spec.coordinates
        buffer = ReplayBuffer(
            max(self.capacity, self.batch),
            spec.shape,
            kind.noise,
            seeded(self.seed, "chains"),
            self.restart_prob,
            tokens,
        )
        divergence = ContrastiveDivergence(
            self.chain,
            FromBuffer(buffer),
            self.chain_steps,
            self.energy_l2,
            self.data_noise,
            kind.bounds,
        )
        return CaptionJoint(divergence, self.weight, self.share)


@final
@dataclass(frozen=True)
class Clip(Captioned):
    """CLIP: the same encoders without a fusion and without chains."""

    fusion: bool = False


def _guard() -> Guard:
    """CLIP's energies are as large as 1 / tau, and its matches lie as far below all else."""
    return Guard(GuardSettings(max_energy=1e3, max_gap=20.0))


def _captions(data: Dataset, split: Split) -> tuple[str, ...]:
    if split.captions is None:
        raise UserError(
            f"sentences are compared with pictures, but {data.name} has no captions; take"
            " captioned_digits or emoji."
        )
    return split.captions


def shortened(captions: Sequence[str], seed: int) -> list[str]:
    """The captions, a quarter of them cut to one of the two things, where they are of two."""
    found = scenes(captions)
    if found is None:
        return list(captions)
    chances = torch.rand(len(captions), generator=seeded(seed, "shortened")).tolist()
    each = zip(captions, found, chances, strict=True)
    return [
        caption if chance < WHOLE else halves(scene)[int(chance > (1 + WHOLE) / 2)]
        for caption, scene, chance in each
    ]


def joint(target: Target, preset: str = "quick", seed: int = 0) -> Joint:
    """The joint energy of picture and sentence: CLIP's loss and a contrastive divergence, with a
    fusion.
    """
    made = Joint("joint", target.name, preset, seed)
    return chosen(made, BUDGETS, target.families, preset)


def clip(target: Target, preset: str = "quick", seed: int = 0) -> Clip:
    """CLIP of the same encoders; drawn from by Langevin on -cos / tau, as a control."""
    made = Clip("clip", target.name, preset, seed)
    return chosen(made, BUDGETS, target.families, preset)


METHODS: Mapping[str, Maker] = {"joint": joint, "clip": clip}
