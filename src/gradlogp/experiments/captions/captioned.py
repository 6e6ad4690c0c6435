r"""What all methods share: learning from captioned pictures, finding, and drawing from sentences.

A quarter of the training sentences say one thing alone ("a red three left of"), so that a model can
be asked for two things by the sum of two energies; of energies at noise levels less the one of no
sentence, as composable diffusion has it. One sentence alone is guided away from its rivals r, in
turn, which say the same of colours and places and name other digits,

.. math:: s(x \mid t) + w\,\big( s(x \mid t) - s(x \mid r) \big) ,

so that the digits are all that is driven further: away from no sentence, as captions without rivals
are guided, the colours are too, until they burn out.

References: Liu et al. (2022), arXiv 2206.01714, eq. 11 (two sentences at every noise level) and
section 4.3 (negation); Ho & Salimans (2022), arXiv 2207.12598, eq. 6 (guidance); Du, Li & Mordatch
(2020), arXiv 2004.06030, section 3.2 (energies of two concepts, summed).
"""

import abc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradlogp import tasks
from gradlogp.core.algebra import InTurn, conjunction
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Field, NoisyField, Sum
from gradlogp.core.guidance import Guided
from gradlogp.core.random import from_seed, seed_for, seeded
from gradlogp.data import Dataset, Split
from gradlogp.experiments.captions.measures import (
    axes_of,
    bound,
    halves,
    parts,
    retrieval,
    rivals,
    scenes,
    swapped,
)
from gradlogp.harness.recipe import DataSpec, specify
from gradlogp.harness.record import Recorder
from gradlogp.harness.trial import Context, Trial, trained
from gradlogp.metrics import classes
from gradlogp.models.text import TextKind, Vocabulary
from gradlogp.objectives import Objective
from gradlogp.training import Guard, GuardSettings, Training

SHOWN = 10
WHOLE = 0.75  # of the training sentences; the others say one thing alone
FieldOf = Callable[[Tensor | None], Any]


@dataclass(frozen=True)
class Captioned(Trial):
    """images: training pictures. pictures: of the test part that retrieval is asked about, draws:
    pictures drawn, of each kind of sentence. channels, width: of the encoder of pictures and of both.
    """

    images: int = 2_000_000
    pictures: int = 1000
    draws: int = 200
    batch: int = 128
    learning_rate: float = 1e-3
    channels: tuple[int, ...] = (16, 32, 64, 64)
    width: int = 64
    text: TextKind = "transformer"

    @abc.abstractmethod
    def model(self, spec: DataSpec, vocabulary: Vocabulary, mean: float) -> Any:
        """An energy of pictures, whose mean in model coordinates is `mean`, and sentences."""

    @abc.abstractmethod
    def objective(self, spec: DataSpec, tokens: Tensor) -> Objective:
        """The loss of batches of pictures and tokens; `tokens` [n, L] are those of training."""

    @abc.abstractmethod
    def sampling(self, field_of: FieldOf, spec: DataSpec) -> tasks.Sampling[Any]:
        """How pictures are drawn from the fields of sentences."""

    @property
    def beta1(self) -> float:
        return 0.0

    @property
    def guidance(self) -> float:
        return 0.0

    @property
    def ladder(self) -> Sequence[float]:
        """The noise levels of a walk to a drawing, none without any."""
        return ()

    @property
    def evaluations_per_example(self) -> float:
        return 1

    def perform(self, context: Context, recorder: Recorder) -> None:
        data, spec = context.data, specify(context.data)
        vocabulary = Vocabulary.of(_captions(data, data.train))
        with recorder.training() as cost:
            model = self._learned(data, spec, vocabulary, recorder)
            cost.add(model, self.images, self.evaluations_per_example)
        self._find(model, data, spec, vocabulary, recorder)
        self._draw(model, context, spec, vocabulary, recorder)

    def _learned(
        self, data: Dataset, spec: DataSpec, vocabulary: Vocabulary, recorder: Recorder
    ) -> Any:
        said = shortened(_captions(data, data.train), self.seed)
        tokens = vocabulary.tokens(said)
        x = spec.coordinates.to_model(data.train.scaled())
        model = from_seed(self.seed, lambda: self.model(spec, vocabulary, float(x.mean())))
        training = Training(
            self.images, self.batch, self.learning_rate, beta1=self.beta1, grad_clip=1.0
        )
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
        """Retrieval, swapped colours and bindings, of seen and of unseen combinations."""
        test = _captions(data, data.test)
        for part, members in parts(test).items():
            some = torch.tensor(members[: self.pictures])
            x = spec.coordinates.to_model(data.test.scaled(some))
            captions = [test[i] for i in some.tolist()]
            for query, found in retrieval(model, x, captions, vocabulary.tokens).items():
                recorder.add(*found, axes=axes_of(part, query))
                if part == "seen":
                    recorder.add(*found, axes={"query": query})
            for measure in (swapped, bound):
                told = measure(model, x, captions, vocabulary.tokens)
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
                evaluations=how.steps * asked.energies(model),
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

    def _asked(self, captions: Sequence[str], vocabulary: Vocabulary) -> dict[str, "Asked"]:
        """Sentences of the test part; and the same in two halves, whose energies are summed."""
        found = {}
        for part, members in parts(captions).items():
            some = members[: self.draws]
            said = [captions[i] for i in some]
            of = scenes(said)
            others = zip(*map(rivals, of), strict=True) if of else ()
            away = Away(tuple(map(vocabulary.tokens, others)), self.guidance, tuple(self.ladder))
            found[part] = Asked(some, (vocabulary.tokens(said),), away)
            if of is not None:
                first, second = zip(*map(halves, of), strict=True)
                tokens = (vocabulary.tokens(first), vocabulary.tokens(second))
                found[f"{part}, composed"] = Asked(some, tokens)
        return found


@dataclass(frozen=True)
class Away:
    """From what, and how far, a sentence is guided: the tokens of its rivals, [n, L] each, in turn
    down the levels of `ladder`; w = 0 is off, and without rivals it is from no sentence.
    """

    rivals: tuple[Tensor, ...] = ()
    guidance: float = 0.0
    ladder: tuple[float, ...] = ()

    def led(self, model: Any, given: NoisyField, rows: Tensor) -> NoisyField:
        """The field of the sentences `rows`, led away."""
        if not self.guidance:
            return given
        fields = tuple(model.field(tokens[rows]) for tokens in self.rivals)
        return Guided(given, InTurn(fields or (model.field(),), self.ladder), self.guidance)


@dataclass(frozen=True)
class Asked:
    """The numbers of test pictures, and the tokens of what is asked for each, [n, L] a sentence;
    the energies of several are summed, one is led away from its rivals.
    """

    members: list[int]
    tokens: tuple[Tensor, ...]
    away: Away = Away()

    @property
    def rows(self) -> Tensor:
        """The number of each, [n], which stands for its sentences."""
        return torch.arange(len(self.members))

    def energies(self, model: Any) -> int:
        """How many are summed, for one evaluation."""
        several = len(self.tokens) > 1 and isinstance(model.field(), NoisyField)
        return len(self.tokens) + (several or self.away.guidance > 0)

    def field_of(self, model: Any) -> FieldOf:
        """Numbers of sentences -> the sum of their energies; at noise levels, less that of no
        sentence for each but one.
        """

        def of(rows: Tensor | None) -> Field | NoisyField:
            assert rows is not None, "a sentence is asked for"
            fields = [model.field(tokens[rows]) for tokens in self.tokens]
            if len(fields) == 1:
                return self.away.led(model, fields[0], rows)
            if isinstance(fields[0], NoisyField):
                return conjunction(model.field(), fields)
            return Sum(tuple(fields))

        return of


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
