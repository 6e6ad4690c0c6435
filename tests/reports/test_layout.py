"""The further tables: which measurements belong to one, in which order, and who is best."""

import pytest

from gradlogp.experiments import COMPARISONS
from gradlogp.harness import Column, Table
from gradlogp.reports.layout import LONG, grid
from gradlogp.reports.numbers import Key, Numbers


def numbers(better="higher", **values):
    """values: method -> {(metric, {axis: value}) or metric: (value, standard error)}."""
    rows = []
    for method, found in values.items():
        for key, (value, stderr) in found.items():
            metric, *axes = key if isinstance(key, tuple) else (key,)
            rows.append(
                {
                    "method": method,
                    "metric": metric,
                    "axes": dict(axes),
                    "value": value,
                    "stderr": stderr,
                    "better": "lower" if metric == "rank" else better,
                }
            )
    return Numbers(rows, [m for m in values if m != "reference"])


def digit(c):
    return ("auroc", ("protocol", "one-class"), ("class", c))


MEAN = ("auroc", ("protocol", "one-class"))
ONE_CLASS = {"protocol": "one-class"}
DIGITS = numbers(
    a={digit(3): (0.9, 0.01), digit(1): (0.99, 0.01), MEAN: (0.945, 0.01), "rank": (2.0, 0.1)},
    b={digit(3): (0.95, 0.01), digit(1): (0.99, 0.01), MEAN: (0.97, 0.01), "rank": (1.0, 0.1)},
    c={"fd": (1.0, 0.1)},
    reference={digit(3): (0.5, None)},
)


def texts(found):
    return [
        (label, [entry and ("*" if entry.best else "") + entry.text for entry in line])
        for label, line in found.lines
    ]


def test_numbers_ascend_words_stay_as_they_came_the_mean_is_last_and_orders_the_rows():
    last = (Column("auroc", ONE_CLASS, "mean"),)
    table = Table("Digits", ("auroc",), "class", ONE_CLASS, last, decimals=3)
    found = grid(table, DIGITS, ["a", "b", "c"])
    assert found.title == "Digits (high)" and found.heads == ["1", "3", "mean"]
    assert texts(found) == [
        ("b", ["*0.990", "*0.950", "*0.970"]),
        ("a", ["*0.990", "0.900", "0.945"]),
        ("reference", [None, "0.500", None]),
    ]
    against = [("auroc", ("against", name)) for name in ("noise", "kmnist", "1")]
    named = numbers(a=dict.fromkeys(against, (0.9, 0.1)))
    heads = grid(Table("Others", ("auroc",), "against"), named, ["a"]).heads
    assert heads == ["noise", "kmnist", "1"]


def test_a_table_takes_only_what_has_its_axes_and_no_other():
    """Neither another protocol's, nor the mean without a class, nor one with a further axis."""
    many = numbers(
        a={
            digit(1): (0.9, None),
            MEAN: (0.8, None),
            ("auroc", ("protocol", "held-out"), ("class", 2)): (0.7, None),
            (*digit(3), ("by", "norm")): (0.6, None),
        }
    )
    found = grid(Table("Digits", ("auroc",), "class", ONE_CLASS), many, ["a"])
    assert found.heads == ["1"]


def test_turned_the_methods_stand_across_and_no_reference_with_them():
    last = (Column("rank", label="mean rank"), Column("auroc", ONE_CLASS, "mean"))
    table = Table("Digits", ("auroc",), "class", ONE_CLASS, last, turned=True)
    found = grid(table, DIGITS, ["a", "b", "c"])
    assert found.heads == ["b", "a"]
    labels = [label for label, _ in found.lines]
    assert labels == ["1", "3", "mean rank (low)", "mean"]
    assert texts(found)[2] == ("mean rank (low)", ["*1.00", "2.00"])
    assert found.lines[0][1][0].stderr == "0.010"


def test_several_metrics_stand_one_after_the_other_under_their_names():
    keys = [("auroc", ("class", 1)), ("auprc", ("class", 1)), ("auroc", ("class", 2))]
    both = numbers(a=dict.fromkeys(keys, (0.9, None)))
    found = grid(Table("Both", ("auroc", "auprc"), "class"), both, ["a"])
    assert found.heads == ["AUROC, 1", "AUROC, 2", "AUPRC, 1"]


def test_where_nothing_is_better_nothing_is_marked_or_sorted():
    noise = ("energy", ("of", "noise"))
    level = numbers(
        a={noise: (9.0, 0.1), "energy_gap": (0.3, 0.1)},
        b={noise: (1.0, 0.1), "energy_gap": (0.0, 0.1)},
    )
    table = Table("Energy", ("energy",), "of", last=(Column("energy_gap", label="gap"),))
    found = grid(table, level, ["a", "b"])
    assert found.title == "Energy" and found.heads == ["noise", "gap (near 0)"]
    assert [label for label, _ in found.lines] == ["a", "b"]
    assert not any(entry.best for _, line in found.lines for entry in line if entry)


@pytest.mark.parametrize("turned", [False, True])
def test_nothing_measured_is_no_table(turned):
    last = (Column("auroc", ONE_CLASS, "mean"),)
    table = Table("Stars", ("auroc",), "star", last=last, turned=turned)
    assert grid(table, DIGITS, ["a", "b"]).lines == []


def test_long_tables_are_folded():
    key = ("auroc", ("class", 1))
    many = numbers(**{f"m{i}": {key: (i / 100, None)} for i in range(LONG + 1)})
    table = Table("Digits", ("auroc",), "class")
    assert grid(table, many, many.learned).long
    assert not grid(table, many, many.learned[1:]).long


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_table_has_a_title_of_its_own_and_does_not_fix_the_axis_that_it_goes_over(name):
    tables = COMPARISONS[name].tables
    assert len({table.title for table in tables}) == len(tables)
    assert all(table.metrics and table.over not in table.where for table in tables)


def test_the_expected_value_is_that_of_the_most_examples():
    rows = [
        {"method": m, "metric": "auprc", "value": 0.5, "better": "higher", "n": n, "trivial": share}
        for m, n, share in (("all", 2500, 0.1), ("some", 250, 0.07))
    ]
    found = Numbers(rows, ["all", "some"]).cell("a trivial method (expected)", Key("auprc"))
    assert found.value == 0.1
