"""Own work a step: loose bounds, three times the reach, so that a busy machine does not fail them;
and the loops by hand agree.
"""

import json
import math
from pathlib import Path

import pytest
import torch

from gradlogp.bench import BENCHES, overhead
from gradlogp.bench.overhead import (
    REACH,
    REACH_RATIO,
    cases,
    energy_rows,
    interleaved,
    langevin_by_hand,
    null_field,
    null_rows,
    ratio,
)
from gradlogp.bench.page import one_thread
from gradlogp.core import random
from gradlogp.core.fields import Energy
from gradlogp.core.kernel import run
from gradlogp.core.random import seeded
from gradlogp.samplers import Langevin

PAGE = Path(__file__).parents[2] / "docs" / "overhead.md"
SINGLE = {
    name
    for name in cases(torch.zeros(1))
    if name not in {"Heun", "Probability flow, RK4", "HMC, 10 leaps", "MALA", "Predictor-corrector"}
}  # one evaluation, no test
BY_HAND = {name for name, case in cases(torch.zeros(1)).items() if case.by_hand}


@pytest.mark.parametrize("name", sorted(SINGLE))
def test_own_work_a_step_is_within_three_times_the_reach(name):
    with one_thread():
        for _ in range(3):
            (row,) = null_rows(0.05, [name])
            if row["us"] < 3 * REACH["stochastic" if row["stochastic"] else "deterministic"]:
                return
    pytest.fail(f"{name}: {row['us']:.0f} us a step")


@pytest.mark.parametrize("name", ["MLP energy, batch 32", "MLP energy, batch 1024"])
def test_langevin_on_an_energy_costs_what_a_loop_by_hand_costs(name):
    with one_thread():
        for _ in range(3):
            found = {r["loop"]: r for r in energy_rows(0.3, False, [name])}
            if found["ours"]["ratio"] < 1.3:
                break
    assert found["ours"]["ratio"] < 1.3
    assert found["ours"]["dx"] < 1e-4 and found["in place"]["dx"] < 1e-4  # the same mathematics


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_a_loop_by_hand_ends_at_the_same_x(name):
    (row,) = null_rows(0.0, [name])
    assert row["dx"] < 1e-4


def test_a_loop_that_is_other_mathematics_is_found_out():
    stored = torch.ones(4, 2)
    ours = run(Langevin(0.01), null_field(stored), torch.zeros(4, 2), 5, seeded(0))
    wrong = langevin_by_hand(lambda x: stored, 0.01, math.sqrt(0.01))(
        torch.zeros(4, 2), 5, seeded(0)
    )  # sqrt(h) for sqrt(2h)
    with pytest.raises(RuntimeError, match="should end at the same x"):
        overhead.distance(ours, wrong)


def test_rounds_are_interleaved_and_ratios_are_of_pairs():
    seen = []
    times = interleaved([lambda: seen.append("a"), lambda: seen.append("b")], 0.0, least=4)
    assert seen == ["a", "b"] * 5 and [len(t) for t in times] == [4, 4]
    assert ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])[0] == 2


@pytest.mark.parametrize("name", cases(torch.zeros(1)))
def test_noise_that_would_be_multiplied_by_zero_is_not_drawn(name, monkeypatch):
    """Deterministic samplers draw nothing; stochastic ones at most once for each Gaussian that they
    need.
    """
    drawn, normal_ = [], torch.Tensor.normal_
    monkeypatch.setattr(
        torch.Tensor,
        "normal_",
        lambda self, *a, **k: drawn.append(self.shape) or normal_(self, *a, **k),
    )
    x = torch.zeros(3, 2)
    case = (
        cases(x)[name] if "Preconditioned" not in name else cases(torch.zeros(overhead.SHAPE))[name]
    )
    if "Preconditioned" in name:
        x = torch.zeros(3, *overhead.SHAPE[1:])
    steps = min(10, getattr(case.sampler, "steps", 10))
    field = overhead.NullNoisy(x) if hasattr(case.sampler, "steps") else null_field(x)
    run(case.sampler, field, x, steps, seeded(0))
    assert (len(drawn) > 0) == case.stochastic
    assert len(drawn) <= (2 if name == "Predictor-corrector" else 1) * steps + (
        name == "Underdamped"
    )


def test_the_last_step_to_zero_draws_nothing(monkeypatch):
    calls = []
    fill = random.normal_
    for name in (
        "DDIM, eta = 1",
        "Ancestral (DDPM)",
        "Annealed Langevin",
        "Consistent annealed Langevin",
        "DPM-Solver++ 2M SDE",
    ):
        sampler = cases(torch.zeros(3, 2))[name].sampler
        x = torch.zeros(3, 2)
        module = __import__(type(sampler).__module__, fromlist=["normal_"])
        if not hasattr(module, "normal_"):
            module = __import__("gradlogp.samplers.reverse", fromlist=["normal_"])
        calls.clear()
        monkeypatch.setattr(module, "normal_", lambda out, g: calls.append(1) or fill(out, g))
        run(sampler, overhead.NullNoisy(x), x, sampler.steps, seeded(0))
        assert len(calls) == sampler.steps - 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", cases(torch.zeros(1)))
def test_no_step_waits_for_the_accelerator(name):
    device = torch.device("cuda")
    shape = (4, *overhead.SHAPE[1:])
    stored = torch.zeros(shape, device=device)
    sampler = cases(stored)[name].sampler
    if name == "Preconditioned Langevin":
        pytest.skip("its preconditioner is on the CPU here")
    field = (
        overhead.NullNoisy(stored)
        if hasattr(sampler, "steps")
        else Energy(lambda x: x.flatten(1).square().sum(1))
    )
    generator = seeded(0, device=device)
    with torch.no_grad():
        state = sampler.init(
            field, torch.zeros(shape, device=device)
        )  # a chain may look at its start
        state, _ = sampler.step(field, state, generator)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(5):
                state, _ = sampler.step(field, state, generator)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_the_committed_page_is_within_reach():
    """The figures when the page was made: steps of one evaluation, to 5 %, and the ratios to the
    plain loop, to .01 of noise.
    """
    lines = [
        [c.strip() for c in line.strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if line.startswith("|")
    ]
    own = {line[0]: float(line[1]) for line in lines if line[0] in cases(torch.zeros(1))}
    assert own.keys() == cases(torch.zeros(1)).keys()
    for name in SINGLE:
        assert (
            own[name]
            <= 1.05
            * REACH["stochastic" if cases(torch.zeros(1))[name].stochastic else "deterministic"]
        )
    ratios = {
        line[0]: float(line[3].split("+-")[0])
        for line in lines
        if line[0] in REACH_RATIO and line[1] == "ours"
    }
    assert ratios.keys() == REACH_RATIO.keys() and all(
        ratios[name] <= REACH_RATIO[name] + 0.01 for name in ratios
    )


def test_rows_become_json_and_a_page():
    found = [
        *null_rows(0.0, ["DDIM (Euler)", "Langevin", "MALA"]),
        *energy_rows(0.0, False, ["MLP energy, batch 32"]),
    ]
    assert json.loads(json.dumps(found)) == found
    page = overhead.page(found)
    assert "| DDIM (Euler) |" in page and "| MLP energy, batch 32 | ours |" in page


@pytest.mark.parametrize("name", BENCHES)
def test_every_bench_is_a_module_with_rows_and_a_page(name):
    module = BENCHES[name].load()
    assert callable(module.rows) and callable(module.page) and len(module.__doc__) > 20
    assert (Path(__file__).parents[2] / "docs" / BENCHES[name].page).exists()
