"""Spoken digits as waveforms: a score network, the same network as a diffusion, and WaveGAN.

The network is told the digit, and guided: a strided UNet of one dimension where minutes of a CPU
are the budget, and a WaveNet that looks both ways, DiffWave's own, on a GPU. At full resolution the
WaveNet takes .2 s of one core for each clip that it learns from, the UNet .008 s. The score has
levels about the waveforms' own deviation, a twentieth of full scale, and a solver; the diffusion
has the levels, the loss (squared error of the noise, each level alike) and the sampler (ancestral)
of DDPM.

References: Kong et al. (2021), DiffWave, arXiv 2009.09761; Donahue et al. (2019), WaveGAN, arXiv
1802.04208; Lu et al. (2022), DPM-Solver++, arXiv 2211.01095; Ho & Salimans (2022), arXiv 2207.12598
(guidance without a classifier).
"""

from dataclasses import replace

from gradlogp.core.noise import VariancePreserving
from gradlogp.experiments.audio.voices import voices
from gradlogp.experiments.recipes.latent import wave_gan
from gradlogp.experiments.recipes.score import ScoreRecipe, ncsn_class
from gradlogp.harness.compare import Comparison
from gradlogp.harness.recipe import Target
from gradlogp.harness.table import Column, Table
from gradlogp.objectives import FromProcess
from gradlogp.samplers import Ancestral

SCORES = ("score_wave", "diffwave")
STEPS = 60  # of DiffWave's ancestral sampler


def score_wave(target: Target, preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """A network of scores at many noise levels, told the digit, guided, sampled by DPM-Solver++."""
    recipe = ncsn_class(target, preset, seed)
    return replace(recipe, experiment="score_wave", guidance=2.0, covariance=False)


def diffwave(target: Target, preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """DiffWave: the same network with DDPM's levels, loss and ancestral sampler, guided as much."""
    process = VariancePreserving()
    return replace(
        score_wave(target, preset, seed),
        experiment="diffwave",
        levels=FromProcess(process),
        weight="sigma2",
        sampler=Ancestral(process, STEPS),
    )


def _scores(*changes: str) -> tuple[str, ...]:
    return tuple(f"{method}:{change}" for method in SCORES for change in changes)


def _budgets(samples: int, clips: int, adversarial: int) -> tuple[str, ...]:
    """At about equal seconds: a clip costs the score network .0085 s of one core, WaveGAN .005 s."""
    return (
        *_scores(
            f"evaluation.samples={samples}",
            f"training.images={clips}",
            "evaluation.sigmas=0.05,",
        ),
        f"wave_gan:evaluation.samples={samples}",
        f"wave_gan:training.images={adversarial}",
    )


WAVENET = _scores("net.kind=WaveShape", "net.channels=64", "net.layers=24")

COMPARISON = Comparison(
    "Can a score field speak: digits as waveforms, told which?",
    {"score_wave": score_wave, "diffwave": diffwave, "wave_gan": wave_gan, "voices": voices},
    dataset="fsdd",
    headline=tuple(
        map(
            Column,
            ("agreement", "inception_score", "fd_spectrum", "ndb", "class_probability", "fd"),
        )
    ),
    tables=(
        Table(
            "Accuracy on test clips of the classifier's own network, by the speaker left out of its"
            " training",
            ("accuracy",),
            "left_out",
        ),
    ),
    presets={
        "quick": _budgets(samples=100, clips=12_000, adversarial=20_000),
        "full": _budgets(samples=300, clips=120_000, adversarial=200_000),
        "gpu": (*_budgets(samples=300, clips=1_500_000, adversarial=5_000_000), *WAVENET),
    },
)
