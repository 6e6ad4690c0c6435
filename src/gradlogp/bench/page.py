"""What the generated pages share: tables in Markdown, and the line that says how to make them
again.
"""

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

import gradlogp


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def made_by(command: str, date: str) -> str:
    """The command, and what it ran on."""
    return (
        f"Made by `{command}` on {date}: gradlogp {gradlogp.__version__}, torch"
        f" {torch.__version__}, Python {platform.python_version()}, one thread of {processor()}. Do"
        " not edit: run the command."
    )


def processor() -> str:
    """The processor's name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch inside, as many as before outside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
