"""The command line from end to end, on the digits, with tiny networks: train, sample, denoise,
evaluate, report, compare.
"""

import importlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gradlogp import data
from gradlogp.cli import main
from gradlogp.cli.terminal import ProgressTask
from gradlogp.experiments import COMPARISONS
from gradlogp.harness import Evaluator, Target, prepare
from gradlogp.harness.kinds import Picture
from gradlogp.models import ConvClassifier
from gradlogp.runs import Run, write_json
from gradlogp.show import Film
from gradlogp.training import unhealthy
from tests.reports import fake

ENERGY = [
    "training.images=1920",
    "training.checkpoint_every=10",
    "training.log_every=10",
    "net.channels=8,8",
    "net.width=8",
    "chain_steps=3",
    "generate_steps=6",
    "buffer.capacity=128",
    "posterior.steps=3",
]
SCORE = [
    "training.images=1920",
    "training.checkpoint_every=10",
    "training.log_every=10",
    "net.channels=8,8",
    "sampler.levels=15",
]
MEASURED = ["evaluation.samples=40", "evaluation.denoise=10", "evaluation.sigmas=.3,.5"]
EBM = ["train", "ebm", "--seed", "1", "--set", *ENERGY, *MEASURED]
NCSN = ["train", "ncsn_class", "--set", *SCORE, *MEASURED]


def run(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    """What the command prints with --json."""
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module", autouse=True)
def content() -> Iterator[None]:
    """Thirty updates draw nothing worth having; but for one test, nobody minds here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradlogp.cli.learn.unhealthy", lambda status: "")
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained energy and a trained conditional score; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    assert (
        main([*EBM, "--out", str(folder / "ebm")])
        == main([*NCSN, "--out", str(folder / "ncsn")])
        == 0
    )
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, and the working directory."""
    shutil.copytree(trained, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return Path("runs")


@pytest.fixture
def quick_evaluator(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation classifier that has learned nothing, for tests that are not about numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ConvClassifier((1, 8, 8), 10).eval().requires_grad_(False)
    ignorant = Evaluator(model, Picture(), 1.0, 0.1, "classifier 0, which learned nothing")
    for room in ("gradlogp.cli.use", "gradlogp.harness.compare"):
        monkeypatch.setattr(importlib.import_module(room), "evaluator_of", lambda *_: ignorant)


def numbers(path: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in Run.open(path).metrics()]


def test_training_leaves_a_run_a_report_and_the_next_command(trained: Path) -> None:
    run = Run.open(trained / "ebm")
    assert (
        run.status()["state"] == "trained"
        and run.status()["images"] == 1920
        and run.config["recipe"]["seed"] == 1
    )
    assert "<html" in (trained / "ebm" / "report.html").read_text()[:500]


def test_the_words_at_the_end_say_what_to_do_next(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*EBM, "--out", "runs/ebm"]) == 0  # trained already
    out = capsys.readouterr().out
    assert "gradlogp sample runs/ebm" in out and "runs/ebm/report.html" in out


@pytest.mark.parametrize("out", [["--out", "runs/again"], []], ids=["out", "no out"])
def test_a_stopped_command_says_where_it_goes_on_and_does(
    out: list[str], runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(task: ProgressTask, count: int = 1, **_: float) -> None:
        task.done += count
        if task.label == "train" and task.done == 17:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ProgressTask, "advance", stop)
        assert main([*EBM, *out]) == 130
    assert "stopped; the same command goes on from step 10 in runs/" in capsys.readouterr().err
    result = run(capsys, *EBM, *out)
    assert len(list(runs.iterdir())) == 3 and result["state"] == "trained"
    assert numbers(Path(result["run"])) == numbers(runs / "ebm")


def test_a_finished_run_is_not_begun_again_but_a_new_one_is(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [word.replace("1920", "640") for word in EBM]
    first = run(capsys, *few)["run"]
    second = run(capsys, *few)["run"]
    assert first != second and numbers(Path(first)) == numbers(Path(second))


def test_other_settings_are_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*EBM, "chain_steps=4", "--out", "runs/ebm"]) == 2
    assert "chain_steps is 3 there and 4 here" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ebm", "ncsn"])
def test_a_seed_gives_the_same_samples_in_any_batch(
    name: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = []
    for i, (n, batch) in enumerate([(30, 7), (30, 100), (22, 100)]):
        assert (
            main(
                [
                    "sample",
                    f"runs/{name}",
                    "--n",
                    str(n),
                    "--seed",
                    "5",
                    "--batch",
                    str(batch),
                    "--out",
                    f"{i}.npz",
                ]
            )
            == 0
        )
        drawn.append(np.load(f"{i}.npz")["samples"])
    assert (
        drawn[0].dtype == np.float32
        and drawn[0].shape == (30, 1, 8, 8)
        and drawn[0].min() >= 0
        and drawn[0].max() <= 1
    )
    assert np.allclose(drawn[0], drawn[1], atol=1e-4) and np.allclose(
        drawn[0][:22], drawn[2], atol=1e-4
    )
    assert drawn[0].std(0).max() > 0.01


def test_samples_bear_the_class_that_was_asked_for(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "sample", "runs/ncsn", "--n", 12, "--class", 3, "--out", "three.npz")
    run(capsys, "sample", "runs/ncsn", "--n", 12, "--out", "all.npz")
    run(capsys, "sample", "runs/ebm", "--n", 12, "--out", "none.npz")
    assert np.load("three.npz")["labels"].tolist() == [3] * 12
    assert np.load("all.npz")["labels"].tolist() == [*range(10), 0, 1]
    assert "labels" not in np.load("none.npz")


def test_a_grid_of_samples(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "sample", "runs/ebm", "--n", 25, "--steps", 2)
    assert result["out"] == "runs/ebm/samples/samples-seed0.png" and result["steps"] == 2
    with Image.open(result["out"]) as picture:
        assert picture.size == (10 * 66 - 2, 3 * 66 - 2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("sample runs/ebm --out x.jpg", "ends in .png or .npz"),
        ("sample runs/ebm --class 3", "not conditional"),
        ("sample runs/ncsn --class 10", "0 to 9"),
        ("denoise runs/ebm picture.png --sigma 0.3 --out x.npz", "ends in .png"),
        (
            "denoise runs/ebm picture.png --sigma 0.3 --out runs/ebm/config.json/x.png",
            "cannot write in",
        ),
    ],
)
def test_what_a_run_cannot_do_is_one_line(
    words: str, says: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (8, 8)).save("picture.png")
    assert main(words.split()) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ebm", "ncsn"])
def test_a_picture_of_any_size_is_denoised(
    name: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (30, 20, 3), np.uint8)).save(
        "mine.png"
    )
    result = run(
        capsys, "denoise", f"runs/{name}", "mine.png", "--sigma", "0.3", "--out", "deep/y.png"
    )
    assert "20x30 RGB -> grey" in result["fitted"]
    with Image.open("deep/y.png") as picture:
        assert picture.size == (8, 8)


def test_noise_that_was_added_is_measured(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (8, 8), 128).save("grey.png")
    result = run(
        capsys, "denoise", "runs/ncsn", "grey.png", "--sigma", "0.1", "--add-noise", "--seed", "3"
    )
    assert (
        abs(result["psnr_noisy"] - 20) < 4 * 10 / np.log(10) * (2 / 64) ** 0.5
    )  # four standard errors of 64 squares
    assert (
        result["psnr_restored"] > 5 and Path("runs/ncsn/samples/denoised-grey-noisy.png").exists()
    )


def test_a_score_has_bits_per_dimension_beside_its_references(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = run(capsys, "likelihood", "runs/ncsn", "--n", 12, "--levels", 4, "--seed", 1)["rows"]
    bits, histogram, gaussian = (row["value"] for row in rows)
    assert 0 < bits < 20 and 2 < histogram < gaussian < 4 and rows[0]["trivial"] == histogram
    assert (
        rows[0]["n"] == 12 and rows[0]["evaluations"] == 146 and "17 numbers" in rows[0]["protocol"]
    )
    again = run(capsys, "likelihood", "runs/ncsn", "--n", 12, "--levels", 4, "--seed", 1)["rows"]
    assert again[0]["value"] == bits and len(Run.open("runs/ncsn").results()) == 3
    assert (
        main(["likelihood", "runs/ncsn", "--n", "2", "--levels", "2", "--divergence", "exact"]) == 0
    )
    out = capsys.readouterr().out
    assert "bits_per_dim_gaussian" in out and "exact divergence" in out and "given its class" in out


def test_an_energy_from_short_chains_has_no_likelihood(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["likelihood", "runs/ebm"]) == 2
    assert "a generator, which has no known density; take a run of ncsn" in capsys.readouterr().err


def test_evaluating_fills_the_results_and_the_report(
    runs: Path, quick_evaluator: None, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = run(capsys, "evaluate", "runs/ncsn")["rows"]
    assert {"fd", "agreement", "psnr"} <= {row["metric"] for row in rows}
    assert {row["seed"] for row in rows} == {Run.open("runs/ncsn").config["recipe"]["seed"]}
    assert Run.open("runs/ncsn").status()["state"] == "evaluated" and len(
        Run.open("runs/ncsn").results()
    ) == len(rows)
    assert run(capsys, "report", "runs/ncsn")["report"] == "runs/ncsn/report.html"
    assert main(["evaluate", "runs/ncsn"]) == 0
    assert "psnr at noise 0.3" in capsys.readouterr().out


def test_a_run_is_not_evaluated_on_other_data_or_before_its_end(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = data.load("digits")
    with monkeypatch.context() as patch:
        other = replace(here, checksums={"digits.csv.gz": "0f" * 32})
        patch.setattr(data, "load", lambda *_: other)
        assert main(["evaluate", "runs/ebm"]) == 2
    assert "other pictures" in capsys.readouterr().err
    Path("runs/ncsn/status.json").unlink()
    assert main(["evaluate", "runs/ncsn"]) == 2
    assert "not trained to its end" in capsys.readouterr().err


def test_a_comparison_ends_with_its_table_and_resumes(
    quick_evaluator: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    changes = [*SCORE, *MEASURED, "training.images=640"]
    words = [
        "compare",
        "ncsn_class",
        "--seed",
        "3",
        "--seeds",
        "2",
        "--out",
        "c",
        "--set",
        *changes,
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    for text in (
        "real training pictures",
        "ncsn_class",
        "Gaussian of the pixels",
        "training s",
        "noisy",
        "c/report.html",
    ):
        assert text in out
    result = run(capsys, *words)
    assert result["training"]["ncsn"]["images"] == 640 and {
        row["method"] for row in result["rows"]
    } >= {"ncsn", "ncsn_class"}
    folders = {path.parent.name for path in Path("c").glob("*/config.json")}
    assert folders == {"ncsn-seed3", "ncsn-seed4", "ncsn_class-seed3", "ncsn_class-seed4"}
    assert main([*words, "training.batch=32"]) == 2
    assert "training.images=640 changed; give another --out" in capsys.readouterr().err


def test_the_demo_is_the_comparison_of_four(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def compare(args: Any, terminal: Any) -> None:
        asked.append(args)
        assert (args.out / "samples" / "opening.gif").exists()  # it is there to begin with
        write_json(args.out / "compare.json", {"comparison": "demo", "methods": ["ebm"]})
        fake.run(args.out / "ebm", "ebm").close()

    monkeypatch.setattr("gradlogp.cli.demo.compare", compare)
    monkeypatch.setattr("gradlogp.cli.demo._opening", lambda: Film([Image.new("L", (4, 4))] * 2))
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--seed", "2"]) == 0
    assert (
        asked[0].comparison,
        asked[0].dataset,
        asked[0].preset,
        asked[0].out,
        asked[0].seed,
    ) == ("demo", "digits", "quick", Path("runs/demo"), 2)
    assert "gradlogp sample runs/demo/ncsn_class" in capsys.readouterr().out


def test_the_demo_trains_for_less_than_its_recipes_say_and_nothing_else_does() -> None:
    """Somebody waits for it; on other data, and for another question, the budgets stand."""
    demo = COMPARISONS["demo"]
    (short, *_), (whole, *_) = (
        prepare(demo, Target(name, "picture", shape), "quick", Path())
        for name, shape in (("digits", (1, 8, 8)), ("mnist", (1, 28, 28)))
    )
    alone = prepare(COMPARISONS["ebm"], Target("digits", "picture", (1, 8, 8)), "quick", Path())[0]
    assert short.settings.training.images < 0.4 * alone.settings.training.images
    assert whole.settings.training.images == 128_000


def test_another_sampler_than_the_runs_can_draw(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sample", "runs/ncsn", "--n", "4", "--out", "x.npz", "--sampler", "dpm_solver"]
    assert main([*words, "--steps", "5", "--set", "order=3"]) == 0
    assert "5 steps each" in capsys.readouterr().out
    assert (
        main(["sample", "runs/ebm", "--n", "2", "--sampler", "mala", "--set", "step_size=.01"]) == 0
    )
    assert main(["sample", "runs/ncsn", "--sampler", "gibbs"]) == 2
    assert "those that fit are annealed_langevin" in capsys.readouterr().err


def test_a_training_whose_samples_are_useless_says_so_last_and_exits_with_3(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradlogp.cli.learn.unhealthy", unhealthy)
    assert main([*EBM, "--out", "runs/ebm"]) == 3
    assert "The run is kept: runs/ebm." in capsys.readouterr().err.splitlines()[-1]
