"""The command line: a few verbs that parse, call and print.

    gradlogp VERB words --flags  ->  arguments (pydantic, tyro)  ->  one function  ->  text, or JSON with --json

Exit codes: 0, 1 the system refused (space, permission), 2 a person can put it right, 3 a training
that diverged or whose samples are useless, 128 + n stopped by signal n (130 by Ctrl-C, 143 by
SIGTERM, 129 by SIGHUP). Only a programming error shows a traceback.
"""

import ctypes
import errno
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from gradlogp.core import stop
from gradlogp.core.errors import UserError

__all__ = ["main"]

NARROWEST = 40  # columns
SYSTEM = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "EIO", "EMFILE", "ENFILE", "ESTALE"),
        *("ENAMETOOLONG", "ELOOP", "ENOTDIR", "EISDIR", "ENOMEM"),
    )
    if hasattr(errno, name)
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    widen()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever began us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    try:
        with stop.handled(stop.leave):
            work = prepared(argv)
        with stop.handled(stop.stop):
            work()
        sys.stdout.flush()
        return 0
    except UserError as error:
        return _complain(error, getattr(error, "code", 2))
    except KeyboardInterrupt as stopped:
        print(f"gradlogp: stopped{'; ' if stopped.args else ''}{stopped}", file=sys.stderr)
        return 128 + getattr(stopped, "signum", 2)
    except BrokenPipeError:  # `gradlogp list | head`: whoever read has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in SYSTEM:
            raise
        return _complain(
            f"{error.filename or 'the system'}: {error.strerror}; make room or choose another"
            " folder.",
            1,
        )
    except SystemExit as done:  # tyro, after --help
        return int(done.code or 0)


def widen() -> None:
    """A terminal that says it is narrower than a word would make the wrapping of help endless."""
    said = os.environ.get("COLUMNS", "")
    if said and (not said.isdigit() or int(said) < NARROWEST):
        os.environ["COLUMNS"] = str(NARROWEST)


def prepared(argv: Sequence[str]) -> Callable[[], None]:
    """What the words ask for, with all that it needs imported; only now is that torch."""
    from gradlogp.cli.arguments import VERBS
    from gradlogp.cli.parse import parse
    from gradlogp.cli.shared import Refused

    try:
        verb, arguments = parse(argv)
    except Refused as error:
        raise UserError(str(error)) from error
    keep_memory()
    from gradlogp.cli.terminal import Terminal

    module, name = VERBS[verb][1].split(".")
    function = getattr(importlib.import_module(f"gradlogp.cli.{module}"), name)

    def work() -> None:
        with Terminal(arguments.as_json, arguments.aside) as terminal:
            function(arguments, terminal)

    return work


def _complain(error: object, code: int) -> int:
    print("gradlogp: error: " + str(error).replace("\n", " "), file=sys.stderr)
    return code


def keep_memory() -> None:
    """Let glibc keep the memory that training frees at each step and wants again at the next.

    Giving it back and faulting it in anew is a third of a training step. Other systems have no such
    call; processes that this one begins read the same from their environment.
    """
    settings = {
        "MMAP_THRESHOLD": (-3, 1 << 30),
        "TRIM_THRESHOLD": (-1, 2**31 - 1),
        "TOP_PAD": (-2, 64 << 20),
    }
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for name, (parameter, value) in settings.items():
            libc.mallopt(parameter, value)
            os.environ.setdefault(f"MALLOC_{name}_", str(value))
