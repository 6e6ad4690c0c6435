r"""Impute: the mean of what examples may hold where their entries are missing, each example its own.

With the known entries pinned, Langevin chains of the noised density follow its conditional
(`samplers.Masked`), from the coarsest level down; at the last, :math:`\sigma_L`, each chain is
denoised by Tweedie's formula, and the mean over K chains is the estimate of

.. math:: E[x_h \mid x_k] \approx \tfrac1K \sum_i \big(x^{(i)} + \sigma_L^2\, s(x^{(i)}, \sigma_L)\big)_h ,

the guess of least squared error, up to the noise that the known entries are taken to have. An
energy or a score without levels has its own chains follow the exact conditional law, as in
`tasks.inpaint`.

References: Song & Ermon (2019), arXiv 1907.05600, algorithm 1 and app. B.3 (annealing, inpainting);
Efron (2011), Tweedie's Formula.
"""

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from gradlogp.core.fields import Field, NoisyField
from gradlogp.core.inputs import check_numbers
from gradlogp.core.kernel import run
from gradlogp.core.progress import Listener, Silent
from gradlogp.core.random import Randomness, Repeated, Streams, normal_
from gradlogp.samplers import Langevin, Masked
from gradlogp.tasks.generate import Sampling
from gradlogp.tasks.inpaint import completing


@final
@dataclass(frozen=True)
class Chains:
    """Noise levels from `top` to `bottom`, in standard deviations of the data, `steps` at each of
    variance `step` times the level's; `count` chains to an example.
    """

    top: float = 1.5
    bottom: float = 0.15
    levels: int = 10
    steps: int = 6
    step: float = 0.25
    count: int = 24

    def ladder(self, std: float) -> list[float]:
        """The levels, coarse first."""
        share = (self.bottom / self.top) ** (1 / max(1, self.levels - 1))
        return [std * self.top * share**i for i in range(self.levels)]

    def mean(
        self, noisy: NoisyField, x: Tensor, known: Tensor, std: float, generator: Randomness
    ) -> Tensor:
        """The equation above: x [n, *shape] with the entries where `known` is False filled in.

        std: of the data. The chains of an example lie n apart in what `generator` is asked for.
        """
        free = ~_copies(known, self.count)
        state = _copies(x, self.count)
        start = normal_(torch.empty_like(state), generator).mul_(std)
        state = torch.where(free, start, state)
        for sigma in self.ladder(std):
            sampler = Masked(Langevin(self.step * sigma**2), free)
            state = run(sampler, noisy.at(sigma), state, self.steps, generator)
        clean = noisy.denoise(state, sigma).detach().unflatten(0, (self.count, -1)).mean(0)
        return torch.where(known, x, clean)


# Of the conditional mean's distance from the mean, chains of the settings above have gone .85 of the
# way when they end, on a Gaussian of correlation .8; these .97, and .95 to .99 from .5 to .99.
LONG = Chains(bottom=0.1, levels=16, step=1.0)


def impute(
    how: Sampling[Any],
    y: Tensor,
    free: Tensor,
    n: int,
    seed: int,
    cond: Tensor | None = None,
    std: float = 1.0,
    batch: int = 100,
    listener: Listener | None = None,
) -> Tensor:
    """Examples with the mean of `n` completions where they are free, [B, *shape] on the CPU.

    y [B, *shape] in model coordinates, which `how` finishes; free bool [B, *shape], True where y is
    missing; cond [B]; std: of the data. What example i of a seed gets does not depend on the batch.
    """
    check_numbers(y)
    listener, parts = listener or Silent(), []
    listener.begin("impute", len(y))
    for first in range(0, len(y), batch):
        some = slice(first, first + batch)
        x, missing = (z[some].to(how.device) for z in (y, free))
        generator = Repeated(Streams(seed, first, len(x), how.device), n)
        told = None if cond is None else _copies(cond[some].to(how.device), n)
        parts.append(how.finish(_mean(how, x, missing, n, told, std, generator)).cpu())
        listener.advance(len(x))
    listener.end()
    return torch.cat(parts)


def _mean(
    how: Sampling[Any],
    x: Tensor,
    free: Tensor,
    n: int,
    cond: Tensor | None,
    std: float,
    generator: Randomness,
) -> Tensor:
    field: Field | NoisyField = how.field(cond)
    if isinstance(field, NoisyField):
        return replace(LONG, count=n).mean(field, x, ~free, std, generator)
    way = completing(how, _copies(x, n), _copies(free, n), cond)
    start = way.prior(torch.empty_like(_copies(x, n)), generator)
    ends = run(way.sampler, field, start, way.steps, generator)
    return torch.where(free, ends.detach().unflatten(0, (n, -1)).mean(0), x)


def _copies(x: Tensor, n: int) -> Tensor:
    """x [B, ...] n times over, one after the other, [n B, ...]."""
    return x.repeat(n, *[1] * (x.ndim - 1))
