"""Build the site: python docs/tools/build.py OUT, or python3 go.py docs, which also sets up.

docs/ and what is made of the code and the notebooks  ->  build/docs/  ->  Zensical  ->  site/
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from docs.tools import navigation, notebooks, reference  # noqa: E402


def write(folder: Path) -> None:
    """`folder`/docs, all pages, and `folder`/mkdocs.yml, which builds them into `folder`/site."""
    docs = folder / "docs"
    ignored = shutil.ignore_patterns(*navigation.APART, "site.yml", "*.json")
    shutil.copytree(ROOT / "docs", docs, ignore=ignored)
    for file in docs.rglob("*.ipynb"):
        file.with_suffix(".md").write_text(notebooks.markdown(file), encoding="utf-8")
    (docs / "reference" / "modules").mkdir(parents=True)
    for path, text in reference.pages().items():
        (docs / path).write_text(text, encoding="utf-8")
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(settings(docs)), encoding="utf-8")


def settings(docs: Path) -> dict[str, Any]:
    """docs/site.yml with the patterns of its navigation filled in."""
    found = yaml.safe_load((ROOT / "docs" / "site.yml").read_text(encoding="utf-8"))
    entries = found["nav"]
    found["nav"] = navigation.filled(entries, navigation.pages(docs), navigation.named(entries))
    found["plugins"][-1]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT / "src")]
    return found


def build(folder: Path) -> int:
    """The exit status of a strict build of what `write` wrote; a dead link fails it."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "zensical", "build", "--strict", "-f", "mkdocs.yml"]
    return subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}).returncode


def main(out: Path) -> int:
    work = ROOT / "build" / "docs-site"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    write(work)
    if code := build(work):
        return code
    shutil.rmtree(out, ignore_errors=True)
    shutil.move(work / "site", out)
    print(f"{out / 'index.html'} opens in any browser, without a network.")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "site").resolve()))
