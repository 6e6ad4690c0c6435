"""`gradlogp app` as a person begins and ends it."""

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from gradlogp.cli.arguments import App
from gradlogp.cli.shared import Refused


@pytest.mark.slow
def test_the_command_says_its_address_answers_there_and_ends_with_a_signal(folder):
    words = [sys.executable, "-m", "gradlogp", "app", "--runs", str(folder), "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        with urllib.request.urlopen(f"{address}api/models", timeout=120) as answer:
            assert b"zoo:digits-ebm" in answer.read()
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in complaint


@pytest.mark.parametrize(
    "wrong", [{"port": -1}, {"port": 70_000}, {"token": "short"}, {"token": "a" * 16 + ";"}]
)
def test_flags_that_no_studio_takes_are_refused(wrong):
    with pytest.raises(Refused, match=f"--{next(iter(wrong))}"):
        App(**wrong)


def test_without_the_extra_a_line_says_what_to_install(tmp_path):
    (tmp_path / "uvicorn.py").write_text("raise ImportError('no uvicorn')")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "gradlogp", "app"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 2 and "pip install 'gradlogp[app]'" in done.stderr
    assert done.stderr.count("\n") == 1
