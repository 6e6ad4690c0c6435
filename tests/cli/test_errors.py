"""What goes wrong is said in one line, with a hint, and an exit code."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from gradlogp.cli import main
from gradlogp.core.errors import UserError
from gradlogp.core.files import refused

BAD = [  # words, code, what the line says
    ("", 2, "expected a verb"),
    ("tran ebm", 2, "did you mean 'train'?"),
    ("generate ebm", 2, "did you mean 'sample'?"),
    ("list zo", 2, "did you mean 'zoo'?"),
    ("list sampler", 2, "did you mean 'samplers'?"),
    ("list recipes", 2, "did you mean 'experiments'?"),
    ("list experimnts", 2, "did you mean 'experiments'?"),
    ("list datasets", 2, "did you mean 'data'?"),
    ("list losses", 2, "did you mean 'objectives'?"),
    ("impute runs/a x.csv", 2, "did you mean 'inpaint'?"),
    ("train diffusion", 2, "no experiment 'diffusion'; did you mean 'ddpm'?"),
    ("train Energy", 2, "did you mean 'ebm'?"),
    ("train xyzzy", 2, "no experiment 'xyzzy'. There are ebm, "),
    ("train ebm --dataset xyzzy", 2, "unknown data set 'xyzzy'. There are digits, "),
    ("xyzzy", 2, "there is no verb 'xyzzy'. There are list, train, "),
    ("list 0", 2, "'zoo'). See gradlogp list --help."),
    ("train", 2, "EXPERIMENT"),
    ("train ebmm", 2, "no experiment 'ebmm'; did you mean 'ebm'?"),
    ("train ebm --sed 3", 2, "did you mean --seed?"),
    ("train ebm --seed x", 2, "--seed"),
    ("train ebm --seed -1", 2, "--seed: input should be greater than or equal to 0, got -1"),
    ("train ebm --preset quik", 2, "did you mean 'quick'?"),
    ("train ebm --dataset mnits", 2, "did you mean 'mnist'?"),
    ("train ebm --dataset folder", 2, "folder:PATH"),
    ("train ebm --dataset mnist --data nowhere", 2, "gradlogp data mnist --data nowhere"),
    ("train ebm --device abacus", 2, "--device abacus"),
    ("train ebm --device mps", 2, "--device mps: this machine or this torch has none"),
    ("train ebm --set training.imags=3", 2, "did you mean 'training.images'?"),
    ("train ebm --set training.images", 2, "expects section.key=value"),
    ("train ebm --set training.images=many", 2, "training.images expects int, got 'many'"),
    ("train ebm --set training.batch=0", 2, "batch"),
    ("train ebm --set chain.step_size=-1", 2, "chain.step_size=-1"),
    ("train ebm --set chain.noise_std=-1", 2, "noise_std is a standard deviation"),
    ("train ebm --set chain.clamp=0.5", 2, "chain.clamp expects a list such as 0.1,0.5"),
    ("train ebm --set chain.clamp=0,", 2, "chain.clamp expects a list such as 0.1,0.5"),
    ("train ebm --set net.channels=8", 2, "net.channels expects a list such as 16,32, got 8"),
    ("train ebm --set net.channels=8,0", 2, "channels must be 1 or more, got (8, 0)"),
    ("train ebm --set net.channels=()", 2, "channels must be 1 or more, got ()"),
    ("train ebm --set chain_steps=0", 2, "chain_steps must be 1 or more, got 0"),
    ("train ebm --set buffer.restart_prob=2", 2, "restart_prob is a share, in [0, 1], got 2"),
    ("train ebm --set buffer.capacity=63", 2, "buffer.capacity must be as much, got 63"),
    ("train ebm --set training.beta1=1", 2, "beta1 and ema in [0, 1)"),
    ("train ebm --set training.learning_rate=nan", 2, "expects float, got 'nan'"),
    ("train ebm --set posterior.step=0", 2, "step is a positive share"),
    ("train ebm --set evaluation.samples=1", 2, "samples must be 2 or more, got 1"),
    ("train ebm --set dataset=mnist", 2, "dataset is said by the command itself"),
    ("train ncsn --set two_valued=true --out a", 2, "set two_valued=false"),
    ("train ncsn --set two_valued=true --dry-run", 2, "set two_valued=false"),
    ("compare ncsn --set two_valued=true --out a", 2, "set two_valued=false"),
    ("train ncsn --set two_valued=true covariance=true", 2, "two ways of one"),
    ("train ncsn --set net.patch=0", 2, "patch must be 1 or more, got 0"),
    ("train ncsn --set levels.width=-1", 2, "width is the standard deviation"),
    ("train ncsn --set guard.patience=0", 2, "patience must be 1 or more, got 0"),
    ("train ebm --set net.width=1000000000000", 2, "net.width must be 100,000,000 or less"),
    ("train ebm --set net.width=100000000", 2, "make the network smaller"),
    ("train ebm --set buffer.capacity=100000000000", 2, "100,000,000 or less"),
    ("train ebm --set buffer.capacity=100000000", 2, "set a smaller buffer.capacity"),
    ("train ebm --set training.images=" + "1" + 30 * "0", 2, "1,000,000,000,000 or less"),
    ("train ebm --set generate_steps=1000000000000", 2, "100,000,000 or less"),
    ("train ebm --set evaluation.snapshots=1000000000", 2, "1,000 or less"),
    ("train ncsn --set sampler.levels=1000000000", 2, "100,000 or less"),
    ("train ncsn --set net.blocks=1000000000", 2, "1,000 or less"),
    ("train vae --set latent=10000000000", 2, "100,000,000 or less"),
    ("train ebm --out file.txt", 2, "expected a folder, but that is a file"),
    ("train ebm --out file.txt/below", 2, "cannot write in"),
    ("train ebm --out strange", 2, "no run folder"),
    (f"train ebm --out {'x' * 300}", 2, "--out holds the name"),
    ("train ebm --out a\0b", 2, "--out holds the name 'a\\x00b', which holds control"),
    ("train ebm --out \udcff", 2, "--out holds the name '\\udcff', which is not UTF-8"),
    (f"sample nowhere --out {'x' * 300}.png", 2, "nowhere does not exist"),
    (f"sample {'x' * 300}", 2, "the path holds the name"),
    ("sample a\0b", 2, "the path holds the name"),
    ("report a\0b", 2, "the path holds the name"),
    ("compare emb", 2, "no comparison 'emb'; did you mean 'ebm'?"),
    ("compare ebm --seeds 0", 2, "--seeds: input should be greater than or equal to 1, got 0"),
    ("compare ebm --out strange", 2, "no comparison's folder"),
    ("compare demo --set chain_steps=3", 2, "ncsn: there is no setting 'chain_steps'"),
    ("compare demo --set emb:chain_steps=3", 2, "'emb'"),
    ("sample nowhere", 2, "nowhere does not exist"),
    ("sample strange", 2, "no run folder"),
    ("sample nowhere --n 0", 2, "--n: input should be greater than or equal to 1, got 0"),
    ("sample nowhere --steps -1", 2, "--steps: input should be greater than or equal to 0, got -1"),
    ("sample nowhere --class -1", 2, "--class: input should be greater than or equal to 0, got -1"),
    ("denoise nowhere", 2, "--sigma"),
    ("denoise nowhere nothing.png --sigma 0.1", 2, "cannot read the picture nothing.png"),
    ("denoise nowhere file.txt --sigma 0.1", 2, "not a whole image"),
    ("denoise nowhere file.txt --sigma 0", 2, "--sigma: input should be greater than 0, got 0"),
    ("denoise nowhere file.txt --sigma nan", 2, "--sigma"),
    (
        "denoise nowhere file.txt --sigma 25",
        2,
        "--sigma: input should be less than or equal to 2, got 25",
    ),
    ("likelihood nowhere", 2, "nowhere does not exist"),
    (
        "likelihood nowhere --probes 0",
        2,
        "--probes: input should be greater than or equal to 1, got 0",
    ),
    ("likelihood nowhere --divergence guess", 2, "'exact'"),
    ("evaluate nowhere", 2, "nowhere does not exist"),
    ("report nowhere", 2, "nowhere"),
    ("report strange", 2, "strange"),
    ("bench scale --dataset mnits", 2, "did you mean 'mnist'?"),
    ("data minst", 2, "did you mean 'mnist'?"),
    ("data folder", 2, "folder:PATH"),
    ("demo --out file.txt", 2, "expected a folder"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRADLOGP_DATA", raising=False)
    (tmp_path / "file.txt").write_text("hello")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "diary.txt").write_text("hello")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "says"), BAD, ids=[ascii(words)[1:60] for words, *_ in BAD]
)
def test_bad_words_get_one_line(
    words: str, code: int, says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.rglob("*"))
    assert main(words.split()) == code
    out, err = capsys.readouterr()
    assert says in err and err.startswith("gradlogp: error: ") and err.count("\n") == 1
    assert out == "" and sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.png"),
            1,
            "gradlogp: error: x.png: No space left on device",
        ),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), "x.png"),
            1,
            "gradlogp: error: x.png: Permission denied",
        ),
        (
            refused(Path("x.png"), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
            1,
            "gradlogp: error: cannot write x.png: No space left on device",
        ),
        (UserError("two\nlines"), 2, "gradlogp: error: two lines\n"),
        (KeyboardInterrupt(), 130, "gradlogp: stopped\n"),
        (
            KeyboardInterrupt("the same command goes on from step 7"),
            130,
            "stopped; the same command goes on from step 7",
        ),
    ],
)
def test_what_the_work_may_meet(
    raised: BaseException,
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("gradlogp.cli.contents.tables", fail)
    assert main(["list"]) == code
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "raised", [ZeroDivisionError("a bug"), FileNotFoundError(errno.ENOENT, "a bug")]
)
def test_a_bug_keeps_its_traceback(raised: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("gradlogp.cli.contents.tables", fail)
    with pytest.raises(type(raised), match="a bug"):
        main(["list"])


@pytest.mark.parametrize("more", [(), ("--processes", "2"), ("--dry-run",)])
def test_a_covariance_of_many_numbers_is_refused_before_a_network_is_built(
    more: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = np.random.default_rng(0).standard_normal((20, 4097), dtype=np.float32)
    np.savez(folder / "wide.npz", x=wide)
    words = ("train", "ncsn", "--dataset", "npz:wide.npz", "--out", "a", "--set", "covariance=true")
    assert main([*words, *more]) == 2
    err = capsys.readouterr().err
    assert err.endswith("at most 4,096 numbers, got 4,097; set covariance=false.\n")
    assert not (folder / "a").exists()
