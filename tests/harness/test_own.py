"""Any network on any data: the run folder is that of every other run."""

import json
import sys

import pytest
import torch

from gradlogp import reports
from gradlogp.cli import main
from gradlogp.core.errors import UserError
from gradlogp.data import Dataset
from gradlogp.harness import evaluate, evaluator_of, load
from gradlogp.harness.own import fit, path_of
from gradlogp.objectives import DenoisingScoreMatching, ImplicitScoreMatching, LogNormal
from gradlogp.training import Training

HERE = "tests.harness.own_models"


@pytest.fixture
def rows():
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)) * 2 + 1
    return Dataset.of("mine", x)


def denoising():
    return DenoisingScoreMatching(LogNormal(-0.5, 1.0), "edm", 1.0)


BRIEF = Training(640, 64, log_every=1, checkpoint_every=2)


@pytest.mark.parametrize("name", ["score", "plain"])
def test_a_network_with_levels_is_trained_sampled_and_reported(name, rows, tmp_path):
    run = fit(f"{HERE}:{name}", rows, denoising(), tmp_path / "run", training=BRIEF)
    assert run.status()["state"] == "trained"
    x, _ = load(tmp_path / "run").draw(50)
    assert x.shape == (50, 2) and x.isfinite().all()
    assert (
        main(["sample", str(tmp_path / "run"), "--n", "5", "--out", str(tmp_path / "x.npz")]) == 0
    )
    assert reports.write(tmp_path / "run").exists()


def test_a_run_on_rows_without_classes_is_evaluated(rows, tmp_path, monkeypatch):
    """By features that tell in which of four ways a row is shown."""
    run = fit(f"{HERE}:score", rows, denoising(), tmp_path / "run", training=BRIEF)
    monkeypatch.setattr("gradlogp.harness.evaluator.budget", lambda *_: Training(640))
    evaluator = evaluator_of(rows, tmp_path / "evaluator")
    assert evaluator.name.startswith("classifier of ways")
    found = {row["metric"] for row in evaluate(load(tmp_path / "run"), rows, evaluator)}
    assert {"fd", "coverage"} <= found and "inception_score" not in found
    assert run.status()["state"] == "evaluated" and run.results()


def test_an_energy_finds_the_precision_of_gaussian_rows(rows, tmp_path):
    """Standardised columns have precision 1; 1,500 updates of score matching bring sqrt(P) there."""
    settings = Training(96_000, 64, learning_rate=3e-3)
    fit(f"{HERE}:bowl", rows, ImplicitScoreMatching(), tmp_path / "run", training=settings)
    fitted = load(tmp_path / "run")
    assert (fitted.model.scale.square() - 1).abs().max() < 0.15
    assert fitted.draw(20)[0].shape == (20, 2)


def test_a_run_that_was_stopped_ends_at_the_same_weights(rows, tmp_path):
    class Stop(Exception):
        pass

    class AtFive:
        count = 0

        def advance(self, count=1, **numbers):
            self.count += 1
            if self.count == 5:
                raise Stop

        def begin(self, *words): ...
        def end(self): ...
        def say(self, text): ...
        def task(self, name): ...

    whole = fit(f"{HERE}:score", rows, denoising(), tmp_path / "a", training=BRIEF)
    with pytest.raises(Stop):
        fit(f"{HERE}:score", rows, denoising(), tmp_path / "b", training=BRIEF, listener=AtFive())
    broken = fit(f"{HERE}:score", rows, denoising(), tmp_path / "b", training=BRIEF)
    for name, x in whole.load("ema")[0].items():
        assert torch.equal(x, broken.load("ema")[0][name])


def test_what_cannot_be_imported_again_is_refused_before_anything_is_written(rows, tmp_path):
    def local(spec):
        raise AssertionError

    wrong = {
        "no_such_module:f": r"'no_such_module:f' cannot be imported",
        f"{HERE}:missing": "has no attribute 'missing'",
        "words": "named as module:function, got 'words'",
        f"{HERE}:nothing": "gave Linear, which is no torch.nn.Module with field",
        local: "must find its model again by import",
        (lambda spec: None): "must find its model again by import",
    }
    for model, said in wrong.items():
        with pytest.raises(UserError, match=said):
            fit(model, rows, denoising(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_function_is_named_by_its_module():
    from tests.harness.own_models import score

    assert path_of(score) == f"{HERE}:score"


def test_a_run_whose_module_is_gone_says_so_in_one_line(rows, tmp_path, capsys, monkeypatch):
    fit(f"{HERE}:score", rows, denoising(), tmp_path / "run", training=BRIEF).close()
    monkeypatch.setitem(sys.modules, HERE, None)
    assert main(["sample", str(tmp_path / "run"), "--n", "2"]) == 2
    assert "cannot be imported" in capsys.readouterr().err


def test_a_run_of_the_hub_imports_nothing(rows, tmp_path, monkeypatch):
    fit(f"{HERE}:score", rows, denoising(), tmp_path / "run", training=BRIEF).close()
    monkeypatch.setattr(
        sys.modules["gradlogp.harness.fit"], "located", lambda path: tmp_path / "run"
    )
    monkeypatch.delitem(sys.modules, HERE)
    with pytest.raises(UserError, match=f"names {HERE}, which has not been imported"):
        load("hf:me/mine")
    assert HERE not in sys.modules
    assert json.loads((tmp_path / "run" / "config.json").read_text())
