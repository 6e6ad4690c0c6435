"""How much a generative model's features know of classes that it was never told."""

from typing import Any

from gradlogp import tasks
from gradlogp.data import Dataset
from gradlogp.harness.fit import Fitted
from gradlogp.harness.record import Recorder
from gradlogp.metrics.representation import linear_probe


def probe(fitted: Fitted, data: Dataset, recorder: Recorder) -> None:
    """A logistic regression on the features of as many training examples as `evaluation.probe`
    says; of an adversarial network, those of its critic.
    """
    n = fitted.recipe.evaluation.probe
    if n == 0 or data.train.labels is None or data.test.labels is None:
        return
    model: Any = getattr(fitted.model, "critic", fitted.model)
    kind = fitted.spec.coordinates
    train, test = (
        tasks.embed(model, kind.to_model(x).to(fitted.device)).cpu()
        for x in (data.train.scaled(slice(0, n)), data.test.scaled())
    )
    found = linear_probe(train, data.train.labels[:n], test, data.test.labels)
    recorder.add(found)
