"""The bias of CD-k: the enumerated kernel, its table, and the objective that it speaks of."""

import re
from pathlib import Path

import pytest
import torch

from gradlogp.bench import cd_bias
from gradlogp.bench.cd_bias import (
    RATES,
    STEPS,
    biases,
    distribution,
    exact_gradient,
    gradient,
    kernel,
    mixing_rate,
    problem,
    scale_for,
)
from gradlogp.core.random import seeded

PAGE = Path(__file__).parents[2] / "docs" / "cd-bias.md"
# of another machine, whose weights are not known: {mixing rate: relative bias of CD-1, 2, 5, 10,
# 50}
PUBLISHED = {
    0.21: (0.188, 0.042, 4e-4, 2e-7, 0),
    0.71: (0.214, 0.108, 0.036, 0.006, 0),
    0.973: (0.556, 0.398, 0.229, 0.154, 0.042),
    0.9996: (0.755, 0.699, 0.593, 0.472, 0.122),
}


@pytest.fixture(scope="module")
def mixed():
    return problem(0, scale_for(0, 0.71))


def test_the_kernel_keeps_and_reverses_the_distribution_and_mixes_at_its_rate(mixed):
    p, k = distribution(mixed.machine), kernel(mixed.machine)
    flow = p[:, None] * k
    assert (
        (k.sum(1) - 1).abs().max() < 1e-12
        and (p @ k - p).abs().max() < 1e-15
        and (flow - flow.T).abs().max() < 1e-15
    )
    balanced = p.sqrt()[:, None] * k / p.sqrt()
    eigenvalues = torch.linalg.eigvalsh((balanced + balanced.T) / 2)
    assert eigenvalues[-2] == pytest.approx(mixing_rate(mixed.machine), abs=1e-10)
    assert eigenvalues[-2] == pytest.approx(0.71, abs=1e-5) and eigenvalues[0] > -1e-10


def test_the_exact_gradient_is_autograds(mixed):
    """Of the negative log-likelihood F + log Z, averaged over the data."""
    value = (mixed.data * mixed.machine(mixed.states)).sum() + (
        -mixed.machine(mixed.states)
    ).logsumexp(0)
    parts = torch.autograd.grad(
        value, [mixed.machine.weight, mixed.machine.visible_bias, mixed.machine.hidden_bias]
    )
    torch.testing.assert_close(
        torch.cat([g.flatten() for g in parts]), exact_gradient(mixed), atol=1e-10, rtol=0
    )


def test_cd_k_becomes_exact_at_the_mixing_rate(mixed):
    whole = exact_gradient(mixed)
    far = [float((gradient(mixed, k) - whole).norm() / whole.norm()) for k in (1, 30, 31, 100)]
    assert far[3] < 1e-10 < 0.1 < far[0]
    assert far[2] / far[1] == pytest.approx(0.71, abs=0.01)
    assert biases(mixed, [1, 30, 31]) == pytest.approx(far[:3], abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_objective_has_the_expected_gradient_of_cd_k_and_not_the_likelihoods(mixed, k):
    row = cd_bias.simulated(mixed, k, seeded(k), groups=60)
    assert row["z_cd"] < 4 < 10 < row["z_exact"]
    assert (
        cd_bias.simulated(mixed, k + 1, seeded(k), groups=20)["z_cd"] < 4
    )  # and CD-k + 1 has its own
    torch.testing.assert_close(gradient(mixed, 200), exact_gradient(mixed), atol=1e-10, rtol=0)


@pytest.fixture(scope="module")
def rows():
    return cd_bias.rows(20)


def median(rows, rate):
    return {row["k"]: row["bias"] for row in rows if row["kind"] == "exact" and row["rate"] == rate}


def test_the_table_is_the_published_one_but_for_the_machine(rows):
    """Same mixing rates, other weights and data: to a factor of 3.5, over seven orders of
    magnitude.
    """
    for rate, published in PUBLISHED.items():
        ours = median(rows, rate)
        for k, bias in zip(STEPS, published, strict=True):
            assert ours[k] < 1e-6 if bias == 0 else 1 / 3.5 < ours[k] / bias < 3.5


def test_a_larger_k_helps_and_a_slower_chain_hurts(rows):
    for slow, fast in zip(RATES[1:], RATES[:-1], strict=True):
        for k in STEPS:
            assert median(rows, slow)[k] > median(rows, fast)[k]
    for rate in RATES:
        curve = [bias for bias in median(rows, rate).values() if bias > 1e-12]
        assert curve == sorted(curve, reverse=True)


def test_the_committed_page_says_these_numbers(rows, tmp_path):
    numbers = lambda text: [float(n) for n in re.findall(r"\*\*([^*]+)\*\*", text)]
    committed = numbers(PAGE.read_text())
    made = numbers(cd_bias.page(rows))
    assert len(made) == len(RATES) * len(STEPS) and committed == pytest.approx(made, rel=0.02)
    cd_bias.figure(rows, tmp_path / "images" / "cd-bias.png")
    assert 10_000 < (tmp_path / "images" / "cd-bias.png").stat().st_size < 100_000
