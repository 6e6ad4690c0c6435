import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from gradlogp.core.errors import UserError
from gradlogp.harness.launch import Part, side_by_side


class Heard:
    def __init__(self, name="", words=None):
        self.name, self.words = name, [] if words is None else words

    def task(self, name):
        return Heard(name, self.words)

    def __getattr__(self, verb):
        return lambda *words, **_: self.words.append((self.name, verb, words))


def count(n, path, listener):
    listener.begin("count", n)
    for _ in range(n):
        listener.advance()
    listener.say(f"{n} counted")
    listener.end()
    path.write_text(str(n))


def fail(listener):
    raise UserError("this part cannot be done")


@pytest.mark.parametrize("workers", [1, 2])
def test_all_parts_are_done_and_heard(tmp_path, workers):
    heard = Heard()
    side_by_side(
        [Part(f"part{n}", count, (n, tmp_path / str(n))) for n in (3, 5, 7)], workers, heard
    )
    assert sorted(p.read_text() for p in tmp_path.iterdir()) == ["3", "5", "7"]
    advanced = sum(sum(words) or 1 for _, verb, words in heard.words if verb == "advance")
    assert advanced == 15
    if workers == 2:
        assert ("part7", "say", ("7 counted",)) in heard.words and (
            "part3",
            "begin",
            ("count", 3, 0),
        ) in heard.words


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_raised_here_in_one_line(tmp_path, workers):
    parts = [Part("good", count, (2, tmp_path / "2")), Part("bad", fail, ())]
    with pytest.raises(UserError, match="this part cannot be done"):
        side_by_side(parts, workers, Heard())


def forever(path, listener):
    path.write_text(str(os.getpid()))
    while True:
        time.sleep(0.01)
        listener.advance()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_workers_end_when_the_one_that_began_them_is_killed(tmp_path):
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from gradlogp.core.progress import Silent
        from gradlogp.harness.launch import Part, side_by_side
        from tests.harness.test_launch import forever
        if __name__ == "__main__":
            side_by_side([Part(str(i), forever, (Path(sys.argv[1]) / str(i),)) for i in range(2)], 2, Silent())
    """)
    (tmp_path / "main.py").write_text(script)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen([sys.executable, str(tmp_path / "main.py"), str(tmp_path)], env=env)
    deadline = time.time() + 60
    while time.time() < deadline and not all(
        (tmp_path / str(i)).exists() and (tmp_path / str(i)).read_text() for i in range(2)
    ):
        time.sleep(0.05)
    pids = [int((tmp_path / str(i)).read_text()) for i in range(2)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    while time.time() < deadline and any(map(alive, pids)):
        time.sleep(0.05)
    assert not any(map(alive, pids))


def suicide(path, times, listener):
    """Kill this process without a word, the first few times."""
    tries = len(list(path.iterdir()))
    (path / str(tries)).touch()
    if tries < times:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_killed_worker_is_replaced_and_its_part_begun_again(tmp_path):
    heard = Heard()
    (tmp_path / "tries").mkdir()
    parts = [
        Part("killed", suicide, (tmp_path / "tries", 2)),
        Part("good", count, (2, tmp_path / "good")),
        Part("last", count, (3, tmp_path / "last")),
    ]
    side_by_side(parts, 2, heard)
    assert len(list((tmp_path / "tries").iterdir())) == 3
    assert (tmp_path / "good").exists() and (tmp_path / "last").exists()
    said = [words[0] for _, verb, words in heard.words if verb == "say"]
    assert sum("killed: its process was killed by SIGKILL" in text for text in said) == 2


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_part_that_is_killed_every_time_ends_in_one_line(tmp_path):
    (tmp_path / "tries").mkdir()
    parts = [
        Part("killed", suicide, (tmp_path / "tries", 9)),
        Part("good", count, (1, tmp_path / "1")),
    ]
    with pytest.raises(UserError, match="killed by SIGKILL, 3 times; if memory is short"):
        side_by_side(parts, 2, Heard())
