"""Reports: one self-contained page from a run folder or a comparison's folder. They read, and compute nothing.

    write(folder)  ->  folder/report.html        text, pictures and charts in one file; no scripts, nothing fetched
"""

from gradlogp.reports.page import write

__all__ = ["write"]
