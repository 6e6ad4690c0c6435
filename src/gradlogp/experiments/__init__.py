"""Experiments: the questions, one line each, and the recipes that many of them train."""

from gradlogp.experiments import generate
from gradlogp.experiments.recipes import RECIPES
from gradlogp.harness.compare import Comparison

COMPARISONS: dict[str, Comparison] = {
    "ebm": generate.BUFFER,
    "ebm_chains": generate.LONG_CHAINS,
    "ncsn": generate.LEVELS,
    "ncsn_class": generate.CLASSES,
    "ebm_generate": generate.RIVALS,
    "demo": generate.DEMO,
}

__all__ = ["COMPARISONS", "RECIPES"]
