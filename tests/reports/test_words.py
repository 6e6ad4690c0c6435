import math

import pytest

from gradlogp.experiments import COMPARISONS
from gradlogp.metrics import METRICS, QUANTITIES, quantity
from gradlogp.reports import plot, words
from gradlogp.reports.numbers import Key, Numbers

X = Key("x")


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [
        (3.2143, 0.12, "3.21"),
        (3.2143, 0.5, "3.2"),
        (1234.5, 33.0, "1,234"),
        (0.98333, 0.0068, "0.983"),
        (-0.00321, None, "−0.00321"),
        (0.0, 0.0, "0.00"),
        (math.nan, None, "not a number"),
        (math.inf, 1.0, "∞"),
        (None, None, "–"),
        (12.0, math.nan, "12.0"),
    ],
)
def test_numbers_show_what_their_standard_errors_allow(value, stderr, text):
    assert words.number(value, stderr) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0142, "14 ms"),
        (0.0999, "0.1 s"),
        (75.0, "75 s"),
        (125.0, "2 min"),
        (12_000.0, "3 h 20 min"),
    ],
)
def test_durations(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize("name", [*METRICS, *QUANTITIES])
def test_every_metric_has_plain_words(name):
    assert len(words.metric(Key(name)).says) > 25


def test_new_metrics_keep_their_name():
    at = Key.of("fd", {"steps": 20})
    assert words.metric(at).name == "Fréchet distance after 20 steps"
    assert words.metric(Key.of("psnr", {"noise": 0.3})).name == "restored, dB at noise 0.3"
    assert words.metric(Key.of("brand_new", {"size": 3})).name == "brand_new 3"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.5, 1]),
        (20, 1250, [0, 500, 1000, 1500]),
        (-0.013, 0.002, [-0.015, -0.01, -0.005, 0, 0.005]),
        (5, 5, [2, 4, 6, 8]),
    ],
)
def test_ticks_are_round_and_hold_the_data(low, high, expected):
    assert plot.ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.6), (1e-7, 3e4), (3, 3), (1, 10)])
def test_logarithmic_ticks_hold_the_data(low, high):
    found = plot.decades(low, high)
    assert found[0] <= low <= high <= found[-1] and len(found) <= 14


def test_a_chart_puts_points_where_they_belong():
    svg = plot.chart([plot.Line("a", [(0, 0.0), (5, None), (5, math.nan), (10, 10.0)])], "updates")
    left = plot.LEFT
    right = plot.SMALL[0] - plot.RIGHT
    top = plot.TOP
    bottom = plot.SMALL[1] - plot.BOTTOM
    assert f'd="M{left:.1f} {bottom:.1f} {right:.1f} {top:.1f}"' in svg and "from 0 to 10" in svg


def test_a_wild_start_is_cut_off_and_said_but_nothing_later_ever_is():
    calm = [(float(x), 0.01 * (x % 7)) for x in range(100)]
    wild = [(0.0, 50.0), *calm[1:]]
    assert "off the chart" in plot.chart([plot.Line("a", wild)], "updates")
    assert plot.settled(wild, (0, 99), False) == (0, pytest.approx(0.09), False)
    late = [*calm[:60], (60.0, 50.0), *calm[61:]]
    assert plot.settled(late, (0, 99), False) == (0, 50, True)
    assert "off the chart" not in plot.chart([plot.Line("a", late)], "updates")


def test_there_is_no_chart_of_nothing():
    assert (
        plot.chart([plot.Line("a", [(0, math.nan), (1, 1e300)]), plot.Line("b", [])], "updates")
        is None
    )
    assert plot.chart([plot.Line("a", [(0, -1.0)])], "updates", log=True) is None


def test_long_logs_are_averaged_not_cut():
    thin = plot.thin([(float(i), float(i % 2)) for i in range(10_000)])
    assert len(thin) <= plot.POINTS and all(y == pytest.approx(0.5, abs=0.02) for _, y in thin)


def made(better: str, **values: tuple[float, float]) -> Numbers:
    rows = [
        {"method": m, "metric": "x", "value": v, "stderr": s, "better": better}
        for m, (v, s) in values.items()
    ]
    return Numbers(rows, [m for m in values if len(m) == 1])


def test_no_clear_difference_within_two_standard_errors():
    numbers = made(
        "lower", a=(1.0, 0.3), b=(1.9, 0.4), c=(2.1, 0.4)
    )  # the standard error of a difference is 0.5
    assert [numbers.mark(m, X) for m in "abc"] == ["best", "close", ""]
    assert numbers.pairwise("a", "c", [X]).better == [X] and numbers.pairwise(
        "c", "a", [X]
    ).worse == [X]
    assert numbers.pairwise("a", "b", [X]).same == [X]


def test_variants_follow_their_metric():
    found = [("fd", {}), ("kid", {}), ("fd", {"steps": 20})]
    rows = [{"method": "a", "metric": m, "axes": axes, "value": 1.0} for m, axes in found]
    keys = [Key("fd"), Key("fd", (("steps", 20),)), Key("kid")]
    assert Numbers(rows, ["a"]).metrics == keys


def test_equal_values_are_best_alike():
    numbers = made("higher", a=(1.0, 0.0), b=(1.0, 0.1), c=(0.5, 0.1))
    assert [numbers.mark(m, X) for m in "abc"] == ["best", "best", ""]


def test_the_names_of_several_metrics_say_once_what_they_share():
    tasks = [Key.of("accuracy", {"task": task}) for task in ("3v5", "4v9")]
    assert words.together([*tasks, Key("precision")]) == "accuracy 3v5, 4v9; precision"
    levels = [Key.of("psnr", {"noise": s}) for s in (0.5, 1.0)]
    assert words.together(levels) == "restored, dB at noise 0.5, 1"
    steps = [Key("fd"), Key.of("fd", {"steps": 20})]
    assert words.together(steps) == "Fréchet distance, after 20 steps"


def test_the_place_between_trivial_and_real():
    values = {
        "a": (4.0, 0.1),
        "b": (99.0, 0.1),
        "real training pictures": (1.0, 0.1),
        "Gaussian of the pixels": (5.0, 0.1),
    }
    numbers = made("lower", **values)
    assert numbers.place("a", X) == pytest.approx(0.25) and numbers.place("b", X) == 0
    assert (
        made("higher", **values).place("a", X) is None
    )  # real pictures that lose to the trivial method are no measure


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_column_of_a_comparison_has_words_of_its_own(name):
    comparison = COMPARISONS[name]
    shown = {column.metric for column in comparison.headline}
    shown |= {metric for table in comparison.tables for metric in table.metrics}
    assert not {metric for metric in shown if quantity(metric) is None}
