"""What is exported is what the model is: the same numbers elsewhere, at any batch size."""

import csv
import json

import numpy as np
import pytest
import torch

from gradlogp.bridges.export import BATCH, Asked, asked_of, export, functions, model_card, program
from gradlogp.cli import main
from gradlogp.core.errors import UserError
from gradlogp.harness import load
from gradlogp.models import MODELS, mlp_noisy_energy

SIZES = (1, 2, 7)
STRICT = 1e-5
CLASSES = 2
SMALL = {"channels": (4, 8), "classes": CLASSES}
UNET = {"sigma_data": 0.5, "channels": (8,), "blocks": 1, "classes": CLASSES}
# of every kind of data, with sizes that are the batch of the trace; name: settings, shape of x
ANY_KIND = {
    "conv_energy": (SMALL, (BATCH, 8, 8)),
    "mlp_diffusion": ({"predicts": "v", "width": 8, "blocks": 1, "classes": CLASSES}, (BATCH,)),
    "mlp_energy": ({"dim": BATCH, "hidden": (8,), "classes": CLASSES}, (BATCH,)),
    "mlp_noisy_energy": (
        {"sigma_data": 0.5, "width": 8, "blocks": 1, "classes": CLASSES},
        (BATCH,),
    ),
    "mlp_score": ({"sigma_data": 0.5, "width": 8, "blocks": BATCH, "classes": CLASSES}, (BATCH,)),
    "unet_score": (UNET, (BATCH, 8, 8)),
    "vector_score": ({"dim": BATCH, "hidden": (8,), "classes": CLASSES}, (BATCH,)),
    "wavenet_score": (
        {"sigma_data": 0.5, "channels": 4, "layers": 2, "cycle": 2, "classes": CLASSES},
        (BATCH, 21),
    ),
}


def questions(inputs, n, classes=10):
    """Random arguments for n examples, in place of the ones that a graph was traced with."""
    generator = torch.Generator().manual_seed(n)
    kinds = {
        "x": lambda x: torch.randn(n, *x.shape[1:], generator=generator),
        "sigma": lambda x: torch.rand(n, generator=generator) + 0.1,
        "cond": lambda x: torch.randint(0, classes, (n,), generator=generator),
    }
    return {name: kinds[name](x) for name, x in inputs.items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["energy_run", "score_run", "table_run"])
def test_onnxruntime_finds_the_numbers_of_torch_at_any_batch_size(kind, request, tmp_path, capfd):
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    run = request.getfixturevalue(kind)
    capfd.readouterr()
    paths = export(run, "onnx", tmp_path)
    said = "".join(capfd.readouterr())
    assert "torchvision" not in said and "LeafSpec" not in said
    asked = functions(load(run))
    assert {path.stem for path in paths} == set(asked)
    for path in paths:
        session = runtime.InferenceSession(path)
        one = asked[path.stem]
        for n in SIZES:
            given = questions(one.inputs, n)
            want = one.function(*given.values())
            (found,) = session.run(None, {name: x.numpy() for name, x in given.items()})
            assert np.abs(found - want.numpy()).max() < STRICT * max(1, float(want.abs().max()))


def test_the_exported_score_is_the_gradient_of_the_energy(energy_run):
    fitted = load(energy_run)
    asked = functions(fitted)["score"]
    found = program(asked).module()
    for n in SIZES:
        given = questions(asked.inputs, n)
        want = fitted.model.field(given["cond"]).score(given["x"]).detach()
        assert float(want.abs().max()) > 1e-4
        assert (found(*given.values()).detach() - want).abs().max() < STRICT * float(
            want.abs().max()
        )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ANY_KIND)
def test_a_program_of_any_kind_of_data_takes_any_batch(name):
    """Where the rows that a graph is traced with are as many as the columns or channels, too."""
    settings, shape = ANY_KIND[name]
    torch.manual_seed(0)
    settings = settings if "dim" in settings else {"shape": shape, **settings}
    model = MODELS[name](**settings).eval().requires_grad_(False)
    for p in model.parameters():  # away from a start at zero
        p.add_(0.1 * torch.randn_like(p))
    cond = {"cond": torch.zeros(BATCH, dtype=torch.long)}
    for asked in asked_of(model, torch.zeros(BATCH, *shape), cond).values():
        found = program(asked).module()
        for n in SIZES:
            given = questions(asked.inputs, n, CLASSES)
            want = asked.function(*given.values())
            largest = max(1.0, float(want.abs().max()))
            assert (found(*given.values()) - want).abs().max() < STRICT * largest


def test_a_network_that_counts_its_rows_is_refused_in_one_line():
    fixed = Asked(lambda x: x.reshape(len(x), -1), {"x": torch.zeros(BATCH, 2)})
    with pytest.raises(UserError, match=r"cannot be exported .* x.shape\[0\], not len\(x\)"):
        program(fixed)


@pytest.mark.filterwarnings("ignore")
def test_programs_are_saved_and_read_back(energy_run, tmp_path):
    for path in export(energy_run, "pt2", tmp_path):
        one = functions(load(energy_run))[path.stem]
        given = questions(one.inputs, 5)
        found = torch.export.load(path).module()(*given.values())
        assert torch.allclose(found, one.function(*given.values()), atol=STRICT)


def test_an_energy_with_levels_denoises_as_its_field_does():
    from gradlogp.bridges.export import _of_noisy_energy

    model = mlp_noisy_energy(5, 0.5).eval().requires_grad_(False)
    torch.nn.init.normal_(model.potential.head.weight, generator=torch.Generator().manual_seed(0))
    inputs = {"x": torch.zeros(3, 5), "sigma": torch.ones(3)}
    asked = _of_noisy_energy(model, inputs)["denoise"]
    given = questions(asked.inputs, 4)
    want = model.field().denoise(given["x"], given["sigma"])
    found = program(Asked(asked.function, inputs)).module()(*given.values())
    assert (found - want).abs().max() < STRICT


def test_two_files_load_and_draw(score_run, tmp_path):
    assert main(["export", str(score_run), str(tmp_path / "slim"), "--slim"]) == 0
    names = sorted(path.name for path in (tmp_path / "slim").iterdir())
    assert names == ["config.json", "ema.safetensors"]
    assert torch.equal(load(tmp_path / "slim").draw(3)[0], load(score_run).draw(3)[0])


def test_a_table_of_metrics_has_a_row_for_each_step(score_run, tmp_path):
    (path,) = export(score_run, "csv", tmp_path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    kept = load(score_run).run.metrics()
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in kept]
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]


def test_a_folder_for_the_hub_holds_a_card_with_what_was_measured(energy_run, tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    fitted = load(energy_run)
    row = {
        "metric": "frechet_distance",
        "value": 1.25,
        "stderr": 0.5,
        "n": 10,
        "seed": 0,
        "protocol": "p",
        "seconds": 1.0,
        "evaluations": 1,
    }
    with fitted.run:
        fitted.run.write_results([row])
    export(energy_run, "hub", tmp_path / "repo")
    card = hub.ModelCard.load(tmp_path / "repo" / "README.md")
    assert [(r.metric_type, r.metric_value) for r in card.data.eval_results] == [
        ("frechet_distance", 1.25)
    ]
    assert "| frechet_distance | 1.25 | 0.5 | 10 |" in model_card(fitted)
    assert json.loads((tmp_path / "repo" / "results.json").read_text())
    assert torch.equal(load(tmp_path / "repo").draw(2)[0], fitted.draw(2)[0])


def test_a_repository_is_loaded_from_the_cache_without_a_network(score_run, tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")
    commit = "0" * 40
    repository = tmp_path / "models--me--digits"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    export(score_run, "slim", repository / "snapshots" / commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert torch.equal(load("hf:me/digits").draw(2)[0], load(score_run).draw(2)[0])
    with pytest.raises(UserError, match="hf:me/other cannot be had from the Hugging Face Hub"):
        load("hf:me/other")


def test_only_a_name_that_begins_with_hf_is_uploaded(score_run, tmp_path, monkeypatch, capsys):
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    sent = []

    class Api:
        def create_repo(self, name, exist_ok):
            return f"address of {name}"

        def upload_folder(self, folder_path, repo_id):
            sent.append((repo_id, sorted(path.name for path in folder_path.iterdir())))

    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(score_run), "not/there", "--to", "hub"]) == 0
    assert not sent and (tmp_path / "not" / "there" / "README.md").exists()
    assert main(["export", str(score_run), "hf:me/digits", "--to", "csv"]) == 2
    assert main(["export", str(score_run), "hf:me/digits", "--to", "hub"]) == 0
    assert sent[0][0] == "me/digits" and {"README.md", "ema.safetensors"} <= set(sent[0][1])
    assert "address of me/digits" in capsys.readouterr().out
