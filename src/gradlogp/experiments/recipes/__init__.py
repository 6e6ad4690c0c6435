"""What many questions train: energies, scores, and models that draw in one pass."""

from gradlogp.experiments.recipes.diffusion import (
    DiffusionRecipe,
    ddpm,
    ddpm_gaussian,
    ddpm_hybrid,
    ddpm_marginals,
    ddpm_vlb,
)
from gradlogp.experiments.recipes.energy import (
    EnergyRecipe,
    ebm,
    ebm_class,
    ebm_from_noise,
    ebm_long_chains,
    ebm_no_buffer,
)
from gradlogp.experiments.recipes.latent import GANRecipe, VAERecipe, gan, vae, wgan_gp
from gradlogp.experiments.recipes.score import (
    ScoreRecipe,
    ncsn,
    ncsn_class,
    ncsn_from_noise,
    ncsn_single,
)
from gradlogp.harness.compare import Maker

RECIPES: dict[str, Maker] = {
    "ebm": ebm,
    "ebm_from_noise": ebm_from_noise,
    "ebm_no_buffer": ebm_no_buffer,
    "ebm_long_chains": ebm_long_chains,
    "ebm_class": ebm_class,
    "ncsn": ncsn,
    "ncsn_from_noise": ncsn_from_noise,
    "ncsn_single": ncsn_single,
    "ncsn_class": ncsn_class,
    "ddpm": ddpm,
    "ddpm_hybrid": ddpm_hybrid,
    "ddpm_vlb": ddpm_vlb,
    "ddpm_marginals": ddpm_marginals,
    "ddpm_gaussian": ddpm_gaussian,
    "vae": vae,
    "gan": gan,
    "wgan_gp": wgan_gp,
}

__all__ = ["RECIPES", "DiffusionRecipe", "EnergyRecipe", "GANRecipe", "ScoreRecipe", "VAERecipe"]
