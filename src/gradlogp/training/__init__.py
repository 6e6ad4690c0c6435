"""Training: one loop for all learners, and the guard that watches it."""

from gradlogp.training.guard import Diverged, Guard, GuardSettings, diagnosed, reach_in_words
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
from gradlogp.training.loop import Learner, Training, shuffled, train

__all__ = [
    "Diverged",
    "Guard",
    "GuardSettings",
    "Health",
    "Learner",
    "Training",
    "Useless",
    "diagnosed",
    "doubts",
    "energy_distance",
    "examine",
    "not_finite",
    "reach_in_words",
    "sample_health",
    "shuffled",
    "train",
    "unhealthy",
]
