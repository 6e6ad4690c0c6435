"""Whatever stands in a file of a run folder, reading it ends in one line that names the file, or
well: files cut, changed, of another type, nested, and things that are no files.
"""

import copy
import functools
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gradlogp import data, reports
from gradlogp.core.errors import UserError
from gradlogp.harness import fit, load
from gradlogp.harness.fit import recipe_of
from gradlogp.reports.read import page
from gradlogp.reports.shown import figures
from gradlogp.runs import Damaged, Run, read_comparison, tensors
from gradlogp.runs.schema import SHAPES, wrong
from gradlogp.training import train
from tests.reports import fake
from tests.training.conftest import Ring

ODD: list[Any] = [None, True, -1, 0.5, 10**400, 2**60, "", "x", "../../x", "/etc", [], {}, [[]]]
ODD += [{"a": 1}, [None], "\ud800", "nan", "a\nb", "x" * 300, [1] * 9, [10**9, 10**9]]


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Every place in a JSON value, itself included; of a long list the first."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def put(value: Any, path: tuple, new: Any) -> Any:
    """The value with another one, or nothing, at a place."""
    if not path:
        return None if new is places else new
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    if new is places:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return value


def mutants(text: str, count: int, seed: int = 0) -> Iterator[str]:
    """Texts with another value, or none, in a place of each line; then what is no JSON."""
    lines = text.splitlines() if text.startswith('{"step"') else [text]
    value = json.loads(lines[0])
    every = [(place, new) for place in places(value) for new in (*ODD, places)]
    for place, new in random.Random(seed).sample(every, min(count, len(every))):
        yield "\n".join([json.dumps(put(value, place, new)), *lines[1:]]) + "\n"
    yield from ("", "[" * 100_000 + "\n", '{"a":' * 900 + "1" + "}" * 900 + "\n", "\0\n", "NaN\n")
    yield from (text[: len(text) // 2] + "\n", "9" * 5000 + "\n", "[1e999]\n", "\ufeff" + text)


def swallow(path: Path) -> Iterator[str]:
    """What is no file, in the file's place."""
    for kind in ("folder", "pipe", "link out", "circle"):
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(path.name if kind == "circle" else "/etc/hostname")
        yield kind
        path.rmdir() if kind == "folder" else path.unlink()
        path.touch()


def one_line(job, path: Path, what: object) -> bool:
    """Whether the job was refused; and if so, in one line that names the file."""
    try:
        job()
    except UserError as error:
        said = str(error)
        assert "\n" not in said and path.name in said and len(said) < 1000, (what, said)
        said.encode()
        return True
    return False


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake.comparison(tmp_path_factory.mktemp("fake") / "c", ebm={}, ncsn={})


JSON = ["compare.json", "results.json", "ebm/config.json", "ebm/status.json", "ebm/results.json"]
JSON += ["ebm/metrics.jsonl", "ebm/samples/films.json", "ebm/samples/figures.json"]


@pytest.mark.parametrize("name", JSON)
def test_a_report_of_any_json_is_written_or_refused_in_one_line(
    comparison: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(comparison, tmp_path / "c")
    path = folder / name
    if not path.exists():
        path.write_text('{"final.png": "caption"}\n')
    text, before = path.read_text(), set(tmp_path.rglob("*"))
    refused = []

    def read() -> None:
        reports.write(folder)
        reports.write_results(folder, tmp_path / "docs")

    for mutant in mutants(text, 10):
        path.write_text(mutant, encoding="utf-8")
        refused.append(one_line(read, path, mutant[:300]))
    for kind in swallow(path):
        refused.append(one_line(read, path, kind))
    assert sum(refused) > 10
    path.write_text(text)
    read()
    made = {p for p in set(tmp_path.rglob("*")) - before if not p.is_relative_to(tmp_path / "docs")}
    assert {p.parent for p in made} <= {folder, tmp_path}


@pytest.mark.parametrize("name", JSON)
def test_every_value_in_every_place_is_read_or_refused_in_one_line(
    comparison: Path, tmp_path: Path, name: str
) -> None:
    """All mutants, at the door alone."""
    folder = shutil.copytree(comparison, tmp_path / "c")
    path = folder / name
    if not path.exists():
        path.write_text('{"final.png": "caption"}\n')
    run = folder / "ebm"
    readers = {
        "compare.json": lambda: read_comparison(folder),
        "results.json": lambda: read_comparison(folder),
        "ebm/config.json": lambda: Run.open(run),
        "ebm/status.json": lambda: Run.open(run).status(),
        "ebm/results.json": lambda: Run.open(run).results(),
        "ebm/metrics.jsonl": lambda: Run.open(run).metrics(),
        "ebm/samples/films.json": lambda: page(run).first.films,
        "ebm/samples/figures.json": lambda: figures(run),
    }
    refused = []
    for mutant in mutants(path.read_text(), 3000):
        path.write_text(mutant, encoding="utf-8")
        refused.append(one_line(readers[name], path, mutant[:300]))
    assert sum(refused) > 20


def test_the_shapes_say_what_is_wrong() -> None:
    row = {"metric": "fd", "value": 1.0, "axes": {"noise": 0.3, "of": "x"}}
    good = {"format": 2, "rows": [row]}
    assert not wrong(good, SHAPES["results.json"])
    for bad, said in (
        ([], "it should be an object, but is a list"),
        ({"format": 2}, "it has no 'rows'"),
        ({"format": 2, "rows": {}}, "rows should be a list, but is an object"),
        ({"format": 2, "rows": [row, {}]}, "rows[1] has no 'metric'"),
        ({"format": 2, "rows": [row | {"axes": {"noise": []}}]}, "noise should be a number or"),
        ({"format": 2, "rows": [row | {"value": True}]}, "value should be a number or null"),
    ):
        assert said in wrong(bad, SHAPES["results.json"])


# --- tensors with a right digest and wrong content ---


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ring") / "run"
    with Run.create(path, {"what": "ring"}) as run:
        small = Ring(images=64 * 20)
        train(small.learner(), small.batches(), run)
    return path


def wrong_states(state: dict, meta: dict) -> Iterator[tuple[str, dict, Any]]:
    yield "nothing", {}, meta
    yield "a key more", {**state, "strange": torch.ones(1)}, meta
    yield "a part more", {**state, "strange.x": torch.ones(1)}, meta
    for part in ("model", "ema", "objective", "random", "optimizer"):
        mine = [key for key in state if key.startswith(part + ".")]
        for key in (mine[0], mine[-1]):
            x = state[key]
            yield f"without {key}", {k: v for k, v in state.items() if k != key}, meta
            yield f"another shape of {key}", {**state, key: torch.zeros(*x.shape, 7)}, meta
            yield f"another name than {key}", {**state, key + "x": x, f"{part}.99.y": x}, meta
            if x.is_floating_point() and part != "objective":
                yield f"nan in {key}", {**state, key: torch.full_like(x, torch.nan)}, meta
    for place in places(meta):
        for new in (None, "x", [], {}, -1, places):
            number = place[-1:] != () and new in (-1,)
            if place and not number and "running_mean" not in place[:-1] and place[0] != "run":
                yield f"{place} {new}", state, put(meta, place, new)


def test_a_checkpoint_with_a_right_digest_and_wrong_content_is_refused(
    trained: Path, tmp_path: Path
) -> None:
    path = sorted((trained / "state").glob("step-*"))[-1]
    state, meta = tensors.read(path)
    refused = 0
    for what, wrong_state, wrong_meta in wrong_states(state, meta):
        folder = shutil.copytree(trained, tmp_path / "run")
        tensors.write(folder / "state" / path.name, wrong_state, wrong_meta)
        small = Ring(images=64 * 20)

        def go_on(folder: Path = folder, small: Ring = small) -> None:
            with Run.open(folder) as run:
                train(small.learner(), small.batches(), run)

        refused += one_line(go_on, path, what) or _harmless(what)
        shutil.rmtree(folder)
    assert refused > 40


def _harmless(what: str) -> bool:
    """Of a checkpoint: what stands in some other right one."""
    allowed = ("came_from", "warned", "'running_mean') {}")
    assert any(word in what for word in allowed), f"{what} was taken"
    return True


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gradlogp.experiments import RECIPES
    from gradlogp.harness import override
    from tests.targets import DIGITS

    small = ["training.images=64", "training.batch=32", "net.channels=2,2", "net.width=4"]
    recipe = override(RECIPES["vae"](DIGITS, "quick", 0), [*small, "decoder=4,4"])
    path = tmp_path_factory.mktemp("vae") / "run"
    fit(recipe, data.load("digits"), path, device="cpu")
    return path


def test_a_model_with_a_right_digest_and_wrong_content_is_refused(
    model: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(model, tmp_path / "run") / "ema.safetensors"
    state, note = tensors.read(path)
    key = next(iter(state))
    for what, wrong_state, wrong_note in (
        ("nothing", {}, note),
        ("a key more", {**state, "strange": torch.ones(1)}, note),
        ("a key less", {k: v for k, v in state.items() if k != key}, note),
        ("another shape", {**state, key: torch.zeros(3, 3)}, note),
        ("nan", {**state, key: torch.full_like(state[key], torch.nan)}, note),
        ("infinity", {**state, key: torch.full_like(state[key], torch.inf)}, note),
        ("nobody's", state, {}),
        ("another's", state, {"run": {"config": "0" * 16}}),
        ("null", state, {"run": None}),
        ("a list", state, {"run": []}),
    ):
        tensors.write(path, wrong_state, wrong_note)
        assert one_line(lambda: load(path.parent, "cpu"), path, what), what


@pytest.mark.parametrize("place", ["spec", "recipe"])
def test_a_config_that_describes_no_model_is_refused(
    model: Path, tmp_path: Path, place: str
) -> None:
    folder = shutil.copytree(model, tmp_path / "run")
    config = folder / "config.json"
    whole = json.loads(config.read_text())
    every = [p for p in places(whole) if p[:2] == ("config", place)]
    for path in every:
        for new in (None, "x", -1, 0, [], {}, [0], [10**9, 10**9], places):
            config.write_text(json.dumps(put(whole, path, new)))
            try:
                load(folder, "cpu")
            except UserError as error:
                assert "\n" not in str(error)


def test_a_header_with_a_right_digest_may_say_anything(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors.write(path, {"a": torch.ones(4), "b": torch.ones(2, 2)}, {"step": 1})
    raw = path.read_bytes()
    size = 8 + int.from_bytes(raw[:8], "little")
    head, body = json.loads(raw[8:size]), raw[size:]
    refused = 0
    for place in places(head):
        for new in ODD:
            if "sha256" in place:
                continue
            job = functools.partial(_read, path, put(head, place, new), body)
            refused += one_line(job, path, (place, new))
    assert refused > 200


def _read(path: Path, head: Any, body: bytes) -> None:
    """Write the file with the digest that it should have, and read it."""
    import hashlib

    notes = head.get("__metadata__") if isinstance(head, dict) else None
    if isinstance(notes, dict):
        notes["sha256"] = tensors.ZEROS
    text = json.dumps(head).encode()
    text = len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(text + body).hexdigest().encode()
    path.write_bytes(text.replace(tensors.ZEROS.encode(), digest, 1) + body)
    tensors.read(path)


# --- whose it is ---


def test_the_checkpoint_of_another_seed_is_refused(tmp_path: Path) -> None:
    for seed in (1, 2):
        with Run.create(tmp_path / str(seed), {"seed": seed}) as run:
            run.checkpoint(5, {"w": torch.ones(2)}, {})
            run.checkpoint(6, {"w": torch.ones(2)}, {})
            run.weights({"w": torch.ones(2)})
    name = "state/step-00000006.safetensors"
    shutil.copy(tmp_path / "1" / name, tmp_path / "2" / name)
    with pytest.raises(Damaged, match=r"belongs to another run.*step 5: --last-whole"):
        Run.open(tmp_path / "2").latest()
    other = "state/step-00000005.safetensors"
    shutil.copy(tmp_path / "2" / other, tmp_path / "2" / name)
    with pytest.raises(Damaged, match="checkpoint of another step"):
        Run.open(tmp_path / "2").latest()
    shutil.copy(tmp_path / "1/weights.safetensors", tmp_path / "2/weights.safetensors")
    with pytest.raises(Damaged, match="belongs to another run"):
        Run.open(tmp_path / "2").load()


@pytest.mark.parametrize("name", ["weights", "ema"])
def test_a_finished_run_with_a_flipped_bit_says_so_and_mends(
    model: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(model, tmp_path / "run")
    path = folder / f"{name}.safetensors"
    whole = path.read_bytes()
    recipe = recipe_of(Run.open(folder))
    for spoilt in (whole[:-1] + bytes([whole[-1] ^ 1]), None):
        path.write_bytes(spoilt) if spoilt else path.unlink()
        with pytest.raises(Damaged, match=rf"{name}.safetensors.*Remove \S+status.json"):
            fit(recipe, data.load("digits"), folder, device="cpu")
        (folder / "status.json").unlink()
        fit(recipe, data.load("digits"), folder, device="cpu")
        assert path.read_bytes() == whole


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "precious").write_text("text")
    for name in ("state", "samples", ".lock"):
        folder = tmp_path / f"run{name}"
        Run.create(folder, {}).close()
        (folder / ".lock").unlink()
        (folder / name).symlink_to(tmp_path / ("precious" if name == ".lock" else "elsewhere"))
        with pytest.raises(UserError) as caught, Run.open(folder) as run:
            run.checkpoint(1, {"w": torch.ones(1)}, {}) if name != "samples" else run.picture("x")
        assert "\n" not in str(caught.value)
    assert (tmp_path / "precious").read_text() == "text"
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "..", "../b", ".x"])
def test_no_name_in_a_folder_leads_out_of_it(comparison: Path, tmp_path: Path, name: str) -> None:
    """Neither where a page is written, nor to a picture that is shown on it."""
    folder = shutil.copytree(comparison, tmp_path / "a" / "b" / "c")
    note = json.loads((folder / "compare.json").read_text())
    index = folder / "samples" / "figures.json"
    index.parent.mkdir(exist_ok=True)
    for path, content in (
        (folder / "compare.json", note | {"comparison": name}),
        (folder / "compare.json", note | {"methods": [name]}),
        (index, {name: "a picture from elsewhere"}),
    ):
        before = path.read_text() if path.exists() else "{}"
        path.write_text(json.dumps(content))
        for job in (
            lambda: reports.write(folder),
            lambda: reports.write_results(folder, tmp_path / "docs"),
        ):
            with pytest.raises(UserError) as caught:
                job()
            assert "\n" not in str(caught.value)
        path.write_text(before)
    assert not (tmp_path / "docs").exists() or not list((tmp_path / "docs").rglob("*.md"))
    assert not list(tmp_path.glob("**/x*"))
