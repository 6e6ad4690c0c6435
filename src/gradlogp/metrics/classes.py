"""Which classes a sample holds, as an independent classifier reads them.

    p_c = share of class c        H = -sum_c p_c ln p_c   in nats        agreement = share of (predicted = asked)

    IS = exp mean_i KL(p(y | x_i) || mean_j p(y | x_j))   between 1 and the number of classes

The inception score of the domain's own classifier sees neither copies nor a class that has
collapsed to one picture. H over K equally likely classes is ln K - (K - 1) / 2N for N samples
(Miller 1955); it says that modes are missing, never that images are good. The classifier must not
be the one that guided the sampler, nor the sampler itself.
"""

import math

import torch
from torch import Tensor

from gradlogp.core.arrays import Numbers, real
from gradlogp.core.errors import UserError
from gradlogp.metrics.base import (
    GROUPS,
    Measure,
    Metric,
    binomial_error,
    features,
    jackknife,
    standard_error,
)


def class_shares(predicted: Numbers, classes: int) -> Tensor:
    """Share of every class, [classes], from labels [n]."""
    labels = _labels(predicted, "predicted")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"`predicted` needs labels 0 to {classes - 1}, but holds {int(labels.min())} to "
            f"{int(labels.max())}; pass the number of classes of the classifier."
        )
    return labels.bincount(minlength=classes).double() / len(labels)


def class_entropy(predicted: Numbers, classes: int = 10) -> Measure:
    """Entropy of the class shares in nats; reference: N labels drawn evenly from `classes`."""
    shares, n = class_shares(predicted, classes), len(real(predicted, "predicted"))
    surprise = -shares[shares > 0].log()
    value = (shares[shares > 0] * surprise).sum()
    stderr = ((shares[shares > 0] * (surprise - value) ** 2).sum() / n).sqrt()
    return CLASS_ENTROPY.measure(
        float(value),
        float(stderr),
        n,
        f"nats, shares of {classes} classes among {n} predicted labels, standard error by"
        " the delta method",
        math.log(classes) - (classes - 1) / (2 * n),
    )


def inception_score(logits: Numbers) -> Measure:
    """exp of the mutual information between sample and class, from an independent classifier's
    logits [n, classes]; jackknife standard error. Salimans et al. (2016), arXiv 1606.03498, section
    4.
    """
    log_p = features(logits, "logits").log_softmax(1)
    groups = min(GROUPS, len(log_p))
    left_out = torch.stack(
        [_inception(log_p[torch.arange(len(log_p)) % groups != g]) for g in range(groups)]
    )
    return INCEPTION_SCORE.measure(
        float(_inception(log_p)),
        jackknife(left_out),
        len(log_p),
        f"domain classifier of {log_p.shape[1]} classes, {len(log_p)} samples, jackknife standard"
        f" error over {groups} groups",
        trivial=1.0,
    )


def class_probability(logits: Numbers) -> Measure:
    """How sure an independent classifier is of the class of each sample, max p: the mean over
    logits [n, classes], with its standard error. Xie et al. (2018), arXiv 1804.00586, table 1.
    """
    probabilities = features(logits, "logits").softmax(1)
    classes, sure = probabilities.shape[1], probabilities.amax(1)
    protocol = (
        f"domain classifier of {classes} classes, {len(sure)} samples, standard error over them"
    )
    value, error = float(sure.mean()), standard_error(sure)
    return Measure(
        "class_probability", value, error, len(sure), "higher", protocol, trivial=1 / classes
    )


def _inception(log_p: Tensor) -> Tensor:
    marginal = log_p.logsumexp(0) - math.log(len(log_p))
    return (log_p.exp() * (log_p - marginal)).sum(1).mean().exp()


def agreement(predicted: Numbers, asked: Numbers, on_real: float | None = None) -> Measure:
    """Share of samples whose predicted label [n] is the asked one [n]; `on_real`, the classifier's
    accuracy on real test data, is its reference.
    """
    predicted = _labels(predicted, "predicted")
    asked = _labels(asked, "asked")
    if predicted.shape != asked.shape:
        raise ValueError(
            f"`predicted` and `asked` need one label per sample, but have {len(predicted)} and "
            f"{len(asked)}; pass both for the same samples."
        )
    n = len(asked)
    value = float((predicted == asked).double().mean())
    return AGREEMENT.measure(
        value,
        binomial_error(value, n),
        n,
        f"label asked against label predicted by an independent classifier, {n} samples, binomial"
        " standard error",
        on_real,
    )


def _labels(given: Numbers, name: str) -> Tensor:
    x = real(given, name)
    if x.ndim != 1 or x.is_floating_point():
        raise ValueError(
            f"`{name}` needs integer labels of shape [n], but has {list(x.shape)} of {x.dtype}; "
            "pass logits.argmax(1)."
        )
    if len(x) == 0:
        raise UserError(f"`{name}` needs at least one label, but has none; draw some samples.")
    return x.long()


CLASS_ENTROPY = Metric(
    key="class_entropy",
    call=class_entropy,
    takes=("labels",),
    says="entropy of the predicted classes, nats",
    name="evenness of classes",
    meaning="How evenly the classes are drawn, in nats. It says nothing of quality.",
    better="higher",
    unit="nats",
)
INCEPTION_SCORE = Metric(
    key="inception_score",
    call=inception_score,
    takes=("logits",),
    says="1 to the number of classes, by the domain's classifier",
    name="inception score",
    meaning="How sure the evaluation classifier is of each drawing, and of how many classes: 1 to"
    " the number of classes. Blind to copies.",
    better="higher",
)
AGREEMENT = Metric(
    key="agreement",
    call=agreement,
    takes=("labels", "labels"),
    says="share of samples of the class that was asked for",
    name="class obeyed",
    meaning="The share of pictures in which the evaluation classifier sees the class that was asked for.",
    better="higher",
)
