"""What is measured of an energy of pictures and sentences, E(x, t), low where they fit.

    retrieval    the caption of a picture among the captions of many, each once, and the other way
    swapped      E(x, t) < E(x, t') where t' is t with the colours of the two things changed round
    bound        E(x, t) < E(x, t') for all three t' that the words of t make: with the colours, the
                 digits or the whole things changed round

`model.pairs` are the energies of all pairs, up to what hangs on the picture alone.

References: Karpathy & Fei-Fei (2015), arXiv 1412.2306 (recall at k); Yuksekgonul et al. (2023),
When and Why Vision-Language Models Behave Like Bags-of-Words, arXiv 2210.01936 (swapped
attributes).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gradlogp.data.captioned_digits import Scene, Thing
from gradlogp.metrics import Measure
from gradlogp.metrics.base import binomial_error
from gradlogp.metrics.retrieval import recall_at

AT_ONCE = 50  # pictures, each with all captions
KS = (1, 5)
Tokens = Callable[[Sequence[str]], Tensor]


def scenes(captions: Sequence[str]) -> list[Scene] | None:
    """What the captions say, where all are of two coloured digits."""
    try:
        return [Scene.of(caption) for caption in captions]
    except ValueError:
        return None


def parts(captions: Sequence[str]) -> dict[str, list[int]]:
    """The numbers of those whose combinations training has shown, and of those it has not."""
    found = scenes(captions)
    if found is None:
        return {"seen": list(range(len(captions)))}
    seen = [i for i, scene in enumerate(found) if not scene.held_out]
    unseen = [i for i, scene in enumerate(found) if scene.held_out]
    return {name: members for name, members in (("seen", seen), ("unseen", unseen)) if members}


def energies(model: Any, x: Tensor, tokens: Tensor) -> Tensor:
    """E of all pictures x [n, *shape], in model coordinates, with all texts [m, L], [n, m]."""
    with torch.no_grad():
        return torch.cat([model.pairs(part, tokens) for part in x.split(AT_ONCE)])


def retrieval(
    model: Any, x: Tensor, captions: Sequence[str], tokens: Tokens
) -> dict[str, list[Measure]]:
    """R@1 and R@5 of the caption of each picture x [n, *shape] among all captions, each once; and
    of a picture of each caption: by what was asked with, "picture" or "caption".
    """
    gallery = list(dict.fromkeys(captions))
    number = {caption: i for i, caption in enumerate(gallery)}
    of_picture = torch.tensor([number[caption] for caption in captions])
    of_caption = torch.arange(len(gallery))
    fit = -energies(model, x, tokens(gallery))
    ks = [k for k in KS if k <= len(gallery)]
    return {
        "picture": [recall_at(k, fit, of_picture, of_caption) for k in ks],
        "caption": [recall_at(k, fit.T, of_caption, of_picture) for k in ks],
    }


def swapped(model: Any, x: Tensor, captions: Sequence[str], tokens: Tokens) -> Measure | None:
    """The share of pictures whose caption fits better than the same with the colours changed
    round; None where no caption has two colours.
    """
    found = scenes(captions) or []
    some = [i for i, s in enumerate(found) if s.first.colour != s.second.colour]
    return _preferred(
        "swapped_attributes",
        "two colours",
        model,
        x[some],
        [(found[i], found[i].swapped()) for i in some],
        tokens,
    )


def bound(model: Any, x: Tensor, captions: Sequence[str], tokens: Tokens) -> Measure | None:
    """The share of pictures whose caption fits better than the three others of the same words; None
    where no caption has two colours and two digits.
    """
    found = scenes(captions) or []
    some = [i for i, s in enumerate(found) if len(set(map(str, (s, *s.rebound())))) == 4]
    return _preferred(
        "bound_attributes",
        "two colours and two digits",
        model,
        x[some],
        [(found[i], *found[i].rebound()) for i in some],
        tokens,
    )


def _preferred(
    name: str,
    which: str,
    model: Any,
    x: Tensor,
    rivals: Sequence[tuple[Scene, ...]],
    tokens: Tokens,
) -> Measure | None:
    """How often the first of a picture's scenes fits it best; ties are counted against it."""
    if not rivals:
        return None
    own, *others = (
        _matched(model, x, tokens(list(map(str, of)))) for of in zip(*rivals, strict=True)
    )
    value = float((own < torch.stack(others).amin(0)).double().mean())
    return Measure(
        name,
        value,
        binomial_error(value, len(rivals)),
        len(rivals),
        "higher",
        f"{len(rivals)} test pictures with {which}, binomial standard error",
        trivial=1 / len(rivals[0]),
    )


def _matched(model: Any, x: Tensor, tokens: Tensor) -> Tensor:
    """The energies of each picture with its own text, [n]."""
    parts = zip(x.split(AT_ONCE), tokens.split(AT_ONCE), strict=True)
    with torch.no_grad():
        return torch.cat([model.pairs(part, t).diagonal() for part, t in parts])


def halves(scene: Scene) -> tuple[str, str]:
    """What the caption says of each of the two things alone: "a red three left of" and "left of a
    green seven".
    """
    return f"{scene.first} {scene.relation}", f"{scene.relation} {scene.second}"


def rivals(scene: Scene) -> list[str]:
    """Nine captions that say the same of colours and places, and other digits of both things."""
    first, second = scene.first, scene.second
    return [
        str(
            Scene(
                Thing((first.digit + k) % 10, first.colour),
                scene.relation,
                Thing((second.digit - k) % 10, second.colour),
            )
        )
        for k in range(1, 10)
    ]


def axes_of(part: str, query: str) -> Mapping[str, str]:
    """The axes of a retrieval: whose captions, and what was asked with."""
    return {"picture_of" if query == "picture" else "sentence_of": part}
