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
from gradlogp.training.loop import Learner, Training, learn, learn_from, shuffled, train

__all__ = [
    "Diverged",
    "Guard",
    "GuardSettings",
    "Health",
    "Learner",
    "Training",
    "Useless",
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
