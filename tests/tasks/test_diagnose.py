"""The report on a run of chains says what the closed forms say."""

import math
from types import SimpleNamespace

import pytest
import torch

from gradlogp.core.diagnose import Diagnostics, Trajectory
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Energy
from gradlogp.core.random import seeded
from gradlogp.samplers import HMC, Langevin, ParallelTempering
from gradlogp.tasks import chains

FIELD = Energy(lambda x: x.square().sum(1) / 2)


def test_langevin_is_worth_what_ar1_says():
    """h = .2 on N(0, 1): integrated time 9, displacement sqrt(d (h^2 variance + 2 h)) of the biased
    law.
    """
    h, steps = 0.2, 2000
    _, report = chains(
        Langevin(h),
        FIELD,
        torch.randn(20, 2, generator=seeded(1), dtype=torch.float64),
        steps,
        100,
        seeded(0),
    )
    assert [20 * steps / size for size in report.ess] == pytest.approx([9, 9], rel=0.15)
    assert all(value < 1.02 for value in report.rhat)
    variance = 1 / (1 - h / 2)
    assert report.displacement == pytest.approx(math.sqrt(2 * (h**2 * variance + 2 * h)), rel=0.02)
    assert (
        report.accept is None
        and report.energy is None
        and report.traces["functions"].shape == (20, steps, 2)
    )
    assert "ESS" in str(report) and "acceptance" not in str(report)


def test_an_adjusted_sampler_reports_its_acceptance_and_energy():
    film = Trajectory(every=100)
    x = torch.zeros(200, 2, dtype=torch.float64)
    end, report = chains(HMC(0.6, leapfrog_steps=3), FIELD, x, 200, 20, seeded(0), watch=film)
    assert end.shape == (200, 2) and film.x.shape == (200, 2, 2)
    assert 0.9 < report.accept < 1 and report.energy == pytest.approx(
        1.0, abs=0.03
    )  # E = chi^2_2 / 2
    assert all(
        word in str(report)
        for word in (
            "200 chains of 200 steps",
            "acceptance",
            "energy",
            "split R-hat",
            "displacement",
        )
    )


def test_parallel_tempering_reports_the_exchange_that_is_rarest():
    x = torch.randn(200, 2, generator=seeded(1), dtype=torch.float64)
    _, report = chains(
        ParallelTempering(HMC(0.7, 3), (1.0, 2.0, 6.0)), FIELD, x, 100, 20, seeded(0)
    )
    assert report.swap == pytest.approx(0.5, abs=0.03) and "exchange" in str(
        report
    )  # 2 / (1 + 6 / 2)
    assert report.traces["swap"].shape == (200, 100, 2)


def test_chains_that_cannot_be_measured_are_refused():
    with pytest.raises(UserError, match="4 steps or more"):
        chains(Langevin(0.1), FIELD, torch.zeros(2, 2), 3, 0, seeded(0))
    with pytest.raises(ValueError, match="NaN"):
        chains(Langevin(5.0), FIELD, torch.ones(2, 2), 2000, 0, seeded(0))


def test_functions_that_never_move_are_counted_apart():
    x = torch.randn(10, 2, generator=seeded(1), dtype=torch.float64)

    def watched(*columns):
        functions = lambda x: torch.stack(
            [x[:, 0] if c else torch.ones(len(x)) for c in columns], 1
        )
        return chains(Langevin(0.2), FIELD, x, 50, 0, seeded(0), functions)[1]

    assert "smallest of 1; 1 of 2 never moved" in str(watched(True, False))
    assert "smallest of 1\n" in str(watched(True))
    still = watched(False)
    assert "not one of 1 functions ever moved" in str(still) and "R-hat" not in str(still)


def test_the_displacement_of_whole_numbers_and_of_large_ones():
    """A walker that steps by 1e30 in two coordinates at once, and one on a lattice."""
    for dtype, step in ((torch.float32, 1e30), (torch.int64, 3)):
        x = torch.zeros(2, 2, dtype=dtype)
        watch = Diagnostics(x)
        watch(1, SimpleNamespace(x=x + torch.tensor(step).to(dtype)), None)
        moved = watch.traces()["displacement"]
        assert moved.flatten().tolist() == pytest.approx([step * 2**0.5] * 2)
