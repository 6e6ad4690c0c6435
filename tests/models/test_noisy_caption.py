"""One energy of picture, sentence and noise level: what it is at either end of the levels, and by
hand where nothing is learned yet.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from gradlogp.core.fields import Energy
from gradlogp.core.random import seeded
from gradlogp.models.noisy_caption import NoisyCaptionEnergy, TextMap, noisy_caption_energy
from gradlogp.models.text import Vocabulary

WORDS = Vocabulary.of(["a red one", "a blue two", "the green three"])
TOKENS = WORDS.tokens(["a red one", "a blue two", "the green three", "one red a"])
SHAPE, STD, CENTRE = (2, 9, 10), 0.6, -0.8
X = torch.randn(4, *SHAPE, generator=seeded(0), dtype=torch.float64)
NONE = torch.full_like(TOKENS, -1)


def build(stir=True, **more):
    torch.manual_seed(0)
    model = noisy_caption_energy(SHAPE, WORDS, STD, CENTRE, (8,), 1, 4, (4, 8), 8, **more)
    with torch.no_grad():
        for p in model.parameters() if stir else ():
            p.add_(0.2 * torch.randn_like(p))
    return model.double()


def at(sigma):
    return torch.full((4,), sigma, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["bag", "transformer"])
def test_a_text_without_words_has_an_energy_and_a_row_of_none_is_no_sentence(kind):
    model = build(kind=kind)
    empty = torch.zeros_like(TOKENS)
    for sigma in (0.01, 0.2, 2.0):
        assert model(X, at(sigma), empty).isfinite().all()
        torch.testing.assert_close(model(X, at(sigma), NONE), model(X, at(sigma)))


@pytest.mark.parametrize("sigma", [0.01, 0.05])
def test_at_fine_levels_a_sentence_adds_its_match_and_nothing_else(sigma):
    model = build()
    added = model(X, at(sigma), TOKENS) - model(X, at(sigma))
    torch.testing.assert_close(model.pairs(X, TOKENS).diagonal(), added, atol=1e-8, rtol=1e-8)


def test_without_a_fusion_all_pairs_are_clips_by_hand():
    """-cos(f, g) / tau."""
    model = build(fusion=False)
    match = model.match
    f, g = F.normalize(match.image(X), dim=1), F.normalize(match.text(TOKENS), dim=1)
    expected = -f @ g.T / match.log_temperature.exp()
    torch.testing.assert_close(model.pairs(X, TOKENS), expected, atol=1e-10, rtol=1e-10)


def test_at_coarse_levels_the_match_has_no_say():
    model = build()
    before = model(X, at(0.5), TOKENS)
    with torch.no_grad():
        model.match.log_temperature.sub_(1)
    torch.testing.assert_close(model(X, at(0.5), TOKENS), before)
    assert (model(X, at(0.1), TOKENS) - model(X, at(0.1))).abs().max() > 1e-3


def test_the_sentence_passes_over_evenly_in_the_logarithm_of_the_level():
    model = build()
    levels = torch.tensor([0.01, 0.05, 0.05 * 10**0.5, 0.5, 5.0])
    torch.testing.assert_close(model.hidden(levels), torch.tensor([0, 0, 0.5, 1, 1]))


@pytest.mark.parametrize("sigma", [0.02, 0.2, 2.0])
def test_a_row_of_minus_ones_is_no_sentence(sigma):
    model = build()
    torch.testing.assert_close(model(X, at(sigma), NONE), model(X, at(sigma)))


def test_where_its_network_says_nothing_it_is_the_normalised_gaussian_of_the_data():
    """Whose denoiser is exact for Gaussian data of that mean and standard deviation."""
    model, sigma = build(stir=False), 0.7
    with torch.no_grad():
        model.picture.potential.net.net.head[-1].bias.zero_()
    total = STD**2 + sigma**2
    expected = ((X - CENTRE).square() / total + math.log(2 * math.pi * total)).flatten(1).sum(1) / 2
    torch.testing.assert_close(model(X, at(sigma)), expected, atol=1e-4, rtol=1e-6)
    shrunk = CENTRE + STD**2 / total * (X - CENTRE)
    torch.testing.assert_close(model.field().denoise(X, sigma), shrunk, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.03, 0.15, 3.0])
def test_its_score_is_minus_the_slope_of_the_whole(sigma):
    model = build()
    slope = Energy(lambda x: model(x, at(sigma), TOKENS)).score(X)
    torch.testing.assert_close(model.field(TOKENS).at(sigma).score(X), slope)


def test_the_map_reads_order_and_no_padding():
    torch.manual_seed(0)
    shown, text = TextMap(SHAPE, 8, 3, 4), build().match.float().text
    out = shown(*text.read(TOKENS))
    assert out.shape == (4, 3, 9, 10)
    assert (out[0] - out[3]).abs().max() > 1e-4
    longer = Vocabulary(WORDS.words, 3).tokens(["red one"])
    torch.testing.assert_close(shown(*text.read(longer)), shown(*text.read(longer[:, :2])))


def test_a_map_of_one_word_is_its_value_everywhere():
    shown = TextMap(SHAPE, 8, 3, 4)
    word = torch.randn(1, 1, 8, generator=seeded(1))
    cell = shown(word, torch.tensor([[True]]))[0, :, :4, :4]
    torch.testing.assert_close(cell, shown.values(word[0, 0]).unflatten(0, (3, 4, 4)))
    torch.testing.assert_close(
        shown(word, torch.tensor([[True]]))[0], cell.repeat(1, 3, 3)[:, :9, :10]
    )


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.5), (0.5, 0.5), (0.5, 0.05)])
def test_levels_between_which_a_sentence_passes_over_are_in_order(low, high):
    with pytest.raises(ValueError, match="expected levels 0 < low < high"):
        NoisyCaptionEnergy(torch.nn.Identity(), build().match, torch.nn.Identity(), 0.0, low, high)
