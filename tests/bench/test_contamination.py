"""Detectors on dirty tables: what is hidden is what is said, and the page says what was measured."""

import numpy as np
import pytest
import torch

from gradlogp.baselines.detectors import Isolation, NoisedEnergy, Standardised
from gradlogp.bench.contamination import LEARNED, METHODS, Learned, dirty, page, rows


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A table of two clusters with a ring of 100 anomalies."""
    g = np.random.default_rng(0)
    normal = g.standard_normal((400, 3)) + 6 * (np.arange(400) % 2)[:, None]
    strange = g.standard_normal((100, 3)) + np.array([12, -8, 0])
    (tmp_path / "adbench").mkdir()
    x, y = np.concatenate([normal, strange]), np.repeat([0, 1], [400, 100])
    np.savez(tmp_path / "adbench" / "1_rings.npz", X=x, y=y)
    monkeypatch.setenv("GRADLOGP_DATA", str(tmp_path))


def test_anomalies_are_hidden_among_the_rows_and_never_tested(shelf):
    clean, found = dirty("1_rings", 0.0), dirty("1_rings", 0.1)
    assert len(clean.rows) == 160 and not clean.planted.any()
    assert int(found.planted.sum()) == round(160 / 9) and len(found.rows) == 178
    assert torch.equal(clean.anomalous, found.anomalous) and len(found.anomalous) == 50
    assert not (found.anomalous[:, None] == found.rows[found.planted][None]).all(2).any()
    assert int(dirty("1_rings", 0.5).planted.sum()) == 50  # all that may be hidden


def test_a_row_for_each_method_and_share_and_a_page_of_them(shelf):
    methods = {"noised energy": NoisedEnergy(), "isolation forest": Isolation(20)}
    learned = {"half a squared error, at 4": Standardised(Learned("squared error", 4.0, 640))}
    found = rows(1, shares=(0.0, 0.05), methods=methods, learned=learned)
    assert len(found) == 6 and all(0 <= r["new"] <= 1 for r in found)
    assert {r["method"] for r in found if "own" in r} == set(methods)
    assert all(r["new"] > 0.95 for r in found if r["method"] == "noised energy")
    text = page(found)
    assert "| noised energy | 1.000 |" in text and "4.8% are hidden" in text
    assert text.count("| half a squared error, at 4 |") == 1 and "at 1 |" not in text


EVERY = METHODS | LEARNED


@pytest.mark.parametrize("name", EVERY)
def test_every_method_serves_a_table_with_a_column_of_one_number(name):
    normal = torch.cat(
        [torch.randn(60, 2, generator=torch.Generator().manual_seed(0)), torch.ones(60, 1)], 1
    )
    method = EVERY[name]
    if isinstance(method, Standardised) and isinstance(method.detector, Learned):
        method = Standardised(Learned(method.detector.form, method.detector.level, 640))
    assert method.fit(normal)(normal).isfinite().all()
