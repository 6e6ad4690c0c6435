"""What the page says: numbers as a person writes them, metrics, charts and methods in plain words."""

import math
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from gradlogp.reports.numbers import Key


class Word(NamedTuple):
    """A metric: its name, and what it says to somebody who has never met it."""

    name: str
    says: str


METRICS = {
    "fd": Word(
        "Fréchet distance",
        "How far the crowd of drawn pictures is from the crowd of real ones, in the eyes of the"
        " judge. The one number to look at first. Even real pictures do not score 0, since no two"
        " samples are the same.",
    ),
    "kid": Word(
        "kernel distance",
        "A second opinion on the same question, which assumes less. Around 0 the crowds cannot be"
        " told apart; slightly below 0 is luck.",
    ),
    "precision": Word(
        "precision",
        "The share of drawn pictures that look like some real one. Low: many drawings are of"
        " nothing.",
    ),
    "recall": Word(
        "recall",
        "The share of real pictures that look like some drawn one. Low: whole kinds are never"
        " drawn.",
    ),
    "density": Word(
        "density",
        "How closely the drawn pictures are surrounded by real ones; 1 is alike. Above 1 the method"
        " keeps to the most ordinary pictures.",
    ),
    "coverage": Word(
        "coverage",
        "The share of real pictures that have a drawn one for a near neighbour: quality and variety"
        " in one.",
    ),
    "rarest_class": Word(
        "rarest class",
        "The share of the class that is drawn least often. Near 0: that class is forgotten.",
    ),
    "commonest_class": Word(
        "commonest class",
        "The share of the class that is drawn most often. Near 1: always the same.",
    ),
    "class_entropy": Word(
        "evenness of classes",
        "How evenly the classes are drawn, in nats. It says nothing of quality.",
    ),
    "memorisation": Word(
        "freshness",
        "The distance from a drawn picture to the nearest training picture, over the same distance"
        " for real pictures that were held back. 0: copies of the training set (so real training"
        " pictures score 0). 1: as fresh as new ones. Noise and blur raise it above 1.",
    ),
    "agreement": Word(
        "class obeyed",
        "The share of pictures in which the judge sees the class that was asked for.",
    ),
    "1nna": Word(
        "told apart by neighbours",
        "Of all pictures, real and drawn, the share whose nearest other one is of their own kind."
        " 0.5: nobody can tell them apart. Far below 0.5: copies.",
    ),
    "c2st": Word(
        "told apart by a classifier",
        "How often a simple classifier can tell drawn from real; 0.5 is a coin.",
    ),
    "inception_score": Word(
        "inception score",
        "How sure the judge is of each drawing, and of how many classes: 1 to the number of"
        " classes. Blind to copies.",
    ),
    "cas": Word(
        "classes taught",
        "The accuracy, on real pictures, of a classifier that has seen nothing but drawn ones:"
        " nonsense and whatever is never drawn both cost accuracy. Real training pictures, as many,"
        " say what can be reached.",
    ),
    "retention": Word(
        "class kept",
        "The share of chains from real pictures whose class is still that of their start. Low: the"
        " model does not know the pictures as its own.",
    ),
    "energy": Word(
        "mean energy", "Low means likely; only differences between kinds of pictures count."
    ),
    "energy_gap": Word(
        "held-out minus training energy",
        "0: held-out pictures are as likely as those learned from. Above: learned by heart.",
    ),
    "taken_at": Word(
        "weights taken at",
        "The share of the training after which the weights were best on the validation part.",
    ),
    "auroc": Word(
        "AUROC",
        "The chance that an anomaly gets a higher score than a normal example; 0.5 is a coin.",
    ),
    "auprc": Word(
        "AUPRC",
        "The average precision of the anomalies. A coin scores their share, so read it beside"
        " that.",
    ),
    "fpr95": Word(
        "false alarms at 95 %",
        "The share of normal examples that is alarmed about when 95 % of the anomalies are caught.",
    ),
    "lead": Word(
        "lead over the best baseline",
        "The AUROC less that of the best baseline on the same examples: above 0 wins.",
    ),
    "rank": Word(
        "mean rank",
        "Where the method comes among all others, from one set to the next, on average: 1 is always"
        " first.",
    ),
    "place": Word(
        "mean place among baselines",
        "Its rank where it alone joins the baselines: 1 is before all of them, always.",
    ),
    "accuracy": Word("accuracy", "The share of examples that are classified rightly."),
    "nll": Word(
        "surprise, nats",
        "How surprised the classifier is by the true class, on average; 0 is never.",
    ),
    "ece": Word(
        "calibration error",
        "How far the classifier's confidence is from its accuracy. 0: when it says 80 %, it is"
        " right in 80 % of the cases.",
    ),
    "bits_per_dim": Word(
        "bits per dimension",
        "How many bits a pixel costs when the model compresses pictures that it has not seen; fewer"
        " is a better model of all there is, fine noise included.",
    ),
    "bits_per_dim_histogram": Word(
        "bits per dimension, pixels alone",
        "The same by a histogram for each pixel: what anything must beat.",
    ),
    "bits_per_dim_gaussian": Word(
        "bits per dimension, Gaussian", "The same by one Gaussian of all pixels."
    ),
    "psnr": Word(
        "restored, dB",
        "Peak signal-to-noise ratio: how near the restored picture is to the clean one. 3 dB more"
        " is half the error.",
    ),
    "ssim": Word(
        "structural similarity",
        "How near the restored picture is to the clean one in local contrast and shape; 1 is"
        " identical.",
    ),
    "snr": Word("restored, dB", "Signal-to-noise ratio: 3 dB more is half the error."),
    "nrmse": Word(
        "restored, RMS error",
        "How far a restored row is from the clean one, in standard deviations of the columns.",
    ),
    "fd_gain": Word(
        "Fréchet distance gained", "How far the distance falls beside that of another method."
    ),
    "gain": Word(
        "gain, dB",
        "How many dB nearer to the clean example than another method comes, on the same examples"
        " under the same noise.",
    ),
    "sample_loss": Word(
        "lost by one sample, dB",
        "How much worse one draw from the posterior is than its mean. 3.01 dB, twice the error, is"
        " what a model that knows how uncertain it is must lose; less is too sure, more is too"
        " unsure.",
    ),
    "rmse": Word(
        "RMS error of the score",
        "How far the learned score is from the exact one where the law has its mass, in units of 1"
        " / s.",
    ),
    "relative": Word(
        "relative error of the score",
        "The mean squared error under the law, over the mean square of the exact score.",
    ),
    "slope_error": Word(
        "error of the slope",
        "How far a fitted line's slope is from the value that it has in closed form.",
    ),
    "largest_deviation": Word(
        "largest deviation, standard errors",
        "The largest difference of a measured variance from its exact recursion, over all settings."
        " Chance alone gives 2 to 3.",
    ),
    "ess": Word(
        "effective samples",
        "How many independent draws the chains are worth: a chain that moves slowly says the same"
        " thing many times.",
    ),
    "rhat": Word(
        "agreement of chains",
        "Whether chains that began apart tell the same story: 1 is alike, above 1.01 is too early"
        " to stop.",
    ),
}
HEADLINE = ("fd", "precision", "recall", "coverage", "agreement", "memorisation")


class Panel(NamedTuple):
    """A chart of the training log: name in the log -> label of the line, and how to read it. zero:
    0 is the mark.
    """

    series: Mapping[str, str]
    title: str
    says: str
    log: bool = False
    zero: bool = False


ENERGY_PANELS = (
    Panel(
        {"gap": "energy gap"},
        "Energy gap",
        "Energy where the model's own chains end, minus energy of real pictures. Healthy: it hovers"
        " near 0, so that neither can be told from the other. Far above 0, the chains do not keep"
        " up with the model; far below, they found a hole in the landscape.",
        zero=True,
    ),
    Panel(
        {"displacement": "displacement"},
        "Langevin displacement",
        "How far a chain moves a pixel during one update, on average (black to white is 2). Near 0"
        " the chains are stuck, and the model learns nothing.",
        zero=True,
    ),
    Panel(
        {"energy_data": "real pictures", "energy_chains": "chains"},
        "Energy",
        "Low means likely. The two lines should stay together and stay small; lines that run away"
        " are a model about to diverge.",
        zero=True,
    ),
    Panel(
        {"loss": "loss"},
        "Loss, which says little",
        "The gap with its sign turned, plus a term that keeps energies small. A model that is right"
        " has a loss near 0, and so has one that has learned nothing.",
        zero=True,
    ),
)
SCORE_PANELS = (
    Panel(
        {"loss_per_dim": "loss"},
        "Denoising loss per pixel",
        "The error in guessing the noise that was added, weighted over noise levels. Unlike the"
        " loss of an energy it does fall as the model learns, but never to 0: nobody can guess all"
        " of the noise.",
        log=True,
    ),
    Panel(
        {"grad_norm": "size of the gradient"},
        "Size of the gradient",
        "How hard each update pulls at the weights. A spike now and then is nothing; a steady rise"
        " is trouble.",
        log=True,
    ),
)
OTHER_PANELS = (Panel({"loss": "loss"}, "Loss", "What training makes smaller."),)


def panels(logged: set[str]) -> tuple[Panel, ...]:
    """The charts for a log that holds these numbers."""
    if "gap" in logged:
        return ENERGY_PANELS
    return SCORE_PANELS if "loss_per_dim" in logged else OTHER_PANELS


# How an axis is said after the name of a metric; by default its value alone.
AXES = {
    "noise": "at noise {}",
    "steps": "after {} steps",
    "start": "from {}",
    "by": "by {}",
    "over": "over {}",
    "to": "to {}",
    "against": "against {}",
    "variance": "on variance {}",
    "step": "at step {}",
}


def axis_value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def axes(key: Key) -> str:
    """("fd", (("steps", 20),)) -> after 20 steps"""
    said = (AXES.get(name, "{}").format(axis_value(value)) for name, value in key.axes)
    return " ".join(said)


def metric(key: Key) -> Word:
    """The words for a metric and its axes; a new one keeps its bare name."""
    word = METRICS.get(key.metric, Word(key.metric, ""))
    return Word(f"{word.name} {axes(key)}".strip(), word.says)


def together(keys: Sequence[Key]) -> str:
    """The names of several metrics, what they share said once: accuracy 3v5, 4v9; precision."""
    rests: dict[str, list[str]] = {}
    for key in keys:
        rests.setdefault(metric(Key(key.metric)).name, []).append(axes(key))
    return "; ".join(_shared(name, found) for name, found in rests.items())


def _shared(name: str, rests: Sequence[str]) -> str:
    split = [rest.split() for rest in rests]
    beginnings = zip(*(rest[:-1] for rest in split), strict=False)
    same = len(list(takewhile(lambda column: len(set(column)) == 1, beginnings)))
    ends = ", ".join(" ".join(rest[same:]) for rest in split)
    return " ".join([name, *split[0][:same], ends]).replace(" ,", ",").strip()


def fixed(value: float, decimals: int) -> str:
    """With so many decimals."""
    return (
        f"{value:,.{decimals}f}".replace("-", "\u2212") if math.isfinite(value) else number(value)
    )


def number(value: Any, stderr: Any = None) -> str:
    """As far as its standard error allows (to its first digit, or its second after a leading 1 or 2), else
    to three digits.
    """
    if not isinstance(value, int | float):
        return "\u2013"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "\u221e" if value > 0 else "\u2212\u221e"
    decimals = 2
    if isinstance(stderr, int | float) and 0 < stderr < math.inf:
        size = math.floor(math.log10(stderr))
        decimals = (1 if stderr / 10.0**size < 2.95 else 0) - size
    elif value:
        decimals = 2 - math.floor(math.log10(abs(value)))
    if 0 < abs(value) < 5e-6:
        return f"{value:.0e}".replace("-", "\u2212")
    return f"{value:,.{min(max(decimals, 0), 5)}f}".replace("-", "\u2212")


def count(value: Any) -> str:
    """12,345; 1.2 million; 3.4 billion."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "\u2013"
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{value / size:.3g} {word}"
    return f"{value:,.0f}"


def duration(seconds: Any) -> str:
    """3 ms; 4.5 s; 12 min; 3 h 20 min."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return "\u2013"
    if seconds < 100:
        return f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
