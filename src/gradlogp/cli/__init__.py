"""The command line: a few verbs that parse, call and print.

    gradlogp VERB words --flags  ->  arguments (pydantic, tyro)  ->  one function  ->  text, or JSON with --json

Exit codes: 0, 1 the system refused (space, permission), 2 a person can put it right, 3 a training that
diverged or whose samples are useless, 130 stopped by Ctrl-C. Only a programming error shows a
traceback.
"""

import ctypes
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from gradlogp.cli.arguments import VERBS, Arguments, Refused
from gradlogp.cli.parse import parse
from gradlogp.core.errors import UserError

__all__ = ["main"]

SYSTEM = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EIO,
    errno.EMFILE,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        name, arguments = parse(argv)
        keep_memory()
        perform(name, arguments)
        sys.stdout.flush()
        return 0
    except (Refused, UserError) as error:
        return _complain(error, getattr(error, "code", 2))
    except KeyboardInterrupt as stop:
        print(f"gradlogp: stopped{'; ' if stop.args else ''}{stop}", file=sys.stderr)
        return 130
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


def perform(verb: str, arguments: Arguments) -> None:
    """Call the verb's function; only now is torch imported."""
    from gradlogp.cli.terminal import Terminal

    module, function = VERBS[verb][1].split(".")
    with Terminal(arguments.as_json) as terminal:
        getattr(importlib.import_module(f"gradlogp.cli.{module}"), function)(arguments, terminal)


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
