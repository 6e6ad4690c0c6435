#!/usr/bin/env python3
"""Set up an environment and run a job. Needs Python >= 3.11 and nothing else.

python3 go.py demo [words]    the main job, `gradlogp demo`; words are passed on
python3 go.py test [words]    ruff, mypy, lint-imports and pytest; with words, pytest alone, which gets them
python3 go.py docs [folder]   the documentation site, into site/ or the folder; it opens without a network

GO_VENV=DIR         the environment's folder (.venv beside this file)
GO_TORCH=any        the build of torch that pip takes by itself; GO_TORCH=cpu: the CPU build in spite of a GPU
GO_TORCH_INDEX=URL  where to find CPU builds of torch
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

if sys.version_info < (3, 11):  # noqa: UP036 (an older Python should read this line)
    sys.exit(
        f"go.py: needs Python >= 3.11, this is {sys.version.split()[0]}; try python3.11 go.py, or a"
        " newer one."
    )

ROOT = pathlib.Path(__file__).resolve().parent
VENV = pathlib.Path(os.environ.get("GO_VENV") or ROOT / ".venv").expanduser().resolve()
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / ".go-stamp"
CPU_INDEX = os.environ.get("GO_TORCH_INDEX") or "https://download.pytorch.org/whl/cpu"
PACKAGES = {"demo": ".[app]", "test": ".[test]", "docs": ".[test]"}
MODULES = {
    "demo": ["torch", "gradlogp", "fastapi"],
    "test": ["torch", "gradlogp", "pytest", "mypy", "zensical"],
    "docs": ["torch", "gradlogp", "zensical"],
}


def say(text):
    print(f"go.py: {text}", flush=True)


def give_up(text):
    sys.exit(f"go.py: {text}")


def run(*words, **options):
    return subprocess.run([str(word) for word in words], **options)


def pip(*words, **options):
    env = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return run(PYTHON, "-m", "pip", *words, cwd=ROOT, env=env, **options)


def works(*modules):
    """Whether the environment's Python starts, is new enough and finds these modules."""
    test = (
        "sys.version_info < (3, 11) or any(util.find_spec(name) is None for name in sys.argv[1:])"
    )
    code = f"import sys; from importlib import util; sys.exit({test})"
    try:
        return run(PYTHON, "-I", "-c", code, *modules, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


# --- which torch ---


def nvidia():
    """Whether an NVIDIA driver answers; nvidia-smi alone may be left over from one."""
    if os.path.exists("/proc/driver/nvidia/version"):
        return True
    smi = shutil.which("nvidia-smi")
    return bool(smi) and b"GPU" in run(smi, "-L", capture_output=True).stdout


def wants_cpu():
    """On Linux pip's own choice of torch is gigabytes of CUDA; elsewhere it is small."""
    choice = os.environ.get("GO_TORCH", "")
    if choice not in ("", "any", "cpu"):
        give_up(f"GO_TORCH is any or cpu, or is not set; it is {choice!r}.")
    return sys.platform == "linux" and choice != "any" and (choice == "cpu" or not nvidia())


def torch_words():
    """What to hand to pip. A CPU wheel on offer already (a folder of wheels, pip.conf) saves the
    trip to CPU_INDEX.
    """
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    pin = next(line for line in lines if line.startswith("torch=="))
    if not wants_cpu():
        return [pin]
    pin += (  # only CPU builds bear this label: the question below can never fetch a CUDA build
        "+cpu"
    )
    probe = ["install", "--dry-run", "--no-deps", "--ignore-installed", "-q", pin]
    if pip(*probe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
        return [pin]
    return [pin, "--extra-index-url", CPU_INDEX]


# --- the environment ---


def read_stamp():
    try:
        return dict(json.loads(STAMP.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def write_stamp(**state):
    """`made` (by us, so ours to delete) stays; the rest is what is said now."""
    made = read_stamp().get("made", False)
    STAMP.write_text(json.dumps({"where": where(), "made": made, **state}), encoding="utf-8")


def where():
    """An environment does not survive being moved, nor another Python."""
    return f"{VENV} {sys.platform} {sys.version_info[0]}.{sys.version_info[1]}"


def wanted():
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def ready(job):
    stamp = read_stamp()
    same = stamp.get("where") == where() and stamp.get("files") == wanted()
    return same and stamp.get("job") in (job, "test", "docs") and works(*MODULES[job])


def broken():
    """Whether what is there, if anything, is beyond mending by pip."""
    stamp = read_stamp()
    moved = stamp.get("where", where()) != where()
    return moved or stamp.get("half", False) or not works("pip")


def clear_away():
    """Delete an environment of ours; move one of somebody else's aside; touch nothing that is no
    environment.
    """
    if not VENV.exists() or (VENV.is_dir() and not any(VENV.iterdir())):
        return
    if read_stamp().get("made", False):
        say(f"{VENV} is broken, unfinished or moved: clearing it.")
        for path in VENV.iterdir():  # the stamp stays, so that a stop in here leaves it ours
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != STAMP:
                path.unlink()
    elif VENV.is_dir() and (VENV == ROOT / ".venv" or (VENV / "pyvenv.cfg").exists()):
        names = (VENV.with_name(f"{VENV.name}-old{number}") for number in range(1, 1000))
        aside = next(name for name in names if not name.exists())
        say(
            f"{VENV} does not work as an environment: moving it to {aside.name} and making a new"
            " one."
        )
        VENV.rename(aside)
    else:
        give_up(
            f"{VENV} exists and is no Python environment; set GO_VENV to a folder that may be made"
            " or replaced."
        )


def check_space():
    need = 2 if wants_cpu() or sys.platform != "linux" else 8
    folder = next(parent for parent in VENV.parents if parent.exists())
    free = shutil.disk_usage(folder).free / 1e9
    if free < need:
        give_up(
            f"{folder} has {free:.1f} GB free, the environment needs {need}; GO_VENV=DIR puts it"
            " elsewhere."
        )


def make():
    clear_away()
    check_space()
    say(f"making an environment in {VENV} (Python {sys.version.split()[0]})")
    VENV.mkdir(parents=True, exist_ok=True)
    write_stamp(made=True, half=True)
    if run(sys.executable, "-m", "venv", VENV).returncode or not works("pip"):
        shutil.rmtree(VENV, ignore_errors=True)
        give_up(
            "this Python cannot make an environment with pip (no ensurepip?); on Debian: apt"
            " install python3-venv."
        )


def install(job):
    words = torch_words()
    size = (
        "the CPU build, 0.2 GB to fetch"
        if wants_cpu()
        else "pip's choice; with CUDA, 3 GB to fetch"
    )
    fetch(f"{words[0]} ({size}; a minute or more)", *words)
    fetch(f"gradlogp and what it needs to {job}", "-c", "constraints.txt", "-e", PACKAGES[job])
    compile_torch()


def fetch(what, *words):
    say(f"installing {what}")
    quiet = [] if sys.stdout.isatty() else ["-q"]  # on a terminal, pip's progress bars
    if pip("install", *quiet, *words).returncode == 0:
        return
    write_stamp()  # pip stopped in good order: the next go need not start from nothing
    reach = f"Is {CPU_INDEX} within reach? " if CPU_INDEX in words else ""
    give_up(
        f"could not install {what.split(' (')[0]}; pip says why, above. {reach}Without a network,"
        " PIP_FIND_LINKS=DIR takes wheels from a folder. The same command tries again."
    )


def compile_torch():
    """Where nothing may write bytecode on import, an install without it makes every import of torch
    seconds slower.
    """
    folders = [*VENV.glob("lib/python3*/site-packages"), *VENV.glob("Lib/site-packages")]
    for folder in folders:
        if (folder / "torch").is_dir() and not (folder / "torch" / "__pycache__").is_dir():
            say("compiling bytecode, so that imports are fast")
            run(PYTHON, "-m", "compileall", "-q", "-j", "0", folder, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def alone():
    """A second go.py waits until the first has set up. The lock goes with its process; Windows does
    without.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(ROOT / "constraints.txt", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another go.py is setting up; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield


def set_up(job):
    with alone():
        if ready(job):
            return
        if broken():
            make()
        write_stamp(half=True)
        install(job)
        write_stamp(job=job, files=wanted())


# --- the jobs ---


def call(*words, cwd=None, **env):
    """The child hears Ctrl-C by itself and may take its time to save; wait for it, then stop too."""
    child = subprocess.Popen([str(word) for word in words], cwd=cwd, env={**os.environ, **env})
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    stopped = False
    while True:
        try:
            code = child.wait()
            break
        except KeyboardInterrupt:
            stopped = True
    if stopped:
        sys.exit(code if code > 0 else 130)
    return code if code >= 0 else 128 - code


def tool(name):
    return shutil.which(name, path=str(BIN)) or give_up(
        f"{BIN} has no {name}; remove {VENV} and run this again."
    )


def demo(words):
    return call(tool("gradlogp"), "demo", *words)


def docs(words):
    return call(PYTHON, ROOT / "docs" / "tools" / "build.py", *words)


def test(words):
    pytest = [PYTHON, "-m", "pytest", *([] if "--pdb" in words else ["-n", "2"]), *words]
    checks = {
        "ruff (style)": [PYTHON, "-m", "ruff", "check", "."],
        "ruff (format)": [PYTHON, "-m", "ruff", "format", "--check", "."],
        "mypy (types)": [PYTHON, "-m", "mypy"],
        "lint-imports (imports go down only)": [tool("lint-imports"), "--no-logo"],
        "pytest (one thread to a process)": pytest,
    }
    if words:
        checks = {"pytest": pytest}
    failed = {}
    for number, (name, command) in enumerate(checks.items(), 1):
        say(f"{number}/{len(checks)} {name}")
        code = call(*command, cwd=ROOT, OMP_NUM_THREADS="1")
        if code:
            failed[name] = code
    if failed:
        say(f"failed: {', '.join(failed)}")
    return next(reversed(failed.values()), 0)


def main(words):
    job, *rest = words or [""]
    if job in ("-h", "--help"):
        print(__doc__.strip())
        return 0
    if job not in PACKAGES:
        say(f"{job!r} is no job; say demo, test or docs." if job else "say demo, test or docs.")
        print(__doc__.strip())
        return 2
    try:
        set_up(job)
        return {"demo": demo, "test": test, "docs": docs}[job](rest)
    except KeyboardInterrupt:
        give_up("stopped; the same command goes on.")
    except OSError as error:
        give_up(f"{error}; GO_VENV=DIR puts the environment elsewhere.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
