"""A folder shows its rows and its picture, and nothing of theirs is taken for HTML."""

from gradlogp.bridges.notebook import show
from gradlogp.harness import load


def test_a_run_shows_its_state_and_a_picture(score_run):
    page = show(score_run)._repr_html_()
    assert "score: trained" in page and 'src="data:image/png;base64,' in page


def test_rows_are_shown_and_escaped(score_run):
    with load(score_run).run as run:
        run.update_results(
            [
                {
                    "metric": "<b>",
                    "axes": {"method": "a&b"},
                    "value": 0.12345,
                    "stderr": None,
                    "n": 7,
                    "seed": 0,
                    "protocol": "p",
                    "seconds": 1.0,
                    "evaluations": 1,
                }
            ]
        )
    page = show(score_run)._repr_html_()
    assert "<td>&lt;b&gt;</td><td>a&amp;b</td><td>0.1235</td><td></td><td>7</td>" in page
