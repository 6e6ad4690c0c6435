"""Chains go over whole, and ArviZ finds the effective sizes and the R-hat that are found here."""

import numpy as np
import pytest
import torch

from gradlogp.bridges.arviz import to_arviz
from gradlogp.core.errors import UserError
from gradlogp.metrics.mcmc import effective_samples, split_rhat

stats = pytest.importorskip("arviz_stats.base", reason="needs the extra arviz").array_stats
pytest.importorskip("arviz_base", reason="needs the extra arviz")


def chains(steps=400):
    """Four AR(1) chains of three quantities, the last one of which disagrees between chains."""
    noise = torch.randn(
        4, steps, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    x = noise.clone()
    for i in range(1, steps):
        x[:, i] = 0.7 * x[:, i - 1] + noise[:, i]
    x[:, :, 2] += torch.arange(4.0)[:, None]
    return x


def test_values_and_energies_go_over_whole():
    x = chains(50)
    tree = to_arviz({"x": x, "y": x[..., 0]}, energy=x.square().sum(-1) / 2)
    assert np.array_equal(tree["posterior"]["x"].values, x.numpy())
    assert tree["posterior"]["y"].dims == ("chain", "draw")
    assert np.array_equal(tree["sample_stats"]["lp"].values, -x.square().sum(-1).numpy() / 2)


@pytest.mark.filterwarnings("ignore")
def test_effective_sizes_and_rhat_are_those_of_arviz():
    x = chains()
    theirs = to_arviz(x)["posterior"]["x"].values
    found = effective_samples(x).numpy()
    each = [stats.ess(theirs[..., i], method="mean") for i in range(3)]
    assert np.abs(found / np.array(each) - 1).max() < 1e-10
    for method, rank in (("split", False), ("rank", True)):
        each = [stats.rhat(theirs[..., i], method=method) for i in range(3)]
        assert np.abs(split_rhat(x, rank).numpy() / np.array(each) - 1).max() < 1e-5


def test_chains_of_other_lengths_are_refused():
    with pytest.raises(UserError, match="of one length, got"):
        to_arviz(chains(50), energy=torch.zeros(4, 49))
