import pytest
import torch

from gradlogp.core.random import BLOCK, Masked, Streams, normal_, seeded, uniform_


@pytest.mark.parametrize("batch", [1, 7, BLOCK, 33, 100])
def test_a_sample_sees_the_same_noise_at_any_batch_size(batch):
    def draw(size: int) -> torch.Tensor:
        parts = [Streams(3, first, min(size, 100 - first)) for first in range(0, 100, size)]
        return torch.cat(
            [
                torch.stack(
                    [normal_(torch.empty(s.count, 4), s), uniform_(torch.empty(s.count, 4), s)], 1
                )
                for s in parts
            ]
        )

    assert torch.equal(draw(batch), draw(100))


def test_blocks_and_seeds_are_independent_and_normal():
    x = torch.stack(
        [normal_(torch.empty(50 * BLOCK, 10), Streams(seed, 0, 50 * BLOCK)) for seed in range(4)]
    ).double()
    n = x.numel()
    assert abs(x.mean()) * n**0.5 < 4
    assert abs(x.var() - 1) / (2 / n) ** 0.5 < 4
    blocks = x.reshape(-1, BLOCK * 10)  # rows: every block of every seed
    correlation = blocks.corrcoef().fill_diagonal_(0)
    assert correlation.abs().max() * (BLOCK * 10) ** 0.5 < 6  # the largest of 20,000 correlations


def test_streams_refuse_another_number_of_rows():
    with pytest.raises(ValueError, match="serve 5 samples, but `out` has 6 rows"):
        Streams(0, 0, 5).fill(torch.empty(6, 2), "normal_")


def test_words_decide_the_stream():
    assert torch.equal(
        torch.rand(3, generator=seeded(1, "a")), torch.rand(3, generator=seeded(1, "a"))
    )
    assert not torch.equal(
        torch.rand(3, generator=seeded(1, "a")), torch.rand(3, generator=seeded(1, "b"))
    )


@pytest.mark.parametrize("inner", [lambda: seeded(1), lambda: Streams(1, 0, 4)])
def test_masked_noise_is_zero_where_pinned_and_the_same_elsewhere(inner):
    mask = torch.tensor([True, False, True])
    masked, free = Masked(inner(), mask), inner()
    assert torch.equal(normal_(torch.empty(4, 3), masked), normal_(torch.empty(4, 3), free) * mask)
    assert torch.equal(uniform_(torch.empty(4), masked), uniform_(torch.empty(4), free))
