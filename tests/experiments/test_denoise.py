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
from gradlogp.core.batch import Batch
from gradlogp.core.fields import Denoiser, Energy
from gradlogp.core.kernel import run as walk
from gradlogp.core.progress import Silent
from gradlogp.experiments import COMPARISONS, compare
from gradlogp.experiments.base import measure
from gradlogp.experiments.denoise import (
    FLOORS,
    TRIALS,
    RestorerRecipe,
    calibrated,
    decibels,
    geometric,
    loss_of_a_sample,
    mse,
    skill_and_spread,
)
from gradlogp.experiments.fit import build
from gradlogp.experiments.trial import Context
from gradlogp.experiments.wiener import noised
from gradlogp.metrics import image
from gradlogp.runs import read_json
from gradlogp.samplers import Ancestral, Langevin
from gradlogp.training import Training

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


def law(gaussian, levels=40, measured=True):
    """What a sample by reverse diffusion from the noisy picture loses, with its standard error."""
    clean, noisy = gaussian
    field = Denoiser(lambda x, s: x * (STD**2 / (STD**2 + s.view(-1, 1, 1, 1) ** 2)))
    ladder = geometric(SIGMA, 0.02, levels)
    if measured:
        field = calibrated(
            field,
            ladder,
            STD * torch.randn(2000, 1, 4, 4, generator=seeded(4), dtype=torch.float64),
            5,
        )
    sampler = Ancestral(levels=tuple(ladder), variance="learned" if measured else "small")
    sample = walk(sampler, field, noisy, sampler.steps, seeded(2))
    found = loss_of_a_sample(mse(GAIN * noisy, clean), mse(sample, clean), "a sample")
    return found.value, found.stderr


def test_a_posterior_sample_by_reverse_diffusion_loses_three_decibels(gaussian):
    """With the measured posterior variance at any number of levels; without it short, by an error
    of first order.
    """
    for levels in (10, 40):
        value, spread = law(gaussian, levels)
        assert spread < 0.05 and abs(value - TWO) < 4 * spread
    short, shorter = (TWO - law(gaussian, levels, measured=False)[0] for levels in (160, 40))
    assert 0 < short < 0.1 and shorter / short > 3


def test_spread_and_skill_are_one_for_draws_of_the_posterior(gaussian):
    clean, noisy = gaussian
    eps = torch.randn(4, *clean.shape, generator=seeded(6), dtype=torch.float64)
    for wrong in (1.0, 0.8):
        bias, spread = skill_and_spread(GAIN * noisy + wrong * GAIN**0.5 * SIGMA * eps, clean)
        value, error = decibels(bias, bias + spread)
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
        value, spread = chains(gaussian, 1.0, samples)
        assert abs(value - exact) < 4 * spread + 0.05
    cold, spread = chains(gaussian, 0.1, 1)
    assert abs(cold - 10 * math.log10(1.1)) < 4 * spread + 0.05  # too sure: far from 3 dB


def test_a_gain_is_the_ratio_of_the_means_with_a_paired_error():
    worse = torch.rand(1000, generator=seeded(0), dtype=torch.float64) + 1
    value, spread = decibels(worse / 2, worse)
    assert value == pytest.approx(TWO, abs=1e-12) and spread == pytest.approx(0, abs=1e-12)
    assert decibels(worse, worse / 2)[0] == pytest.approx(-TWO)


def test_score_matching_and_autoencoder_start_alike_and_see_the_same():
    digits = data.load("digits")
    facts = measure(digits)
    kinds = (
        ("unet", "score matching"),
        ("unet", "squared error"),
        ("unet_energy", "score matching"),
    )
    score, auto, energy = (
        build(
            RestorerRecipe("x", "digits", "quick", Training(64), net=net, loss=loss), facts, "cpu"
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
    level = score.objective.law.sample(8, seeded(5), x.x)
    matched, squared = (
        learner.objective(learner.model, x, seeded(5)).value for learner in (score, auto)
    )
    weight = score.objective.weigh(level) / (2 * level**4) * facts.shape[1] * facts.shape[2]
    torch.testing.assert_close(matched, weight * squared, rtol=1e-5, atol=0)


def tiny(name, **more):
    make = TRIALS[name]

    def tinier(dataset="digits", preset="quick", seed=0):
        trial = make(dataset, preset, seed)
        changes = (
            {"training": replace(trial.training, images=128)} if hasattr(trial, "training") else {}
        )
        return replace(trial, pictures=12, sigmas=(0.3, 0.5), **changes, **more)

    tinier.__doc__ = make.__doc__
    return tinier


def test_a_comparison_of_restorers(tmp_path, monkeypatch):
    from gradlogp.experiments.compare import EXPERIMENTS

    names = ("dsm", "dae", "ae", "wiener", "memory", "noisy")
    for name in names:
        monkeypatch.setitem(
            EXPERIMENTS, name, tiny(name, **({"levels": 3} if name == "dsm" else {}))
        )
    monkeypatch.setitem(COMPARISONS, "dsm", replace(COMPARISONS["dsm"], methods=names))
    rows = compare("dsm", data.load("digits"), "quick", tmp_path / "c", listener=Silent())
    found = {(r["method"], r["metric"]): r for r in rows}
    for name in names:
        assert {
            found[name, f"denoise_{metric}_{s}"]["n"]
            for metric in ("psnr", "ssim")
            for s in ("0.3", "0.5")
        } == {12}
    assert found["noisy", "denoise_psnr_0.5"]["value"] == pytest.approx(
        found["wiener", "denoise_psnr_0.5"]["noisy"]
    )
    noisy, wiener = (found[name, "denoise_psnr_0.5"]["value"] for name in ("noisy", "wiener"))
    assert found["noisy", "gain_over_wiener at noise 0.5"]["value"] == pytest.approx(
        noisy - wiener, abs=1e-4
    )
    assert (
        found["dsm", "sample_loss at noise 0.5"]["value"] > 0
        and ("dsm", "gain_over_dae at noise 0.3") in found
    )
    captions = read_json(tmp_path / "c" / "samples" / "figures.json")
    assert set(captions) == {"figure-psnr.png", "figure-strips.png", "figure-3db.png"}
    assert all((tmp_path / "c" / "samples" / name).stat().st_size > 1000 for name in captions)


def test_an_energy_trained_by_contrastive_divergence_restores_by_its_chains(tmp_path):
    trial = tiny("cd_ebm", images=128, choice=2, samples=2, steps=5, weights=(1.0, 300.0))()
    with trial.into(tmp_path / "r", Context(data.load("digits")), Silent()) as run:
        found = {r["metric"]: r for r in run.results()}
        assert run.status()["parameters"] > 0 and run.status()["evaluations"] >= 128 * 20
    assert (
        "mean of the second halves of 2 chains of 5 Langevin steps"
        in found["denoise_psnr_0.5"]["protocol"]
    )
    assert found["denoise_psnr_0.5"]["evaluations"] == 10
    assert found["psnr single sample at noise 0.5"]["value"] < found["denoise_psnr_0.5"]["value"]


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "mnist").is_dir(), reason="GRADLOGP_DATA has no mnist")
def test_the_floors_on_mnist_are_those_of_a_computation_apart():
    """PSNR on the whole test part, computed independently: 19.89 and 17.51 by Wiener's filter,
    15.98 by memory.
    """
    mnist = data.load("mnist", DATA)
    clean = mnist.test.scaled(slice(0, 250))
    for name, at in (("wiener", {0.3: 19.89, 0.5: 17.51}), ("memory", {0.5: 15.98})):
        method = FLOORS[name](mnist)
        for sigma, exact in at.items():
            found = image.psnr(clean, method(sigma).mean(noised(clean, sigma, 0)).clamp(0, 1))
            assert (
                abs(found.value - exact) < 4 * found.stderr + 0.1
            )  # 5,000 pictures of the training part are for validation
