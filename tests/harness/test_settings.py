import json
from typing import get_args

import pytest

from gradlogp.core.errors import UserError
from gradlogp.core.random import seeded
from gradlogp.data import load
from gradlogp.experiments import COMPARISONS, RECIPES
from gradlogp.experiments.denoise.networks import DenoisingRecipe
from gradlogp.experiments.recipes.energy_losses import EnergyLoss
from gradlogp.experiments.recipes.losses import OfEnergies, ScoreLoss
from gradlogp.harness import (
    PRESETS,
    Target,
    fit,
    from_stored,
    leaves,
    load as read,
    override,
    to_dict,
)
from gradlogp.harness.compare import applicable, resolve
from gradlogp.harness.fit import spec_of
from gradlogp.harness.recipe import DataSpec, specify
from gradlogp.harness.settings import RENAMED, Settings, coerce, from_dict, kind_name
from gradlogp.objectives import OBJECTIVES
from gradlogp.runs import Run
from gradlogp.samplers import LADDER_SAMPLERS, STEP_SAMPLERS, DPMSolver, PreconditionedLangevin
from gradlogp.training import Training
from tests.targets import DIGITS, MNIST

METHODS = [(c, m) for c, comparison in COMPARISONS.items() for m in comparison.methods]


@pytest.mark.parametrize("target", [DIGITS, MNIST], ids=lambda t: t.name)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("comparison", "method"), METHODS)
def test_every_method_becomes_json_and_comes_back(comparison, method, preset, target):
    asked = COMPARISONS[comparison]
    settings = resolve(asked, method, target, preset, 3, asked.changes(target, preset))
    assert from_stored(json.loads(json.dumps(to_dict(settings)))) == settings
    said = (settings.experiment, settings.dataset, settings.preset, settings.seed)
    assert said == (method, target.name, preset, 3)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_found_again_by_the_name_of_its_class(name):
    recipe = RECIPES[name](DIGITS, "quick", 0)
    assert (
        from_stored(json.loads(json.dumps(to_dict(recipe)))) == recipe and recipe.experiment == name
    )


def test_settings_of_a_kind_that_is_not_known_are_refused():
    with pytest.raises(UserError, match="no settings of the kind 'Nobody'"):
        from_stored({"kind": "Nobody"})


@pytest.mark.parametrize("name", RECIPES)
def test_a_budget_fits_the_number_and_the_size_of_a_persons_own_data(name):
    """210 icons of 48x48: as many pixels as the preset's, and at most 150 passes."""
    icons = Target("folder:icons", "picture", (3, 48, 48), 210)
    usual = RECIPES[name](MNIST, "quick", 0).training.images
    assert RECIPES[name](icons, "quick", 0).training.images == min(usual * 784 // 6912, 150 * 210)


def test_overrides_reach_every_depth():
    recipe = override(
        RECIPES["ebm"](DIGITS, "quick", 0),
        [
            "training.batch=32",
            "chain.step_size=5",
            "buffer.restart_prob=0.2",
            "net.channels=8,16",
            "data_noise=0",
        ],
    )
    assert (recipe.training.batch, recipe.chain.step_size, recipe.buffer.restart_prob) == (
        32,
        5.0,
        0.2,
    )
    assert recipe.net.channels == (8, 16) and recipe.data_noise == 0.0


@pytest.mark.parametrize(
    "changes",
    [
        ["training.log_every=7", "training.checkpoint_every=21"],
        ["training.checkpoint_every=21", "training.log_every=7"],
    ],
)
def test_settings_that_must_agree_change_together(changes):
    training = override(RECIPES["ebm"](DIGITS, "quick", 0), changes).training
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
        override(RECIPES["ebm"](DIGITS, "quick", 0), [change])


def test_an_unknown_key_in_a_file_is_named():
    stored = to_dict(RECIPES["ncsn"](DIGITS, "quick", 0))
    stored["net"]["chanels"] = [1]
    with pytest.raises(UserError, match=r"no setting 'net.chanels'; did you mean 'net.channels'"):
        from_dict(type(RECIPES["ncsn"](DIGITS, "quick", 0)), stored)


def test_an_override_may_be_for_one_method_alone():
    changes, methods = ["training.batch=8", "ncsn:net.blocks=1"], ("ebm", "ncsn")
    assert applicable(changes, "ncsn", methods) == ["training.batch=8", "net.blocks=1"]
    assert applicable(changes, "ebm", methods) == ["training.batch=8"]
    with pytest.raises(UserError, match="names the method 'nscn'"):
        applicable(["nscn:net.blocks=1"], "ebm", ("ebm", "ncsn"))


def test_leaves_have_dotted_names():
    names = leaves(RECIPES["ebm"](DIGITS, "quick", 0))
    assert {"seed", "training.learning_rate", "chain.grad_clip", "buffer.capacity"} <= names.keys()


@pytest.mark.parametrize(
    ("recipe", "field", "table"),
    [
        ("ncsn", "sampler", LADDER_SAMPLERS),
        ("ebm", "chain", STEP_SAMPLERS),
    ],
)
def test_every_sampler_of_the_table_that_fits_can_be_chosen(recipe, field, table):
    made = RECIPES[recipe](MNIST, "quick", 0)
    for name, member in table.items():
        more = [f"{field}.adapt=5"] if name == "preconditioned_langevin" else []
        if more:  # it needs a preconditioner, or to learn one
            continue
        changed = override(made, [f"{field}.kind={name}"])
        assert type(getattr(changed, field)) is member
        assert leaves(changed)[f"{field}.kind"] == name
        assert from_stored(json.loads(json.dumps(to_dict(changed)))) == changed


SCORE_LOSSES = [kind_name(loss) for loss in get_args(ScoreLoss)]
ENERGY_LOSSES = [kind_name(loss) for loss in get_args(EnergyLoss)]
OF_ENERGIES = [kind_name(loss) for loss in get_args(ScoreLoss) if issubclass(loss, OfEnergies)]
TINY = {
    "ncsn": ["net.channels=4,8", "sampler.levels=5"],
    "ebm": ["net.channels=4,8", "chain_steps=2", "generate_steps=2", "buffer.capacity=32"],
}


@pytest.mark.parametrize(
    ("recipe", "name"),
    [("ncsn", name) for name in SCORE_LOSSES] + [("ebm", name) for name in ENERGY_LOSSES],
)
def test_every_loss_that_a_model_can_learn_by_can_be_chosen_and_trains(recipe, name, tmp_path):
    changes = ["training.images=64", "training.batch=16", *TINY[recipe], f"objective.kind={name}"]
    changes = ["net.kind=energy"] * (name in OF_ENERGIES) + changes
    made = override(RECIPES[recipe](DIGITS, "quick", 0), changes)
    assert leaves(made)["objective.kind"] == name and name in OBJECTIVES
    assert from_stored(json.loads(json.dumps(to_dict(made)))) == made
    fit(made, load("digits"), tmp_path / "run").close()
    fitted = read(tmp_path / "run")
    assert fitted.recipe == made and fitted.draw(2, 0)[0].isfinite().all()


def test_an_energy_learns_the_same_by_its_default_and_by_its_name(digits_energy):
    """Contrastive divergence with a buffer: one loss, whether it is named or not."""
    named = override(digits_energy, ["objective.kind=contrastive_divergence"])
    assert named == digits_energy
    stored = to_dict(digits_energy)
    del stored["objective"]
    assert from_stored(stored) == digits_energy
    persistent = override(named, ["objective.kind=persistent_contrastive_divergence"])
    spec = specify(load("digits"))
    found = [
        made.build_objective(spec, seeded(0), "cpu").starts.buffer.restart_prob
        for made in (named, persistent)
    ]
    assert found == [digits_energy.buffer.restart_prob, 0]


@pytest.fixture
def digits_energy():
    return RECIPES["ebm"](DIGITS, "quick", 0)


@pytest.mark.parametrize(
    ("recipe", "change", "message"),
    [
        (
            "ncsn",
            "objective.kind=contrastive_divergence",
            "'contrastive_divergence' does not fit here; those that fit are"
            " denoising_score_matching, flow_matching",
        ),
        ("ncsn_single", "objective.kind=flow_matching", "many noise levels, got the single level"),
        (
            "ebm",
            "objective.kind=flow_matching",
            "does not fit here; those that fit are contrastive_divergence, .* energy_discrepancy",
        ),
        (
            "ebm_no_buffer",
            "objective.kind=persistent_contrastive_divergence",
            "has no buffer to keep them in",
        ),
        ("ncsn", "net.kind=resnet", "does not exist; those that fit are unet, wavenet"),
    ],
)
def test_a_loss_that_does_not_fit_is_answered_with_those_that_do(recipe, change, message):
    with pytest.raises(UserError, match=message):
        override(RECIPES[recipe](DIGITS, "quick", 0), [change])


def test_a_run_of_the_first_format_is_read_under_the_names_of_today(tmp_path):
    """Its settings have other names, and its data, pictures alone, are described by `facts`."""
    recipe = RECIPES["ebm"](DIGITS, "quick", 0)
    spec = {"shape": [1, 8, 8], "per_class": [4, 5], "std": 0.7}
    named = {new: old for old, new in RENAMED.items()}

    def aged(stored):
        return (
            {named.get(key, key): aged(value) for key, value in stored.items()}
            if isinstance(stored, dict)
            else stored
        )

    old = aged(to_dict(recipe))
    assert {"restore", "regularise", "fresh", "gentler"} <= names_in(old)
    with Run.create(tmp_path, {"recipe": old, "facts": {"kind": "Facts", **spec}}) as run:
        assert from_stored(run.config["recipe"]) == recipe
        assert spec_of(run) == DataSpec((1, 8, 8), (4, 5), 0.7)


def names_in(stored):
    """The names of all settings, at every depth."""
    groups = [value for value in stored.values() if isinstance(value, dict)]
    return set(stored).union(*map(names_in, groups))


def test_data_of_an_unknown_kind_are_refused():
    with pytest.raises(UserError, match=r"spec.kind expects one of picture, .* got 'Facts'"):
        DataSpec((1, 8, 8), (), 0.7, "Facts")


def test_settings_written_before_losses_could_be_chosen_mean_denoising():
    recipe = RECIPES["ncsn"](DIGITS, "quick", 0)
    stored = to_dict(recipe)
    del stored["objective"]
    assert from_stored(stored) == recipe


def test_settings_are_read_under_the_names_that_earlier_versions_gave_them():
    sampler = to_dict(PreconditionedLangevin(0.1, adapt=5, damping=0.5))
    sampler["floor"] = sampler.pop("damping")
    assert from_dict(PreconditionedLangevin, sampler).damping == 0.5
    recipe = DenoisingRecipe("dsm", "digits", "quick", Training(64))
    assert from_stored(to_dict(recipe) | {"kind": "RestorerRecipe"}) == recipe


def test_a_kind_keeps_what_it_shares_and_takes_settings_of_its_own():
    made = RECIPES["ncsn"](MNIST, "quick", 0)
    changed = override(made, ["sampler.order=3", "sampler.kind=dpm_solver", "sampler.levels=9"])
    assert changed.sampler == DPMSolver(made.sampler.process, 9, order=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sampler.kind=mala", "'mala' does not fit here; those that fit are annealed_langevin,"),
        ("sampler.kind=heum", "'heum' does not exist; those that fit are"),
        ("training.kind=unet", "no setting 'training.kind'"),
    ],
)
def test_a_kind_that_does_not_fit_is_answered_with_those_that_do(change, message):
    with pytest.raises(UserError, match=message):
        override(RECIPES["ncsn"](MNIST, "quick", 0), [change])


@pytest.mark.parametrize(("comparison", "method"), METHODS)
def test_the_name_of_its_class_finds_the_settings_of_a_method(comparison, method):
    """Two questions may not call their settings the same, nor a setting `kind`, which is theirs."""
    settings = COMPARISONS[comparison].methods[method](MNIST, "quick", 0)
    assert Settings.kinds[to_dict(settings)["kind"]] is type(settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("one-class", ("one-class",)), ("one-class,", ("one-class",)), ("a, b", ("a", "b")), ("", ())],
)
def test_a_list_of_words_needs_no_quotes(text, expected):
    assert coerce(tuple[str, ...], text, "names") == expected
    with pytest.raises(UserError, match="expects a list such as 16,32, got 8"):
        coerce(tuple[int, ...], 8, "sizes")
    with pytest.raises(UserError, match=r"sizes.*expects int, got 'a'"):
        coerce(tuple[int, ...], "a", "sizes")


def test_a_group_that_does_not_fit_the_whole_is_told_without_a_colon_before_it():
    with pytest.raises(UserError, match=r"^objective\.kind=recovery_likelihood teaches an energy"):
        override(RECIPES["ncsn"](DIGITS), ["objective.kind=recovery_likelihood"])
