"""WaveGAN's critic: phase shuffle comes from the generator in training, and is absent outside it."""

import pytest
import torch

from gradlogp.baselines.gan import Adversarial, critic_of
from gradlogp.baselines.wave_gan import WaveCritic, wave_gan
from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded


def build():
    torch.manual_seed(0)
    return wave_gan((1, 256), 6, (8, 4), (4, 8))


def wave(n=5):
    return torch.randn(n, 1, 256, generator=seeded(0))


def test_without_a_generator_it_is_a_function_and_with_one_the_generator_decides():
    critic, x = build().critic, wave()
    assert torch.equal(critic(x), critic(x))
    once, again, other = (critic(x, generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert not torch.equal(once, critic(x))


def test_a_constant_sounds_the_same_in_any_phase_but_near_the_borders():
    """Shuffling moves activations: of a constant, all are equal but those that see the padding."""
    critic = build().critic
    x = torch.ones(3, 1, 256)
    first = torch.nn.functional.leaky_relu(critic.convs[0](x), 0.2)
    inner = first[..., 4:-4]
    torch.testing.assert_close(critic.shuffle(inner, seeded(1)), inner.clone(), atol=1e-6, rtol=0)


def test_a_shuffle_of_none_changes_nothing():
    torch.manual_seed(0)
    critic, x = WaveCritic((1, 256), (4, 8), shuffle=0), wave()
    torch.testing.assert_close(critic(x, generator=seeded(1)), critic(x))


def test_the_objective_shuffles_by_its_own_generator():
    model, x = build(), wave()
    loss = Adversarial("wasserstein", every=2)(model, Batch(x), seeded(3))
    g = seeded(3)
    drawn = model(torch.empty(5, 6).normal_(generator=g))
    real, fake = critic_of(model.critic, None, g)(torch.cat([x, drawn])).chunk(2)
    torch.testing.assert_close(loss.value, fake - real)


def test_its_layers_are_those_of_the_paper():
    """Kernels of 25 and strides of 4: 256 -> 64 -> 16 in the critic, 16 -> 64 -> 256 in the
    generator.
    """
    model = build()
    assert [tuple(conv.weight.shape) for conv in model.critic.convs] == [(4, 1, 25), (8, 4, 25)]
    assert model.critic.head.in_features == 8 * 16
    assert model(torch.zeros(1, 6)).shape == (1, 1, 256)
    assert model.decoder.layers[0].out_features == 8 * 16


def test_pictures_are_refused():
    with pytest.raises(ValueError, match="for pictures and volumes use a ConvEnergy"):
        WaveCritic((3, 8, 8))
