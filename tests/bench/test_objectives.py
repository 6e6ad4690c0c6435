"""The objective table, pinned: at the truth every objective is at rest, and from afar a fixed
number of updates leads there.
"""

import math
from pathlib import Path

import pytest
import torch

from gradlogp.bench.objectives import (
    BATCH,
    DISCRETE,
    ENTRIES,
    TARGETS,
    count,
    discrete_row,
    family,
    page,
    problem,
    row,
    score_error,
)
from gradlogp.core.batch import Batch
from gradlogp.core.fields import Score
from gradlogp.core.random import seeded

BATCHES = 40
APPROXIMATE = {
    "CD-50 from noise",
    "persistent CD-10, 5 % restarts",  # chains from noise are short of the law
    "improved CD-10 from data",  # unadjusted Langevin, and an entropy from a finite batch
    "recovery likelihood",
}  # chains of 10 steps
UPDATES = {
    "CD-50 from noise": 60,
    "CD-10 from data": 120,
    "persistent CD-10, 5 % restarts": 120,
    "improved CD-10 from data": 120,
    "recovery likelihood": 120,
    "noise-contrastive, nu = 4": 400,
}  # the rest: 200


def truth(entry):
    """The family at the parameters of the law that the entry learns, with the constant that
    normalises it.
    """
    target, model = TARGETS["gaussian"], family(entry.kind)
    std = (
        target.stds[0] if entry.kind != "energy" else (target.stds[0] ** 2 + entry.level**2).sqrt()
    )
    with torch.no_grad():
        model.mean.copy_(target.means[0])
        model.factor.copy_(torch.diag(1 / std))
        model.constant.fill_(float(std.log().sum()) + math.log(2 * math.pi))
    return model


def worst(name, model):
    """The largest |z| of the mean gradient over the free parameters."""
    p, g = problem("gaussian", 0), seeded("rest")
    objective = ENTRIES[name].make(p)
    wanted = [model.mean, model.factor, model.constant]
    gradients = []
    for x in p.pool[: BATCHES * BATCH].split(BATCH):
        found = torch.autograd.grad(
            objective(model, Batch(x), g).value.mean(), wanted, allow_unused=True
        )
        gradients.append(torch.cat([part.flatten() for part in found if part is not None]))
    each = torch.stack(gradients)
    if each.abs().max() < 1e-4:  # the explicit one is at rest at every example
        return 0.0
    moving = each.std(0) > 1e-6 * each.std(0).max()  # not the constant, where it cancels
    return float((each.mean(0) / each.std(0) * BATCHES**0.5)[moving].abs().max())


@pytest.mark.parametrize("name", sorted(set(ENTRIES) - APPROXIMATE))
def test_at_the_true_parameters_the_mean_gradient_is_zero(name):
    assert worst(name, truth(ENTRIES[name])) < 4.5


@pytest.mark.parametrize(
    "name",
    ["implicit score matching", "CD-10 from data", "noise-contrastive, nu = 4", "flow matching"],
)
def test_and_it_is_seen_where_the_scale_is_off_by_a_factor(name):
    model = truth(ENTRIES[name])
    model.factor.data *= 2**0.5
    assert worst(name, model) > 10


@pytest.mark.parametrize("name", ENTRIES)
def test_every_objective_finds_the_gaussian(name):
    found = row(name, "gaussian", "family", 0, count(UPDATES.get(name, 200)))
    assert found["parameter_error"] < 0.25  # .86 at the start
    assert found["score_error"] < 0.03


@pytest.mark.parametrize("name", DISCRETE)
def test_every_discrete_objective_finds_the_couplings(name):
    found = discrete_row(name, 0, count(60))
    assert found["parameter_error"] < 0.4  # 1 at the start


def test_the_exact_score_has_no_error_and_half_of_it_a_quarter():
    target = TARGETS["mixture"]
    assert score_error(target.at(0.2), target, 0.2) < 1e-10
    assert score_error(Score(lambda x: target.score(x, 0.2) / 2), target, 0.2) == pytest.approx(
        0.25, rel=1e-5
    )


def test_the_page_has_a_line_for_each_objective_and_the_best_first():
    def fits(name, score):
        common = {
            "objective": name,
            "level": 0.0,
            "seed": 0,
            "updates": 5,
            "parameter_error": 0.1,
            "score_error": score,
            "seconds": 1.0,
        }
        for target, learner in (
            ("gaussian", "family"),
            ("gaussian", "network"),
            ("mixture", "network"),
        ):
            yield common | {"target": target, "learner": learner}

    text = page([*fits("worse", 0.2), *fits("better", 0.1)])
    assert text.index("| better | 0.1 (0.1 to 0.1)") < text.index("| worse |")


def test_the_committed_page_has_every_objective():
    text = (Path(__file__).parents[2] / "docs" / "objective-table.md").read_text()
    assert [name for name in [*ENTRIES, *DISCRETE] if f"| {name} |" not in text] == []
