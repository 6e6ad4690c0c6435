"""The page takes the step that Python takes: the same graph, at the same noise, and nothing fetched.

In the browser it is tested where there are playwright, Chromium and, in the environment variable
GRADLOGP_ORT_WEB, the archive of `npm pack onnxruntime-web`.
"""

import base64
import gzip
import json
import os
import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gradlogp.bridges.export import onnx_file
from gradlogp.bridges.page import RUNTIME, rendered, runtime, settings, starts, step, to_page
from gradlogp.cli import main
from gradlogp.core.errors import UserError
from gradlogp.harness import load
from gradlogp.samplers import Langevin

N, H, TAU = 5, 2.5, 0.07


def chains(fitted, generator):
    return torch.rand(N, *fitted.spec.shape, generator=generator) * 2 - 1


def by_python(fitted, x, seed):
    """One step of the run's own sampler at another h and tau, and the noise that it drew."""
    sampler = replace(fitted.sampling().sampler, step_size=H, noise_std=TAU)
    field = fitted.sampling().field(None)
    generators = [torch.Generator().manual_seed(seed) for _ in range(2)]
    with torch.no_grad():
        after, _ = sampler.step(field, sampler.init(field, x), generators[0])
        z = torch.empty_like(x).normal_(generator=generators[1])
        return after.x, field.energy(x), z


def test_the_step_is_that_of_the_runs_sampler(energy_run):
    fitted = load(energy_run)
    x = chains(fitted, torch.Generator().manual_seed(0))
    want, energy, z = by_python(fitted, x, 1)
    found, e = step(fitted).function(x, z, torch.tensor(H), torch.tensor(TAU))
    assert torch.allclose(found, want, atol=1e-6) and torch.allclose(e, energy, atol=1e-6)
    assert (want - x).abs().max() > 0.01


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_onnxruntime_takes_the_same_step(energy_run, tmp_path):
    onnx = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    fitted = load(energy_run)
    path = onnx_file(step(fitted), tmp_path / "step.onnx", ["next", "energy"])
    x = chains(fitted, torch.Generator().manual_seed(0))
    want, energy, z = by_python(fitted, x, 1)
    numbers = {"h": np.array(H, np.float32), "tau": np.array(TAU, np.float32)}
    found, e = onnx.InferenceSession(path).run(None, {"x": x.numpy(), "z": z.numpy(), **numbers})
    assert np.abs(found - want.numpy()).max() < 1e-5
    assert np.abs(e - energy.numpy()).max() < 1e-5 * max(1, float(energy.abs().max()))


def test_the_page_begins_where_chains_begin(energy_run):
    data, (low, high) = starts(load(energy_run), 16)
    x = low + np.frombuffer(data, np.uint8) / 255 * (high - low)  # U(-1, 1)
    assert -1 <= low < -0.98 and 0.98 < high <= 1
    assert abs(x.mean()) < 4 / np.sqrt(3 * x.size) and abs(x.var() - 1 / 3) < 0.03


def packed(folder: Path, names=RUNTIME) -> Path:
    """A stand-in for the archive of npm."""
    for name in names:
        path = folder / "package" / "dist" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    with tarfile.open(folder / "web.tgz", "w:gz") as tar:
        tar.add(folder / "package", "package")
    return folder / "web.tgz"


def test_the_runtime_is_read_from_the_archive_or_the_folder(tmp_path, monkeypatch):
    archive = packed(tmp_path)
    want = {name: name.encode() for name in RUNTIME}
    assert runtime(archive) == runtime(tmp_path / "package") == want
    (tmp_path / "node_modules").mkdir()
    shutil.move(tmp_path / "package", tmp_path / "node_modules" / "onnxruntime-web")
    monkeypatch.chdir(tmp_path)
    assert runtime(None) == want


@pytest.mark.parametrize("what", ["nothing", "half", "no archive"])
def test_a_runtime_that_is_not_whole_is_refused_with_how_to_get_it(what, tmp_path):
    place = tmp_path / "web.tgz"
    if what == "half":
        packed(tmp_path, RUNTIME[:1])
    elif what == "no archive":
        place.write_bytes(b"none")
    with pytest.raises(UserError, match="npm pack onnxruntime-web"):
        runtime(place)


def test_the_page_holds_everything_and_fetches_nothing(energy_run):
    said = settings(load(energy_run)) | {"title": "</script><b>"}
    held = {"graph": b"\x00graph", RUNTIME[0]: b"</script>"}
    text = rendered(said, held)
    assert not re.search(r"""https?:|\bsrc=|<link|@import|url\(""", text)
    assert text.count("</script>") == 2 + len(held)  # settings, files, the page's own
    found = json.loads(re.search(r'id="settings">(.*?)</script>', text)[1])
    assert found["title"] == said["title"] and found["shape"] == [1, 8, 8] and found["h"] == 4.0
    for name, data in held.items():
        there = re.search(rf'id="{re.escape(name)}">(.*?)</script>', text)[1]
        assert gzip.decompress(base64.b64decode(there)) == data
    begin = gzip.decompress(base64.b64decode(found["starts"]))
    assert len(begin) % 64 == 0 and len(begin) > 0


def test_what_is_no_energy_followed_by_langevin_is_refused(score_run, energy_run, tmp_path):
    with pytest.raises(UserError, match="take a run of an energy"):
        to_page(load(score_run), tmp_path)
    with pytest.raises(UserError, match="take a run of an energy"):
        step(load(energy_run).following("hmc"))
    assert main(["export", str(score_run), str(tmp_path / "x.html"), "--to", "page"]) == 2
    assert main(["export", str(energy_run), str(tmp_path / "x.txt"), "--to", "page"]) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_browser_takes_the_same_step(energy_run, tmp_path):
    archive, chromium = os.environ.get("GRADLOGP_ORT_WEB"), shutil.which("chromium")
    if not (archive and chromium):
        pytest.skip("needs chromium, and GRADLOGP_ORT_WEB as `npm pack onnxruntime-web` leaves it")
    api = pytest.importorskip("playwright.sync_api")
    page = tmp_path / "page.html"
    words = ["export", str(energy_run), str(page), "--to", "page", "--runtime", archive]
    assert main(words) == 0
    fitted = load(energy_run)
    x = chains(fitted, torch.Generator().manual_seed(0))
    want, energy, z = by_python(fitted, x, 1)
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        wrong, asked = [], []
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.as_uri())
        tab.wait_for_function("window.gradlogp && gradlogp.steps() > 3", timeout=60_000)
        tab.keyboard.press(" ")
        found = tab.evaluate(
            """async ([x, z, h, tau]) => {
                const found = await gradlogp.step(Float32Array.from(x), Float32Array.from(z), h, tau);
                return [Array.from(found.x), Array.from(found.energy)];
            }""",
            [x.flatten().tolist(), z.flatten().tolist(), H, TAU],
        )
        before = tab.evaluate("gradlogp.steps()")
        tab.keyboard.press("s")
        tab.wait_for_function(f"gradlogp.steps() === {before + 1}")
        browser.close()
    assert not wrong and all(url.startswith(("file:", "blob:")) for url in asked)
    assert np.abs(np.array(found[0]) - want.flatten().numpy()).max() < 1e-5
    assert np.abs(np.array(found[1]) - energy.numpy()).max() < 1e-4


def test_a_generator_and_a_density_sampler_are_told_apart(energy_run):
    fitted = load(energy_run)
    assert settings(fitted)["tau"] == fitted.sampling().sampler.noise_std is not None
    lawful = replace(fitted, recipe=replace(fitted.recipe, chain=Langevin(0.1)))
    assert settings(lawful)["tau"] is None
