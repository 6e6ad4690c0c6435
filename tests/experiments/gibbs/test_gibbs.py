"""Machines of a few units, where densities and moments are sums: coordinates, tempering, brackets;
and every method in miniature on the digits.
"""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from gradlogp import data
from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.kernel import run
from gradlogp.core.progress import Silent
from gradlogp.core.random import seeded
from gradlogp.experiments.gibbs import COMPARISON
from gradlogp.experiments.gibbs.machines import bracketed, likelihoods, shown_along
from gradlogp.experiments.gibbs.methods import METHODS, TIMES
from gradlogp.experiments.gibbs.standardised import Standardised
from gradlogp.experiments.gibbs.summary import ends, gain
from gradlogp.experiments.gibbs.tempered import FromReplicas, TemperedGibbs
from gradlogp.harness import Evaluator, Target, prepare, run_comparison, specify
from gradlogp.harness.kinds import Picture
from gradlogp.metrics.base import standard_error
from gradlogp.models import ConvClassifier
from gradlogp.models.rbm import GaussianRBM, binary_states
from gradlogp.objectives import ContrastiveDivergence
from gradlogp.runs import Run
from gradlogp.samplers.block import BlockGibbs
from gradlogp.training import Diverged
from tests.targets import DIGITS

D, H = 3, 4


def normal(seed, *shape):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def machine(scale=1.0):
    return GaussianRBM.of(scale * normal(0, D, H), normal(1, D), normal(2, D) / 3, normal(3, H) / 2)


def two_modes():
    """Two Gaussians of variance 1 at 0 and 12, as likely, in one dimension: one hidden unit."""
    one = partial(torch.full, dtype=torch.float64)
    return GaussianRBM.of(one((1, 1), 12.0), one((1,), 0.0), one((1,), 0.0), one((1,), -72.0))


def standardised(sigma=0.3):
    return Standardised(normal(4, D), normal(5, D).exp(), sigma)


def test_standardised_examples_have_mean_0_and_variance_1_with_their_noise():
    x = 2 + 0.5 * normal(6, 5000, D)
    x[:, 0] = 1.0  # an entry that never changes
    view = Standardised.fit(x, 0.2)
    z = view(x, seeded(0))
    n = len(z)
    assert (z.mean(0).abs() * n**0.5).max() < 4
    assert ((z.var(0) - 1).abs() / (2 / n) ** 0.5).max() < 4
    torch.testing.assert_close(view.back(view.of(x)), x, atol=1e-10, rtol=0)


def test_a_density_loses_the_logarithm_of_the_volume():
    """A machine of standardised entries, written down in the entries themselves: its exact
    log-density there is that of z less log |dx / dz|.
    """
    rbm, view = machine(), standardised()
    std, mean = view.std, view.mean
    own = GaussianRBM.of(
        std[:, None] * rbm.weight.detach(),
        mean + std * rbm.mean.detach(),
        rbm.log_variance.detach() + 2 * std.log(),
        rbm.hidden_bias.detach() + rbm.weight.detach().T @ torch.zeros(D, dtype=torch.float64),
    )
    # drive: W' x / var' = W (x / s) / var, so the bias makes up for the mean
    shift = (mean / std * (-rbm.log_variance.detach()).exp()) @ rbm.weight.detach()
    own.hidden_bias.data -= shift
    x = normal(7, 9, D)
    there = -own(x) - own.log_z()
    here = -rbm(view.of(x)) - rbm.log_z() - view.log_volume
    torch.testing.assert_close(there, here, atol=1e-10, rtol=0)


def test_the_bracket_holds_the_exact_likelihood():
    rbm, view = machine(1.5), standardised()
    with torch.no_grad():
        train, test = (rbm.sample(1000, seeded(8, i)) for i in range(2))
        energy = rbm(test)
    exact = -energy - rbm.log_z() - view.log_volume
    found = bracketed(rbm, train, ladder=200, chains=200, settle=50, generator=seeded(9))
    assert found.contains(float(rbm.log_z()), errors=4) and abs(found.gap) < 0.3
    rows = likelihoods(energy, found, view, 200)
    for end, estimate in (("low", found.upper), ("high", found.lower)):
        assert abs(rows[end].value - float(exact.mean())) < 4 * estimate.error
        assert rows[end].stderr > standard_error(exact)
    assert rows["high"].value - rows["low"].value == pytest.approx(found.gap)


def test_tempered_chains_have_the_machines_own_moments():
    """v is a mixture of 2^H Gaussians; replicas that begin far away must end at its moments."""
    rbm, chains, steps = machine(1.5), 4000, 60
    p = (-rbm.hidden_energy(states := torch.cat(list(binary_states(H, rbm.weight))))).softmax(0)
    means = rbm.visible(states).detach()
    mean = p.detach() @ means
    variance = rbm.variance.detach() + p.detach() @ (means - mean).square()
    base = (torch.zeros(D, dtype=torch.float64), torch.zeros(D, dtype=torch.float64))
    start = torch.full((chains, D), 3.0, dtype=torch.float64)
    x = run(TemperedGibbs(base, 6), rbm.field(), start, steps, seeded(10))
    assert ((x.mean(0) - mean).abs() / (variance / chains).sqrt()).max() < 4
    squares = (x - mean).square()
    assert ((squares.mean(0) - variance).abs() / (squares.std(0) / chains**0.5)).max() < 4


def test_tempered_chains_find_the_mode_that_block_gibbs_never_finds():
    rbm, chains = two_modes(), 400
    start = torch.zeros(chains, 1, dtype=torch.float64)
    base = (torch.full((1,), 6.0, dtype=torch.float64), torch.full((1,), 3.6).double())
    stays = run(BlockGibbs(), rbm.field(), start, 200, seeded(11))
    crosses = run(TemperedGibbs(base, 9), rbm.field(), start, 200, seeded(11))
    assert float((stays > 6).double().mean()) == 0
    assert abs(float((crosses > 6).double().mean()) - 0.5) < 4 * 0.5 / chains**0.5


def test_exchanges_of_equal_machines_are_always_accepted():
    """Without weights the machine is its own base, at every temperature."""
    flat = GaussianRBM.of(torch.zeros(D, H), torch.zeros(D), torch.zeros(D), torch.zeros(H))
    sampler = TemperedGibbs((torch.zeros(D), torch.zeros(D)), 4)
    state = sampler.init(flat.field(), torch.randn(5, D, generator=seeded(12)))
    for pairs in (2, 2, 2):
        state, info = sampler.step(flat.field(), state, seeded(13))
        torch.testing.assert_close(info.accept, torch.ones(pairs, 5))
    assert state.taken == 3 and state.x.shape == (5, D)


def test_replicas_go_on_from_where_they_were():
    """The cold ones end where the objective took them, and a checkpoint brings all back."""
    rbm = machine()
    base = (torch.zeros(D, dtype=torch.float64), torch.zeros(D, dtype=torch.float64))
    sampler, chains = TemperedGibbs(base, 3), normal(14, 6, D)
    starts = FromReplicas(sampler, rbm, chains)
    objective = ContrastiveDivergence(BlockGibbs(), starts, 1, energy_l2=0.0)
    loss = objective(rbm, Batch(normal(15, 6, D)), seeded(16))
    loss.value.mean().backward()
    assert float(loss.info["displacement"]) > 0 and rbm.weight.grad.abs().sum() > 0
    assert not torch.equal(starts.replicas.x, chains)
    kept = {name: x.clone() for name, x in objective.state().items()}
    again = FromReplicas(sampler, rbm, chains)
    again.load(kept)
    pair = [s.draw(Batch(chains), seeded(17)).x for s in (starts, again)]
    assert torch.equal(*pair) and again.replicas.taken == 2


def test_a_walk_is_shown_without_its_last_noise():
    rbm = machine()
    z, view = normal(18, 500, D), standardised()
    with torch.no_grad():
        frames = shown_along(rbm, z, (0, 1, 3), view, seeded(19))
    torch.testing.assert_close(frames[0], view.back(z))
    means = rbm.visible(torch.cat(list(binary_states(H, rbm.weight)))).detach()
    possible = view.back(means)
    for steps in (1, 3):
        nearest = (frames[steps][:, None] - possible).abs().amax(2).amin(1)
        assert float(nearest.max()) < 1e-10


def test_equal_evaluations_are_equal():
    made = {name: make(DIGITS, "quick", 0) for name, make in METHODS.items() if name != "gaussian"}
    spent = {name: trial.images * trial.evaluations for name, trial in made.items()}
    ours = ("cd10", "cd1_long", "pcd", "gibbs_langevin")
    assert len({spent[name] for name in ours}) == 1
    assert spent["conv_cd10"] == spent["conv_cd1_long"] == TIMES * spent["conv_cd1"]
    assert made["cd1"].images == made["cd10"].images == made["pcd_tempered"].images


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


TINY = [
    *(f"{m}:{key}" for m in METHODS if m != "gaussian" for key in ("images=320", "batch=32")),
    *(f"{m}:stops=0,1,3" for m in METHODS if m != "gaussian"),
    *(
        f"{m}:{key}"
        for m in METHODS
        if m != "gaussian" and not m.startswith("conv")
        for key in ("hidden=6", "ladder=20", "ais_chains=10", "settle=5", "rungs=3")
    ),
    *(f"{m}:channels=4,8" for m in METHODS if m.startswith("conv")),
    "samples=40",
    "weighed=50",
]


def compared(digits, folder, patch, question=COMPARISON):
    torch.manual_seed(0)
    classifier = ConvClassifier((1, 8, 8), 10, (4, 8), 8).eval().requires_grad_(False)
    evaluator = Evaluator(classifier, Picture(), 1.0, 0.1, "untrained")
    patch.setattr("gradlogp.harness.compare._evaluator", lambda *_: evaluator)
    patch.setattr("gradlogp.experiments.gibbs.machines.COMPARED", (1, 2))
    some = [c for c in TINY if ":" not in c or c.split(":")[0] in question.methods]
    entries = prepare(question, Target.of(digits), "quick", folder, changes=some)
    return run_comparison("cd_gibbs", question, digits, entries, folder, some, Silent())


def test_every_method_in_miniature(digits, tmp_path, monkeypatch):
    rows = compared(digits, tmp_path, monkeypatch)
    plain = {(r["method"], r["metric"]): r for r in rows if not r.get("axes")}
    for name in set(METHODS) - {"gaussian"}:
        assert plain[name, "diverged"]["value"] == 0
        for metric in ("fd", "energy_gap", "weight_norm"):
            assert math.isfinite(plain[name, metric]["value"]), (name, metric)
    gains = {r["axes"]["over"]: r["value"] for r in rows if r["metric"] == "likelihood_gain"}
    low, high = (ends(tmp_path / name) for name in ("cd10", "cd1"))
    assert gains.keys() == {"cd1", "cd1_long"}
    assert gains["cd1"] == pytest.approx(min(low) - max(high))
    itself = gain([tmp_path / "cd10"], [tmp_path / "cd10"], "cd1")["value"]
    assert itself == pytest.approx(-abs(low[1] - low[0]))
    assert all((tmp_path / "samples" / f"figure-{n}.png").exists() for n in ("walks", "chains"))
    samplers = {r["axes"]["sampler"] for r in rows if "sampler" in r.get("axes", {})}
    assert len(samplers) == 4


def test_the_gaussian_knows_its_own_likelihood(digits, tmp_path, monkeypatch):
    """Against torch's own density of the same moments."""
    one = replace(COMPARISON, methods={"gaussian": METHODS["gaussian"]}, summary=None)
    rows = compared(digits, tmp_path, monkeypatch, one)
    (row,) = (r for r in rows if r["metric"] == "log_likelihood")
    kind = specify(digits).coordinates
    x = kind.to_model(digits.train.scaled())
    clean = kind.to_model(digits.test.scaled(slice(0, 50)))
    view = Standardised.fit(x, 0.2)
    noisy = view.back(view(clean, seeded(0, "measure"))).flatten(1).double()
    flat = x.flatten(1).double()
    covariance = flat.T.cov() + 0.04 * torch.eye(64, dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(flat.mean(0), covariance).log_prob(noisy).mean()
    assert row["value"] == pytest.approx(float(exact), rel=1e-6)


def test_a_seed_that_diverges_is_counted_and_the_others_go_on(digits, tmp_path, monkeypatch):
    def diverges(*_):
        raise Diverged("too large a rate")

    monkeypatch.setattr("gradlogp.experiments.gibbs.common.trained", diverges)
    few = {name: METHODS[name] for name in ("cd10", "cd1", "gaussian")}
    rows = compared(digits, tmp_path, monkeypatch, replace(COMPARISON, methods=few))
    counted = {r["method"]: r["value"] for r in rows if r["metric"] == "diverged"}
    assert counted == {"cd10": 1.0, "cd1": 1.0}
    assert not [r for r in rows if r["metric"] == "likelihood_gain"]
    assert "too large a rate" in (tmp_path / "cd1" / "log.txt").read_text()
    assert Run.open(tmp_path / "cd1").status()["state"] == "evaluated"


def test_more_chains_than_weighed_pictures_are_refused():
    with pytest.raises(UserError, match="weighed"):
        replace(METHODS["cd10"](DIGITS, "quick", 0), samples=100, weighed=50)
