r"""Short texts: words as numbers, and encoders of them, tokens [B, L] -> [B, width].

*Bag of words*: the mean of the words' vectors, through a perceptron; "red on blue" is "blue on
red". *Transformer*: words and places attend to each other, and the mean of the last layer is the
text.

Token 0 fills up short texts and is never attended to; token 1 is any word that the vocabulary
lacks.

References: Vaswani et al. (2017), Attention Is All You Need, arXiv 1706.03762, section 3; Xiong et
al. (2020), On Layer Normalization in the Transformer Architecture, arXiv 2002.04745 (norm first).
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn

PAD, UNKNOWN = 0, 1
WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """The words of a text in small letters, without punctuation."""
    return WORD.findall(text.lower())


@final
@dataclass(frozen=True)
class Vocabulary:
    """Words and the length of the longest text; token i + 2 is `words[i]`."""

    words: tuple[str, ...]
    length: int

    @classmethod
    def of(cls, texts: Iterable[str], least: int = 1) -> "Vocabulary":
        """The words that stand in the texts `least` times or more, the most frequent first, and the
        length of the longest text.
        """
        split = [words_of(text) for text in texts]
        counts = Counter(word for words in split for word in words)
        kept = sorted((w for w in counts if counts[w] >= least), key=lambda w: (-counts[w], w))
        return cls(tuple(kept), max((len(words) for words in split), default=0) or 1)

    @property
    def size(self) -> int:
        """How many tokens there are, with the two that are no words."""
        return len(self.words) + 2

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """[n, length] int64; what is longer is cut."""
        number = {word: i + 2 for i, word in enumerate(self.words)}
        rows = torch.full((len(texts), self.length), PAD)
        for row, text in zip(rows, texts, strict=True):
            found = [number.get(word, UNKNOWN) for word in words_of(text)[: self.length]]
            row[: len(found)] = torch.tensor(found, dtype=torch.long)
        return rows


class BagOfWords(nn.Module):
    """tokens [B, L] -> [B, width]: the mean of the words' vectors, through one hidden layer."""

    def __init__(self, size: int, width: int = 64) -> None:
        super().__init__()
        self.words = nn.Embedding(size, width, PAD)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The words' vectors [B, L, width], and where there are words, [B, L]."""
        return self.words(tokens), places_of(tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layers(mean_of(*self.read(tokens)))


class TextTransformer(nn.Module):
    """tokens [B, L] -> [B, width], L up to `length`, by a small transformer."""

    def __init__(
        self, size: int, length: int, width: int = 64, layers: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(size, width, PAD)
        self.places = nn.Parameter(0.02 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The words in their places [B, L, width], each having seen the others, and where they
        are, [B, L].
        """
        there = places_of(tokens)
        h = self.words(tokens) + self.places[: tokens.shape[1]]
        return self.layers(h, src_key_padding_mask=~there), there

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(mean_of(*self.read(tokens)))


def places_of(tokens: Tensor) -> Tensor:
    """Where tokens [B, L] are words; an empty text is all padding, which is read in their place."""
    there = tokens != PAD
    return there | ~there.any(1, keepdim=True)


def mean_of(h: Tensor, there: Tensor) -> Tensor:
    """The mean of h [B, L, width] over the places where `there` [B, L] is True, [B, width]."""
    weight = there[..., None].to(h.dtype)
    return (h * weight).sum(1) / weight.sum(1).clamp(min=1)


TextKind = Literal["bag", "transformer"]


def text_encoder(
    vocabulary: Vocabulary, width: int = 64, kind: TextKind = "transformer"
) -> nn.Module:
    """An encoder of texts in the words of `vocabulary`, tokens [B, L] -> [B, width]."""
    if kind == "bag":
        return BagOfWords(vocabulary.size, width)
    return TextTransformer(vocabulary.size, vocabulary.length, width)
