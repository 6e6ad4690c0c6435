"""Training: one loop for all learners, and the guard that watches it."""

from gradlogp.training.guard import Diverged, Guard, GuardSettings, displacement_in_words
from gradlogp.training.loop import Learner, Training, learn, learn_from, shuffled, train

__all__ = [
    "Diverged",
    "Guard",
    "GuardSettings",
    "Learner",
    "Training",
    "displacement_in_words",
    "learn",
    "learn_from",
    "shuffled",
    "train",
]
