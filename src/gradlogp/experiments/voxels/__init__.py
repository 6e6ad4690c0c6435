"""Furniture as voxels: energies, scores, an adversarial network and an autoencoder of volumes.

All are the recipes of pictures with one dimension more. Samples are measured by a classifier of
volumes that no model saw, and by overlap: coverage, distance and 1-NNA by intersection over union.

References: Xie et al. (2018), Learning Descriptor Networks for 3D Shape Synthesis and Analysis,
arXiv 1804.00586 (energies of voxels by MCMC); Wu et al. (2016), 3D-GAN, arXiv 1610.07584.
"""

from gradlogp.experiments.recipes.energy import ebm, ebm_no_buffer
from gradlogp.experiments.recipes.latent import gan, vae
from gradlogp.experiments.recipes.score import ncsn, ncsn_class
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column

HEADLINE = tuple(
    map(
        Column,
        ("class_probability", "1nna_iou", "cov_iou", "mmd_iou", "inception_score", "fd", "cas"),
    )
)
ENERGY = (
    "net.channels=16,32,64",
    "buffer.capacity=2000",
    "evaluation.steps=20,100",
    "evaluation.sigmas=0.3,",
)
QUICK = ("evaluation.samples=300",)
FULL = ("evaluation.samples=700",)


def _of(method: str, changes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{method}:{change}" for change in changes)


EBM_VOXELS = Comparison(
    "Can an energy draw furniture, by Langevin chains in three dimensions?",
    {"ebm": ebm, "ebm_no_buffer": ebm_no_buffer, "gan": gan, "vae": vae},
    dataset="modelnet10@16",
    headline=HEADLINE,
    presets={
        "quick": (
            *QUICK,
            *_of("ebm", (*ENERGY, "training.images=24000")),
            *_of("ebm_no_buffer", (ENERGY[0], *ENERGY[2:], "training.images=24000")),
            *_of("gan", ("net.channels=16,32,64", "training.images=60000")),
            *_of("vae", ("net.channels=16,32,64", "training.images=40000")),
        ),
        "full": (
            *FULL,
            *_of("ebm", (*ENERGY, "training.images=150000")),
            *_of("ebm_no_buffer", (ENERGY[0], *ENERGY[2:], "training.images=150000")),
            *_of("gan", ("net.channels=16,32,64", "training.images=400000")),
            *_of("vae", ("net.channels=16,32,64", "training.images=400000")),
        ),
    },
)
SCORE_VOXELS = Comparison(
    "Can a score field draw furniture, and better than a 3D-GAN?",
    {"ncsn": ncsn, "ncsn_class": ncsn_class, "gan": gan, "ebm": ebm},
    dataset="modelnet10@16",
    headline=HEADLINE,
    presets={
        "quick": (
            *QUICK,
            "ncsn:training.images=40000",
            "ncsn_class:training.images=40000",
            "ncsn:net.channels=16,32",
            "ncsn_class:net.channels=16,32",
            *_of("ebm", (*ENERGY, "training.images=24000")),
            *_of("gan", ("net.channels=16,32,64", "training.images=60000")),
        ),
        "full": (
            *FULL,
            "ncsn:training.images=250000",
            "ncsn_class:training.images=250000",
            *_of("ebm", (*ENERGY, "training.images=150000")),
            *_of("gan", ("net.channels=16,32,64", "training.images=400000")),
        ),
    },
)
