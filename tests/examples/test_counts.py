"""What the README says that there is, there is."""

import re
from pathlib import Path

from gradlogp.cli.show import TABLES

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_readme_counts_the_tables_as_they_are() -> None:
    kinds = {
        "samplers": "samplers",
        "objectives": "objectives",
        "models": "models",
        "noise processes": "processes",
        "targets": "targets",
        "metrics": "metrics",
    }
    said = {
        kinds[words]: int(n) for n, words in re.findall(rf"(\d+) ({'|'.join(kinds)})\b", README)
    }
    assert said == {kind: len(TABLES[kind]) for kind in kinds.values()}
