"""Figures: what stands in a legend, and where."""

import pytest

from gradlogp.harness import figures


@pytest.mark.parametrize("panels", [1, 3])
def test_one_legend_names_every_series_once_and_leaves_none_in_a_panel(panels):
    with figures.drawn(panels) as (figure, axes):
        for i, axis in enumerate(axes):
            figures.lines(axis, {"a": ([0, 1], [0, 1]), f"b{i}": ([0, 1], [1, 0])}, "x", "y")
        figures.one_legend(axes)
        (legend,) = figure.legends
        named = [text.get_text() for text in legend.get_texts()]
    assert sorted(named) == ["a", *(f"b{i}" for i in range(panels))]
    assert all(axis.get_legend() is None for axis in axes)
