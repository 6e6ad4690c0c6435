"""Who draws best, and what it takes: energies with and without a buffer, scores at many levels and
at one, told the class and not, a variational autoencoder and adversarial networks.
"""

from gradlogp.experiments.generate import by_sampler
from gradlogp.experiments.generate.summary import scores_and_rivals, summary
from gradlogp.experiments.recipes import by_level, chains
from gradlogp.experiments.recipes.energy import (
    ebm,
    ebm_from_noise,
    ebm_long_chains,
    ebm_no_buffer,
)
from gradlogp.experiments.recipes.latent import gan, vae, wgan_gp
from gradlogp.experiments.recipes.mixture import mixture
from gradlogp.experiments.recipes.score import ncsn, ncsn_class, ncsn_from_noise, ncsn_single
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

# Of the buffer alone: the chains of all begin at noise.
NO_BUFFER = {"ebm": ebm_from_noise, "ebm_no_buffer": ebm_no_buffer}
QUICK = ("evaluation.samples=1000", "evaluation.sigmas=0.3,")

BUFFER = Comparison(
    "What does the replay buffer buy, at equal network evaluations?",
    NO_BUFFER,
    tables=chains.TABLES,
    summary=summary,
    presets={"quick": ("training.images=112000", *QUICK)},
)
# Chains of 100 steps see 22 / 102 of the pictures: as many network evaluations.
LONG_CHAINS = Comparison(
    "Is a buffer worth more than chains five times as long?",
    {**NO_BUFFER, "ebm_long_chains": ebm_long_chains},
    tables=chains.TABLES,
    summary=summary,
    presets={
        "quick": (
            "ebm:training.images=56000",
            "ebm_no_buffer:training.images=56000",
            "ebm_long_chains:training.images=12078",
            *QUICK,
        )
    },
)
MEASURED_BY_LEVEL = dict.fromkeys(("quick", "full", "gpu"), ("evaluation.levels=10",))
LEVELS = Comparison(
    "Why many noise levels?",
    {"ncsn": ncsn_from_noise, "ncsn_single": ncsn_single},
    tables=(
        Table(
            "Loss as a share of that of the best linear score, by noise level in model coordinates",
            ("level_share",),
            "level",
            {"weights": by_level.AVERAGED},
        ),
        Table("The same, without averaging", ("level_share",), "level", {"weights": by_level.LAST}),
        Table(
            "Score squared over D / sigma^2, by noise level",
            ("score_length",),
            "level",
            {"weights": by_level.AVERAGED},
        ),
    ),
    presets=MEASURED_BY_LEVEL,
    small=MEASURED_BY_LEVEL,
)
CLASSES = Comparison(
    "Does the network draw the class that was asked for?",
    {"ncsn_class": ncsn_class, "ncsn": ncsn_from_noise},
)
RIVALS = Comparison(
    "Who draws best: energies, a VAE, GANs?",
    {
        "ebm": ebm,
        "ebm_from_noise": ebm_from_noise,
        "ebm_no_buffer": ebm_no_buffer,
        "vae": vae,
        "gan": gan,
        "wgan_gp": wgan_gp,
        "mixture": mixture,
    },
    dataset="mnist",
    headline=tuple(map(Column, ("fd", "precision", "recall", "coverage", "rarest_class", "cas"))),
    tables=chains.TABLES,
    summary=summary,
    presets={
        "quick": (
            "ebm_from_noise:training.images=90000",
            "ebm_no_buffer:training.images=90000",
            "ebm:evaluation.sigmas=0.3,",
            "ebm_from_noise:evaluation.sigmas=0.3,",
            "ebm_no_buffer:evaluation.sigmas=0.3,",
            "evaluation.samples=1000",
            "evaluation.snapshots=3",
        ),
        "full": (
            "ebm_from_noise:training.images=400000",
            "ebm_no_buffer:training.images=400000",
            "ebm:evaluation.sigmas=0.3,",
            "ebm_from_noise:evaluation.sigmas=0.3,",
            "ebm_no_buffer:evaluation.sigmas=0.3,",
            "evaluation.snapshots=5",
            "evaluation.trial=500",
        ),
    },
)
SCORES = Comparison(
    "Does a score draw better than networks that draw in one pass, and at how many evaluations?",
    {"score": by_sampler.score, "gan": gan, "wgan_gp": wgan_gp, "vae": vae},
    dataset="cifar10",
    tables=tuple(
        Table(
            f"Fréchet distance by evaluations, {name}",
            ("fd",),
            "at_most",
            {"sampler": name},
        )
        for name in by_sampler.SAMPLERS
    ),
    summary=scores_and_rivals,
    presets={"quick": ("evaluation.samples=1000", "score:recipe.evaluation.samples=1000")},
)
# Somebody waits for it: a third of the training, and noise is taken away at one level.
DEMO = Comparison(
    "Energy-based and score-based models learn to draw digits, side by side.",
    {**NO_BUFFER, "ncsn": ncsn, "ncsn_class": ncsn_class},
    tables=chains.TABLES,
    small={
        "quick": (
            "ebm:training.images=32768",
            "ebm_no_buffer:training.images=32768",
            "ncsn:training.images=32000",
            "ncsn_class:training.images=32000",
            "evaluation.sigmas=0.3,",
        )
    },
)
