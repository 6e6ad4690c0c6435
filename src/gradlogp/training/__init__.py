"""Training: one loop for all learners, and the guard that watches it."""

from gradlogp.training.guard import (
    Diverged,
    Guard,
    GuardSettings,
    diagnosed,
    displacement_in_words,
)
from gradlogp.training.health import (
    Health,
    Useless,
    doubts,
    energy_distance,
    examine,
    not_finite,
    sample_health,
    unhealthy,
)
from gradlogp.training.learner import Learner, Training
from gradlogp.training.loop import accompany, learn, learn_from, shuffled, train
from gradlogp.training.processes import ALONE, Processes

__all__ = [
    "ALONE",
    "Diverged",
    "Guard",
    "GuardSettings",
    "Health",
    "Learner",
    "Processes",
    "Training",
    "Useless",
    "accompany",
    "diagnosed",
    "displacement_in_words",
    "doubts",
    "energy_distance",
    "examine",
    "learn",
    "learn_from",
    "not_finite",
    "sample_health",
    "shuffled",
    "train",
    "unhealthy",
]
