"""Learning in memory: the same updates as plain Adam along a cosine, each of them watched."""

import torch
from torch import nn

from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.objectives import CrossEntropy
from gradlogp.training import Learner, Training, learn_from

STEPS, BATCH = 12, 8


def batches(step):
    x = torch.randn(BATCH, 3, generator=seeded("learn", step))
    return Batch(x, (x[:, 0] > 0).long())


def network():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def test_without_averaging_and_warm_up_it_is_adam_along_a_cosine():
    settings = Training(STEPS * BATCH, BATCH, 1e-2, warmup=0, final_lr=0.0, ema=0.0, grad_clip=None)
    seen = []
    learner = Learner(network(), CrossEntropy(), settings, seeded(0))
    found = learn_from(learner, batches, seen.append)
    plain = network()
    optimizer = torch.optim.Adam(plain.parameters(), 1e-2)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step in range(STEPS):
        batch = batches(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(plain(batch.x), batch.cond).backward()
        optimizer.step()
        decay.step()
    torch.testing.assert_close(found.weight, plain.weight, rtol=1e-6, atol=1e-7)
    assert seen == list(range(1, STEPS + 1)) and not found.training
    assert not any(p.requires_grad for p in found.parameters())
