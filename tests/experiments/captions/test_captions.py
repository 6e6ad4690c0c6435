"""Pictures and sentences: what is measured has known answers, and all methods in miniature."""

from pathlib import Path

import pytest
import torch
from torch import nn

from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.core.random import seeded
from gradlogp.core.targets import gaussian
from gradlogp.data import load
from gradlogp.data.captioned_digits import COUNTS, Scene
from gradlogp.experiments.captions import COMPARISON
from gradlogp.experiments.captions.captioned import Asked, Away, shortened
from gradlogp.experiments.captions.measures import (
    bound,
    halves,
    parts,
    retrieval,
    rivals,
    swapped,
)
from gradlogp.harness import override, prepare
from gradlogp.harness.recipe import Target
from gradlogp.harness.trial import Context
from gradlogp.models.caption import caption_energy
from gradlogp.models.noisy_caption import noisy_caption_energy
from gradlogp.models.text import Vocabulary
from gradlogp.reports import write
from gradlogp.runs import Run
from tests.contracts.test_data_and_recipes import made, untrained

PICTURES = Target("captioned_digits:mnist", "caption", (3, 32, 32), 20_000)
CAPTIONS = (
    "a red three left of a green seven",
    "a green three left of a red seven",
    "a red three left of a green seven",
    "a blue one above a blue two",
)
WORDS = Vocabulary.of(CAPTIONS)
TINY = ("images=64", "batch=16", "channels=4,8", "width=8", "pictures=12", "draws=3")
OWN = {
    "joint": ("net.channels=8,8", "walk.levels=2"),
    "joint_cd": ("steps=2", "chain_steps=2", "capacity=16"),
    "clip": ("steps=2",),
}
# the joint one scores a quarter of its pictures; by chains it walks an eighth for 2 steps, and looks
# at both ends
PRICES = {"clip": 1, "joint_cd": 1 + 0.125 * (2 + 2), "joint": 1.25}
SPENT = {"clip": [2, 4, 2, 4], "joint_cd": [2, 4, 2, 4], "joint": [4, 6, 4, 6]}


class Reads(nn.Module):
    """E = the number of words that differ from those of the picture, which holds its own tokens."""

    def __init__(self, in_order=True):
        super().__init__()
        self.in_order = in_order

    def pairs(self, x, tokens):
        return (self._seen(x)[:, None] != self._seen(tokens)[None]).double().sum(2)

    def _seen(self, x):
        return x.long().flatten(1) if self.in_order else x.long().flatten(1).sort(1).values


class Gaussians:
    """The density that a token numbers, at all noise levels; and the one given none."""

    def __init__(self, given, none=None):
        self.given, self.none = given, none

    def field(self, tokens=None):
        return self.none if tokens is None else self.given[int(tokens[0, 0])]


class Half(Reads):
    """Reads the first picture's caption and takes the second's for its opposite."""

    def pairs(self, x, tokens):
        return super().pairs(x, tokens) * torch.tensor([[1.0], [-1.0]])


@pytest.mark.parametrize("preset", ["quick", "full", "gpu"])
def test_every_setting_of_the_presets_exists(preset, tmp_path):
    entries = prepare(COMPARISON, PICTURES, preset, tmp_path)
    assert [entry.method for entry in entries] == ["joint", "clip", "joint_cd"]


def test_who_reads_finds_all_and_equal_captions_are_one_answer():
    found = retrieval(Reads(), WORDS.tokens(CAPTIONS), CAPTIONS, WORDS.tokens)
    assert {way: float(m[0]) for way, m in found.items()} == {"picture": 1.0, "caption": 1.0}
    assert found["picture"][0].trivial == pytest.approx(1 / 3)
    assert found["caption"][0].trivial == pytest.approx((2 / 4 + 1 / 4 + 1 / 4) / 3)


def test_a_bag_of_words_binds_no_attribute():
    """The first three have two colours each; the last has one, and is left out."""
    x = WORDS.tokens(CAPTIONS)
    reads, bag = (swapped(Reads(order), x, CAPTIONS, WORDS.tokens) for order in (True, False))
    assert (float(reads), reads.n, reads.trivial) == (1.0, 3, 0.5)
    assert float(bag) == 0.0
    half = swapped(Half(), x, CAPTIONS[:2], WORDS.tokens)
    assert (float(half), half.stderr) == (0.5, pytest.approx((0.25 / 2) ** 0.5))
    assert swapped(Reads(), x, ("grinning face",) * 4, WORDS.tokens) is None


def test_the_same_words_say_four_things():
    """The first three have two colours and two digits each. Who reads places and no order of words
    knows one of four.
    """
    x = WORDS.tokens(CAPTIONS)
    reads, bag = (bound(Reads(order), x, CAPTIONS, WORDS.tokens) for order in (True, False))
    assert (float(reads), reads.n, reads.trivial) == (1.0, 3, 0.25)
    assert float(bag) == 0.0
    assert float(bound(Half(), x, CAPTIONS[:2], WORDS.tokens)) == 0.5
    assert bound(Reads(), x[3:], ("a blue one above a blue two",), WORDS.tokens) is None


def test_half_a_caption_says_one_thing():
    scene = Scene.of(CAPTIONS[0])
    assert halves(scene) == ("a red three left of", "left of a green seven")
    said = shortened(CAPTIONS * 1000, 0)
    whole = sum(text in CAPTIONS for text in said) / len(said)
    assert abs(whole - 0.75) < 4 * (0.75 * 0.25 / len(said)) ** 0.5
    assert {text for text in said if "red" in text} > {"a red three left of", "left of a red seven"}
    assert shortened(("grinning face",) * 50, 0) == ["grinning face"] * 50


def test_held_out_combinations_are_a_part_of_their_own():
    every = (*load_captions(), "a red three left of a green seven")
    found = parts(every)
    assert sorted(found["seen"] + found["unseen"]) == list(range(len(every)))
    assert all(Scene.of(every[i]).held_out for i in found["unseen"])
    assert parts(("grinning face", "cat")) == {"seen": [0, 1]}


def load_captions():
    colours, digits = ("red", "green", "blue", "yellow"), ("one", "two", "three", "nine")
    return [f"a {c} {d} above a red one" for c in colours for d in digits]


def test_two_sentences_are_asked_for_at_noise_levels_less_the_energy_of_none():
    torch.manual_seed(0)
    model = noisy_caption_energy((1, 8, 8), WORDS, 0.5, 0.0, (8,), 1, 4, (4, 8), 8)
    x, sigma = torch.rand(2, 1, 8, 8, generator=seeded(0)), 0.3
    first, second = WORDS.tokens(CAPTIONS[:2]), WORDS.tokens(CAPTIONS[2:])
    asked = Asked([0, 1], (first, second))
    assert asked.energies(model) == 3
    got = asked.field_of(model)(torch.arange(2)).at(sigma).score(x)
    one, two, none = (model.field(t).at(sigma).score(x) for t in (first, second, None))
    torch.testing.assert_close(got, one + two - none)


def test_a_sentence_is_led_away_from_another_rival_at_each_level():
    """N(1, 1) away from N(0, 4) and N(-3, 1/4), with weight w: (1 + w) s_t - w s_r at each sigma."""
    w, ladder = 1.5, (2.0, 1.0, 0.5)
    means, stds = (1.0, 0.0, -3.0), (1.0, 2.0, 0.5)
    model = Gaussians([gaussian([m], [s]) for m, s in zip(means, stds, strict=True)])
    asked, *others = (torch.full((1, 1), k) for k in range(3))
    field = Asked([0], (asked,), Away(tuple(others), w, ladder)).field_of(model)(torch.arange(1))
    x = torch.linspace(-2, 3, 11, dtype=torch.float64)[:, None]
    scores = lambda sigma: [(m - x) / (s**2 + sigma**2) for m, s in zip(means, stds, strict=True)]
    for sigma, turn in zip(ladder, (1, 2, 1), strict=True):
        given, rival = scores(sigma)[0], scores(sigma)[turn]
        led = (1 + w) * given - w * rival
        for found in ((field.denoise(x, sigma) - x) / sigma**2, field.at(sigma).score(x)):
            torch.testing.assert_close(found, led, rtol=0, atol=1e-10)


def test_without_rivals_a_sentence_is_led_away_from_none():
    """(1 + w) s_t - w s: of N(1, 1) and N(0, 4) at sigma = 1/2, with w = 3/2."""
    model = Gaussians([gaussian([1.0], [1.0])], gaussian([0.0], [2.0]))
    asked = Asked([0], (torch.zeros(1, 1, dtype=torch.long),), Away((), 1.5, (0.5,)))
    x = torch.linspace(-2, 3, 11, dtype=torch.float64)[:, None]
    found = asked.field_of(model)(torch.arange(1)).at(0.5).score(x)
    line = 2.5 * (1 - x) / 1.25 + 1.5 * x / 4.25
    torch.testing.assert_close(found, line, rtol=0, atol=1e-10)
    assert asked.energies(model) == 2


def test_rivals_say_other_digits_and_nothing_else_new():
    scene = Scene.of(CAPTIONS[0])
    others = [Scene.of(caption) for caption in rivals(scene)]
    for thing in ("first", "second"):
        own, of = getattr(scene, thing), [getattr(other, thing) for other in others]
        assert {t.digit for t in of} == set(range(10)) - {own.digit}
        assert {t.colour for t in of} == {own.colour}
    assert {other.relation for other in others} == {scene.relation}


def test_two_sentences_are_asked_for_by_the_sum_of_their_energies():
    torch.manual_seed(0)
    model = caption_energy((1, 8, 8), WORDS, (4, 8), 8)
    x = torch.rand(2, 1, 8, 8, generator=seeded(0))
    first, second = WORDS.tokens(CAPTIONS[:2]), WORDS.tokens(CAPTIONS[2:])
    field = Asked([0, 1], (first, second)).field_of(model)(torch.arange(2))
    energy = (model(x, first) + model(x, second)).detach()
    torch.testing.assert_close(field.energy(x).detach(), energy)
    score = model.field(first).score(x) + model.field(second).score(x)
    torch.testing.assert_close(field.score(x), score)


@pytest.mark.parametrize("method", COMPARISON.methods)
def test_a_method_finds_and_draws(method, tmp_path: Path, monkeypatch):
    for part, n in {"train": 100, "validation": 20, "test": 40}.items():
        monkeypatch.setitem(COUNTS, part, n)
    data = load("captioned_digits:digits")
    whole = COMPARISON.methods[method](Target.of(data))
    settings = override(whole, [*TINY, *OWN[method]])
    context = Context(data, None, untrained(data))
    settings.into(tmp_path / "run", context, Silent()).close()
    rows = settings.into(tmp_path / "run", context, Silent()).results()
    found = {(row["metric"], *(row.get("axes") or {}).values()) for row in rows}
    assert Run.open(tmp_path / "run").status()["evaluations"] == 64 * PRICES[method]
    asked = {(c.metric, *c.axes.values()) for c in COMPARISON.headline}
    composed = {("agreement", f"{part}, composed") for part in ("seen", "unseen")}
    assert asked | composed | {("recall_at_5", "unseen")} <= found
    spent = [row["evaluations"] for row in rows if row["metric"] == "agreement"]
    assert spent == SPENT[method]
    assert (
        "a row each: seen; seen, composed; unseen; unseen, composed."
        in write(tmp_path / "run").read_text()
    )


def test_pictures_without_captions_are_refused(tmp_path):
    data = made("picture")
    settings = override(COMPARISON.methods["clip"](Target.of(data)), TINY)
    with pytest.raises(UserError, match="has no captions; take captioned_digits or emoji"):
        settings.into(tmp_path / "run", Context(data, None, untrained(data)), Silent())
