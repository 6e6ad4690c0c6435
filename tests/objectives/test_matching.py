"""What score matching refuses: shapes that would broadcast, energies without curvature, settings
out of range.
"""

import pytest
import torch
from torch import nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import Energy, Score
from gradlogp.core.random import seeded
from gradlogp.objectives import (
    DenoisingScoreMatching,
    ExplicitScoreMatching,
    FiniteDifferenceScoreMatching,
    ImplicitScoreMatching,
    LogNormal,
    SingleLevel,
    SlicedScoreMatching,
)

X = torch.randn(5, 3, generator=seeded(0))
PLAIN = [
    ExplicitScoreMatching(Score(lambda x: -x)),
    ImplicitScoreMatching(),
    SlicedScoreMatching(),
    FiniteDifferenceScoreMatching(),
    DenoisingScoreMatching(SingleLevel(0.5)),
]


@pytest.mark.parametrize("objective", PLAIN, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize(
    "wrong",
    [lambda x: x.sum(1), lambda x: x.sum(1, keepdim=True), lambda x: x[:1], lambda x: x[:, None]],
)
def test_a_score_that_would_broadcast_is_an_error(objective, wrong):
    with pytest.raises(ValueError, match="has the shape of x"):
        objective(Score(wrong), Batch(X), seeded(0))


@pytest.mark.parametrize("objective", PLAIN, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize(
    "wrong", [lambda x: x.square(), lambda x: x.square().mean(), lambda x: x.square()[:1].sum(1)]
)
def test_an_energy_that_is_not_one_number_per_example_is_an_error(objective, wrong):
    with pytest.raises(ValueError, match="one number per example"):
        objective(Energy(wrong), Batch(X), seeded(0))


@pytest.mark.parametrize(
    "objective",
    [ImplicitScoreMatching(), SlicedScoreMatching(), SlicedScoreMatching(variance_reduced=False)],
)
def test_an_energy_of_relus_is_named(objective):
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    with pytest.raises(ValueError, match="smooth activation"):
        objective(net, Batch(X), seeded(0))
    smooth = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1))
    assert objective(smooth, Batch(X), seeded(0)).value.requires_grad


def test_losses_are_learned_from_and_can_be_looked_at_without_a_graph():
    net = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1))
    for objective in PLAIN:
        with torch.no_grad():
            looked = objective(
                net if objective is not PLAIN[-1] else Energy(net), Batch(X), seeded(0)
            ).value
        learned = objective(
            net if objective is not PLAIN[-1] else Energy(net), Batch(X), seeded(0)
        ).value
        learned.mean().backward()
        assert torch.allclose(looked, learned)


def test_a_field_without_levels_learns_one_level_only():
    with pytest.raises(ValueError, match="without noise levels"):
        DenoisingScoreMatching(LogNormal())(Score(lambda x: -x), Batch(X), seeded(0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SlicedScoreMatching(0),
        lambda: SlicedScoreMatching(1, "cube"),
        lambda: FiniteDifferenceScoreMatching(epsilon=0.0),
        lambda: DenoisingScoreMatching(SingleLevel(1.0), "mine"),
        lambda: DenoisingScoreMatching(SingleLevel(1.0), "likelihood"),
        lambda: DenoisingScoreMatching(SingleLevel(1.0), "min_snr", gamma=0.0),
    ],
)
def test_settings_out_of_range_are_named(make):
    with pytest.raises(ValueError, match="expected|positive|likelihood weights need"):
        make()
