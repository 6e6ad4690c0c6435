"""A warm-up and what follows it are two objectives and one memory."""

import torch

from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.models import ConvEnergy
from gradlogp.objectives import (
    ContrastiveDivergence,
    DenoisingScoreMatching,
    FromBuffer,
    ReplayBuffer,
    SingleLevel,
    WarmedUp,
)
from gradlogp.samplers import Langevin

SHAPE = (1, 8, 8)


def both(updates=2):
    chains = FromBuffer(ReplayBuffer.of(torch.rand(8, *SHAPE, generator=seeded(1))))
    then = ContrastiveDivergence(Langevin(0.1), chains, 2)
    return WarmedUp(DenoisingScoreMatching(SingleLevel(0.3)), then, updates)


def test_the_second_begins_after_its_updates_and_a_resumed_one_where_it_was():
    torch.manual_seed(0)
    model = ConvEnergy(SHAPE, (4, 8), 8)
    batch = Batch(torch.rand(4, *SHAPE, generator=seeded(2)))
    whole = both()
    values = [whole(model, batch, seeded(i)).value for i in range(4)]
    first, then = both(), both()
    for i in range(3):
        first(model, batch, seeded(i))
    then.load(first.state())
    assert torch.equal(then(model, batch, seeded(3)).value, values[3])
    alone = whole.first(model, batch, seeded(1)).value
    assert torch.equal(values[1], alone)
    fresh = both().then(model, batch, seeded(2)).value
    assert torch.equal(values[2], fresh)


def test_it_is_as_dear_as_the_dearer_and_splits_where_both_do():
    torch.manual_seed(0)
    model = ConvEnergy(SHAPE, (4, 8), 8)
    assert both().asks(model) == "twice" and both().first.asks(model) == "twice"
    assert both().then.asks(model) == "chains"
    assert both().by_example
