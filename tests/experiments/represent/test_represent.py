"""Features of a known kind are chosen and measured as they should be, and every method in miniature
on the digits.
"""

import pytest
import torch

from gradlogp import data
from gradlogp.core.errors import UserError
from gradlogp.data import Dataset
from gradlogp.experiments.represent import COMPARISON
from gradlogp.experiments.represent.common import Represent, components
from gradlogp.experiments.represent.methods import (
    METHODS,
    Components,
    pooled,
    stages_of_trunk,
)
from gradlogp.harness import Target, prepare, run_comparison
from gradlogp.harness.trial import Context, items
from gradlogp.models import conv_noisy_energy, unet_score
from gradlogp.models.nets.conv import ConvTrunk
from gradlogp.models.nets.unet import UNet
from gradlogp.runs import Run, read_results
from tests.targets import DIGITS

TINY = [
    *(f"{m}:batch=32" for m in ("ebm_dsm", "score", "simclr", "simclr_noise", "told")),
    "score:channels=4,8",
    "images=64",
    "bank=200",
    "chosen_on=100",
]


class Planted(Represent):
    """One candidate is noise, the other the class itself."""

    def candidates(self, context, recorder):
        one_hot = torch.eye(10)
        labels = {tuple(x.flatten().tolist()): y for x, y in known(context.data)}

        def knows(x):
            return torch.stack([one_hot[labels[tuple(e.flatten().tolist())]] for e in x])

        return {"noise": lambda x: x.new_ones(len(x), 3), "class": knows}


def known(found):
    parts = (found.train, found.validation, found.test)
    return [pair for p in parts for pair in zip(2 * p.scaled() - 1, p.labels.tolist(), strict=True)]


def test_the_layer_that_knows_the_class_is_chosen(tmp_path):
    trial = Planted("planted", "digits", "quick", 0, bank=300, chosen_on=200)
    run = trial.into(tmp_path / "run", Context(data.load("digits")), silent())
    rows = {r["metric"]: r for r in run.results() if not r.get("axes")}
    for metric in ("knn_accuracy", "linear_probe", "cluster_accuracy", "nmi", "ari"):
        assert rows[metric]["value"] == pytest.approx(1.0), metric
        assert "features: class" in rows[metric]["protocol"]
    assert items(run.path)["plane"].shape == (360, 2)


def silent():
    from gradlogp.core.progress import Silent

    return Silent()


def test_data_without_classes_are_refused(tmp_path):
    digits = data.load("digits")
    parts = [type(p)(p.x, None, p.max_value) for p in (digits.train, digits.validation)]
    bare = Dataset("bare", *parts, parts[0], ())
    trial = Planted("planted", "bare", "quick", 0)
    with pytest.raises(UserError, match="no labels"):
        trial.into(tmp_path / "run", Context(bare), silent())


def test_components_are_principal_and_whitened_components_have_unit_variance():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 3, generator=g, dtype=torch.float64) * torch.tensor([3.0, 1.0, 0.5])
    x = torch.cat([x, torch.zeros(2000, 1, dtype=torch.float64)], 1)
    fitted = components(x, 128)
    assert fitted.basis.shape == (4, 3)  # the constant entry has no component
    torch.testing.assert_close(fitted(x).var(0), torch.ones(3, dtype=torch.float64))
    kept = Components(fitted)(x).double()
    torch.testing.assert_close(kept.square().sum(), (x - x.mean(0)).square().sum())


def test_the_last_stage_is_the_output_and_places_are_averaged():
    torch.manual_seed(0)
    trunk = ConvTrunk((1, 8, 8), (4, 8), 6)
    x = torch.randn(3, 1, 8, 8)
    stages = trunk.stages(x)
    assert len(stages) == len(stages_of_trunk(trunk)) == 3
    torch.testing.assert_close(stages[-1], trunk(x))
    first = pooled(stages[0])
    assert first.shape == (3, 16)
    torch.testing.assert_close(first.reshape(3, 4, 4).mean(2), stages[0].mean((2, 3)))


def test_the_coarsest_stage_is_what_features_average():
    torch.manual_seed(0)
    net = UNet((1, 8, 8), (4, 8))
    x, level = torch.randn(2, 1, 8, 8), torch.zeros(2)
    stages = net.stages(x, level)
    assert [s.shape[1] for s in stages] == [4, 8]
    torch.testing.assert_close(stages[-1].mean((2, 3)), net.features(x, level))


def test_layers_at_a_noise_level_are_those_that_the_model_computes_there():
    torch.manual_seed(0)
    x, sigma = torch.randn(3, 1, 8, 8), torch.full((3,), 0.3)
    network = unet_score((1, 8, 8), 0.7, (4, 8))
    for p in network.parameters():  # at the start it does not look at the level
        torch.nn.init.normal_(p, std=0.3)
    layers = METHODS["score"](DIGITS).layers(network)
    coarsest = layers["noise 0.3, layer 2"](x).view(3, 8, -1).mean(2)
    torch.testing.assert_close(coarsest, network.features(x, sigma), rtol=1e-3, atol=1e-3)
    energy, seen = conv_noisy_energy((1, 8, 8), 0.7, (4, 8), 6), []
    energy.potential.trunk.register_forward_hook(lambda module, args, out: seen.append(out))
    energy(x, sigma)
    layers = METHODS["ebm_dsm"](DIGITS).layers(energy)
    torch.testing.assert_close(layers["noise 0.3, layer 3"](x), seen[0])


@pytest.mark.filterwarnings("ignore:.*useless")
def test_every_method_in_miniature(tmp_path):
    digits = data.load("digits")
    entries = prepare(COMPARISON, Target.of(digits), "quick", tmp_path, changes=TINY)
    rows = run_comparison("ebm_represent", COMPARISON, digits, entries, tmp_path, TINY, silent())
    headline = [r for r in rows if r["metric"] == "knn_accuracy" and not r.get("axes")]
    assert {r["method"] for r in headline} == set(COMPARISON.methods)
    assert all(0.3 < r["value"] <= 1 for r in headline)  # tiny, but no chance vote of .1
    assert read_results(tmp_path)
    assert Run.open(tmp_path / "told").status()["images"] == 64
    assert (tmp_path / "samples" / "figure-planes.png").is_file()
    assert (tmp_path / "samples" / "figure-layers.png").is_file()
