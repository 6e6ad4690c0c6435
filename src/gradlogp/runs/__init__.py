"""The run folder: written by learning, read by everything that follows."""

from gradlogp.runs.files import Damaged, read_json, write_json, write_text
from gradlogp.runs.folder import Run, new_path
from gradlogp.runs.tensors import read, write

__all__ = ["Damaged", "Run", "new_path", "read", "read_json", "write", "write_json", "write_text"]
