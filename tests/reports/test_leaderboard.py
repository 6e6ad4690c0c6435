"""The leaderboard: one table where numbers were measured alike, two where they were not."""

from pathlib import Path

import pytest

from gradlogp.reports import leaderboard
from gradlogp.reports.leaderboard import boards, html, markdown, page, signature
from gradlogp.reports.published import Published, read_all

DOCS = Path(__file__).parents[2] / "docs" / "results"
REFERENCES = ("real training pictures", "Gaussian of the pixels")
FD = "Gaussian fits of 64 features of network evaluator {}, a classifier, {} real and {} generated"


def row(method, metric="fd", value=1.0, stderr=0.1, protocol="", **more):
    better = "higher" if metric in ("precision", "auroc") else "lower"
    said = {"method": method, "metric": metric, "value": value, "stderr": stderr}
    return said | {"better": better, "protocol": protocol, **more}


def results(name, *rows, dataset="digits", methods=("a", "b")):
    about = {"comparison": name, "question": "Who?", "dataset": dataset, "preset": "quick"}
    costs = {"parameters": 10, "seconds": 2.0, "evaluations": 300}
    named = [{"name": m, "title": m, **costs} for m in methods]
    headline = [{"metric": r["metric"], "axes": r.get("axes", {})} for r in rows]
    return Published(about | {"seeds": [0]}, named, rows, headline)


def drawn(method, value, network="0ff1ce42", n=500, **more):
    return row(method, value=value, protocol=FD.format(network, n, n), **more)


def test_the_best_comes_first_and_references_last():
    board = boards([results("c", drawn("a", 3.0), drawn("b", 2.0), drawn("real pictures", 0.5))])[0]
    assert [line.method for line in board.ordered] == ["b", "a", "real pictures"]
    assert board.protocol == "network 0ff1ce42, 500 real, 500 generated"
    assert board.texts(board.ordered[0])[:2] == ["b", "**2.00** \u00b1 0.10"]
    assert board.texts(board.ordered[2])[1] == "0.50 \u00b1 0.10"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("picture", ("real training pictures", "Gaussian of the pixels")),
        ("waveform", ("real training waveforms", "Gaussian of the entries")),
        ("volume", ("real training volumes", "Gaussian of the entries")),
        ("row", ("real training rows", "Gaussian of the entries")),
        (None, ("real training pictures", "Gaussian of the pixels")),
    ],
)
def test_references_are_called_in_the_words_of_their_data(kind, says):
    """And a method keeps its name."""
    rows = [
        drawn(n, v) for n, v in (("nearest_picture", 3.0), *zip(REFERENCES, (1, 4), strict=True))
    ]
    found = results("c", *rows, methods=("nearest_picture",))
    found.about["kind"] = kind
    (board,) = boards([found])
    names = [board.texts(line)[0] for line in board.ordered]
    assert names[0] == "nearest_picture" and set(names[1:]) == set(says)
    assert [board.values(line)[0] for line in board.ordered] == names


@pytest.mark.parametrize("change", [{"network": "badc0de1"}, {"n": 1000}])
def test_what_was_measured_otherwise_has_a_table_of_its_own(change):
    found = boards([results("c", drawn("a", 3.0), drawn("b", 2.0, **change))])
    assert [len(board.lines) for board in found] == [1, 1]
    assert len({board.protocol for board in found}) == 2


def test_a_further_number_that_was_measured_otherwise_is_named():
    more = {"stderr": 0.01, "value": 0.8}
    rows = [drawn(m, v) for m, v in (("a", 1.0), ("b", 2.0))]
    alike = [row(m, "precision", protocol=FD.format("0ff1ce42", 500, 500), **more) for m in "ab"]
    (board,) = boards([results("c", *rows, *alike)])
    assert board.otherwise == [] and board.how == board.protocol
    alike[1] |= {"protocol": FD.format("0ff1ce42", 100, 500)}
    (board,) = boards([results("c", *rows, *alike)])
    assert board.otherwise == ["precision of b: network 0ff1ce42, 100 real, 500 generated"]
    assert "; but precision of b" in markdown([board])


def test_references_of_two_comparisons_are_not_averaged():
    some = [
        results("c", drawn("a", 3.0), drawn("real", 0.5)),
        results("d", drawn("b", 3.5), drawn("real", 0.7)),
    ]
    (board,) = boards(some)
    cells = [board.texts(line)[1] for line in board.ordered if line.method == "real"]
    assert cells == ["0.50 \u00b1 0.10", "0.70 \u00b1 0.10"]


def test_two_data_sets_are_two_tables_and_one_can_be_asked_for():
    some = [results("c", drawn("a", 3.0)), results("d", drawn("a", 3.0), dataset="mnist")]
    assert [board.dataset for board in boards(some)] == ["digits", "mnist"]
    assert [board.dataset for board in boards(some, "mnist")] == ["mnist"]
    assert not boards(some, task="detecting")


def test_a_method_of_two_comparisons_stands_once_where_its_number_is_the_same():
    same = [results("c", drawn("a", 3.0)), results("d", drawn("a", 3.0), drawn("b", 1.0))]
    board = boards(same)[0]
    assert {(x.method, x.comparisons) for x in board.lines} == {("a", ("c", "d")), ("b", ("d",))}
    other = boards([results("c", drawn("a", 3.0)), results("d", drawn("a", 4.0))])[0]
    assert [board.comparisons for board in other.ordered] == [("c",), ("d",)]


def test_evaluations_a_sample_are_those_of_the_leading_number():
    board = boards([results("c", drawn("a", 3.0, evaluations=60))])[0]
    assert board.values(board.lines[0])[board.heads.index("evaluations a sample")] == 60


def test_detecting_is_sorted_by_what_is_high():
    protocol = "high score = anomaly, 300 normal and 176 anomalous"
    found = results(
        "c", row("a", "auroc", 0.7, 0.01, protocol), row("b", "auroc", 0.9, 0.01, protocol)
    )
    board = boards([found])[0]
    assert board.task == "detecting" and [x.method for x in board.ordered] == ["b", "a"]


def test_without_a_network_the_first_clause_and_the_number_of_examples_say_how():
    one = row("a", "psnr", protocol="dB, data range 1, stderr: over images; noise 0.5", n=300)
    assert signature(one) == "dB, data range 1, 300 examples"
    assert signature(one | {"n": 100}) != signature(one)


def test_the_page_sorts_by_itself_and_takes_no_name_for_markup():
    text = html(boards([results("c", drawn("<script>x", 3.0), methods=("<script>x",))]))
    assert "<script>x" not in text and "&lt;script&gt;x" in text
    assert "http" not in text and text.count("<script>") == 1
    assert 'data-v="3.0"' in text


def test_the_first_page_of_the_committed_results_has_every_comparison_and_task():
    found = read_all(DOCS)
    text = page(found)
    assert all(f"({each.name}.md)" in text for each in found)
    assert {board.task for board in boards(found)} >= {"generating", "restoring", "detecting"}
    for board in boards(found):
        assert markdown([board]).count("\n| ") == len(board.lines) + 2
    assert (DOCS / "index.md").read_text("utf-8").startswith(text.partition("##")[0])


def test_every_metric_of_a_task_is_known():
    names = [name for task in leaderboard.TASKS for name in task.metrics]
    known = [name for name in names if leaderboard.words.quantity(name)]
    assert {"fd", "psnr", "auroc", "accuracy"} <= set(known)
