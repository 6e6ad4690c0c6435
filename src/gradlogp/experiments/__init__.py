"""Experiments: the questions, one line each, and the recipes that many of them train."""

from gradlogp.experiments import (
    anomaly,
    audio,
    captions,
    classify,
    ddpm,
    denoise,
    generate,
    gibbs,
    guidance,
    inpaint,
    langevin_study,
    represent,
    score_1d,
    tables,
    voxels,
)
from gradlogp.experiments.recipes import RECIPES
from gradlogp.harness.compare import Comparison

COMPARISONS: dict[str, Comparison] = {
    "ebm": generate.BUFFER,
    "ebm_chains": generate.LONG_CHAINS,
    "ncsn": generate.LEVELS,
    "ncsn_class": generate.CLASSES,
    "score_1d": score_1d.COMPARISON,
    "langevin_study": langevin_study.COMPARISON,
    "ebm_classify": classify.COMPARISON,
    "ebm_denoise": denoise.EBM_DENOISE,
    "dsm": denoise.DSM,
    "ebm_generate": generate.RIVALS,
    "score_generate": generate.SCORES,
    "ebm_anomaly": anomaly.EBM_ANOMALY,
    "score_anomaly": anomaly.SCORE_ANOMALY,
    "ddpm": ddpm.COMPARISON,
    "guidance": guidance.COMPARISON,
    "cd_gibbs": gibbs.COMPARISON,
    "ebm_inpaint": inpaint.COMPARISON,
    "ebm_represent": represent.COMPARISON,
    "tables": tables.COMPARISON,
    "ebm_voxels": voxels.EBM_VOXELS,
    "score_voxels": voxels.SCORE_VOXELS,
    "score_audio": audio.COMPARISON,
    "ebm_multimodal": captions.COMPARISON,
    "demo": generate.DEMO,
}

__all__ = ["COMPARISONS", "RECIPES"]
