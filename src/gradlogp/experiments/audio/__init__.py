"""Spoken digits as waveforms: a score network with annealed Langevin dynamics, the same network as
a diffusion, and WaveGAN.

The network is a WaveNet that looks both ways, told the digit. Levels are fractions of the
waveforms' own deviation, which is about a tenth of full scale; the diffusion has the levels, the
loss (squared error of the noise, each level alike) and the sampler (ancestral) of DDPM.

References: Kong et al. (2021), DiffWave, arXiv 2009.09761; Donahue et al. (2019), WaveGAN, arXiv
1802.04208; Song & Ermon (2020), arXiv 2006.09011 (annealed Langevin dynamics).
"""

from dataclasses import replace

from gradlogp.core.noise import VarianceExploding, VariancePreserving
from gradlogp.experiments.recipes.latent import wave_gan
from gradlogp.experiments.recipes.score import ScoreRecipe, WaveShape, ncsn_class
from gradlogp.harness.compare import Comparison
from gradlogp.harness.recipe import Target
from gradlogp.harness.table import Column
from gradlogp.objectives import FromProcess, LogNormal
from gradlogp.samplers import Ancestral, ConsistentAnnealedLangevin

LEVELS, COARSEST, FINEST = 60, 1.0, 0.002


def score_wave(target: Target, preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """A WaveNet of scores at many noise levels, told the digit, sampled by annealed Langevin."""
    return replace(
        ncsn_class(target, preset, seed),
        experiment="score_wave",
        net=WaveShape(),
        guidance=0.0,
        levels=LogNormal(-2.7, 1.4),
        sampler=ConsistentAnnealedLangevin(VarianceExploding(FINEST, COARSEST), LEVELS),
    )


def diffwave(target: Target, preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """DiffWave: the same network with DDPM's levels, loss and ancestral sampler."""
    process = VariancePreserving()
    return replace(
        score_wave(target, preset, seed),
        experiment="diffwave",
        levels=FromProcess(process),
        weight="sigma2",
        sampler=Ancestral(process, LEVELS),
    )


COMPARISON = Comparison(
    "Can a score field speak: digits as waveforms, told which?",
    {"score_wave": score_wave, "diffwave": diffwave, "wave_gan": wave_gan},
    dataset="fsdd",
    headline=tuple(
        map(
            Column,
            ("agreement", "inception_score", "fd_spectrum", "ndb", "class_probability", "fd"),
        )
    ),
    presets={
        "quick": (
            "evaluation.samples=100",
            "score_wave:evaluation.sigmas=0.05,",
            "diffwave:evaluation.sigmas=0.05,",
            "score_wave:training.images=12000",
            "diffwave:training.images=12000",
            "wave_gan:training.images=60000",
        ),
        "full": (
            "evaluation.samples=300",
            "score_wave:evaluation.sigmas=0.05,",
            "diffwave:evaluation.sigmas=0.05,",
            "score_wave:training.images=120000",
            "diffwave:training.images=120000",
            "wave_gan:training.images=600000",
        ),
    },
)
