"""One run on many processes: gradients, weights, buffers and verdicts are those of one process."""

import multiprocessing
import os

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.random import Rows, distinct, normal_, seeded, uniform_
from gradlogp.models import MLPEnergy
from gradlogp.objectives import (
    ContrastiveDivergence,
    CrossEntropy,
    DenoisingScoreMatching,
    FlowMatching,
    FromBuffer,
    FromNoise,
    FromProposal,
    ImplicitScoreMatching,
    NTXent,
    ReplayBuffer,
    SingleLevel,
    SlicedScoreMatching,
)
from gradlogp.objectives.denoising import Uncertainty
from gradlogp.runs import Run
from gradlogp.runs.tensors import read, write
from gradlogp.samplers import MALA, Langevin
from gradlogp.training import Learner, Training, accompany, train
from gradlogp.training.guard import Verdict
from gradlogp.training.processes import (
    Processes,
    address,
    backend,
    check,
    free_port,
    joined,
    launch,
    own_device,
    placed,
)

BATCH, STEPS = 10, 12  # of 10 examples, four processes have 2, 3, 2 and 3
SETTINGS = Training(BATCH * STEPS, BATCH, 1e-2, warmup=2, log_every=4, checkpoint_every=4)


def buffered():
    chains = ReplayBuffer(16, (2,), normal_, seeded(3), restart_prob=0.3, dtype=torch.float64)
    return ContrastiveDivergence(Langevin(0.1), FromBuffer(chains), 5, data_noise=0.1)


CASES = {
    "denoising": lambda: DenoisingScoreMatching(SingleLevel(0.5)),
    "uncertain": lambda: DenoisingScoreMatching(
        SingleLevel(0.5), uncertainty=Uncertainty(5).double()
    ),
    "implicit": ImplicitScoreMatching,
    "sliced": SlicedScoreMatching,
    "short run": lambda: ContrastiveDivergence(Langevin(0.1), FromNoise(normal_), 5),
    "buffer": buffered,
}


def learner_of(case, processes=Processes()):  # noqa: B008 (frozen)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = MLPEnergy(2, (8, 8)).double()
    objective = CASES[case]()
    return Learner(model, objective, SETTINGS, seeded(2), processes=processes)


def batch(step):
    return Batch(normal_(torch.empty(BATCH, 2, dtype=torch.float64), seeded("data", step)))


def spoiled(step):
    """One example in the last process's rows is NaN."""
    found = batch(step)
    found.x[-1] = float("nan") if step == 1 else found.x[-1]
    return found


def learned(case, processes, batches=batch):
    """Weights and memory after all steps, and what the guard said of each."""
    learner = learner_of(case, processes)
    verdicts = [learner.update(batches(step))[0] for step in range(STEPS)]
    return learner.tensors(), verdicts


def work(rank, world, port, folder):
    """All that needs processes, in one go; the tests read what is left in `folder`."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with joined("cpu") as processes:
        for case in CASES:
            write(folder / f"{case}-{rank}", learned(case, processes)[0])
        tensors, verdicts = learned("buffer", processes, spoiled)
        write(folder / f"spoiled-{rank}", tensors, {"verdicts": [v.value for v in verdicts]})
        assert processes.agree(7 * rank) == 7 * (world - 1)
        trained(folder / "run", processes)


def trained(path, processes, stop=None):
    """The run in `path`, begun by one process and stopped half way."""
    learner = learner_of("buffer", processes)
    if not processes.main:
        return accompany(learner, batch)
    run = Run.create(path, {})
    with run:
        train(learner, stop or batch, run)
    return learner


class Enough(Exception):
    pass


def half(step):
    if step == 6:
        raise Enough
    return batch(step)


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def together(request, tmp_path_factory):
    """(folder, number of processes) after `work`."""
    world, folder = request.param, tmp_path_factory.mktemp("together")
    with pytest.raises(Enough):
        trained(folder / "run", Processes(), half)
    port, context = free_port(), multiprocessing.get_context("spawn")
    ranks = [
        context.Process(target=work, args=(rank, world, port, folder)) for rank in range(world)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(600)
    assert [rank.exitcode for rank in ranks] == [0] * world
    return folder, world


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        torch.testing.assert_close(found[name], x, rtol=0, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("case", CASES)
def test_many_processes_end_where_one_does(case, together):
    """Weights, averages, moments, generator and buffer, on every rank."""
    folder, world = together
    alone, _ = learned(case, Processes())
    for rank in range(world):
        same(read(folder / f"{case}-{rank}")[0], alone)


def test_a_batch_with_nan_in_one_part_is_left_out_by_all(together):
    folder, world = together
    alone, verdicts = learned("buffer", Processes(), spoiled)
    assert verdicts[1] is Verdict.SKIP
    for rank in range(world):
        tensors, note = read(folder / f"spoiled-{rank}")
        assert note["verdicts"] == [v.value for v in verdicts]
        same(tensors, alone)


def test_a_run_goes_on_with_another_number_of_processes(together, tmp_path):
    """Begun by one and stopped, taken up by many, read by one: as if never stopped."""
    folder, _ = together
    whole = trained(tmp_path / "whole", Processes())
    with Run.open(folder / "run") as run:
        step, tensors, _ = run.latest()
    assert step == STEPS
    same(tensors, whole.tensors())


# --- without processes ---


@pytest.mark.parametrize("draw", [normal_, uniform_])
@pytest.mark.parametrize("shape", [(5,), (5, 3, 4, 4)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_rows_are_those_of_the_whole_draw(draw, shape, layout):
    def memory(n):
        x = torch.empty(n, *shape[1:])
        return x.contiguous(memory_format=layout) if x.ndim == 4 else x

    whole = draw(memory(5), seeded(0))
    parts = [
        draw(memory(n), Rows(seeded(0), first, n, 5, lambda x: x)) for first, n in ((0, 2), (2, 3))
    ]
    assert torch.equal(torch.cat(parts), whole)
    with pytest.raises(ValueError, match="serve 2 of 5 examples"):
        draw(memory(5), Rows(seeded(0), 0, 2, 5, lambda x: x))


def test_distinct_numbers_are_distinct_over_all_parts():
    parts = [distinct(n, 9, Rows(seeded(0), f, n, 6, lambda x: x)) for f, n in ((0, 4), (4, 2))]
    assert torch.equal(torch.cat(parts), distinct(6, 9, seeded(0)))
    assert len(set(torch.cat(parts).tolist())) == 6


@pytest.mark.parametrize(
    "objective",
    [
        CrossEntropy(),
        NTXent(lambda x, generator: x),
        FlowMatching(optimal_transport=True),
        ContrastiveDivergence(Langevin(0.1), FromNoise(normal_), kl=1.0),
        ContrastiveDivergence(MALA(0.1), FromNoise(normal_)),
        ContrastiveDivergence(Langevin(0.1), FromProposal(lambda batch, generator: batch.x)),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_what_couples_the_examples_of_a_batch_is_refused(objective):
    model = MLPEnergy(2, (8,))
    check(objective, model, BATCH, Processes())
    with pytest.raises(UserError, match="cannot be split over 2 processes; train it with one"):
        check(objective, model, BATCH, Processes(0, 2))


def test_statistics_and_batches_that_cannot_be_split_are_refused():
    by_example = ImplicitScoreMatching()
    with pytest.raises(UserError, match="statistics of the batch"):
        check(by_example, torch.nn.Sequential(torch.nn.BatchNorm1d(2)), BATCH, Processes(0, 2))
    with pytest.raises(UserError, match="batch of 3 cannot be split over 4"):
        check(by_example, MLPEnergy(2, (8,)), 3, Processes(0, 4))


def test_the_place_of_a_process_is_read_from_torchrun_and_from_slurm():
    torchrun = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    slurm = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "0"}
    assert placed(torchrun) == placed(slurm | torchrun) == (5, 8, 1)
    assert placed(slurm) == (3, 4, 0)
    assert placed({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}) == (0, 1, 0)  # a batch script
    assert address({"MASTER_ADDR": "a", "MASTER_PORT": "12"}) == ("a", 12)
    job = {"SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1", "SLURM_JOB_ID": "40007"}
    assert address(job) == ("10.0.0.1", 20_007)
    with pytest.raises(UserError, match="set both"):
        address({"MASTER_ADDR": "a"})


def test_each_process_of_a_machine_takes_its_own_card():
    def place(rank, world, local):
        return {"RANK": f"{rank}", "WORLD_SIZE": f"{world}", "LOCAL_RANK": f"{local}"}

    assert own_device("cuda", place(5, 8, 1), lambda: 4) == "cuda:1"
    assert own_device("cuda:1", place(0, 1, 0), lambda: 4) == "cuda:1"
    assert own_device("cpu", place(5, 8, 5), lambda: 0) == "cpu"
    with pytest.raises(UserError, match="5 processes on this machine need as many cards, and it"):
        own_device("cuda", place(4, 8, 4), lambda: 4)
    with pytest.raises(
        UserError, match="cuda:1 is one card, and each of 2 processes takes its own"
    ):
        own_device("cuda:1", place(0, 2, 0), lambda: 4)


def test_the_backend_follows_the_device():
    """nccl moves what lies on cards, gloo the rest; what neither knows is refused."""
    assert backend("cpu") == "gloo"
    assert backend("cuda") == backend("cuda:3") == "cpu:gloo,cuda:nccl"
    with pytest.raises(UserError, match="cpu or cuda, not on mps"):
        backend("mps")


RANK = """\
import os, pathlib, signal, time
here = pathlib.Path({folder!r}) / os.environ["RANK"]
here.write_text(here.read_text() + "x" if here.exists() else "x")
{body}
"""


def launched(folder, body, monkeypatch, restarts=1):
    """Two processes that do `body`; how often each was begun."""
    (folder / "job.py").write_text(RANK.format(folder=str(folder), body=body))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    try:
        launch(["job"], 2, restarts)
    finally:
        begun = [len((folder / rank).read_text()) for rank in "01" if (folder / rank).exists()]
    return begun


KILLED = 'os.environ["RANK"] == "1" and {when} and os.kill(os.getpid(), signal.SIGKILL)'


def test_where_one_is_killed_all_begin_again(tmp_path, monkeypatch, capsys):
    body = (
        KILLED.format(when="len(here.read_text()) == 1")
        + "\nlen(here.read_text()) == 1 and time.sleep(60)"
    )
    assert launched(tmp_path, body, monkeypatch) == [2, 2]
    assert "killed by SIGKILL: all begin again" in capsys.readouterr().out


def test_after_the_last_restart_it_is_said(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="killed by SIGKILL, after 1 restarts"):
        launched(tmp_path, KILLED.format(when="True"), monkeypatch)


def test_one_that_has_said_why_is_not_begun_again(tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as ended:
        launched(tmp_path, "raise SystemExit(3)", monkeypatch)
    assert ended.value.code == 3
    assert (tmp_path / "0").read_text() == "x"
