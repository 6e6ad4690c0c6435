"""Furniture as voxels: energies, scores, an adversarial network and an autoencoder of volumes.

All are the recipes of pictures with one dimension more. Samples are measured by a classifier of
volumes that no model saw, and by overlap: coverage, distance and 1-NNA by intersection over union.

References: Xie et al. (2018), Learning Descriptor Networks for 3D Shape Synthesis and Analysis,
arXiv 1804.00586 (energies of voxels by MCMC); Wu et al. (2016), 3D-GAN, arXiv 1610.07584.
"""

from gradlogp.experiments.recipes.energy import descriptor, ebm
from gradlogp.experiments.recipes.latent import gan, vae
from gradlogp.experiments.recipes.score import ncsn, ncsn_class
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


def _energy(method: str, samples: int, images: int) -> tuple[str, ...]:
    """A trunk of patches of 2, which costs a chain's step .3 ms of one core."""
    return _of(
        method,
        TRUNK,
        "net.patch=2",
        "buffer.capacity=2000",
        "generate_steps=100",
        "evaluation.steps=20,300",
        "evaluation.sigmas=0.3,",
        *RECOVERED,
        f"evaluation.samples={samples}",
        f"training.images={images}",
    )


def _rival(method: str, samples: int, images: int, *more: str) -> tuple[str, ...]:
    budget = (f"evaluation.samples={samples}", f"training.images={images}")
    return _of(method, TRUNK, *budget, *more)


def _energies(samples: int, images: int) -> tuple[str, ...]:
    """As many examples for all but the autoencoder, which takes a third of the GAN's time."""
    return (
        *_energy("ebm", samples, images),
        *_energy("descriptor", samples, images),
        *_rival("gan", samples, images, PROBED),
        *_rival("vae", samples, 2 * images),
    )


def _scores(samples: int, images: int) -> tuple[str, ...]:
    """At about equal seconds: a score network takes 2.4 ms of one core for an example, a GAN 2.6
    and an energy 7.
    """
    settings = ("net.channels=16,32", "evaluation.sigmas=0.3,", *RECOVERED)
    budget = (f"evaluation.samples={samples}", f"training.images={images}")
    return (
        *_of("ncsn", *settings, *budget),
        *_of("ncsn_class", *settings, *budget),
        *_rival("gan", samples, images, PROBED),
        *_energy("descriptor", samples, images // 3),
    )


EBM_VOXELS = Comparison(
    "Can an energy draw furniture, by Langevin chains in three dimensions?",
    {"descriptor": descriptor, "ebm": ebm, "gan": gan, "vae": vae, **UNTRAINED},
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
    {"ncsn": ncsn, "ncsn_class": ncsn_class, "gan": gan, "descriptor": descriptor, **UNTRAINED},
    dataset="modelnet10@16",
    headline=HEADLINE,
    tables=TABLES,
    presets={
        "quick": _scores(samples=200, images=30_000),
        "full": _scores(samples=700, images=400_000),
        "gpu": _scores(samples=700, images=10_000_000),
    },
)
