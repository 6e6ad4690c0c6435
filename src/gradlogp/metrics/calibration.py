r"""Accuracy and honesty of class probabilities, from logits [n, classes] and labels [n].

    accuracy = share of (argmax = label)          NLL = -mean ln p(label)   in nats
    ECE = sum_b n_b / n |accuracy_b - confidence_b|   over 15 equal bins of the confidence max p

A calibrated classifier has ECE 0 in the limit only: bins of finite size differ by chance, so the
ECE of labels drawn from the classifier's own probabilities is its floor. Two classifiers on the
same examples are compared by McNemar's exact test.

References: Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599, eq. 3;
McNemar (1947), Psychometrika 12.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from gradlogp.metrics.base import GROUPS, Measure, finite, jackknife, standard_error

BINS = 15


def accuracy(logits: Tensor, labels: Tensor) -> Measure:
    """Share of examples whose most probable class is the label; binomial standard error."""
    logits, labels = _pair(logits, labels)
    value = float((logits.argmax(1) == labels).double().mean())
    n = len(labels)
    return Measure(
        "accuracy",
        value,
        math.sqrt(value * (1 - value) / n),
        n,
        "higher",
        f"{n} labelled examples, binomial standard error",
        trivial=1 / logits.shape[1],
    )


def nll(logits: Tensor, labels: Tensor) -> Measure:
    """Mean negative log-probability of the label, nats; ceiling: even odds."""
    logits, labels = _pair(logits, labels)
    each = F.cross_entropy(logits, labels, reduction="none")
    return Measure(
        "nll",
        float(each.mean()),
        standard_error(each),
        len(labels),
        "lower",
        f"nats, {len(labels)} labelled examples, standard error over examples",
        trivial=math.log(logits.shape[1]),
    )


def ece(logits: Tensor, labels: Tensor, seed: int = 0) -> Measure:
    """Expected calibration error over 15 bins; floor: the same with labels drawn from the
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
    floor = sum(_gap(confidence, each) for each in drawn) / len(drawn)
    return Measure(
        "ece",
        _gap(confidence, right),
        jackknife(torch.tensor(left_out)) if left_out else None,
        len(labels),
        "lower",
        f"{BINS} equal bins of confidence, {len(labels)} labelled examples, jackknife standard error"
        f" standard error over {groups} groups, floor: mean of 20 draws of labels from the"
        " probabilities",
        floor,
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


def _pair(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.is_floating_point():
        raise ValueError(
            f"expected logits [n, classes] and integer labels [n], got {list(logits.shape)} and "
            f"{list(labels.shape)} of {labels.dtype}; pass both for the same examples."
        )
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"labels run from 0 to {logits.shape[1] - 1} for these logits, got {int(labels.min())}"
            f" to {int(labels.max())}."
        )
    return finite(logits, "logits").cpu(), labels.long().cpu()
