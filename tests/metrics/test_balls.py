"""The quick look decides as the table of distances by differences does, bit for bit."""

import pytest
import torch
from torch import Tensor

from gradlogp.metrics import balls
from gradlogp.metrics.balls import BY_DIFFERENCES, Pairs


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CLOUDS = {
    "normal": (normal(90, 8, 0), normal(70, 8, 1)),
    "far from the origin": (normal(90, 8, 0) + 1e6, normal(70, 8, 1) + 1e6),
    "huge": (normal(90, 8, 0) * 1e100, normal(70, 8, 1) * 1e100),
    "tiny": (normal(90, 8, 0) * 1e-100, normal(70, 8, 1) * 1e-100),
    "one far away": (normal(90, 8, 0) + 1e9 * torch.eye(90, 8), normal(70, 8, 1)),
    "on a lattice": (normal(90, 3, 0).round(), normal(70, 3, 1).round()),
    "copies": (normal(30, 8, 0).repeat(3, 1), normal(30, 8, 0).repeat(2, 1) + 1e-9),
    "all one point": (torch.ones(90, 4).double(), torch.ones(70, 4).double()),
    "one dimension": (normal(90, 1, 0), normal(70, 1, 1)),
    "few": (normal(6, 2, 0), normal(4, 2, 1)),
    "single precision": (normal(90, 8, 0).float(), normal(70, 8, 1).float()),
}


def table(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode=BY_DIFFERENCES)


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("cells", [2**23, 200])
def test_it_decides_as_the_whole_table_does(name: str, cells: int, monkeypatch) -> None:
    monkeypatch.setattr(balls, "CELLS", cells)
    x, y = CLOUDS[name]
    itself = table(x, x).fill_diagonal_(torch.inf)
    reach = Pairs(x).near(5)
    assert torch.equal(reach, itself.kthvalue(5).values)
    theirs = Pairs(y).near(3)
    found = torch.zeros(3, len(x), len(y), dtype=torch.bool)
    for pairs in Pairs(x, y).inside(reach[:, None], theirs):
        for which, (i, j) in enumerate(pairs):
            found[which, i, j] = True
    assert torch.equal(found[0], table(x, y) <= reach[:, None])
    assert torch.equal(found[1], table(x, y) <= theirs)
    for ((i, j),) in Pairs(x).inside(reach[:, None]):
        assert (i != j).all() and (itself[i, j] <= reach[i]).all()


def test_the_bound_of_the_quick_look_holds_and_is_not_idle() -> None:
    """It is a bound, and less than 100 times what is found: else all pairs would be measured again."""
    pairs = Pairs(*CLOUDS["normal"])
    quick = torch.cat([table for _, table in pairs._blocks()])
    wrong = (quick - (table(pairs.x, pairs.y) / pairs.scale).square()).abs().max()
    assert pairs.error / 100 < wrong <= pairs.error


def test_coarser_matrix_products_are_not_trusted() -> None:
    was = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert Pairs(*CLOUDS["normal"]).a.dtype == torch.float64
    finally:
        torch.set_float32_matmul_precision(was)


def test_no_more_than_a_block_is_held(monkeypatch) -> None:
    monkeypatch.setattr(balls, "CELLS", 1000)
    x = normal(300, 4, 0)
    assert max(table.numel() for _, table in Pairs(x)._blocks()) <= 1000
