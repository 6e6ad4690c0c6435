"""What a tracker is told is what the run folder holds. TensorBoard is asked itself; the others are
stood for by modules with the calls that their documentation names.
"""

import sys
import types

import pytest

from gradlogp.bridges.export import export
from gradlogp.bridges.track import TRACKERS, Followed, Tracker, following, tracker
from gradlogp.cli import main
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.harness import load
from gradlogp.runs import Run


@pytest.fixture
def told(monkeypatch):
    """Calls of a module that stands for wandb, trackio and mlflow."""
    calls = []

    def noted(name, value=None):
        return lambda *words, **named: calls.append((name, words, named)) or value

    run = types.SimpleNamespace(log=noted("log"), finish=noted("finish"))
    fake = types.SimpleNamespace(
        init=noted("init", run),
        Image=lambda path: path,
        **{
            name: noted(name)
            for name in (
                *("set_experiment", "start_run", "log_dict"),
                *("log_metrics", "log_artifact", "end_run"),
            )
        },
    )
    for name in ("wandb", "trackio", "mlflow"):
        monkeypatch.setitem(sys.modules, name, fake)
    return calls


def begun(path):
    return Run.create(path, {"recipe": "none"}, {})


@pytest.mark.parametrize("kind", ["wandb", "trackio", "mlflow"])
def test_numbers_and_pictures_are_told_once_and_in_order(kind, told, tmp_path):
    with following(Silent(), kind, tmp_path / "run") as listener, begun(tmp_path / "run") as run:
        listener.begin("train", 2)
        run.record(1, {"loss": 3.0, "odd": float("nan")})
        listener.end()
        run.record(2, {"loss": 2.0})
        run.picture("progress").write_bytes(b"png")
    names = ["log", "log", "log"] if kind != "mlflow" else ["log_metrics"] * 2 + ["log_artifact"]
    logs = [call for call in told if call[0] in names]
    assert [call[0] for call in logs] == names
    assert [call[1][0] for call in logs[:2]] == [{"loss": 3.0}, {"loss": 2.0}]
    assert [call[2]["step"] for call in logs[:2]] == [1, 2]
    assert told[-1][0] == ("end_run" if kind == "mlflow" else "finish")


def test_a_run_that_goes_on_tells_what_is_new_and_a_rewind_what_comes_again(told, tmp_path):
    with begun(tmp_path) as run:
        run.record(1, {"loss": 1.0})
        followed = Followed(tmp_path, tracker("wandb", tmp_path, "a", {}), new=False)
        run.record(2, {"loss": 2.0})
        followed.look()
        run.rewind(1)
        followed.look()
        run.record(2, {"loss": 2.5})
        followed.look()
    losses = [call[1][0]["loss"] for call in told if call[0] == "log"]
    assert losses == [2.0, 2.5]


def test_a_tracker_that_fails_is_said_once_and_left(tmp_path):
    class Broken:
        def record(self, step, numbers):
            raise RuntimeError("no route")

    broken = Tracker(Broken())
    broken.record(1, {"loss": 1.0})
    broken.record(2, {"loss": 1.0})
    assert str(broken.failure) == "no route"


def test_a_tracker_that_is_not_installed_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with (
        pytest.raises(UserError, match=r"pip install 'gradlogp\[trackers\]'"),
        following(Silent(), "trackio", tmp_path),
    ):
        pass
    with pytest.raises(UserError, match="there is no tracker 'board'; there are tensorboard"):
        tracker("board", tmp_path, "", {})
    assert set(TRACKERS) == {"tensorboard", "wandb", "trackio", "mlflow"}


def scalars(folder):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs the extra trackers"
    )
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    return events


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_the_numbers_of_a_run_back(score_run, tmp_path):
    export(score_run, "tensorboard", tmp_path)
    events = scalars(tmp_path)
    kept = load(score_run).run.metrics()
    found = [(event.step, event.value) for event in events.Scalars("loss")]
    assert found == [(row["step"], pytest.approx(row["loss"], rel=1e-6)) for row in kept]
    assert events.Tags()["images"]


@pytest.mark.filterwarnings("ignore")
def test_training_tells_tensorboard_while_it_goes(tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra trackers")
    brief = "training.images=64 training.batch=16 training.log_every=1 training.checkpoint_every=2"
    small = ["net.channels=8,16", "sampler.levels=4"]
    words = ["train", "ncsn", "--track", "tensorboard", "--out", str(tmp_path / "run")]
    assert main([*words, "--set", *brief.split(), *small]) in (0, 3)
    events = scalars(tmp_path / "run" / "tracker")
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
