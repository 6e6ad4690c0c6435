"""A card is never waited for inside a loss: no number of a chain or of a batch is read before the
guard looks at the whole update.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradlogp.core.batch import Batch
from gradlogp.core.random import Rows, normal_, seeded
from gradlogp.models import ConvEnergy, mlp_score
from gradlogp.objectives import (
    ContrastiveDivergence,
    DenoisingScoreMatching,
    FlowMatching,
    FromBuffer,
    FromNoise,
    LogNormal,
    ReplayBuffer,
)
from gradlogp.samplers import Langevin

READING = {"_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique"}
CHAIN = Langevin(0.1, noise_std=0.01, grad_clip=0.03, clamp=(-1, 1))


class Reads(TorchDispatchMode):
    """The operations inside that bring a number, or the size of a result, to the host."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in READING:
            self.names.append(name)
        return function(*args, **(kwargs or {}))


def buffered():
    kept = ReplayBuffer(16, (1, 8, 8), normal_, seeded(3), restart_prob=0.3)
    return ContrastiveDivergence(CHAIN, FromBuffer(kept), 4, data_noise=0.1)


CASES = {
    "buffer": (lambda: ConvEnergy((1, 8, 8), (4, 8), 8), buffered, (1, 8, 8)),
    "noise": (
        lambda: ConvEnergy((1, 8, 8), (4, 8), 8),
        lambda: ContrastiveDivergence(CHAIN, FromNoise(normal_), 4),
        (1, 8, 8),
    ),
    "denoising": (
        lambda: mlp_score(2, 0.5, 8),
        lambda: DenoisingScoreMatching(LogNormal(0, 1)),
        (2,),
    ),
    "flow": (lambda: mlp_score(2, 0.5, 8), lambda: FlowMatching(LogNormal(0, 1)), (2,)),
}


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_loss_and_its_chains_read_nothing(case, split):
    model, objective, shape = CASES[case]
    network, loss, x = model(), objective(), normal_(torch.empty(6, *shape), seeded(0))
    chance = Rows(seeded(1), 0, 6, 6, lambda x: x) if split else seeded(1)
    with Reads() as seen:
        loss(network, Batch(x), chance).value.mean().backward()
    assert not seen.names


def test_what_reads_is_seen():
    with Reads() as seen:
        torch.ones(2).nonzero()
        torch.ones(2).sum().item()
    assert seen.names == ["nonzero", "_local_scalar_dense"]
