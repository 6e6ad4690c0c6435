"""The harness: what every comparison needs and no experiment owns. It knows no recipe by name."""

from gradlogp.harness.compare import (
    Comparison,
    Entry,
    Maker,
    Method,
    described,
    done,
    finish,
    named,
    part,
    prepare,
    ready,
    require_done,
    run_comparison,
)
from gradlogp.harness.engines import ENGINES
from gradlogp.harness.evaluate import evaluate, measure_samples
from gradlogp.harness.evaluator import Evaluator, evaluator_beside, evaluator_of
from gradlogp.harness.fit import Fitted, build, fit, follow, load, recipe_of, spec_of
from gradlogp.harness.imputation import impute
from gradlogp.harness.kinds import KINDS, Kind
from gradlogp.harness.own import Own
from gradlogp.harness.recipe import DataSpec, Evaluation, Generative, Recipe, Target, specify
from gradlogp.harness.record import Recorder, Rows
from gradlogp.harness.settings import from_stored, leaves, override, to_dict
from gradlogp.harness.table import Column, Table
from gradlogp.harness.trial import Context, Trial

PRESETS = {
    "quick": "two CPU cores, minutes",
    "full": "an hour of CPU, or one GPU",
    "gpu": "one large GPU, under 25 minutes",
}

__all__ = [
    "ENGINES",
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
    "build",
    "described",
    "done",
    "evaluate",
    "evaluator_beside",
    "evaluator_of",
    "finish",
    "fit",
    "follow",
    "from_stored",
    "impute",
    "leaves",
    "load",
    "measure_samples",
    "named",
    "override",
    "part",
    "prepare",
    "ready",
    "recipe_of",
    "require_done",
    "run_comparison",
    "spec_of",
    "specify",
    "to_dict",
]
