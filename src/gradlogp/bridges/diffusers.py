r"""Hugging Face diffusers, both ways: their schedulers walk our scores, our samplers ask their
networks.

A scheduler holds :math:`x_t = \alpha x_0 + \sigma\varepsilon` and asks a network at it. Ours is
asked once, :math:`D(x_t/\alpha, \sigma/\alpha)`, and what the scheduler is told follows from its
`prediction_type`,

.. math:: \text{epsilon: } (x_t - \alpha D)/\sigma, \qquad \text{sample: } D, \qquad
          \text{v\_prediction: } \alpha\varepsilon - \sigma D,

or, for the EDM schedulers, from inverting their preconditioning, which is linear in it.

References: von Platen et al. (2022), Diffusers; Salimans & Ho (2022), arXiv 2202.00512 (v); Karras
et al. (2022), arXiv 2206.00364, table 1.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from gradlogp.core.errors import UserError
from gradlogp.core.fields import NoisyField
from gradlogp.core.noise import VariancePreserving, ddpm_ladder
from gradlogp.core.parametrise import Kind, Predicts, step_clock

KINDS: dict[str, Kind] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


def drive(
    scheduler: Any,
    field: NoisyField,
    shape: Sequence[int],
    steps: int,
    generator: Generator,
    start: Tensor | None = None,
) -> Tensor:
    """Samples [B, *shape[1:]] of `field` by a scheduler of diffusers in `steps` steps.

    shape: [B, *shape of one example]. start: noise of variance 1 to begin at; else the generator
    draws it. Noise on the way is the generator's too. A scheduler with sigmas is best given those
    of the model, as EDMEulerScheduler(sigma_min=.05, sigma_max=10, sigma_data=spec.std).
    """
    scheduler.set_timesteps(steps)
    noise = torch.randn(tuple(shape), generator=generator) if start is None else start
    x = noise * scheduler.init_noise_sigma
    takes_generator = "generator" in scheduler.step.__code__.co_varnames
    options = {"generator": generator} if takes_generator else {}
    with torch.no_grad():
        for t in scheduler.timesteps:
            scheduler.scale_model_input(x, t)  # which also tells it where it is
            told = _answer(scheduler, field, x, t)
            x = scheduler.step(told, t, x, **options).prev_sample
    return x


def _answer(scheduler: Any, field: NoisyField, x: Tensor, t: Any) -> Tensor:
    """What the scheduler expects of a network at x."""
    alpha, sigma = _place(scheduler, t)
    denoised = field.denoise(x / alpha, float(sigma / alpha))
    if hasattr(scheduler, "precondition_outputs"):
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        skipped = scheduler.precondition_outputs(x, zero, sigma)
        return (denoised - skipped) / scheduler.precondition_outputs(zero, one, sigma)
    eps = (x - alpha * denoised) / sigma
    kind = scheduler.config.prediction_type
    if kind not in KINDS:
        raise UserError(f"a scheduler predicts {', '.join(KINDS)}, but this one {kind!r}.")
    return {"epsilon": eps, "sample": denoised, "v_prediction": alpha * eps - sigma * denoised}[
        kind
    ]


def _place(scheduler: Any, t: Any) -> tuple[Tensor, Tensor]:
    """(alpha, sigma) of what the scheduler holds."""
    if getattr(scheduler, "sigmas", None) is None:
        kept = scheduler.alphas_cumprod[int(t)]
        return kept.sqrt(), (1 - kept).sqrt()
    sigma = scheduler.sigmas[scheduler.step_index or 0]  # none before the first step of some
    both = getattr(scheduler, "_sigma_to_alpha_sigma_t", None)
    alpha, sigma = both(sigma) if both else (torch.ones(()), sigma)
    return torch.as_tensor(alpha), torch.as_tensor(sigma)


def field_of(network: Any, scheduler: Any) -> NoisyField:
    """A network of diffusers (a UNet2DModel, say) as a field that every sampler here follows.

    scheduler: the one that it was trained with, which holds its betas and what it predicts. The
    levels are those of its betas; a level in between is asked for at the nearest step.
    """
    levels = ddpm_ladder(scheduler.betas.double().tolist())

    def ask(x: Tensor, time: Tensor) -> Tensor:
        return network(x, time).sample

    kind = KINDS[scheduler.config.prediction_type]
    return Predicts(ask, kind, VariancePreserving(), clock=step_clock(levels))
