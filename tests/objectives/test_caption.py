"""CLIP and the joint energy: one loss where the energy is -cos / tau, and what is added by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from gradlogp.baselines.clip import clip
from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.models.caption import caption_energy
from gradlogp.models.noisy_caption import noisy_caption_energy
from gradlogp.models.text import Vocabulary
from gradlogp.objectives.caption import CLIP, CaptionJoint, clip_loss
from gradlogp.objectives.contrastive import ContrastiveDivergence
from gradlogp.objectives.denoising import DenoisingScoreMatching, LogNormal, drop
from gradlogp.objectives.starts import FromData, FromNoise
from gradlogp.samplers import Langevin

WORDS = Vocabulary.of(["a red one", "a blue two", "the green three"])
X = torch.rand(4, 1, 8, 8, generator=seeded(0))
CAPTIONS = WORDS.tokens(["a red one", "a blue two", "the green three", "a green one"])


def build(make=caption_energy, **more):
    torch.manual_seed(0)
    return make((1, 8, 8), WORDS, (4, 8), 8, **more).double()


def clip_by_the_paper(model, x, captions):
    """Figure 3: logits = I T^T e^t, cross-entropies along both axes."""
    image = F.normalize(model.image(x), dim=1)
    text = F.normalize(model.text(captions), dim=1)
    logits = image @ text.T / model.log_temperature.exp()
    labels = torch.arange(len(x))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


@pytest.mark.parametrize("kind", ["bag", "transformer"])
def test_an_energy_of_minus_cosine_over_tau_is_clip(kind):
    model = build(clip, kind=kind)
    x = X.double()
    loss = CLIP()(model, Batch(x, CAPTIONS), seeded(1)).value
    expected = clip_by_the_paper(model, x, CAPTIONS)
    assert abs(loss.mean() - expected) < 1e-10
    assert float(model.log_temperature.detach().exp()) == pytest.approx(0.07)
    mine = torch.autograd.grad(loss.mean(), list(model.parameters()))
    theirs = torch.autograd.grad(expected, list(model.parameters()))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-8)


def test_the_fusion_is_nothing_at_the_start():
    joint, bare = build(), build(clip)
    bare.load_state_dict(joint.state_dict(), strict=False)
    torch.testing.assert_close(joint.pairs(X.double(), CAPTIONS), bare.pairs(X.double(), CAPTIONS))


def test_all_pairs_are_the_energies_of_each_with_each():
    model = build()
    with torch.no_grad():
        model.fusion.head.weight.normal_(generator=seeded(2))
    pairs = model.pairs(X.double(), CAPTIONS)
    for j, caption in enumerate(CAPTIONS):
        own = model(X.double(), caption.expand(4, -1))
        torch.testing.assert_close(pairs[:, j], own)


def test_the_first_half_is_the_conditional_likelihood_of_the_caption():
    energies = torch.randn(5, 5, generator=seeded(3), dtype=torch.float64)
    p = (-energies).exp()
    expected = -(p.diag() / p.sum(1)).log() / 2 - (p.diag() / p.sum(0)).log() / 2
    torch.testing.assert_close(clip_loss(energies), expected)


def test_a_caption_that_stands_twice_is_no_wrong_answer():
    """With all captions equal nothing is left to choose, and the loss is 0, not ln n."""
    energies = torch.zeros(3, 3)
    same = torch.ones(3, 2, dtype=torch.long)
    assert clip_loss(energies, same).abs().max() < 1e-12
    torch.testing.assert_close(clip_loss(energies), torch.full((3,), math.log(3)))
    two = torch.tensor([[1, 1], [1, 1], [2, 1]])
    expected = torch.tensor([math.log(2), math.log(2), math.log(3)])
    torch.testing.assert_close(clip_loss(energies, two), expected)


DENSITIES = {
    "chains from data": lambda: ContrastiveDivergence(Langevin(0.1, 0.01), FromData(), 2),
    "chains from noise": lambda: ContrastiveDivergence(
        Langevin(0.1, 0.01), FromNoise(lambda x, g: x.uniform_(generator=g)), 2
    ),
    "denoising": lambda: DenoisingScoreMatching(LogNormal(), drop_cond=0.5),
}


def built_for(density):
    return build(noisy) if density == "denoising" else build()


def noisy(shape, words, channels, width):
    return noisy_caption_energy(shape, words, 0.5, 0.0, (8,), 1, 4, channels, width)


@pytest.mark.parametrize("density", DENSITIES)
def test_the_joint_loss_is_the_sum_of_its_parts(density):
    model, batch = built_for(density), Batch(X.double(), CAPTIONS)
    loss = DENSITIES[density]()
    got = CaptionJoint(loss, 0.5)(model, batch, seeded(4)).value
    match, generate = CLIP()(model, batch, seeded(4)), loss(model, batch, seeded(4))
    torch.testing.assert_close(got, match.value + 0.5 * generate.value)
    got.mean().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("density", DENSITIES)
def test_a_share_of_the_batch_has_the_mean_of_its_own_density(density):
    model, batch = built_for(density), Batch(X.double(), CAPTIONS)
    loss = DENSITIES[density]()
    got = CaptionJoint(loss, 0.5, share=0.5)(model, batch, seeded(4)).value
    match = CLIP()(model, batch, seeded(4)).value
    generate = loss(model, Batch(batch.x[:2], CAPTIONS[:2]), seeded(4)).value
    assert got.shape == (4,)
    torch.testing.assert_close(got.mean(), match.mean() + 0.5 * generate.mean())
    torch.testing.assert_close(got[2:], match[2:])


@pytest.mark.parametrize("changes", [{"share": 0.0}, {"share": 1.5}, {"weight": -1.0}])
def test_a_share_is_one(changes):
    divergence = ContrastiveDivergence(Langevin(0.1, 0.01), FromData(), 2)
    with pytest.raises(ValueError, match=r"a share of the batch in \(0, 1\]"):
        CaptionJoint(divergence, **changes)


def test_the_score_of_a_picture_is_given_its_caption():
    model, x = build(), X.double().requires_grad_(True)
    (slope,) = torch.autograd.grad(model(x, CAPTIONS).sum(), x)
    torch.testing.assert_close(model.field(CAPTIONS).score(X.double()), -slope)


def test_order_matters_to_the_joint_energy_once_it_has_learned():
    """Two pictures and two captions of the same words: with a transformer, 60 steps tell them
    apart.
    """
    words = Vocabulary.of(["red on blue", "blue on red"])
    torch.manual_seed(0)
    model = caption_energy((1, 8, 8), words, (4, 8), 8)
    x, captions = X[:2], words.tokens(["red on blue", "blue on red"])
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss = CLIP()(model, Batch(x, captions), seeded(1))
        loss.value.mean().backward()
        optimiser.step()
    assert float(loss.value.detach().mean()) < 0.1 and float(loss.info["retrieved"]) == 1


def test_sentences_are_dropped_whole():
    """A share of the rows becomes -1, and no other word is touched."""
    tokens = torch.arange(2, 5).expand(4000, 3)
    dropped = drop(tokens, 0.25, seeded(6))
    gone = (dropped == -1).all(1)
    assert torch.equal(dropped[~gone], tokens[~gone])
    assert abs(float(gone.double().mean()) - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5


def test_classes_are_no_captions():
    with pytest.raises(ValueError, match=r"tokens \[B, L\] as the batch's `cond`, got \[4\]"):
        CLIP()(build(), Batch(X, torch.arange(4)), seeded(1))
    with pytest.raises(ValueError, match="but got no `cond`"):
        build()(X.double())
