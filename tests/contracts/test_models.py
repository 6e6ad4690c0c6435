"""What every model promises: it is built from keywords, says what it is, and an example does not see its neighbours."""

import pytest
import torch

from gradlogp.models import MODELS

SHAPE, B = (1, 8, 8), 5
EXAMPLES = {
    "conv_energy": ({"shape": SHAPE, "channels": (4, 8), "width": 8}, (), (B,)),
    "mlp_energy": ({"dim": 64, "hidden": (8,)}, (), (B,)),
    "unet_score": ({"shape": SHAPE, "sigma_data": 0.5, "channels": (8, 16), "blocks": 1}, (torch.linspace(0.1, 5, B),),
                   (B, *SHAPE)),
    "conv_classifier": ({"shape": SHAPE, "classes": 3, "channels": (4, 8), "width": 8}, (), (B, 3)),
}


def build(name):
    torch.manual_seed(0)
    return MODELS[name](**EXAMPLES[name][0]).eval()


def test_every_model_has_an_example():
    assert EXAMPLES.keys() == MODELS.keys()


@pytest.mark.parametrize("name", MODELS)
def test_its_output_has_its_shape_and_is_finite(name):
    _, more, shape = EXAMPLES[name]
    out = build(name)(torch.randn(B, *SHAPE), *more)
    assert out.shape == shape and torch.isfinite(out).all()


@pytest.mark.parametrize("name", MODELS)
def test_an_example_does_not_see_its_neighbours(name):
    _, more, _ = EXAMPLES[name]
    model, x = build(name), torch.randn(B, *SHAPE)
    torch.testing.assert_close(model(x[2:3], *(m[2:3] for m in more)), model(x, *more)[2:3], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_the_global_seed_decides_its_weights_and_they_come_back(name):
    a, b = build(name), build(name)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    torch.manual_seed(1)
    c = MODELS[name](**EXAMPLES[name][0])
    c.load_state_dict(a.state_dict())
    _, more, _ = EXAMPLES[name]
    x = torch.randn(B, *SHAPE)
    assert torch.equal(c.eval()(x, *more), a(x, *more))


@pytest.mark.parametrize("name", MODELS)
def test_it_says_what_it_is(name):
    assert len((MODELS[name].__doc__ or "").strip()) > 20
