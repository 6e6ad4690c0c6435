"""The run folder: written by learning, read by everything that follows."""

from gradlogp.core.files import inside, safe_name, safe_path
from gradlogp.runs.files import Damaged, read_json, write_json, write_text
from gradlogp.runs.folder import Run, new_path
from gradlogp.runs.results import Compared, read_comparison, read_results, write_results
from gradlogp.runs.schema import blamed, read_checked
from gradlogp.runs.tensors import read, write

__all__ = [
    "Compared",
    "Damaged",
    "Run",
    "blamed",
    "inside",
    "new_path",
    "read",
    "read_checked",
    "read_comparison",
    "read_json",
    "read_results",
    "safe_name",
    "safe_path",
    "write",
    "write_json",
    "write_results",
    "write_text",
]
