r"""Inpaint: fill in what is missing of an example, by the model that a sampling draws from.

An energy's chains begin at the example with the prior where it is free, and move that part only,
under masked noise and a masked score: the exact conditional law of the chain's own
(`samplers.Masked`). Where chains begin at a mixture's draws, these begin at its draws given the
known part. A score at many levels is followed down by `RePaint`: the known part is put
back with the level's noise, and every few levels are gone through again; what that costs in bias is
in docs/guide-and-restore.md.

References: Song et al. (2021), arXiv 2011.13456, app. I.2; Lugmayr et al. (2022), RePaint, arXiv
2201.09865, algorithm 1.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gradlogp.core.fields import NoisyField
from gradlogp.core.inputs import check_numbers
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.progress import Listener
from gradlogp.core.random import Randomness
from gradlogp.samplers import Ancestral, Masked, RePaint
from gradlogp.tasks.generate import Sampling, generate

LEVELS = 40  # of RePaint
JUMP = 10  # levels that it goes through again


def inpaint(
    how: Sampling[Any],
    y: Tensor,
    free: Tensor,
    n: int,
    seed: int,
    cond: Tensor | None = None,
    batch: int = 100,
    resamples: int = 5,
    listener: Listener | None = None,
) -> Tensor:
    """Completions of an example in model coordinates, [n, *shape], as `how` finishes them.

    y [*shape]; free bool [*shape], True where y is missing. Completion i of a seed is the same
    however many there are.

    resamples: how often RePaint goes through each JUMP levels, for a model with noise levels.
    """
    way = completing(how, y, free, cond, resamples)
    return generate(way, n, seed, cond, batch, listener=listener)


def completing(
    how: Sampling[Any], y: Tensor, free: Tensor, cond: Tensor | None = None, resamples: int = 5
) -> Sampling[Any]:
    """The way to draw completions that `inpaint` follows, for whoever watches its chains."""
    known, free = check_numbers(y).to(how.device), free.expand(y.shape).to(how.device)
    noisy = isinstance(how.field(None if cond is None else cond[:1].to(how.device)), NoisyField)
    return _by_levels(how, known, free, resamples) if noisy else _by_chain(how, known, free)


def _by_chain(how: Sampling[Any], known: Tensor, free: Tensor) -> Sampling[Any]:
    def prior(x: Tensor, generator: Randomness) -> Tensor:
        return torch.where(
            free, begun(how, known.expand(x.shape), free.expand(x.shape), generator), known
        )

    return replace(how, sampler=Masked(how.sampler, free), prior=prior)


def begun(how: Sampling[Any], known: Tensor, free: Tensor, generator: Randomness) -> Tensor:
    """Where chains begin, given examples [B, *shape] that are known where `free` is False; as all
    chains do, where `how` cannot say.
    """
    if how.given is None:
        return how.prior(torch.empty_like(known), generator)
    return how.given(known.clone(), free, generator)


def _by_levels(how: Sampling[Any], known: Tensor, free: Tensor, resamples: int) -> Sampling[Any]:
    walked: Any = how.sampler
    ladder = [level for level in walked.ladder if level > 0]
    process = VarianceExploding(ladder[-1], ladder[0])
    sampler = RePaint(Ancestral(process, LEVELS), known, free, resamples, JUMP)

    def prior(x: Tensor, generator: Randomness) -> Tensor:
        return begun(how, known.expand(x.shape), free.expand(x.shape), generator)

    return replace(how, sampler=sampler, prior=prior, steps=sampler.steps)
