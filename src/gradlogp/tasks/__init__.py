"""Tasks: verbs on a trained model. A task wraps a sampler and repeats none of its steps."""

from gradlogp.tasks import detect
from gradlogp.tasks.classify import features, labels
from gradlogp.tasks.denoise import (
    choose,
    posterior_mean,
    posterior_path,
    posterior_samples,
    tweedie,
)
from gradlogp.tasks.diagnose import Report, chains
from gradlogp.tasks.generate import Sampling, film, generate, milestones
from gradlogp.tasks.likelihood import bits_per_dim, likelihood, ode_likelihood, variational_bound

TASKS = {
    "generate": generate,
    "denoise": posterior_mean,
    "classify": labels,
    "detect": detect.energy,
    "likelihood": likelihood,
}

__all__ = [
    "TASKS",
    "Report",
    "Sampling",
    "bits_per_dim",
    "chains",
    "choose",
    "detect",
    "features",
    "film",
    "generate",
    "labels",
    "likelihood",
    "milestones",
    "ode_likelihood",
    "posterior_mean",
    "posterior_path",
    "posterior_samples",
    "tweedie",
    "variational_bound",
]
