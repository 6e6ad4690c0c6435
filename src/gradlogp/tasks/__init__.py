"""Tasks: verbs on a trained model. A task wraps a sampler and repeats none of its steps."""

from gradlogp.tasks.classify import features, labels
from gradlogp.tasks.denoise import choose_weight, posterior_mean, tweedie
from gradlogp.tasks.diagnose import Report, chains
from gradlogp.tasks.generate import Generator, film, generate, milestones
from gradlogp.tasks.likelihood import bits_per_dim, likelihood, ode_likelihood, variational_bound

TASKS = {
    "generate": generate,
    "denoise": posterior_mean,
    "classify": labels,
    "likelihood": likelihood,
}

__all__ = ["TASKS", "Generator", "Report", "bits_per_dim", "chains", "choose_weight", "features", "film", "generate",
           "labels", "likelihood", "milestones", "ode_likelihood", "posterior_mean", "tweedie", "variational_bound"]
