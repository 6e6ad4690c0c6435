"""Furniture as voxels: energies, scores, an adversarial network and an autoencoder of volumes.

All are the recipes of pictures with one dimension more; the chains of `ebm` and the walk of `ncsn`
begin at a mixture's draws, which stand beside them as `mixture`, since much is theirs. Samples are measured by a classifier of
volumes that no model saw, and by overlap: coverage, distance and 1-NNA by intersection over union.

References: Xie et al. (2018), Learning Descriptor Networks for 3D Shape Synthesis and Analysis,
arXiv 1804.00586 (energies of voxels by MCMC); Wu et al. (2016), 3D-GAN, arXiv 1610.07584.
"""

from gradlogp.experiments.recipes.energy import descriptor, ebm
from gradlogp.experiments.recipes.latent import gan, vae
from gradlogp.experiments.recipes.mixture import mixture
from gradlogp.experiments.recipes.score import ncsn, ncsn_class, ncsn_from_noise
from gradlogp.experiments.voxels.untrained import UNTRAINED
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

HEADLINE = tuple(
    map(
        Column,
        (
            "class_probability",
            "1nna_iou",
            "cov_iou",
            "mmd_iou",
            "inception_score",
            "fd",
            "cas",
            "linear_probe",
        ),
    )
)
TABLES = (
    Table(
        "Hidden voxels that are filled in wrongly: 70 % at random, or a block of 5/8 of each side",
        ("recovery_error",),
        "hidden",
        decimals=4,
    ),
)


def _of(method: str, *changes: str) -> tuple[str, ...]:
    return tuple(f"{method}:{change}" for change in changes)


TRUNK = "net.channels=16,32,64"
PROBED = "evaluation.probe=4000"
RECOVERED = ("evaluation.recover=100", PROBED)


def _budget(method: str, samples: int, images: int, *more: str) -> tuple[str, ...]:
    return _of(method, f"evaluation.samples={samples}", f"training.images={images}", *more)


def _energy(method: str, samples: int, images: int, *more: str) -> tuple[str, ...]:
    return _budget(method, samples, images, "evaluation.sigmas=0.3,", *RECOVERED, *more)


def _descriptor(samples: int, images: int) -> tuple[str, ...]:
    """Chains from noise, twice as long; otherwise as `ebm` of volumes."""
    settings = (
        TRUNK,
        "net.patch=2",
        "buffer.capacity=2000",
        "generate_steps=100",
        "evaluation.steps=20,300",
    )
    return _energy("descriptor", samples, images, *settings)


def _energies(samples: int, images: int) -> tuple[str, ...]:
    """As many examples for all but the autoencoder, which takes a third of the GAN's time."""
    return (
        *_energy("ebm", samples, images),
        *_descriptor(samples, images),
        *_of("mixture", f"evaluation.samples={samples}", "evaluation.recover=100"),
        *_budget("gan", samples, images, TRUNK, PROBED),
        *_budget("vae", samples, 2 * images, TRUNK),
    )


def _scores(samples: int, images: int) -> tuple[str, ...]:
    """At about equal seconds: a score network takes 2.4 ms of one core for an example, a GAN 2.6
    and an energy 4.
    """
    settings = ("net.channels=16,32", "evaluation.sigmas=0.3,", *RECOVERED)
    return (
        *_budget("ncsn", samples, images, *settings),
        *_budget("ncsn_from_noise", samples, images, *settings),
        *_budget("ncsn_class", samples, images, *settings),
        *_of("mixture", f"evaluation.samples={samples}", "evaluation.recover=100"),
        *_budget("gan", samples, images, TRUNK, PROBED),
        *_energy("ebm", samples, images // 2),
    )


EBM_VOXELS = Comparison(
    "Can an energy draw furniture, by Langevin chains in three dimensions?",
    {"ebm": ebm, "descriptor": descriptor, "mixture": mixture, "gan": gan, "vae": vae, **UNTRAINED},
    dataset="modelnet10@16",
    headline=HEADLINE,
    tables=TABLES,
    presets={
        "quick": _energies(samples=200, images=16_000),
        "full": _energies(samples=700, images=150_000),
        "gpu": _energies(samples=700, images=3_000_000),
    },
)
SCORE_VOXELS = Comparison(
    "Can a score field draw furniture, and better than a 3D-GAN?",
    {
        "ncsn": ncsn,
        "ncsn_from_noise": ncsn_from_noise,
        "ncsn_class": ncsn_class,
        "mixture": mixture,
        "gan": gan,
        "ebm": ebm,
        **UNTRAINED,
    },
    dataset="modelnet10@16",
    headline=HEADLINE,
    tables=TABLES,
    presets={
        "quick": _scores(samples=200, images=30_000),
        "full": _scores(samples=700, images=200_000),
        "gpu": _scores(samples=700, images=10_000_000),
    },
)
