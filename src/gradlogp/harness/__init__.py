"""The harness: what every comparison needs and no experiment owns. It knows no recipe by name."""

from gradlogp.harness.compare import (
    Comparison,
    Entry,
    Maker,
    Method,
    described,
    prepare,
    run_comparison,
)
from gradlogp.harness.evaluate import evaluate, judge_samples
from gradlogp.harness.evaluator import Evaluator, evaluator_beside, evaluator_of
from gradlogp.harness.fit import Fitted, fit, load, recipe_of, spec_of
from gradlogp.harness.kinds import KINDS, Kind
from gradlogp.harness.own import Own
from gradlogp.harness.recipe import DataSpec, Evaluation, Generative, Recipe, Target, specify
from gradlogp.harness.record import Recorder, Rows
from gradlogp.harness.settings import leaves, override, restored, to_dict
from gradlogp.harness.table import Column, Table
from gradlogp.harness.trial import Context, Trial

PRESETS = {
    "quick": "two CPU cores, minutes",
    "full": "an hour of CPU, or one GPU",
    "gpu": "one large GPU, under 25 minutes",
}

__all__ = [
    "KINDS",
    "PRESETS",
    "Column",
    "Comparison",
    "Context",
    "DataSpec",
    "Entry",
    "Evaluation",
    "Evaluator",
    "Fitted",
    "Generative",
    "Kind",
    "Maker",
    "Method",
    "Own",
    "Recipe",
    "Recorder",
    "Rows",
    "Table",
    "Target",
    "Trial",
    "described",
    "evaluate",
    "evaluator_beside",
    "evaluator_of",
    "fit",
    "judge_samples",
    "leaves",
    "load",
    "override",
    "prepare",
    "recipe_of",
    "restored",
    "run_comparison",
    "spec_of",
    "specify",
    "to_dict",
]
