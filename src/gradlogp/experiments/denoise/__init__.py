"""Restoring noisy pictures: energies, scores, autoencoders, and methods that need no learning."""

from gradlogp.experiments.denoise.methods import AUTOENCODERS, ENERGIES
from gradlogp.experiments.denoise.summary import summary
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

HEADLINE = (
    *(Column("psnr", {"noise": sigma}) for sigma in (0.5, 0.1, 0.2, 0.3, 0.75, 1.0)),
    Column("ssim", {"noise": 0.5}),
    Column("sample_loss", {"noise": 0.5}),
    Column("sample_loss", {"noise": 0.5, "to": "their own mean"}),
)
TABLES = (
    Table(
        "Gain over Wiener's filter in dB, on the same pictures, by noise",
        ("gain",),
        "noise",
        {"over": "wiener"},
    ),
    Table(
        "Gain over dae in dB, on the same pictures under the same noise, by noise",
        ("gain",),
        "noise",
        {"over": "dae"},
    ),
    Table(
        "Gain over dae_weighted in dB, by noise",
        ("gain",),
        "noise",
        {"over": "dae_weighted"},
    ),
    Table(
        "What one sample loses to the model's estimate, in dB, by noise",
        ("sample_loss",),
        "noise",
    ),
    Table(
        "What one sample loses to the mean of its own kind, in dB, by noise",
        ("sample_loss",),
        "noise",
        {"to": "their own mean"},
    ),
    Table("Structural similarity (SSIM), by noise", ("ssim",), "noise", decimals=3),
)

EBM_DENOISE = Comparison(
    "Can an energy restore what noise has hidden?",
    ENERGIES,
    dataset="mnist",
    draws_samples=False,
    headline=HEADLINE,
    tables=TABLES,
    summary=summary,
)
DSM = Comparison(
    "Is denoising score matching a denoising autoencoder, and what is one posterior sample worth?",
    AUTOENCODERS,
    dataset="mnist",
    draws_samples=False,
    headline=HEADLINE,
    tables=TABLES,
    summary=summary,
)
