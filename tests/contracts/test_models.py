"""What every model promises: it is built from keywords, says what it is, and an example does not
see its neighbours.
"""

import inspect

import pytest
import torch

from gradlogp.core.spectrogram import LogMel
from gradlogp.models import MODELS, Vocabulary

SHAPE = (1, 8, 8)
WAVE = (2, 21)
VOXELS = (1, 5, 6, 4)
B = 5
LEVELS = torch.linspace(0.1, 5, B)
WORDS = Vocabulary(tuple("abc"), 4)
TOKENS = torch.tensor([[2, 3, 4, 0], [4, 3, 2, 0], [2, 0, 0, 0], [1, 2, 3, 4], [3, 0, 0, 0]])
# "name, or name on some data": settings, the arguments beside x, the shape of the output (x has
# SHAPE but where SHAPES says else)
EXAMPLES = {
    "autoencoder_energy": ({"shape": SHAPE, "latent": 4, "channels": (4, 8), "width": 8}, (), (B,)),
    "autoencoder_energy on vectors": ({"shape": (3,), "latent": 2, "width": 8}, (), (B,)),
    "conv_energy": ({"shape": SHAPE, "channels": (4, 8), "width": 8}, (), (B,)),
    "conv_energy of patches": (
        {"shape": SHAPE, "channels": (4, 8), "width": 8, "patch": 3},
        (),
        (B,),
    ),
    "conv_energy on voxels": ({"shape": VOXELS, "channels": (4, 8), "width": 8}, (), (B,)),
    "descriptor_energy": ({"shape": SHAPE, "channels": (4, 8), "width": 8}, (), (B,)),
    "descriptor_energy on voxels": ({"shape": VOXELS, "channels": (4, 8), "width": 8}, (), (B,)),
    "caption_energy": (
        {"shape": SHAPE, "vocabulary": WORDS, "channels": (4, 8), "width": 8},
        (TOKENS,),
        (B,),
    ),
    "noisy_caption_energy": (
        {
            "shape": SHAPE,
            "vocabulary": WORDS,
            "sigma_data": 0.5,
            "channels": (8,),
            "patch": 3,
            "trunk": (4, 8),
            "width": 8,
        },
        (LEVELS, TOKENS),
        (B,),
    ),
    "mlp_energy": ({"dim": 64, "hidden": (8,)}, (), (B,)),
    "quadratic_energy": ({"dim": 64, "rank": 3}, (), (B,)),
    "quadratic_energy on vectors": ({"dim": 3}, (), (B,)),
    "principal_mixture": ({"shape": SHAPE, "components": 3, "rank": 2}, (), (B,)),
    "principal_mixture on vectors": ({"shape": 3, "components": 2, "rank": 1}, (), (B,)),
    "residual_energy": ({"shape": SHAPE, "channels": (4, 8), "width": 8}, (), (B,)),
    "residual_energy on waves": (
        {"shape": WAVE, "channels": (4, 8), "width": 8, "spectral": True},
        (),
        (B,),
    ),
    "residual_energy on voxels": ({"shape": VOXELS, "channels": (4, 8), "width": 8}, (), (B,)),
    "tilted_energy": ({"dim": 64, "width": 8}, (), (B,)),
    "bernoulli_rbm": ({"shape": SHAPE, "hidden": 6}, (), (B,)),
    "gaussian_rbm": ({"shape": SHAPE, "hidden": 6}, (), (B,)),
    "gaussian_rbm on waves": ({"shape": WAVE, "hidden": 6, "variance": 0.5}, (), (B,)),
    "conv_noisy_energy": (
        {"shape": SHAPE, "sigma_data": 0.5, "channels": (4, 8), "width": 8},
        (LEVELS,),
        (B,),
    ),
    "conv_noisy_energy on voxels": (
        {"shape": VOXELS, "sigma_data": 0.5, "channels": (4, 8), "width": 8},
        (LEVELS,),
        (B,),
    ),
    "mlp_noisy_energy": (
        {"shape": SHAPE, "sigma_data": 0.5, "width": 8, "blocks": 2},
        (LEVELS,),
        (B,),
    ),
    "mlp_noisy_energy on vectors": (
        {"shape": 3, "sigma_data": 0.5, "width": 8, "blocks": 2},
        (LEVELS,),
        (B,),
    ),
    "unet_noisy_energy": (
        {"shape": SHAPE, "sigma_data": 0.5, "channels": (8, 16), "blocks": 1},
        (LEVELS,),
        (B,),
    ),
    "unet_noisy_energy on waves": (
        {"shape": WAVE, "sigma_data": 0.5, "channels": (8, 16), "blocks": 1},
        (LEVELS,),
        (B,),
    ),
    "mlp_score": (
        {"shape": SHAPE, "sigma_data": 0.5, "width": 8, "blocks": 2},
        (LEVELS,),
        (B, *SHAPE),
    ),
    "mlp_score on vectors": (
        {"shape": 3, "sigma_data": 0.5, "width": 8, "blocks": 2},
        (LEVELS,),
        (B, 3),
    ),
    "refinenet_score": ({"shape": SHAPE, "channels": (4, 8)}, (LEVELS,), (B, *SHAPE)),
    "refinenet_score on waves": ({"shape": WAVE, "channels": (4, 8)}, (LEVELS,), (B, *WAVE)),
    "refinenet_score on voxels": ({"shape": VOXELS, "channels": (4, 8)}, (LEVELS,), (B, *VOXELS)),
    "mlp_diffusion on vectors": (
        {"shape": 3, "predicts": "v", "width": 8, "blocks": 1},
        (LEVELS,),
        (B, 3),
    ),
    "unet_diffusion": (
        {"shape": SHAPE, "learned": True, "channels": (8, 16), "blocks": 1},
        (LEVELS,),
        (B, *SHAPE),
    ),
    "unet_score": (
        {"shape": SHAPE, "sigma_data": 0.5, "channels": (8, 16), "blocks": 1},
        (LEVELS,),
        (B, *SHAPE),
    ),
    "unet_score on waves": (
        {"shape": WAVE, "sigma_data": 0.5, "channels": (8, 16), "blocks": 1},
        (LEVELS,),
        (B, *WAVE),
    ),
    "unet_score on voxels": (
        {"shape": VOXELS, "sigma_data": 0.5, "channels": (8, 16), "blocks": 1},
        (LEVELS,),
        (B, *VOXELS),
    ),
    "vector_score": ({"dim": 64, "hidden": (8,)}, (), (B, *SHAPE)),
    "vector_score on vectors": ({"dim": 3, "hidden": (8,)}, (), (B, 3)),
    "wavenet_score": (
        {"shape": WAVE, "sigma_data": 0.5, "channels": 8, "layers": 4, "cycle": 2},
        (LEVELS,),
        (B, *WAVE),
    ),
    "conv_classifier": ({"shape": SHAPE, "classes": 3, "channels": (4, 8), "width": 8}, (), (B, 3)),
    "conv_classifier on waves": (
        {"shape": WAVE, "classes": 3, "channels": (4, 8), "width": 8},
        (),
        (B, 3),
    ),
    "conv_classifier on voxels": (
        {"shape": VOXELS, "classes": 3, "channels": (4, 8), "width": 8},
        (),
        (B, 3),
    ),
    "residual_classifier": ({"shape": SHAPE, "classes": 3, "channels": (4, 8)}, (), (B, 3)),
    "residual_classifier on waves": (
        {"shape": WAVE, "classes": 3, "channels": (4, 8), "patch": 1},
        (),
        (B, 3),
    ),
    "residual_classifier on voxels": (
        {"shape": VOXELS, "classes": 3, "channels": (4, 8)},
        (),
        (B, 3),
    ),
    "noisy_classifier": (
        {"shape": SHAPE, "classes": 3, "sigma_data": 0.5, "channels": (4, 8), "width": 8},
        (LEVELS,),
        (B, 3),
    ),
    "noisy_classifier on vectors": (
        {"shape": (3,), "classes": 3, "sigma_data": 0.5, "channels": (8,), "width": 8},
        (LEVELS,),
        (B, 3),
    ),
    "mlp_classifier on vectors": ({"shape": 3, "classes": 3, "hidden": (8,)}, (), (B, 3)),
    "spectrogram_classifier on waves": (
        {
            "shape": WAVE,
            "classes": 3,
            "spectrogram": LogMel(bands=4, window=8, hop=2),
            "channels": (4, 8),
            "width": 8,
        },
        (),
        (B, 3),
    ),
}
SHAPES = {"vectors": (3,), "waves": WAVE, "voxels": VOXELS, "wavenet_score": WAVE}
CLASSED = [
    name
    for name in EXAMPLES
    if "classes" in inspect.signature(MODELS[name.split()[0]]).parameters
    and "classifier" not in name
]


def build(name, **more):
    torch.manual_seed(0)
    return MODELS[name.split()[0]](**EXAMPLES[name][0], **more).eval()


def data(name):
    return torch.randn(
        B, *SHAPES.get(name.split()[-1], SHAPE), generator=torch.Generator().manual_seed(1)
    )


def stirred(model):
    """The model away from its start, where some weights are zero."""
    torch.manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def test_every_model_has_an_example():
    assert {name.split()[0] for name in EXAMPLES} == MODELS.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_its_output_has_its_shape_and_is_finite(name):
    _, more, shape = EXAMPLES[name]
    out = build(name)(data(name), *more)
    assert out.shape == shape and torch.isfinite(out).all()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_not_see_its_neighbours(name):
    _, more, _ = EXAMPLES[name]
    model, x = stirred(build(name)), data(name)
    torch.testing.assert_close(
        model(x[2:3], *(m[2:3] for m in more)), model(x, *more)[2:3], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_global_seed_decides_its_weights_and_they_come_back(name):
    a, b = build(name), build(name)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    torch.manual_seed(1)
    c = MODELS[name.split()[0]](**EXAMPLES[name][0])
    c.load_state_dict(a.state_dict())
    _, more, _ = EXAMPLES[name]
    assert torch.equal(c.eval()(data(name), *more), a(data(name), *more))


@pytest.mark.parametrize("name", EXAMPLES)
def test_gradients_reach_x_and_every_weight_and_are_finite(name):
    _, more, _ = EXAMPLES[name]
    model, x = stirred(build(name)), data(name).requires_grad_(True)
    inputs = [x, *model.parameters()]
    gradients = torch.autograd.grad(model(x, *more).square().sum(), inputs, materialize_grads=True)
    assert all(torch.isfinite(g).all() for g in gradients) and (gradients[0] != 0).any()


@pytest.mark.parametrize("name", [name for name in EXAMPLES if EXAMPLES[name][2] == (B,)])
def test_energies_are_smooth(name):
    """A piecewise linear energy would have no curvature for score matching to see."""
    _, more, _ = EXAMPLES[name]
    model, x = stirred(build(name)), data(name).requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(x, *more).sum(), x, create_graph=True)
    (curved,) = torch.autograd.grad((gradient * torch.randn_like(x)).sum(), x)
    assert torch.isfinite(curved).all() and (curved.flatten(1).abs().sum(1) > 1e-6).all()


LEVELLED = [name for name, (_, more, _) in EXAMPLES.items() if any(m is LEVELS for m in more)]


@pytest.mark.parametrize("name", LEVELLED)
def test_the_level_changes_what_a_noise_conditional_model_says(name):
    model, x = stirred(build(name)), data(name)
    beside = EXAMPLES[name][1][1:]
    assert (model(x, LEVELS, *beside) - model(x, 2 * LEVELS, *beside)).abs().max() > 1e-3


@pytest.mark.parametrize("name", CLASSED)
def test_the_class_changes_what_a_conditional_model_says(name):
    _, more, shape = EXAMPLES[name]
    model, x = stirred(build(name, classes=3)), data(name)
    says = lambda y: model(x, *more, torch.full((B,), y))
    assert (
        says(0).shape == model(x, *more).shape == shape and (says(0) - says(2)).abs().max() > 1e-4
    )


@pytest.mark.parametrize("name", CLASSED)
def test_a_class_that_it_was_not_built_for_is_refused(name):
    _, more, _ = EXAMPLES[name]
    with pytest.raises(ValueError, match="built without classes"):
        build(name)(data(name), *more, torch.zeros(B, dtype=torch.long))


@pytest.mark.parametrize("name", MODELS)
def test_it_says_what_it_is(name):
    assert len((MODELS[name].__doc__ or "").strip()) > 20


@pytest.mark.parametrize("name", CLASSED)
def test_a_condition_that_is_no_class_is_an_error(name):
    _, more, _ = EXAMPLES[name]
    model, x = build(name, classes=3), data(name)
    for cond in (torch.full((B,), 3), torch.full((B,), -2), torch.zeros(B)):
        with pytest.raises(ValueError, match="a condition is a class number from .* to 2, got"):
            model(x, *more, cond)
    field = model.field(torch.zeros(B - 1, dtype=torch.long))
    with pytest.raises(ValueError, match=rf"cond of shape \[{B}, ...\], got \[{B - 1}\]"):
        (field.denoise if more else field.score)(x, *more)
