"""Who draws digits best: energies with and without a replay buffer, a VAE, two GANs."""

BUDGET = {"quick": ("evaluation.samples=1000", "evaluation.snapshots=3", "evaluation.sigmas=0.3,",
                    "ebm:training.images=96000", "ebm_no_buffer:training.images=96000"),
          "full": ("evaluation.snapshots=5", "evaluation.trial=500", "evaluation.sigmas=0.3,")}
