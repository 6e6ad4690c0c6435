"""Training: one loop for all learners, and the guard that watches it."""

from gradlogp.training.guard import Diverged, Guard, GuardSettings, reach_in_words
from gradlogp.training.loop import Learner, Training, shuffled, train

__all__ = [
    "Diverged",
    "Guard",
    "GuardSettings",
    "Learner",
    "Training",
    "reach_in_words",
    "shuffled",
    "train",
]
