"""What every baseline promises: a sentence about itself, where it comes from, and that what it is
trained by fits it.
"""

import inspect
import re
import sys

import pytest
import torch

from gradlogp.baselines import BASELINES
from gradlogp.baselines.autoencoder import Reconstruction
from gradlogp.baselines.context_encoder import BlockHole, Inpainting, Scattered
from gradlogp.baselines.detectors import Detector
from gradlogp.baselines.gan import Adversarial
from gradlogp.baselines.impute import Imputer
from gradlogp.baselines.vae import EvidenceBound
from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.models import Vocabulary
from gradlogp.objectives import CLIP, NTXent
from gradlogp.objectives.augment import FLIPS_AND_SHIFTS, Noise

PICTURE, WAVE, VOLUME, ROW, B = (3, 8, 8), (1, 30), (1, 8, 7, 8), (5,), 6
TEXTS = ["one", "two", "one two", "two one", "three", "three one"]
WORDS = Vocabulary.of(TEXTS)
SMALL = {"trunk": (4, 8), "width": 8}
# "name on data": the shape, further settings, the objective
NETWORKS = {
    "autoencoder on pictures": (PICTURE, {"channels": (4, 8), "width": 8}, Reconstruction()),
    "autoencoder on volumes": (VOLUME, {"channels": (4, 8), "width": 8}, Reconstruction()),
    "vae on pictures": (PICTURE, SMALL, EvidenceBound()),
    "vae on waves": (WAVE, SMALL, EvidenceBound()),
    "vae on volumes": (VOLUME, SMALL, EvidenceBound()),
    "vae on rows": (ROW, SMALL, EvidenceBound()),
    "gan on pictures": (PICTURE, SMALL, Adversarial()),
    "gan on waves": (WAVE, SMALL, Adversarial("wasserstein", 10.0)),
    "gan on volumes": (VOLUME, SMALL, Adversarial(penalty=1.0)),
    "gan on rows": (ROW, SMALL, Adversarial("hinge")),
    "conditional_gan on pictures": (PICTURE, SMALL | {"classes": 3}, Adversarial("hinge")),
    "conditional_gan on volumes": (VOLUME, SMALL | {"classes": 3}, Adversarial("hinge")),
    "wave_gan on waves": (
        WAVE,
        {"channels": (8, 4), "trunk": (4, 8)},
        Adversarial("wasserstein", 10.0),
    ),
    "simclr on pictures": (PICTURE, SMALL, NTXent(FLIPS_AND_SHIFTS)),
    "context_encoder on pictures": (
        PICTURE,
        SMALL | {"channels": (4, 8)},
        Inpainting(BlockHole(4)),
    ),
    "context_encoder by its error": (
        PICTURE,
        {"channels": (4, 8), "trunk": None},
        Inpainting(Scattered()),
    ),
    "clip of captions": (
        PICTURE,
        {"vocabulary": WORDS, "channels": (4, 8), "width": 8},
        CLIP(),
    ),
    "simclr on volumes": (VOLUME, SMALL, NTXent(Noise())),
}
DETECTORS = [
    name for name, b in BASELINES.items() if inspect.isclass(b) and issubclass(b, Detector)
]
IMPUTERS = [n for n, b in BASELINES.items() if inspect.isclass(b) and issubclass(b, Imputer)]


def build(name, **more):
    torch.manual_seed(0)
    shape, settings, objective = NETWORKS[name]
    return BASELINES[name.split()[0]](shape, **settings, **more), objective


def batch(name):
    g = seeded(1)
    x = 2 * torch.rand(B, *NETWORKS[name][0], generator=g) - 1
    cond = torch.arange(B) % 3 if "conditional" in name else None
    return Batch(x, WORDS.tokens(TEXTS) if "captions" in name else cond)


LISTED = {*(name.split()[0] for name in NETWORKS), *DETECTORS, *IMPUTERS, "gaussian_copula"}


def test_what_is_listed_is_there():
    assert set(BASELINES) >= LISTED


@pytest.mark.parametrize("name", sorted(set(BASELINES) - LISTED))
def test_a_network_that_is_not_listed_is_made_for_a_picture(name):
    torch.manual_seed(0)
    assert all(p.isfinite().all() for p in BASELINES[name](PICTURE).parameters())


@pytest.mark.parametrize("name", BASELINES)
def test_it_opens_with_a_sentence_and_its_module_ends_with_a_reference(name):
    member = BASELINES[name]
    first = " ".join((inspect.getdoc(member) or "").partition("\n\n")[0].split())
    assert first.endswith(".") and 20 <= len(first) <= 110 and first[0] == first[0].upper(), first
    assert re.search(r"^References?: ", sys.modules[member.__module__].__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize("name", NETWORKS)
def test_its_objective_gives_one_value_per_example_and_teaches_every_weight(name):
    model, objective = build(name)
    loss = objective(model, batch(name), seeded(2))
    assert loss.value.shape == (B,) and torch.isfinite(loss.value).all()
    assert all(v.ndim == 0 and not v.requires_grad for v in loss.info.values())
    loss.value.mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seeds_decide_weights_and_loss(name):
    one, two = (
        objective(model, batch(name), seeded(2)).value
        for model, objective in (build(name), build(name))
    )
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_scores_what_lies_far_above_what_lies_among(name):
    normal = torch.randn(260, 4, generator=seeded(0))
    settings = {"count": 5} if name == "cluster_means" else {}
    scores = BASELINES[name](**settings).fit(normal[:200], normal[200:230])
    near, far = scores(normal[230:]), scores(10 + normal[230:])
    assert near.shape == (30,) and float(near.median()) < float(far.median())


@pytest.mark.parametrize("name", IMPUTERS)
def test_an_imputer_fills_what_is_unknown_and_keeps_the_rest(name):
    x = (torch.randn(80, 1, 3, 3, generator=seeded(0)) > 0).float()
    known = torch.rand(x.shape, generator=seeded(1)) < 0.7
    out = BASELINES[name]().fit(x[:60])(x[60:], known[60:])
    assert out.shape == (20, 1, 3, 3) and out.dtype == x.dtype and torch.isfinite(out).all()
    assert torch.equal(out[known[60:]], x[60:][known[60:]])


def test_a_copula_draws_rows_by_the_generator():
    copula = BASELINES["gaussian_copula"](torch.randn(50, 3, generator=seeded(0)))
    one, two = (copula.sample(7, seeded(1)) for _ in range(2))
    assert torch.equal(one, two) and one.shape == (7, 3) and one.dtype == torch.float32
