"""Classification accuracy score: what a classifier that saw nothing but samples knows of real
examples.

A small classifier is trained on the samples alone, labelled with the class that was asked for or,
where none was, by the evaluation classifier; its accuracy on the real test part is the score. Kinds
that are never drawn, and drawings of nothing, both cost accuracy; the row of real training
examples, as many and labelled in the same way, is what can be reached.

Reference: Ravuri & Vinyals (2019), Classification Accuracy Score for Conditional Generative Models,
arXiv 1905.10887.
"""

import torch
from torch import Tensor

from gradlogp import tasks
from gradlogp.core.random import seeded
from gradlogp.data import Dataset
from gradlogp.harness.recipe import specify
from gradlogp.metrics import Measure
from gradlogp.metrics.base import binomial_error
from gradlogp.objectives import CrossEntropy
from gradlogp.training import Learner, Training, learn

IMAGES = 16_000  # that the classifier is shown, whatever the number of samples


def classification_accuracy(
    x: Tensor, labels: Tensor, data: Dataset, images: int | None = None
) -> Measure:
    """The accuracy on the test part of a classifier trained on samples x [n, *shape], in the data's
    own range, with `labels` [n].
    """
    assert data.test.labels is not None
    spec = specify(data)
    kind = spec.coordinates
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind.network(spec.shape, spec.classes)
    training = Training(images or IMAGES, batch=min(64, len(x)), learning_rate=2e-3)
    learner = Learner(model, CrossEntropy(), training, seeded(0, "cas"))
    averaged = learn(learner, kind.to_model(x), labels, seed=0)
    seen = tasks.labels(averaged, kind.to_model(data.test.scaled()))
    n = len(data.test)
    value = float((seen == data.test.labels).double().mean())
    protocol = (
        f"accuracy on {n} test examples of a classifier trained on {len(x)} samples alone,"
        f" {training.images} examples shown; binomial standard error"
    )
    return Measure("cas", value, binomial_error(value, n), n, "higher", protocol)
