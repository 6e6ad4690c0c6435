"""How well a classifier hears digits spoken by a voice that it never heard.

The official split of FSDD tests on voices that were trained on, and flatters every classifier, the
one that judges samples too. Here the same network learns from the other speakers, and is tested on
the one that is left out.
"""

import re
from dataclasses import dataclass
from typing import final

import torch

from gradlogp import data as readers
from gradlogp.core.errors import UserError
from gradlogp.core.random import from_seed
from gradlogp.data import Dataset
from gradlogp.harness.recipe import Target, specify
from gradlogp.harness.record import Recorder
from gradlogp.harness.settings import Choices, chosen
from gradlogp.harness.trial import Context, Trial, trained
from gradlogp.metrics import calibration
from gradlogp.objectives import CrossEntropy
from gradlogp.training import Training

NOBODY = "nobody"
BUDGETS: Choices = {
    "fsdd": {
        "any": ("speakers='george','jackson','lucas','nicolas','theo','yweweler'",),
        "quick": ("speakers='theo',", "passes=15"),
    }
}


@final
@dataclass(frozen=True)
class Voices(Trial):
    """speakers: left out, one at a time; the data as they are split come first. passes: through the
    training part.
    """

    speakers: tuple[str, ...] = ()
    passes: int = 30
    batch: int = 64
    learning_rate: float = 2e-3

    def perform(self, context: Context, recorder: Recorder) -> None:
        with recorder.training() as cost:
            for left_out in (NOBODY, *self.speakers):
                found = self._split(left_out, context)
                cost.images += self.passes * len(found.train)
                self._heard(left_out, found, recorder)

    def _split(self, left_out: str, context: Context) -> Dataset:
        """The data set, or the same without one speaker."""
        name = context.data.name
        if left_out == NOBODY:
            return context.data
        base, *_ = re.split("[@:]", name)
        length = name.partition("@")[2]
        return readers.load(f"{base}:{left_out}{'@' + length if length else ''}", context.root)

    def _heard(self, left_out: str, data: Dataset, recorder: Recorder) -> None:
        """The accuracy on the test part of a classifier of the training part."""
        if data.train.labels is None or data.test.labels is None:
            raise UserError(f"digits are told apart by their labels, which {data.name} lacks.")
        spec = specify(data)
        kind = spec.coordinates
        network = from_seed(self.seed, lambda: kind.network(spec.shape, spec.classes))
        training = Training(self.passes * len(data.train), self.batch, self.learning_rate)
        x = kind.to_model(data.train.scaled())
        model = trained(
            recorder, f"without-{left_out}", network, CrossEntropy(), x, data.train.labels, training
        )
        with torch.no_grad():
            logits = model(kind.to_model(data.test.scaled()))
        recorder.add(calibration.accuracy(logits, data.test.labels), axes={"left_out": left_out})


def voices(target: Target, preset: str = "quick", seed: int = 0) -> Voices:
    """A classifier of spoken digits, and the same where a speaker is left out of its training."""
    made = Voices("voices", target.name, preset, seed)
    return chosen(made, BUDGETS, target.families, preset)
