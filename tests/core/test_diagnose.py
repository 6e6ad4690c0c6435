"""Watchers keep what happened, as it happened."""

import pytest
import torch

from gradlogp.core.diagnose import Diagnostics, Trajectory, both, coordinates
from gradlogp.core.fields import Energy
from gradlogp.core.kernel import run
from gradlogp.core.random import seeded
from gradlogp.samplers import SAMPLERS

FIELD = Energy(lambda x: x.flatten(1).square().sum(1) / 2)


def watched(name, x, steps, **settings):
    watch, film = Diagnostics(x), Trajectory()
    end = run(SAMPLERS[name](**settings), FIELD, x, steps, seeded(0), both(watch, film))
    return end, watch.traces(), film.x


def test_the_traces_are_those_of_the_trajectory():
    x = torch.randn(6, 1, 3, 3, generator=seeded(1))
    end, traces, film = watched("mala", x, 9, step_size=0.1)
    assert film.shape == (6, 9, 1, 3, 3) and torch.equal(film[:, -1], end)
    whole = torch.cat([x[:, None], film], 1).double()
    assert torch.allclose(traces["displacement"], whole.diff(dim=1).flatten(2).norm(dim=2))
    assert torch.allclose(traces["energy"], film.flatten(2).square().sum(2) / 2, atol=1e-5)
    assert torch.equal(traces["functions"], film.flatten(2)[:, :, [0, 3, 5, 8]])
    assert traces["accept"].shape == (6, 9) and 0 < traces["accept"].mean() <= 1


def test_a_sampler_without_energy_or_acceptance_has_no_such_trace():
    _, traces, film = watched("langevin", torch.zeros(2, 3), 5, step_size=0.1)
    assert (
        traces.keys() == {"displacement", "functions"} and len(film.unique()) == 30
    )  # clones: the state is updated in place


def test_burn_in_is_left_out_and_functions_are_ones_own():
    x = torch.zeros(2, 3)
    watch = Diagnostics(x, lambda v: v.square().sum(1, keepdim=True), burn_in=3)
    run(SAMPLERS["langevin"](step_size=0.1), FIELD, x, 10, seeded(0), watch)
    assert watch.traces()["functions"].shape == (2, 7, 1) and watch.traces()[
        "displacement"
    ].shape == (2, 7)


def test_coordinates_of_a_small_x_are_all_of_them_and_a_film_needs_a_rhythm():
    assert torch.equal(coordinates(4)(torch.arange(3.0)[None]), torch.arange(3.0)[None])
    film = Trajectory(every=4)
    run(SAMPLERS["langevin"](step_size=0.1), FIELD, torch.zeros(2, 3), 10, seeded(0), film)
    assert film.x.shape == (2, 2, 3)
    with pytest.raises(ValueError, match="1 or more, got 0"):
        Trajectory(every=0)
