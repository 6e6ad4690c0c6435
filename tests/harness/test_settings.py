import json

import pytest

from gradlogp.core.errors import UserError
from gradlogp.experiments import EXPERIMENTS, PRESETS, applicable, override, to_dict
from gradlogp.experiments.settings import from_dict, leaves


@pytest.mark.parametrize("dataset", ["digits", "mnist"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_recipe_becomes_json_and_comes_back(name, preset, dataset):
    recipe = EXPERIMENTS[name](dataset, preset, 3)
    assert from_dict(type(recipe), json.loads(json.dumps(to_dict(recipe)))) == recipe
    assert (recipe.experiment, recipe.dataset, recipe.preset, recipe.seed) == (
        name,
        dataset,
        preset,
        3,
    )


def test_overrides_reach_every_depth():
    recipe = override(
        EXPERIMENTS["ebm"]("digits", "quick", 0),
        [
            "training.batch=32",
            "chain.step_size=5",
            "buffer.restart_prob=0.2",
            "net.channels=8,16",
            "data_noise=0",
        ],
    )
    assert (recipe.training.batch, recipe.chain.step_size, recipe.buffer.restart_prob) == (32, 5.0, 0.2)
    assert recipe.net.channels == (8, 16) and recipe.data_noise == 0.0


@pytest.mark.parametrize(
    "changes",
    [
        ["training.log_every=7", "training.checkpoint_every=21"],
        ["training.checkpoint_every=21", "training.log_every=7"],
    ],
)
def test_settings_that_must_agree_change_together(changes):
    training = override(EXPERIMENTS["ebm"]("digits", "quick", 0), changes).training
    assert (training.log_every, training.checkpoint_every) == (7, 21)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.bach=32", "no setting 'training.bach'; did you mean 'training.batch'"),
        ("chain.stepsize=3", "did you mean 'chain.step_size'"),
        ("training.batch=many", "training.batch expects int, got 'many'"),
        ("training.batch=1.5", "training.batch expects int, got 1.5"),
        ("chain.step_size=None", "chain.step_size expects float, got None"),
        ("training.batch", "expects section.key=value"),
        ("training.checkpoint_every=30", "multiple of log_every"),
        ("chain.step_size=-1", "chain.step_size=-1.0: Langevin needs step_size > 0"),
        ("chain.clamp=0,1,2", "a list such as"),
        ("net.channels=8,0", "channels must be 1 or more"),
    ],
)
def test_a_wrong_override_is_named(change, message):
    with pytest.raises(UserError, match=message):
        override(EXPERIMENTS["ebm"]("digits", "quick", 0), [change])


def test_an_unknown_key_in_a_file_is_named():
    stored = to_dict(EXPERIMENTS["ncsn"]("digits", "quick", 0))
    stored["net"]["chanels"] = [1]
    with pytest.raises(UserError, match=r"no setting 'net.chanels'; did you mean 'net.channels'"):
        from_dict(type(EXPERIMENTS["ncsn"]("digits", "quick", 0)), stored)


def test_an_override_may_be_for_one_method_alone():
    changes = ["training.batch=8", "ncsn:net.blocks=1"]
    assert applicable(changes, "ncsn") == ["training.batch=8", "net.blocks=1"]
    assert applicable(changes, "ebm") == ["training.batch=8"]
    with pytest.raises(UserError, match="names the experiment 'nscn'"):
        applicable(["nscn:net.blocks=1"], "ebm")


def test_leaves_have_dotted_names():
    names = leaves(EXPERIMENTS["ebm"]("digits", "quick", 0))
    assert {"seed", "training.learning_rate", "chain.grad_clip", "buffer.capacity"} <= names.keys()
