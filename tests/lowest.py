"""The oldest versions that pyproject.toml promises to work with, as constraints for pip.

python -m tests.lowest > lowest.txt
pip install -c lowest.txt -e . pytest pytest-timeout pytest-xdist
pytest tests/test_package.py tests/cli/test_words.py tests/runs tests/data tests/metrics tests/zoo
"""

import re
import tomllib
from pathlib import Path

BOUND = re.compile(r"([\w.-]+)(?:\[[\w,-]+\])?\s*>=\s*([\w.]+)")


def bounds(extra: str = "") -> dict[str, str]:
    """Name -> oldest version of what the package needs, or one of its extras. Raises ValueError for
    a requirement without a lower bound.
    """
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    words = project["optional-dependencies"][extra] if extra else project["dependencies"]
    found = {word: BOUND.match(word) for word in words if not word.startswith("gradlogp")}
    for word, match in found.items():
        if match is None:
            raise ValueError(f"{word!r} has no lower bound; write it as name>=version.")
    return {match[1]: match[2] for match in found.values() if match}


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in bounds().items()))
