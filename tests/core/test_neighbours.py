"""Neighbours in blocks are those that a loop finds."""

import torch

from gradlogp.core.neighbours import nearest


def test_nearest_finds_what_a_loop_finds():
    x, y = (torch.randn(n, 2, 3, generator=torch.Generator().manual_seed(n)) for n in (23, 40))
    loop = torch.stack([(y - one).flatten(1).norm(dim=1).sort().values[:3] for one in x])
    assert torch.allclose(nearest(x, y, 3, block=10), loop, atol=1e-5)
    assert nearest(x, y[:2], 3).shape == (23, 2)
