"""The study of annealed Langevin: variances on a Gaussian follow their recursion; pictures get
better with more levels.
"""

from dataclasses import replace

import pytest
import torch

from gradlogp import data
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.experiments.langevin_study.methods import METHODS
from gradlogp.experiments.langevin_study.recursion import expected_variance
from gradlogp.experiments.langevin_study.settings import settings, technique_2, variants
from gradlogp.experiments.langevin_study.summary import points, summary
from gradlogp.harness.evaluator import Evaluator
from gradlogp.harness.kinds import Picture
from gradlogp.harness.recipe import Target
from gradlogp.harness.trial import Context, items
from gradlogp.models import ConvClassifier
from gradlogp.samplers import AnnealedLangevin


@pytest.fixture(scope="module")
def digits():
    torch.manual_seed(0)
    classifier = (
        ConvClassifier((1, 8, 8), 10, (4, 8), 8).eval().requires_grad_(False)
    )  # any fixed features will do here
    return Context(
        data.load("digits"), evaluator=Evaluator(classifier, Picture(), 1.0, 0.1, "untrained")
    )


def rows(name, context, folder, **changes):
    trial = replace(METHODS[name](Target.of(context.data), "quick", 0), **changes)
    run = trial.into(folder, context, Silent())
    run.close()
    return {(row["metric"], *row.get("axes", {}).values()): row["value"] for row in run.results()}


def test_technique_2_has_the_levels_that_were_worked_out():
    """gamma = sqrt(2D) / (sqrt(2D) - 3) is 1.082 for MNIST: ln 200 / ln 1.082 = 67.2 gaps."""
    assert technique_2(784) == 69


def test_variances_follow_the_recursion_and_large_steps_diverge(digits, tmp_path):
    found = rows("exact_recursion", digits, tmp_path / "law", chains=2000)
    deviations = [v for k, v in found.items() if k[0] == "deviation"]
    assert len(deviations) == 3 * len(settings(784)) and max(map(abs, deviations)) < 4
    assert found["growth", 1.9] == pytest.approx(-0.10536, abs=1e-5)
    assert found["growth", 2.1] == pytest.approx(0.09531, abs=1e-5)


def test_the_wrong_noise_is_outside_the_tolerance():
    """sqrt(h) for sqrt(2h): a fifth of the variance or more, a hundred standard errors of 20,000
    chains.
    """
    sampler = AnnealedLangevin(variants(64)[0].sampler.process, 40)
    halved = sampler.ladder[0] ** 2
    for sigma in sampler.ladder:
        h = sampler.rho * sigma**2
        halved = (1 - h / (0.25 + sigma**2)) ** 2 * halved + h
    assert abs(halved / expected_variance(replace(sampler, denoise=False), 0.25) - 1) > 0.2


def test_the_exact_score_of_the_training_pictures_draws_better_with_more_levels(digits, tmp_path):
    found = rows("empirical_score", digits, tmp_path / "empirical", samples=120, examples=300)
    assert found["fd", "L=40 T=1"] < found["fd", "L=10 T=1"]
    assert found["fd", "down to .3"] < found["fd", "down to .3 not denoised"]
    kept = items(tmp_path / "empirical")
    steps, distances = points(kept, "not denoised")
    assert len(steps) == 2 and steps == sorted(steps)
    assert min(distances) == pytest.approx(
        min(found["fd", name] for name in ("L=40 T=1 not denoised", "down to .3 not denoised"))
    )
    assert summary(tmp_path, {"empirical_score": [tmp_path / "empirical"]}) == []
    assert (tmp_path / "samples" / "figure-ladders.png").stat().st_size > 1000


def test_a_score_that_is_trained_already_is_walked(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = rows("learned_score", digits, tmp_path / "run", samples=8, model="zoo:digits-ncsn")
    assert len([key for key in found if key[0] == "fd"]) == len(variants(64))
    assert not (tmp_path / "run" / "network").exists()
    for other in ("zoo:mnist-ncsn", "zoo:digits-ebm"):
        with pytest.raises(UserError, match="expected a score of digits, got"):
            rows("learned_score", digits, tmp_path / other[4:], samples=8, model=other)
