"""Classification accuracy score: what a classifier that saw nothing but samples knows of real
pictures.

A small classifier is trained on the samples alone, labelled with the class that was asked for or,
where none was, by the judge; its accuracy on the real test part is the score. Kinds that are never
drawn, and drawings of nothing, both cost accuracy; the row of real training pictures, as many and
labelled in the same way, is what can be reached.

Reference: Ravuri & Vinyals (2019), Classification Accuracy Score for Conditional Generative Models,
arXiv 1905.10887.
"""

import math

import torch
from torch import Tensor

from gradlogp import tasks
from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.data import Dataset
from gradlogp.experiments.base import to_model
from gradlogp.metrics import Measure
from gradlogp.models import ConvClassifier
from gradlogp.objectives import CrossEntropy
from gradlogp.training import Learner, Training, shuffled

IMAGES = 16_000  # that the classifier is shown, whatever the number of samples


def classification_accuracy(
    x: Tensor, labels: Tensor, data: Dataset, images: int | None = None
) -> Measure:
    """The accuracy on the test part of a classifier trained on samples x [n, *shape] in [0, 1] with
    `labels` [n].
    """
    assert data.test.labels is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ConvClassifier(data.shape, len(data.classes))
    images = images or IMAGES
    training = Training(images, batch=min(64, len(x)), learning_rate=2e-3)
    learner = Learner(model, CrossEntropy(), training, seeded(0, "cas"))
    order = shuffled(len(x), training.batch, 0)
    for step in range(training.steps):
        learner.update(Batch(to_model(x[order(step)]), labels[order(step)]))
    seen = tasks.labels(learner.ema.module, to_model(data.test.scaled()))
    value = float((seen == data.test.labels).double().mean())
    n = len(data.test)
    return Measure(
        "cas",
        value,
        math.sqrt(value * (1 - value) / n),
        n,
        "higher",
        f"accuracy on {n} test pictures of a classifier trained on {len(x)} samples alone, {images}"
        " pictures shown; binomial standard error",
    )
