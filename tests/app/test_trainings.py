"""One training at a time, however many ask at once."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gradlogp.app.asks import Training
from gradlogp.app.trainings import Trainings
from gradlogp.core.errors import UserError


class Endless:
    """A process that runs until it is told to stop; it takes its time to begin."""

    begun = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        time.sleep(0.1)
        Endless.begun += 1
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code

    def send_signal(self, signal: int) -> None:
        self.code = 0

    def wait(self, timeout: float | None = None) -> int:
        return 0


def test_of_two_requests_at_once_one_begins_and_the_other_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", Endless)
    monkeypatch.setattr(Endless, "begun", 0)
    jobs = Trainings(tmp_path, None)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(jobs.begin, Training(experiment="ebm")) for _ in range(2)]
    errors = [future.exception() for future in asked]
    assert Endless.begun == 1
    assert sorted(type(error) for error in errors if error) == [UserError]
    jobs.close()
