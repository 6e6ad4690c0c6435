"""`gradlogp list` reads the source: what it prints is what the members themselves say."""

import inspect
import subprocess
import sys
from typing import Any

import pytest

from gradlogp.cli import contents
from tests.tables import TABLES


def said_of(member: Any) -> str:
    """What a member that was imported says of itself."""
    if isinstance(member, str):
        return member
    said = getattr(member, "question", None) or getattr(member, "says", None)
    return " ".join((said or inspect.getdoc(member) or "").partition("\n\n")[0].split())


@pytest.mark.parametrize("kind", TABLES)
def test_what_is_read_is_what_the_members_say(kind: str) -> None:
    assert contents.members(kind) == {name: said_of(m) for name, m in TABLES[kind].items()}
    assert list(contents.members(kind)) == list(TABLES[kind])


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "from gradlogp.cli import main; import sys; main(['list']);"
        " print(sorted({'torch', 'numpy', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("\n[]\n"), done.stderr


SOURCES = {
    "a": '"""A."""\nfrom gradlogp.b import made, Kind as Other\nfrom gradlogp import b\n'
    'TABLE = {"call": made("of a call", 3), "class": Other, "method": Other.way, "far": b.LATER}\n',
    "b": "from gradlogp.c import Kind\n"
    'def made(says, n): ...\nLATER: "made" = made(n=2, says="later "\n "on")\n',
    "c": 'class Kind:\n    """Folded\n    here.\n\n    More."""\n'
    '    def way(self):\n        "A way."\n',
}


def test_names_are_followed_as_an_import_would_follow_them(tmp_path, monkeypatch) -> None:
    for module, text in SOURCES.items():
        (tmp_path / f"{module}.py").write_text(text)
    (tmp_path / "__init__.py").touch()
    monkeypatch.setattr(contents, "PACKAGE", tmp_path)
    monkeypatch.setitem(contents.TABLES, "kind", "gradlogp.a:TABLE")
    contents.names.cache_clear()
    try:
        assert contents.members("kind") == {
            "call": "of a call",
            "class": "Folded here.",
            "method": "A way.",
            "far": "later on",
        }
    finally:
        contents.names.cache_clear()


def test_a_table_that_is_computed_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "computed.py").write_text("TABLE = dict(a=1)\n")
    monkeypatch.setattr(contents, "PACKAGE", tmp_path)
    monkeypatch.setitem(contents.TABLES, "kind", "gradlogp.computed:TABLE")
    with pytest.raises(ValueError, match="a dict written out, one line a member"):
        contents.members("kind")
