"""Restoring: the 3 dB law on a Gaussian, the same start and noise for score matching and
autoencoder, and a whole comparison.
"""

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gradlogp import data, tasks
from gradlogp.baselines.wiener import noised
from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Denoiser, Energy
from gradlogp.core.kernel import run as walk
from gradlogp.core.progress import Silent
from gradlogp.experiments.denoise import DSM
from gradlogp.experiments.denoise.common import (
    bias_and_variance,
    decibels,
    loss_of_a_sample,
    mse,
)
from gradlogp.experiments.denoise.methods import AUTOENCODERS, ENERGIES, UNTRAINED
from gradlogp.experiments.denoise.networks import DenoisingRecipe, Network, geometric
from gradlogp.experiments.denoise.summary import stacked
from gradlogp.harness import override, prepare, run_comparison
from gradlogp.harness.fit import build
from gradlogp.harness.recipe import DataSpec, Target, specify
from gradlogp.harness.trial import Context
from gradlogp.metrics import image
from gradlogp.runs import read_json
from gradlogp.samplers import Ancestral, Langevin
from gradlogp.tasks.likelihood import measure_variance
from gradlogp.training import Training
from tests.targets import CIFAR10

DATA = Path(os.environ.get("GRADLOGP_DATA") or "/nowhere")
STD = 0.6
SIGMA = 0.5
N = 4000
GAIN = STD**2 / (STD**2 + SIGMA**2)  # Wiener's filter on N(0, STD^2)
TWO = 10 * math.log10(2)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def gaussian():
    clean = STD * torch.randn(N, 1, 4, 4, generator=seeded(0), dtype=torch.float64)
    noisy = clean + SIGMA * torch.randn(clean.shape, generator=seeded(1), dtype=torch.float64)
    return clean, noisy


def loss(gaussian, levels=40, measured=True):
    """What a sample by reverse diffusion from the noisy picture loses, with its standard error."""
    clean, noisy = gaussian
    field = Denoiser(lambda x, s: x * (STD**2 / (STD**2 + s.view(-1, 1, 1, 1) ** 2)))
    ladder = geometric(SIGMA, 0.02, levels)
    if measured:
        known = STD * torch.randn(2000, 1, 4, 4, generator=seeded(4), dtype=torch.float64)
        field = measure_variance(field, known, ladder, seeded(5), same_noise=True)
    sampler = Ancestral(levels=tuple(ladder), variance="learned" if measured else "small")
    sample = walk(sampler, field, noisy, sampler.steps, seeded(2))
    found = loss_of_a_sample(mse(GAIN * noisy, clean), mse(sample, clean), "a sample")
    return found.value, found.stderr


def test_a_posterior_sample_by_reverse_diffusion_loses_three_decibels(gaussian):
    """With the measured posterior variance at any number of levels; without it short, by an error
    of first order.
    """
    for levels in (10, 40):
        value, stderr = loss(gaussian, levels)
        assert stderr < 0.05 and abs(value - TWO) < 4 * stderr
    short, shorter = (TWO - loss(gaussian, levels, measured=False)[0] for levels in (160, 40))
    assert 0 < short < 0.1 and shorter / short > 3


def test_bias_and_variance_are_one_for_draws_of_the_posterior(gaussian):
    clean, noisy = gaussian
    eps = torch.randn(4, *clean.shape, generator=seeded(6), dtype=torch.float64)
    for wrong in (1.0, 0.8):
        bias, stderr = bias_and_variance(GAIN * noisy + wrong * GAIN**0.5 * SIGMA * eps, clean)
        value, error = decibels(bias, bias + stderr)
        assert error < 0.05 and abs(value - 10 * math.log10(1 + wrong**2)) < 4 * error


def chains(gaussian, temperature, samples):
    """Wiener's filter against the mean of Langevin chains on the true energy, a step of 2 % of the
    posterior's variance.
    """
    clean, noisy = (x[:1000] for x in gaussian)
    energy = Energy(lambda x: x.flatten(1).square().sum(1) / (2 * STD**2))
    step = 0.02 * GAIN * SIGMA**2
    drawn = tasks.posterior_samples(
        energy, Langevin(step, temperature=temperature), noisy, SIGMA, 1.0, 150, samples, 3
    )
    assert drawn.shape == (1000, samples, 1, 4, 4)
    return decibels(mse(GAIN * noisy, clean), mse(drawn.mean(1), clean))


def test_chains_on_the_true_energy_lose_it_too_and_their_mean_less(gaussian):
    for samples, exact in (
        (1, TWO),
        (8, 10 * math.log10(1 + 1 / 8)),
    ):  # 1.01 of the variance by the step
        value, stderr = chains(gaussian, 1.0, samples)
        assert abs(value - exact) < 4 * stderr + 0.05
    cold, stderr = chains(gaussian, 0.1, 1)
    assert abs(cold - 10 * math.log10(1.1)) < 4 * stderr + 0.05  # too sure: far from 3 dB


def test_a_gain_is_the_ratio_of_the_means_with_a_paired_error():
    worse = torch.rand(1000, generator=seeded(0), dtype=torch.float64) + 1
    value, stderr = decibels(worse / 2, worse)
    assert value == pytest.approx(TWO, abs=1e-12) and stderr == pytest.approx(0, abs=1e-12)
    assert decibels(worse, worse / 2)[0] == pytest.approx(-TWO)


def test_score_matching_and_autoencoder_start_alike_and_see_the_same():
    digits = data.load("digits")
    spec = specify(digits)
    kinds = (
        ("unet", "score matching"),
        ("unet", "squared error"),
        ("unet_energy", "score matching"),
    )
    score, auto, energy = (
        build(
            DenoisingRecipe("x", "digits", "quick", Training(64), net=net, loss=loss), spec, "cpu"
        )
        for net, loss in kinds
    )
    for a, b in zip(score.model.parameters(), auto.model.parameters(), strict=True):
        assert torch.equal(a, b)
    count = [
        sum(p.numel() for p in learner.model.parameters()) for learner in (score, auto, energy)
    ]
    assert count[0] == count[1] == count[2]
    x = Batch(2 * digits.train.scaled(slice(0, 8)) - 1)
    level = score.objective.levels.sample(8, seeded(5), x.x)
    matched, squared = (
        learner.objective(learner.model, x, seeded(5)).value for learner in (score, auto)
    )
    weight = score.objective.weigh(level) / (2 * level**4) * spec.shape[1] * spec.shape[2]
    torch.testing.assert_close(matched, weight * squared, rtol=1e-5, atol=0)


def tiny(make, **more):
    """The same method, trained on 128 pictures and tested on 12."""

    def tinier(target, preset="quick", seed=0):
        trial = make(target, preset, seed)
        training = (
            {"training": replace(trial.training, images=128)} if hasattr(trial, "training") else {}
        )
        return replace(trial, pictures=12, sigmas=(0.3, 0.5), **training, **more)

    tinier.__doc__ = make.__doc__
    return tinier


def at(found, method, metric, **axes):
    return next(
        r for r in found if (r.get("method"), r["metric"], r.get("axes")) == (method, metric, axes)
    )


def test_a_comparison_of_denoisers(tmp_path):
    names = ("dsm", "dae", "ae", "wiener", "memory", "noisy")
    methods = {name: tiny(AUTOENCODERS[name]) for name in names}
    methods["dsm"] = tiny(AUTOENCODERS["dsm"], levels=3)
    digits, out = data.load("digits"), tmp_path / "c"
    comparison = replace(DSM, methods=methods)
    entries = prepare(comparison, Target.of(digits), "quick", out)
    found = run_comparison("dsm", comparison, digits, entries, out)
    for name in names:
        assert {
            at(found, name, metric, noise=s)["n"] for metric in ("psnr", "ssim") for s in (0.3, 0.5)
        } == {12}
    noisy, wiener = (at(found, name, "psnr", noise=0.5) for name in ("noisy", "wiener"))
    assert noisy["value"] == pytest.approx(wiener["noisy"])
    gain = at(found, "noisy", "gain", over="wiener", noise=0.5)["value"]
    assert gain == pytest.approx(noisy["value"] - wiener["value"], abs=1e-4)
    assert at(found, "dsm", "sample_loss", noise=0.5)["value"] > 0
    assert at(found, "dsm", "gain", over="dae", noise=0.3)["n"] == 12
    captions = read_json(out / "samples" / "figures.json")
    assert set(captions) == {"figure-psnr.png", "figure-strips.png", "figure-3db.png"}
    assert all((out / "samples" / name).stat().st_size > 1000 for name in captions)


def test_an_energy_trained_by_contrastive_divergence_restores_by_its_chains(tmp_path):
    changes = {"images": 128, "choice": 2, "samples": 2, "steps": 5, "weights": (1.0, 300.0)}
    digits = data.load("digits")
    trial = tiny(ENERGIES["cd_ebm"], **changes)(Target.of(digits))
    with trial.into(tmp_path / "r", Context(digits), Silent()) as run:
        found = [{"method": "cd_ebm", **r} for r in run.results()]
        assert run.status()["parameters"] > 0 and run.status()["evaluations"] >= 128 * 20
    psnr = at(found, "cd_ebm", "psnr", noise=0.5)
    assert "mean of the second halves of 2 chains of 5 Langevin steps" in psnr["protocol"]
    assert psnr["evaluations"] == 10
    one = at(found, "cd_ebm", "psnr", noise=0.5, of="one sample")
    assert one["value"] < psnr["value"]


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "mnist").is_dir(), reason="GRADLOGP_DATA has no mnist")
def test_what_needs_no_learning_scores_on_mnist_as_computed_apart():
    """PSNR on the whole test part, computed independently: 19.89 and 17.51 by Wiener's filter,
    15.98 by memory.
    """
    mnist = data.load("mnist", DATA)
    clean = mnist.test.scaled(slice(0, 250))
    for name, at in (("wiener", {0.3: 19.89, 0.5: 17.51}), ("memory", {0.5: 15.98})):
        estimator_at = UNTRAINED[name](mnist)
        for sigma, exact in at.items():
            found = image.psnr(
                clean, estimator_at(sigma).estimate(noised(clean, sigma, 0)).clamp(0, 1)
            )
            assert (
                abs(found.value - exact) < 4 * found.stderr + 0.1
            )  # 5,000 pictures of the training part are for validation


@pytest.mark.parametrize("channels", [1, 3])
def test_strips_show_all_channels(channels):
    rows = [torch.rand(2, channels, 3, 4) for _ in range(2)]
    picture = stacked(rows)
    assert picture.shape == ((10, 8) if channels == 1 else (10, 8, 3))
    second = torch.as_tensor(picture[5:8, 4:]).reshape(3, 4, channels)
    assert torch.equal(second, rows[1][1].permute(1, 2, 0))
    assert (picture[3:5] == 1).all()


def test_the_filter_is_wired_into_networks_of_levels_alone_and_where_it_fits():
    for name, make in {**ENERGIES, **AUTOENCODERS}.items():
        made = make(CIFAR10, "quick", 0)
        if isinstance(made, Network):
            assert made.covariance is (made.net != "narrow"), name
    with pytest.raises(UserError, match="knows no levels; set covariance=false"):
        override(AUTOENCODERS["ae"](CIFAR10, "quick", 0), ("covariance=true",))
    recipe = DenoisingRecipe("x", "celeba", "quick", Training(64), covariance=True)
    with pytest.raises(UserError, match="at most 4,096 numbers, got 12,288"):
        recipe.accept(DataSpec((3, 64, 64), (), 0.5), lambda: torch.zeros(0))
