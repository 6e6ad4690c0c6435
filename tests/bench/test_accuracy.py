"""The sampler table: the committed page says what is measured, and on the Gaussian ours is as
accurate as the best peer.
"""

import json
from pathlib import Path

import pytest
import torch

from gradlogp.bench import accuracy
from gradlogp.bench.accuracy import (
    BUDGETS,
    CHAINS,
    PEERS,
    TASKS,
    TITLES,
    WALKS,
    relative_error,
    rows,
    sliced_distance,
)
from gradlogp.core.random import seeded
from gradlogp.samplers import SAMPLERS

PAGE = Path(__file__).parents[2] / "docs" / "sampler-table.md"
FLOWS = (
    "ddim",
    "probability_flow, rk4",
    "heun",
    "dpm_solver, order 2",
    "dpm_solver, order 3",
    "unipc, order 2",
    "unipc, order 3",
)


def committed(target, heading):
    """{(sampler, budget): [numbers]} of one table of the page; a line of the adaptive flow has one
    cell.
    """
    section = PAGE.read_text().split(f"## {TITLES[target]}")[1].split("\n## ")[0]
    lines = section.split(heading)[1].split("\n\n")[1].splitlines()[2:]
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {
        (name, budget): [float(v) for v in cell.split("(")[0].split(",")]
        for name, *found in cells
        for budget, cell in zip(BUDGETS, found, strict=True)
        if cell
    }


def test_what_the_table_names_is_there():
    named = {name.partition(",")[0] for name in [*CHAINS, *WALKS, "adaptive_flow"]}
    assert named <= SAMPLERS.keys()


@pytest.mark.parametrize("sampler", [*FLOWS, "ancestral, small", "dpm_solver, SDE", "underdamped"])
def test_the_page_has_the_figures_of_the_gaussian(sampler):
    """Recomputed with fewer draws: flows to the last digit printed, the others to four standard
    errors of both.
    """
    table = committed("gaussian", "Standard deviations")
    for row in rows(("gaussian",), (sampler,), budgets=(10, 20), draws=2000):
        errors = [0.0006, 0.0006] if sampler in FLOWS else [4 * e * 1.05 for e in row["std_error"]]
        for measured, printed, error in zip(
            row["std"], table[sampler, row["budget"]], errors, strict=True
        ):
            assert measured == pytest.approx(printed, abs=error)


def test_the_page_has_the_figures_of_the_mixture():
    table = committed("mixture", "Standard deviations")
    for row in rows(("mixture",), ("dpm_solver, order 3", "mala"), budgets=(20,), draws=2000):
        for measured, printed, error in zip(
            row["std"], table[row["sampler"], 20], row["std_error"], strict=True
        ):
            assert measured == pytest.approx(printed, abs=4 * error + 0.001)


@pytest.mark.parametrize("budget", [20, 100])
def test_on_the_gaussian_the_best_of_ours_is_more_accurate_than_the_best_peer(budget):
    ours = min(
        relative_error(r["std"])
        for r in rows(("gaussian",), ("dpm_solver, order 3", "unipc, order 3"), (budget,), 1000)
    )
    best = min(relative_error(found[budget]) for found in PEERS.values() if budget in found)
    assert ours <= best
    assert ours <= 0.002 < best  # and it is no close race


@pytest.mark.parametrize(
    ("ours", "peer"),
    [
        ("ddim", "diffusers DDIM"),
        ("dpm_solver, order 2", "diffusers DPM-Solver++ 2M"),
        ("unipc, order 2", "diffusers UniPC"),
        ("heun", "azula Heun"),
        ("ddim", "azula DDIM"),
    ],
)
def test_like_for_like_ours_is_as_accurate_within_the_peers_own_error(ours, peer):
    """The peers' standard deviations come from 20,000 draws: 1 / sqrt(40,000) of themselves."""
    for row in rows(("gaussian",), (ours,), tuple(PEERS[peer]), 1000):
        assert relative_error(row["std"]) <= relative_error(PEERS[peer][row["budget"]]) + 0.005


def test_the_stochastic_ancestral_sampler_is_as_accurate_as_the_best_peers():
    for row in rows(("gaussian",), ("ancestral, small",), (20, 100), 4000):
        peers = [PEERS[peer].get(row["budget"]) for peer in ("diffusers DDPM", "azula DDPM")]
        best = min(relative_error(std) for std in peers if std)
        assert relative_error(row["std"]) <= best + 0.005 + 1 / (2 * 4000) ** 0.5


@pytest.mark.parametrize("name", [*CHAINS, *WALKS])
def test_nobody_spends_more_than_the_budget_and_walks_spend_most_of_it(name):
    for row in rows(("gaussian",), (name,), budgets=(10, 50), draws=4):
        least = row["budget"] - 3 if name in WALKS else row["budget"] // 2
        assert least <= row["evaluations"] <= row["budget"]


def test_the_distance_is_a_distance_and_the_reference_is_small():
    x = torch.randn(4000, 2, generator=seeded(0), dtype=torch.float64)
    assert sliced_distance(x, x) == 0
    moved = sliced_distance(x, x + torch.tensor([1.0, 0.0]))
    assert moved == pytest.approx(2 / torch.pi, abs=0.01)  # the mean of |cos| over directions
    assert rows(("gaussian",), ("ddim",), (10,))[0]["reference"] < 0.05


@pytest.mark.parametrize("name", TASKS)
def test_the_stated_moments_are_the_targets_own(name):
    task = TASKS[name]()
    x = task.target.sample(100_000, seeded(0))
    mean, std = accuracy.standard_errors(x)
    assert ((x.mean(0) - task.mean).abs() < 4 * mean).all() and (
        (x.std(0) - task.std).abs() < 4 * std
    ).all()


def test_rows_become_json_and_a_page():
    found = rows(("gaussian",), ("ddim", "langevin"), draws=50)
    assert json.loads(json.dumps(found)) == found and "| ddim |" in accuracy.page(found)
