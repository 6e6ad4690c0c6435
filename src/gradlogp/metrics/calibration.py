r"""Accuracy and honesty of class probabilities, from logits [n, classes] and labels [n].

    accuracy = share of (argmax = label)          NLL = -mean ln p(label)   in nats
    ECE = sum_b n_b / n |accuracy_b - confidence_b|   over 15 equal bins of the confidence max p

A calibrated classifier has ECE 0 in the limit only: bins of finite size differ by chance, so the
ECE of labels drawn from the classifier's own probabilities is its reference. Two classifiers on the
same examples are compared by McNemar's exact test.

References: Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599, eq. 3;
McNemar (1947), Psychometrika 12.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from gradlogp.core.arrays import Numbers, finite, real
from gradlogp.core.errors import UserError
from gradlogp.metrics.base import (
    GROUPS,
    Measure,
    Metric,
    binomial_error,
    jackknife,
    standard_error,
)

BINS = 15


def accuracy(logits: Numbers, labels: Numbers) -> Measure:
    """Share of examples whose most probable class is the label; binomial standard error."""
    logits, labels = _pair(logits, labels)
    value = float((logits.argmax(1) == labels).double().mean())
    n = len(labels)
    return ACCURACY.measure(
        value,
        binomial_error(value, n),
        n,
        f"{n} labelled examples, binomial standard error",
        trivial=1 / logits.shape[1],
    )


def nll(logits: Numbers, labels: Numbers) -> Measure:
    """Mean negative log-probability of the label, nats; trivial: even odds."""
    logits, labels = _pair(logits, labels)
    each = F.cross_entropy(logits, labels, reduction="none")
    return NLL.measure(
        float(each.mean()),
        standard_error(each),
        len(labels),
        f"nats, {len(labels)} labelled examples, standard error over examples",
        trivial=math.log(logits.shape[1]),
    )


def ece(logits: Numbers, labels: Numbers, seed: int = 0) -> Measure:
    """Expected calibration error over 15 bins; reference: the same with labels drawn from the
    probabilities themselves.
    """
    logits, labels = _pair(logits, labels)
    probability = logits.softmax(1)
    confidence, predicted = probability.max(1)
    right = (predicted == labels).double()
    groups = min(GROUPS, len(labels))
    left_out = (
        [
            _gap(confidence[keep], right[keep])
            for g in range(groups)
            for keep in [torch.arange(len(labels)) % groups != g]
        ]
        if groups > 1
        else []
    )
    drawn = torch.bernoulli(confidence.expand(20, -1), generator=Generator().manual_seed(seed))
    reference = sum(_gap(confidence, each) for each in drawn) / len(drawn)
    return ECE.measure(
        _gap(confidence, right),
        jackknife(torch.tensor(left_out)) if left_out else None,
        len(labels),
        f"{BINS} equal bins of confidence, {len(labels)} labelled examples, jackknife standard error"
        f" over {groups} groups, reference: mean of 20 draws of labels from the"
        " probabilities",
        reference,
    )


def mcnemar(right: Tensor, other: Tensor) -> tuple[int, int, float]:
    """Examples that only the first, and only the second classifier has right ([n] booleans each),
    and the exact two-sided p.
    """
    if right.shape != other.shape or right.ndim != 1:
        raise ValueError(
            f"a paired test needs one verdict each on the same examples, got {list(right.shape)}"
            f" and {list(other.shape)}."
        )
    first = int((right & ~other).sum())
    second = int((other & ~right).sum())
    n, few = first + second, min(first, second)
    tail = sum(math.comb(n, k) for k in range(few + 1)) / 2**n if n else 1.0
    return first, second, min(1.0, 2 * tail)


def _gap(confidence: Tensor, right: Tensor) -> float:
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    difference = torch.zeros(BINS, dtype=torch.float64).index_add(0, bins, right - confidence)
    return float(difference.abs().sum() / len(right))


def _pair(logits: Numbers, labels: Numbers) -> tuple[Tensor, Tensor]:
    logits, labels = real(logits, "logits"), real(labels, "labels")
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.is_floating_point():
        raise ValueError(
            f"expected logits [n, classes] and integer labels [n], got {list(logits.shape)} and "
            f"{list(labels.shape)} of {labels.dtype}; pass both for the same examples."
        )
    if len(labels) == 0:
        raise UserError("`labels` needs at least one example, but has none; pass some.")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"labels run from 0 to {logits.shape[1] - 1} for these logits, got {int(labels.min())}"
            f" to {int(labels.max())}."
        )
    return finite(logits, "logits").cpu(), labels.long().cpu()


ACCURACY = Metric(
    key="accuracy",
    call=accuracy,
    takes=("logits", "labels"),
    says="share of examples classified rightly",
    name="accuracy",
    meaning="The share of examples that are classified rightly.",
    better="higher",
)
NLL = Metric(
    key="nll",
    call=nll,
    takes=("logits", "labels"),
    says="negative log-probability of the label, nats",
    name="surprise, nats",
    meaning="How surprised the classifier is by the true class, on average; 0 is never.",
    better="lower",
    unit="nats",
)
ECE = Metric(
    key="ece",
    call=ece,
    takes=("logits", "labels"),
    says="expected calibration error: confidence against accuracy",
    name="calibration error",
    meaning="How far the classifier's confidence is from its accuracy. 0: when it says 80 %, it is"
    " right in 80 % of the cases.",
    better="lower",
)
