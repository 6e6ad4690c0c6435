"""Tasks: verbs on a trained model. A task wraps a sampler and repeats none of its steps."""

from gradlogp.tasks import detect
from gradlogp.tasks.classify import features, labels, probabilities
from gradlogp.tasks.denoise import (
    choose,
    posterior_mean,
    posterior_path,
    posterior_samples,
    tweedie,
)
from gradlogp.tasks.diagnose import Report, chains
from gradlogp.tasks.embed import embed
from gradlogp.tasks.generate import Sampling, film, generate, milestones, tempered
from gradlogp.tasks.impute import impute
from gradlogp.tasks.inpaint import completing, inpaint
from gradlogp.tasks.likelihood import bits_per_dim, likelihood, ode_likelihood, variational_bound

TASKS = {
    "generate": generate,
    "denoise": posterior_mean,
    "classify": labels,
    "detect": detect.energy,
    "embed": embed,
    "inpaint": inpaint,
    "impute": impute,
    "likelihood": likelihood,
}

__all__ = [
    "TASKS",
    "Report",
    "Sampling",
    "bits_per_dim",
    "chains",
    "choose",
    "completing",
    "detect",
    "embed",
    "features",
    "film",
    "generate",
    "impute",
    "inpaint",
    "labels",
    "likelihood",
    "milestones",
    "ode_likelihood",
    "posterior_mean",
    "posterior_path",
    "posterior_samples",
    "probabilities",
    "tempered",
    "tweedie",
    "variational_bound",
]
