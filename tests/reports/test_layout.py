"""The further tables: which metrics a pattern finds, in which order, and who is best."""

import pytest

from gradlogp.experiments import COMPARISONS
from gradlogp.experiments.table import Table, stands_for
from gradlogp.reports.layout import LONG, grid
from gradlogp.reports.numbers import Numbers


def numbers(better="higher", **values):
    """values: method -> {metric: (value, spread)}."""
    rows = [
        {
            "method": m,
            "metric": k,
            "value": v,
            "stderr": spread,
            "better": "lower" if k.startswith("rank") else better,
        }
        for m, found in values.items()
        for k, (v, spread) in found.items()
    ]
    return Numbers(rows, [m for m in values if m != "reference"])


DIGITS = numbers(
    a={
        "auroc digit 3": (0.9, 0.01),
        "auroc digit 1": (0.99, 0.01),
        "auroc digit": (0.945, 0.01),
        "rank": (2.0, 0.1),
    },
    b={
        "auroc digit 3": (0.95, 0.01),
        "auroc digit 1": (0.99, 0.01),
        "auroc digit": (0.97, 0.01),
        "rank": (1.0, 0.1),
    },
    c={"fd": (1.0, 0.1)},
    reference={"auroc digit 3": (0.5, None)},
)


def texts(found):
    return [
        (label, [entry and ("*" if entry.best else "") + entry.text for entry in line])
        for label, line in found.lines
    ]


@pytest.mark.parametrize(
    ("pattern", "metric", "star"),
    [
        ("auroc digit *", "auroc digit 3", "3"),
        ("auroc digit *", "auroc digit", ""),
        ("auroc * by energy", "auroc kmnist by energy", "kmnist"),
        ("auroc * by energy", "auroc kmnist by norm", ""),
        ("denoise_ssim_*", "denoise_ssim_0.5", "0.5"),
        ("ab*ba", "aba", ""),
    ],
)
def test_what_a_star_stands_for(pattern, metric, star):
    assert stands_for(pattern, metric) == star


def test_numbers_ascend_words_stay_as_they_came_the_mean_is_last_and_orders_the_rows():
    found = grid(
        Table("Digits", ("auroc digit *",), {"auroc digit": "mean"}, decimals=3),
        DIGITS,
        ["a", "b", "c"],
    )
    assert found.title == "Digits (high)" and found.heads == ["1", "3", "mean"]
    assert texts(found) == [
        ("b", ["*0.990", "*0.950", "*0.970"]),
        ("a", ["*0.990", "0.900", "0.945"]),
        ("reference", [None, "0.500", None]),
    ]
    named = numbers(
        a={"auroc to noise": (1.0, 0.1), "auroc to kmnist": (0.9, 0.1), "auroc to 1": (0.9, 0.1)}
    )
    assert grid(Table("Strangers", ("auroc to *",)), named, ["a"]).heads == ["noise", "kmnist", "1"]


def test_turned_the_methods_stand_across_and_no_reference_with_them():
    table = Table(
        "Digits", ("auroc digit *",), {"rank": "mean rank", "auroc digit": "mean"}, turned=True
    )
    found = grid(table, DIGITS, ["a", "b", "c"])
    assert found.heads == ["b", "a"] and [label for label, _ in found.lines] == [
        "1",
        "3",
        "mean rank (low)",
        "mean",
    ]
    assert texts(found)[2] == ("mean rank (low)", ["*1.00", "2.00"])
    assert found.lines[0][1][0].stderr == "0.010"


def test_several_patterns_stand_one_after_the_other_under_the_names_of_their_metrics():
    both = numbers(
        a={"auroc in 1": (0.9, None), "auprc in 1": (0.3, None), "auroc in 2": (0.8, None)}
    )
    found = grid(Table("Both", ("auroc in *", "auprc in *")), both, ["a"])
    assert found.heads == ["AUROC, 1", "AUROC, 2", "AUPRC, 1"]


def test_where_nothing_is_better_nothing_is_marked_or_sorted():
    level = numbers(
        a={"energy of noise": (9.0, 0.1), "energy_gap": (0.3, 0.1)},
        b={"energy of noise": (1.0, 0.1), "energy_gap": (0.0, 0.1)},
    )
    found = grid(Table("Energy", ("energy of *",), {"energy_gap": "gap"}), level, ["a", "b"])
    assert found.title == "Energy" and found.heads == ["noise", "gap (near 0)"]
    assert [label for label, _ in found.lines] == ["a", "b"]
    assert not any(entry.best for _, line in found.lines for entry in line if entry)


def test_nothing_measured_is_no_table():
    assert (
        grid(Table("Stars", ("auroc star *",), {"auroc digit": "mean"}), DIGITS, ["a", "b"]).lines
        == []
    )
    assert grid(Table("Stars", ("auroc star *",), turned=True), DIGITS, ["a", "b"]).lines == []


def test_long_tables_are_folded():
    many = numbers(**{f"m{i}": {"auroc digit 1": (i / 100, None)} for i in range(LONG + 1)})
    assert grid(Table("Digits", ("auroc digit *",)), many, many.learned).long
    assert not grid(Table("Digits", ("auroc digit *",)), many, many.learned[1:]).long


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_pattern_has_one_star_and_every_table_a_title_of_its_own(name):
    tables = COMPARISONS[name].tables
    assert all(pattern.count("*") == 1 for table in tables for pattern in table.metrics)
    assert len({table.title for table in tables}) == len(tables)


def test_the_expected_value_is_that_of_the_most_examples():
    rows = [
        {"method": m, "metric": "auprc", "value": 0.5, "better": "higher", "n": n, "trivial": share}
        for m, n, share in (("all", 2500, 0.1), ("some", 250, 0.07))
    ]
    assert Numbers(rows, ["all", "some"]).cell("a trivial method (expected)", "auprc").value == 0.1
