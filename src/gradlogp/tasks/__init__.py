"""Tasks: verbs on a trained model. A task wraps a sampler and repeats none of its steps."""

from gradlogp.tasks.classify import features, labels
from gradlogp.tasks.denoise import choose_weight, posterior_mean, tweedie
from gradlogp.tasks.diagnose import Report, chains
from gradlogp.tasks.generate import Generator, film, generate, milestones

TASKS = {
    "generate": generate,
    "denoise": posterior_mean,
    "classify": labels,
}

__all__ = ["TASKS", "Generator", "Report", "chains", "choose_weight", "features", "film", "generate", "labels", "milestones",
           "posterior_mean", "tweedie"]
