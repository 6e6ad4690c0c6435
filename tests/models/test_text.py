"""Words as numbers, and what an encoder of texts may and may not see."""

import pytest
import torch

from gradlogp.models.text import BagOfWords, TextTransformer, Vocabulary, text_encoder

TEXTS = ["A red three, left of a green seven!", "a blue one", ""]


def test_words_become_numbers_and_what_is_unknown_is_one():
    vocabulary = Vocabulary.of(TEXTS)
    assert vocabulary.words[0] == "a" and vocabulary.length == 8 and vocabulary.size == 11
    rows = vocabulary.tokens(["a purple one", "", "a " * 20])
    one = vocabulary.words.index("one") + 2
    assert rows.tolist() == [[2, 1, one, 0, 0, 0, 0, 0], [0] * 8, [2] * 8]


def test_rare_words_are_left_out_and_equal_counts_are_in_the_order_of_letters():
    assert Vocabulary.of(["b a c", "c a"], 2).words == ("a", "c")
    assert Vocabulary.of(["b a c", "c a"]).words == ("a", "c", "b")


@pytest.fixture(params=["bag", "transformer"])
def encoder(request):
    torch.manual_seed(0)
    return text_encoder(Vocabulary.of(TEXTS), 16, request.param)


def test_padding_is_never_seen_and_empty_texts_are_finite(encoder):
    tokens = Vocabulary.of(TEXTS).tokens(TEXTS)
    out = encoder(tokens)
    assert out.shape == (3, 16) and torch.isfinite(out).all()
    torch.testing.assert_close(encoder(tokens[1:2, :3]), out[1:2], atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        encoder.words.weight[0] += 5
    torch.testing.assert_close(encoder(tokens)[:2], out[:2], atol=1e-5, rtol=1e-4)


def test_order_counts_for_the_transformer_alone():
    torch.manual_seed(0)
    there, back = torch.tensor([[2, 3, 4]]), torch.tensor([[4, 3, 2]])
    bag, transformer = BagOfWords(6, 8), TextTransformer(6, 3, 8)
    torch.testing.assert_close(bag(there), bag(back))
    assert (transformer(there) - transformer(back)).abs().max() > 1e-3


def test_a_bag_is_the_mean_of_its_words():
    torch.manual_seed(0)
    bag = BagOfWords(6, 8)
    mean = (bag.words.weight[2] + 2 * bag.words.weight[5]) / 3
    torch.testing.assert_close(bag(torch.tensor([[5, 2, 5, 0]]))[0], bag.layers(mean))
