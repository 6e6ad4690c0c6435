"""Every route of the studio: its answer, and one clear line for whatever is wrong."""

import base64
import json
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image
from tests.app.frames import begun, pixels, places, read, stepped

from gradlogp import data, tasks
from gradlogp.core.targets import TARGETS
from gradlogp.experiments import RECIPES
from gradlogp.harness import load
from gradlogp.harness.detection import model_scores
from gradlogp.harness.evaluator import evaluator_of
from gradlogp.training import Training

BLACK = [0.0] * 64


def posted(client, path, **body):
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client, path, status, **body):
    answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    said = answer.json()["error"]
    assert "\n" not in said and len(said) < 500
    return said


# --- the page, and what there is ---


def test_the_page_and_all_its_files_are_in_the_package(client):
    page = client.get("/")
    assert page.status_code == 200 and "gradlogp" in page.text
    for file in ("main.js", "watch.js", "draw.js", "field.js", "compare.js", "odd.js", "train.js"):
        assert client.get(f"/{file}").headers["content-type"].startswith("text/javascript")


def test_models_are_told_with_what_can_be_chosen(client):
    found = {m["name"]: m for m in client.get("/api/models").json()["models"]}
    assert set(found) == {"energy", "score", "blank"}
    assert found["energy"]["sampler"] == "langevin" and found["energy"]["steps"] == 6
    assert "heun" in found["score"]["samplers"] and found["score"]["steps"] == 4
    assert found["energy"]["classes"] == [str(i) for i in range(10)]
    assert found["blank"]["wrong"] and not found["energy"]["wrong"]


def test_a_folder_that_is_no_run_is_listed_with_what_is_wrong(client, library, tmp_path):
    library.folder = tmp_path
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text("{}")
    (card,) = client.get("/api/models").json()["models"]
    assert "damaged" in card["wrong"]
    assert client.get("/api/runs").status_code == 200


def test_runs_are_told_with_their_numbers(client):
    found = client.get("/api/runs").json()
    assert {column["key"] for column in found["columns"]} >= {"parameters", "seconds"}
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["energy"]["numbers"]["images"]["value"] == 64


def test_a_report_is_shown_without_scripts(client):
    answer = client.get("/report", params={"name": "energy"})
    assert answer.text == "<h1>energy</h1>"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]


# --- chains ---


def test_a_watched_chain_is_the_one_that_sample_draws(folder, watch):
    """Paused, stepped one by one or by three: the same walk as `gradlogp sample` takes at once."""
    for run in ("energy", "score"):
        expected, _ = load(folder / run).draw(5, seed=3)
        with watch("/ws/chains") as socket:
            first, _ = begun(socket, run=run, n=5, seed=3)
            assert first["step"] == 0 and not first["done"]
            stepped(socket, 1)
            stepped(socket, 2)
            last, payload = stepped(socket, 100)
        assert last["done"] and last["step"] == last["of"]
        assert np.array_equal(pixels(last, payload), (expected * 255).round().byte().numpy())


def test_energies_are_the_model_s_own(folder, watch):
    fitted = load(folder / "energy")
    with watch("/ws/chains") as socket:
        begun(socket, run="energy", n=4, seed=1, cls=7)
        head, _ = stepped(socket, 100)
    x, _ = fitted.draw(4, seed=1, cls=7)
    exact = fitted.model.field(torch.full((4,), 7)).energy(2 * x - 1)
    assert torch.tensor(head["energy"]) == pytest.approx(exact, rel=2e-4, abs=2e-4)


def test_chains_go_until_they_are_done_and_pause_on_the_way(watch):
    with watch("/ws/chains") as socket:
        begun(socket, run="energy", n=2, steps=40)
        socket.send_json({"do": "go"})
        seen = [read(socket)[0]["step"] for _ in range(3)]
        assert seen == sorted(set(seen))
        socket.send_json({"do": "pause"})
        socket.send_json({"do": "stride", "steps": 40})
        socket.send_json({"do": "go"})
        while not (head := read(socket)[0])["done"]:
            pass
        assert head["step"] == head["of"] == 40


def test_a_hotter_chain_moves_on_a_flatter_energy(watch):
    """Without noise a step of Langevin is step_size x score / T, so ten times T moves a tenth."""
    moved = {}
    for temperature in (1.0, 10.0):
        with watch("/ws/chains") as socket:
            begun(socket, run="energy", n=2, sampler="descent", temperature=temperature)
            moved[temperature] = torch.tensor(stepped(socket, 1)[0]["moved"])
    assert (moved[1.0] / moved[10.0]).tolist() == pytest.approx([10, 10], rel=1e-3)


def test_what_is_rubbed_out_is_filled_in_and_nothing_else(folder, watch):
    fitted = load(folder / "energy")
    x = data.load("digits").test.scaled(slice(0, 1))[0]
    free = torch.zeros(8, 8, dtype=torch.bool)
    free[2:5, 3:6] = True
    asked = {"pixels": x.flatten().tolist(), "free": free.flatten().tolist()}
    with watch("/ws/chains") as socket:
        begun(socket, run="energy", n=3, seed=2, cls=1, **asked)
        head, payload = stepped(socket, 100)
    cond = torch.ones(3, dtype=torch.long)
    expected = tasks.inpaint(fitted.sampling(), 2 * x - 1, free.expand(1, 8, 8), 3, 2, cond)
    found = pixels(head, payload)
    assert np.array_equal(found, (expected * 255).round().byte().numpy())
    known = (x * 255).round().byte().numpy()
    assert np.array_equal(found[:, :, ~free.numpy()], np.stack([known[:, ~free.numpy()]] * 3))


def test_a_drawing_is_where_chains_begin(watch):
    with watch("/ws/chains") as socket:
        head, payload = begun(socket, run="energy", n=2, pixels=[i / 63 for i in range(64)])
    assert pixels(head, payload)[1].flatten().tolist() == [round(255 * i / 63) for i in range(64)]


WRONG = {
    "no such model": ({"run": "energi"}, "did you mean 'energy'"),
    "no path": ({"run": "../energy"}, "there is no model"),
    "learned nothing": ({"run": "blank"}, "not trained yet"),
    "no such sampler": ({"run": "energy", "sampler": "heun"}, "heun"),
    "too many": ({"run": "energy", "n": 1000}, "n: input should be less than or equal to 36"),
    "class": ({"run": "energy", "cls": 10}, "classes are 0 to 9"),
    "not a number": ({"run": "energy", "pixels": ["a"]}, "pixels.0"),
    "size": ({"run": "energy", "pixels": [0.0]}, "64 numbers, got 1"),
    "nothing rubbed out": ({"run": "energy", "pixels": BLACK, "free": [False] * 64}, "rub out"),
    "mask": ({"run": "energy", "pixels": BLACK, "free": [True]}, "8x8 pixels, got 1"),
    "unknown word": ({"run": "energy", "path": "/etc"}, "path"),
}


@pytest.mark.parametrize("what", WRONG)
def test_chains_that_cannot_be_are_refused_in_a_line_and_the_next_are_drawn(what, watch):
    asked, says = WRONG[what]
    with watch("/ws/chains") as socket:
        said, _ = begun(socket, **asked)
        assert says in said["error"] and "\n" not in said["error"]
        assert begun(socket, run="energy", n=1)[0]["step"] == 0


@pytest.mark.parametrize("text", ["{", "[1]", '{"do": "fly"}', '{"do": "go"}', '{"do": "step"}'])
def test_words_that_mean_nothing_are_refused_in_a_line(text, watch):
    with watch("/ws/chains") as socket:
        socket.send_text(text)
        said, _ = read(socket)
        assert said["error"].endswith(".") and "\n" not in said["error"]


def test_a_page_that_leaves_takes_its_chains_along(client, watch):
    with watch("/ws/chains") as socket:
        begun(socket, run="energy", n=2, steps=5000)
        socket.send_json({"do": "go"})
        read(socket)
    began = time.perf_counter()
    posted(client, "/api/field", density="rings")
    assert time.perf_counter() - began < 5


# --- drawing ---


def test_a_drawing_is_weighed_and_classified_by_the_model_itself(client, folder):
    fitted = load(folder / "energy")
    x = data.load("digits").test.scaled(slice(3, 4))
    found = posted(client, "/api/weigh", run="energy", pixels=x.flatten().tolist())
    assert found["energy"] == pytest.approx(float(fitted.model.field().energy(2 * x - 1)), rel=1e-4)
    exact = tasks.probabilities(fitted.model.logits, 2 * x - 1)[0]
    assert found["classes"] == pytest.approx(exact.tolist(), abs=1e-4)
    score = fitted.model.field().score(2 * x - 1).flatten()
    assert found["score"] == pytest.approx((score / score.abs().max()).tolist(), abs=1e-3)
    assert found["energy_by"] == found["classes_by"] == "energy"


def test_a_score_borrows_energy_and_classes_from_a_model_of_the_same_data(client):
    asked = {"pixels": BLACK, "sigma": 0.2}
    own = posted(client, "/api/weigh", run="energy", **asked)
    borrowed = posted(client, "/api/weigh", run="score", **asked)
    for key in ("energy", "energy_by", "classes", "classes_by"):
        assert borrowed[key] == own[key]
    assert borrowed["score"] != own["score"]


def test_a_classifier_is_taught_once_and_then_names_the_class(client, folder, monkeypatch):
    short = Training(256, batch=64, checkpoint_every=20)
    monkeypatch.setattr("gradlogp.harness.evaluator.budget", lambda spec, examples: short)
    try:
        assert posted(client, "/api/teach", run="score") == {"taught": True}
        x = data.load("digits").test.scaled(slice(3, 4))
        found = posted(client, "/api/weigh", run="score", pixels=x.flatten().tolist())
        evaluator = evaluator_of(data.load("digits"), folder / "evaluator-digits")
        exact = tasks.probabilities(evaluator.logits, x)[0]
        assert found["classes"] == pytest.approx(exact.tolist(), abs=1e-4) and found["taught"]
        assert "test accuracy" in found["classes_by"]
        names = {m["name"] for m in client.get("/api/models").json()["models"]}
        assert names == {"energy", "score", "blank"}
    finally:
        shutil.rmtree(folder / "evaluator-digits", ignore_errors=True)


def test_an_energy_restores_with_a_weight_chosen_on_validation_pictures(client):
    x = data.load("digits").test.scaled(slice(3, 4)).flatten().tolist()
    found = posted(client, "/api/restore", run="energy", pixels=x, sigma=0.3)
    assert len(base64.b64decode(found["restored"])) == 64
    assert "chosen on 8 validation pictures" in found["says"]


def test_a_score_restores_as_tweedie_has_it(client, folder):
    fitted = load(folder / "score")
    x = data.load("digits").test.scaled(slice(3, 4))
    found = posted(client, "/api/restore", run="score", pixels=x.flatten().tolist(), sigma=0.2)
    exact = (tasks.tweedie(fitted.model.field(), 2 * x - 1, 0.4) + 1) / 2
    restored = np.frombuffer(base64.b64decode(found["restored"]), np.uint8) / 255
    assert restored == pytest.approx(exact.clamp(0, 1).flatten().numpy(), abs=0.5 / 255 + 1e-6)


def test_an_example_is_one_of_the_test_part(client):
    test = data.load("digits").test
    found = posted(client, "/api/example", run="score", index=len(test) + 2)
    assert found["index"] == 2 and found["label"] == str(int(test.labels[2]))
    shown = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8)
    assert shown == pytest.approx(test.scaled(slice(2, 3)).flatten().numpy() * 255, abs=0.51)


@pytest.mark.parametrize(
    "path", ["/api/weigh", "/api/restore", "/api/example", "/api/usual", "/api/odd"]
)
def test_a_model_that_is_not_in_the_list_is_not_found(path, client):
    drawn = {"pixels": BLACK} if path in ("/api/weigh", "/api/restore", "/api/odd") else {}
    for name in ("nobody", "../energy", "/etc/passwd"):
        assert "there is no model" in refused(client, path, 404, run=name, **drawn)


def test_numbers_out_of_range_are_refused_with_their_place(client):
    asked = {"run": "energy", "pixels": BLACK}
    assert "sigma" in refused(client, "/api/weigh", 422, **asked, sigma=9)
    assert "pixels" in refused(client, "/api/weigh", 422, run="energy", pixels=[0.0] * 20_000)
    assert "64 numbers" in refused(client, "/api/weigh", 400, run="energy", pixels=[0.0])
    broken = client.post("/api/weigh", content="{", headers={"content-type": "application/json"})
    assert broken.status_code == 422 and "JSON" in broken.json()["error"]


# --- the plane ---


def test_the_arrows_are_the_score_and_the_shades_the_energy(client):
    found = posted(client, "/api/field", density="banana", sigma=0.5)
    places_ = torch.tensor(found["places"]).view(-1, 2)
    exact = TARGETS["banana"]().score(places_, 0.5)
    assert torch.tensor(found["score"]).view(-1, 2) == pytest.approx(exact, rel=1e-3, abs=1e-3)
    shade = np.frombuffer(base64.b64decode(found["shade"]), np.uint8)
    assert len(shade) == found["cells"] ** 2 and shade.max() == 255


def test_every_distribution_of_the_plane_can_be_shown_and_walked_by_every_sampler(client, watch):
    names = client.get("/api/densities").json()
    for density in names["densities"]:
        points = [[0.0, 1.0], [1.0, -1.0]] if density == "points" else []
        assert posted(client, "/api/field", density=density, points=points, sigma=0.4)["score"]
    with watch("/ws/particles") as socket:
        for sampler in (*names["stepping"], *names["down"]):
            asked = {"sampler": sampler, "density": "ring_of_gaussians", "n": 5, "levels": 3}
            head, _ = begun(socket, **asked)
            assert head["step"] == 0, (sampler, head)
            head, payload = stepped(socket, 2)
            assert head["step"] == 2 and np.isfinite(places(payload)).all(), sampler


def test_particles_sample_the_density_at_its_temperature(watch):
    """MALA on N(0, v) at temperature T has variance v T: x^2 of 500 chains, error sqrt(2/500)."""
    with watch("/ws/particles") as socket:
        asked = {"density": "gaussian", "n": 500, "step_size": 0.5, "temperature": 4.0}
        begun(socket, **asked, sampler="mala")
        for _ in range(3):
            _, payload = stepped(socket, 80)
    target = TARGETS["gaussian"]()
    variance = target.sample(100_000, torch.Generator().manual_seed(0)).var(0).numpy()
    found = np.square(places(payload).astype(float)).mean(0)
    assert (np.abs(found / (4 * variance) - 1) < 4 * (2 / 500) ** 0.5).all(), found


def test_a_particle_goes_where_a_hand_puts_it_and_walks_on_from_there(watch):
    for sampler in ("langevin", "mala", "consistent_annealed_langevin"):
        with watch("/ws/particles") as socket:
            begun(socket, density="rings", sampler=sampler, n=4, step_size=1e-6)
            socket.send_json({"do": "move", "index": 2, "x": 1.5, "y": -0.5})
            _, payload = read(socket)
            assert places(payload)[2].tolist() == [1.5, -0.5]
            head, payload = stepped(socket, 1)
            assert head["step"] == 1
            if sampler != "consistent_annealed_langevin":
                assert places(payload)[2].tolist() == pytest.approx([1.5, -0.5], abs=0.02)


def test_another_sampler_takes_over_where_the_particles_stand(watch):
    with watch("/ws/particles") as socket:
        begun(socket, density="rings", n=6)
        _, before = stepped(socket, 5)
        _, after = begun(socket, density="rings", n=6, sampler="hmc", keep=True)
        assert np.array_equal(places(before), places(after))


def test_particles_that_fly_away_are_said_to(watch):
    with watch("/ws/particles") as socket:
        begun(socket, density="banana", n=20, step_size=10.0)
        said = {}
        for _ in range(30):
            said, _ = stepped(socket, 20)
            if "error" in said:
                break
        assert "smaller step" in said["error"]
        assert begun(socket, density="banana", n=20)[0]["step"] == 0


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"density": "ising"}, "no distribution"),
        ({"density": "points"}, "no points yet"),
        ({"density": "rings", "points": [[1e9, 0]]}, "points.0.0"),
        ({"density": "rings", "sigma": -1}, "sigma"),
    ],
)
def test_a_plane_that_cannot_be_is_refused_in_a_line(asked, says, client, watch):
    answer = client.post("/api/field", json=asked)
    assert answer.status_code in (400, 422) and says in answer.json()["error"]
    with watch("/ws/particles") as socket:
        assert says in begun(socket, **asked)[0]["error"]


# --- strange or not ---


def test_scores_and_threshold_are_those_of_detect(client, folder):
    fitted, digits = load(folder / "score"), data.load("digits")
    score, _ = model_scores(fitted, digits.validation.scaled(slice(0, 300)))
    test = score(digits.test.scaled(slice(0, 300)))
    usual = posted(client, "/api/usual", run="score")
    assert sum(usual["counts"]) == usual["n"] == 300
    assert (usual["low"], usual["high"]) == pytest.approx((float(test.min()), float(test.max())))
    x = torch.rand(64, generator=torch.Generator().manual_seed(0)).round(decimals=3)
    exact = float(score(x.view(1, 1, 8, 8)))
    found = posted(client, "/api/odd", run="score", pixels=x.tolist())
    assert found["scores"] == pytest.approx([exact], rel=1e-4)
    assert found["above"] == pytest.approx([float((test > exact).double().mean())])
    assert found["strange"] == [exact > usual["threshold"]]
    assert found["names"] == ["your drawing"] and found["shape"] == [1, 8, 8]


def test_a_file_is_fitted_and_scored_and_leaves_nothing_behind(client, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    digit = (data.load("digits").test.scaled(slice(0, 1))[0, 0] * 255).byte().numpy()
    Image.fromarray(digit).resize((64, 64)).save(tmp_path / "mine.png")
    content = base64.b64encode((tmp_path / "mine.png").read_bytes()).decode()
    found = posted(client, "/api/odd", run="energy", content=content, ending=".png")
    assert len(found["scores"]) == 1 and len(base64.b64decode(found["pixels"])) == 64
    assert [item.name for item in tmp_path.iterdir()] == ["mine.png"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "one of the two"),
        ({"content": "????"}, "base64"),
        ({"content": base64.b64encode(b"no picture").decode()}, "cannot read the picture upload"),
        ({"content": "aGk=", "ending": ".png/../../x"}, "ending"),
        ({"content": "aGk=", "pixels": BLACK}, "one of the two"),
    ],
)
def test_a_file_that_cannot_be_scored_is_refused_in_a_line(given, says, client):
    answer = client.post("/api/odd", json={"run": "energy", **given})
    assert answer.status_code in (400, 422)
    said = answer.json()["error"]
    assert says in said and "/tmp" not in said


# --- training ---


def test_a_training_is_begun_watched_and_stopped(client, folder):
    asked = {"experiment": "ebm", "dataset": "digits", "images": 10**7}
    assert posted(client, "/api/train", **asked)["state"] == "running"
    assert "in training; stop it first" in refused(client, "/api/train", 400, **asked)
    assert posted(client, "/api/stop")["state"] in ("stopping", "stopped")
    process = client.app.state.jobs.job.process
    process.wait(60)
    found = client.get("/api/training").json()
    assert found["state"] == "stopped" and found["name"].startswith("ebm-")
    assert "nothing is in training" in refused(client, "/api/stop", 400)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"experiment": "gpt"}, "there is no experiment 'gpt'"),
        ({"experiment": "ebm", "dataset": "digitz"}, "did you mean 'digits'"),
        ({"experiment": "ebm", "dataset": "folder:/etc"}, "a page may not"),
        ({"experiment": "ebm", "dataset": "csv"}, "a page may not"),
        ({"experiment": "ebm", "preset": "huge"}, "preset"),
        ({"experiment": "ebm", "images": 1}, "images"),
        ({"experiment": "--help"}, "there is no experiment"),
    ],
)
def test_a_training_that_cannot_be_is_refused_in_a_line_and_none_begins(asked, says, client):
    answer = client.post("/api/train", json=asked)
    assert answer.status_code in (400, 422) and says in answer.json()["error"]
    assert client.get("/api/training").json()["state"] == "none"


def test_what_can_be_trained_is_told(client):
    choices = client.get("/api/training").json()["choices"]
    assert set(choices["experiments"]) == set(RECIPES) and "digits" in choices["datasets"]
    assert "no preview yet" in client.get("/api/preview").json()["error"]


def test_json_of_the_page_never_holds_a_number_that_browsers_cannot_read(client):
    for path in ("/api/models", "/api/runs", "/api/densities", "/api/training"):
        json.loads(client.get(path).text, parse_constant=lambda name: pytest.fail(name))
