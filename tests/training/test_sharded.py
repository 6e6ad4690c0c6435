"""Weights cut over two processes: gradients, weights and checkpoints are those of one process."""

import multiprocessing
import os

import pytest
import torch
import torch.distributed as dist
from torch import nn

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.random import normal_, seeded
from gradlogp.models import (
    ConvEnergy,
    MLPEnergy,
    VectorScore,
    mlp_noisy_energy,
    mlp_score,
    unet_score,
)
from gradlogp.objectives import (
    ContrastiveDivergence,
    DenoisingScoreMatching,
    EquilibriumMatching,
    FiniteDifferenceScoreMatching,
    FlowMatching,
    FromBuffer,
    FromNoise,
    ImplicitScoreMatching,
    LogNormal,
    ReplayBuffer,
    SlicedScoreMatching,
)
from gradlogp.objectives.denoising import Uncertainty
from gradlogp.runs import Run
from gradlogp.runs.tensors import read, write
from gradlogp.samplers import Langevin
from gradlogp.training import ALONE, Learner, Processes, Training, accompany, loop, train
from gradlogp.training.processes import check, free_port, joined

WORLD, BATCH, STEPS = 2, 5, 6
SETTINGS = Training(
    BATCH * STEPS, BATCH, 1e-2, grad_clip=0.5, warmup=2, log_every=2, checkpoint_every=2
)
LEVELS = LogNormal(-0.4, 1.2)
PICTURE = (1, 8, 8)


def chains(steps=3):
    return ContrastiveDivergence(Langevin(0.1), FromNoise(normal_), steps)


def buffered():
    kept = ReplayBuffer(8, (2,), normal_, seeded(3), restart_prob=0.3, dtype=torch.float64)
    return ContrastiveDivergence(Langevin(0.1), FromBuffer(kept), 3, data_noise=0.1)


# name -> the model, the objective, the shape of an example, and how many units there are
CASES = {
    "score, denoising": (
        lambda: mlp_score(2, 0.5, 8, 2),
        lambda: DenoisingScoreMatching(LEVELS, uncertainty=Uncertainty(5).double()),
        (2,),
        5,
    ),
    "UNet, flow": (lambda: unet_score(PICTURE, 0.6, (16,), 1, 2), FlowMatching, PICTURE, 7),
    "buffer": (lambda: MLPEnergy(2, (8, 7)), buffered, (2,), 3),
    "convolutions, chains": (lambda: ConvEnergy(PICTURE, (4, 8), 8), chains, PICTURE, 4),
    "finite differences": (
        lambda: VectorScore(2, (8, 8)),
        FiniteDifferenceScoreMatching,
        (2,),
        3,
    ),
    "score, equilibrium": (lambda: VectorScore(2, (8, 8)), EquilibriumMatching, (2,), 3),
    "implicit": (lambda: MLPEnergy(2, (8, 8)), ImplicitScoreMatching, (2,), 1),
    "sliced": (lambda: ConvEnergy(PICTURE, (4, 8), 8), SlicedScoreMatching, PICTURE, 1),
    "energy, denoising": (
        lambda: mlp_noisy_energy(2, 0.5, 8, 2),
        lambda: DenoisingScoreMatching(LEVELS),
        (2,),
        1,
    ),
}


def learner_of(case, processes=ALONE):
    model, objective, _, _ = CASES[case]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = model().double()
        for p in network.parameters():  # heads that begin at zero let nothing through
            p.data.add_(0.1 * torch.randn_like(p))
    return Learner(network, objective(), SETTINGS, seeded(2), processes=processes)


def batches(case):
    shape = (BATCH, *CASES[case][2])
    return lambda step: Batch(normal_(torch.empty(shape).double(), seeded("data", step)))


def gradients(learner):
    return {name: p.grad for name, p in learner.model.named_parameters() if p.grad is not None} | {
        f"own.{i}": p.grad for i, p in enumerate(learner.objective.parameters())
    }


def learned(case, processes=ALONE):
    """The gradients of the first update, and everything after all of them."""
    learner, batch = learner_of(case, processes), batches(case)
    learner.update(batch(0))
    first = learner.layout.gathered(gradients(learner))
    for step in range(1, STEPS):
        learner.update(batch(step))
    return learner, first


def work(rank, port, folder):
    """All that needs processes, in one go; the tests read what is left in `folder`."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(WORLD), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with joined("cpu", shard=True) as processes:
        for case in CASES:
            learner, first = learned(case, processes)
            share = sum(p.to_local().numel() for p in learner.model.parameters())
            note = {"units": len(learner.layout.units), "share": share}
            found = learner.tensors()
            if processes.main:
                write(folder / case, found, note)
                write(folder / f"{case}, gradients", first)
        if processes.main:
            write(folder / "gathered", {}, {"counts": counted(processes)})
        else:
            counted(processes)
        refused(processes)
        for name in ("whole", "half"):
            trained(folder / name, processes, rolled_back())


def counted(processes):
    """How often weights are gathered in the second update with 1 and with 5 steps of chains."""
    name = next(n for n in ("all_gather_single", "all_gather_into_tensor") if hasattr(dist, n))
    gather, counts, calls = getattr(dist, name), [], []

    def counting(*words, **more):
        calls.append(1)
        return gather(*words, **more)

    setattr(dist, name, counting)
    for steps in (1, 5):
        learner = learner_of("convolutions, chains", processes)
        learner.objective = chains(steps)
        learner.update(batches("convolutions, chains")(0))
        calls.clear()
        learner.update(batches("convolutions, chains")(1))
        counts.append(len(calls))
    setattr(dist, name, gather)
    return counts


class Reading(MLPEnergy):
    """Reads the weights of a layer instead of calling it."""

    def forward(self, x, cond=None):
        return super().forward(x) + self.trunk[1].weight.sum()


def refused(processes):
    learner = Learner(
        Reading(2, (8, 8)).double(), chains(), SETTINGS, seeded(2), processes=processes
    )
    with pytest.raises(UserError, match="Reading reads the weights of a layer without calling it"):
        learner.update(batches("buffer")(0))


def rolled_back():
    """Step 5 has a batch that overflows when it is seen first: the guard rolls back, once."""
    source, seen = batches("buffer"), []

    def batch(step):
        found = source(step)
        if step == 5 and not seen:
            seen.append(step)
            found.x.mul_(1e300)
        return found

    return batch


def trained(path, processes, batch):
    """The run in `path`, with a checkpoint by the clock after every step."""
    loop.LONGEST = 0.0
    learner = learner_of("buffer", processes)
    looked = []
    if not processes.main:
        return accompany(learner, batch, frozenset({3}))
    with Run.create(path, {}) as run:
        train(
            learner,
            batch,
            run,
            watch=lambda step: looked.append(next(learner.averaged.parameters()).clone()),
            watch_at=frozenset({3}),
        )
        if looked:
            run.weights({"first": looked[0]}, "seen")
    return learner


class Enough(Exception):
    pass


def stopped(step):
    if step == 3:
        raise Enough
    return batches("buffer")(step)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    with pytest.raises(Enough):
        trained(folder / "half", ALONE, stopped)
    port, context = free_port(), multiprocessing.get_context("spawn")
    ranks = [context.Process(target=work, args=(rank, port, folder)) for rank in range(WORLD)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(600)
    assert [rank.exitcode for rank in ranks] == [0] * WORLD
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("alone") / "run", ALONE, rolled_back())


def same(found, expected, atol=1e-10):
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        torch.testing.assert_close(found[name], x, rtol=0, atol=atol)


@pytest.mark.parametrize("case", CASES)
def test_gradients_and_weights_are_those_of_one_process(case, together):
    """And moments, averages, buffer and generator; each process holds about half."""
    learner, first = learned(case)
    same(read(together / f"{case}, gradients")[0], first)
    tensors, note = read(together / case)
    same(tensors, learner.tensors())
    whole = sum(p.numel() for p in learner.model.parameters())
    assert note["units"] == CASES[case][3] and note["share"] < 0.65 * whole


def test_chains_gather_each_unit_once_however_long_they_are(together):
    once = CASES["convolutions, chains"][3] + 1  # the outermost for backward again
    assert read(together / "gathered")[1]["counts"] == [once, once]


@pytest.mark.parametrize("name", ["whole", "half"])
def test_checkpoints_are_whole(name, together, alone):
    """A sharded run that is rolled back, and one that another process began, end where one does."""
    with Run.open(together / name) as run:
        step, tensors, _ = run.latest()
        weights, ema = run.load("weights")[0], run.load("ema")[0]
    assert step == STEPS and alone.guard.rollbacks == 1
    same(tensors, alone.tensors())
    same(weights, alone.model.state_dict())
    same(ema, alone.ema.module.state_dict())


def test_what_looks_at_the_average_on_the_way_sees_it_whole(together):
    learner = learner_of("buffer")
    for step in range(3):
        learner.update(batches("buffer")(step))
    with Run.open(together / "whole") as run:
        seen = run.load("seen")[0]["first"]
    torch.testing.assert_close(seen, next(learner.averaged.parameters()), rtol=0, atol=1e-10)


def test_a_sharded_run_is_gone_on_with_by_one_process(together, alone, tmp_path):
    """From the checkpoint that two processes wrote at half of the way."""
    with Run.open(together / "whole") as run:
        run.rewind(4)
        (step, _, _) = run.latest()
        assert step == 4
    learner = trained(together / "whole", ALONE, batches("buffer"))
    same(learner.tensors(), alone.tensors())


def test_a_single_number_cannot_be_cut():
    model = MLPEnergy(2, (8,))
    model.scale = nn.Parameter(torch.tensor(1.0))
    check(chains(), model, BATCH, Processes(0, 2))
    with pytest.raises(
        UserError, match=r"scale of MLPEnergy is a single number.*leave out --shard"
    ):
        check(chains(), model, BATCH, Processes(0, 2, sharded=True))
