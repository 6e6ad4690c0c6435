"""The decoder of 1, 2 and 3 spatial dimensions: sizes, reach, and how it is told the class."""

import pytest
import torch

from gradlogp.baselines.decoder import Decode, Decoder, OnePass
from gradlogp.core.kernel import run
from gradlogp.core.random import seeded

SHAPES = [(3, 8, 8), (1, 28, 28), (1, 30, 30, 30), (1, 7, 9), (2, 50), (6,)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("norm", [False, True])
def test_it_draws_any_shape_and_any_size(shape, norm):
    torch.manual_seed(0)
    decoder = Decoder(shape, 5, (4, 3), norm=norm).eval()
    x = decoder(torch.randn(2, 5, generator=seeded(0)))
    assert x.shape == (2, *shape) and torch.isfinite(x).all()
    assert len(shape) == 1 or float(x.detach().abs().max()) < 1


@pytest.mark.parametrize(
    ("spatial", "kernel", "stride"),
    [(1, 4, 2), (2, 4, 2), (3, 4, 2), (2, 5, 2), (2, 3, 3), (1, 25, 4)],
)
def test_each_layer_is_exactly_its_stride_times_as_fine(spatial, kernel, stride):
    size = 2 * stride**2
    layers = Decoder((1, *[size] * spatial), 2, (3, 2), kernel=kernel, stride=stride).layers
    h = torch.zeros(1, 2)
    sizes = [h.shape[2:] for layer in layers if (h := layer(h)).ndim > 2]
    assert sizes[0] == (2,) * spatial and sizes[-1] == (size,) * spatial


def test_the_weights_of_a_volumes_decoder_are_counted_by_hand():
    """Linear 200 -> 8 * 4^3, and kernels of 4^3 from 8 to 4 and from 4 to 1, each with biases."""
    decoder = Decoder((1, 16, 16, 16), 200, (8, 4))
    count = sum(p.numel() for p in decoder.parameters())
    assert count == 201 * 8 * 64 + (64 * 8 * 4 + 4) + (64 * 4 * 1 + 1)


def test_the_class_is_an_offset_of_the_first_layer():
    torch.manual_seed(0)
    decoder = Decoder((1, 8, 8), 5, (4, 2), classes=3)
    z, y = torch.randn(3, 5, generator=seeded(0)), torch.tensor([2, 0, 1])
    first = decoder.layers[0]
    expected = z @ first.weight[:, :5].T + first.bias + first.weight[:, 5:].T[y]
    torch.testing.assert_close(decoder(z, y), decoder.layers[1:](expected))
    drawn = run(Decode(), OnePass(decoder, y), z, 1, seeded(1))
    torch.testing.assert_close(drawn, decoder(z, y).detach())


def test_a_class_too_few_or_too_many_is_refused():
    with pytest.raises(ValueError, match="but got no `cond`"):
        Decoder((1, 8, 8), 5, (4, 2), classes=3)(torch.zeros(1, 5))
    with pytest.raises(ValueError, match="built without classes"):
        Decoder((1, 8, 8), 5, (4, 2))(torch.zeros(1, 5), torch.zeros(1, dtype=torch.long))
