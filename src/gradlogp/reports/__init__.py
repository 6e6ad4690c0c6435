"""Reports: one self-contained page from a run folder or a comparison's folder. They read, and
compute nothing.

write(folder)     ->  folder/report.html   text, pictures and charts in one file; no scripts, nothing fetched
rendered(folder)  ->  its text
"""

from gradlogp.reports.page import rendered, write
from gradlogp.reports.results import write_results

__all__ = ["rendered", "write", "write_results"]
