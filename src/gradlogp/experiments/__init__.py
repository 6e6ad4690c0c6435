"""Experiments: the only place where names meet pieces. One function is one full run."""

from gradlogp.experiments.base import Facts, Generative, Recipe
from gradlogp.experiments.compare import (
    COMPARISONS,
    EXPERIMENTS,
    Comparison,
    Contender,
    applicable,
    compare,
    contender_of,
)
from gradlogp.experiments.evaluate import evaluate, judge_samples
from gradlogp.experiments.fit import Fitted, fit, load, recipe_of
from gradlogp.experiments.judge import Judge, judge, judge_beside
from gradlogp.experiments.settings import leaves, override, to_dict
from gradlogp.experiments.trial import Trial

PRESETS = {
    "quick": "two CPU cores, minutes",
    "full": "an hour of CPU, or one GPU",
    "gpu": "one large GPU, under 25 minutes",
}

__all__ = [
    "COMPARISONS",
    "EXPERIMENTS",
    "PRESETS",
    "Comparison",
    "Contender",
    "Facts",
    "Fitted",
    "Generative",
    "Judge",
    "Recipe",
    "Trial",
    "applicable",
    "compare",
    "contender_of",
    "evaluate",
    "fit",
    "judge",
    "judge_beside",
    "judge_samples",
    "leaves",
    "load",
    "override",
    "recipe_of",
    "to_dict",
]
