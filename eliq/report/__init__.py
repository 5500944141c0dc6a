"""The report of a run over many images: one offline page on which a threshold is found.

    from eliq.report import build_report

    build_report("scored/")  # -> scored/report.html

`build_report` writes it again from the part files of the run; ``eliq report DIR`` does the same.
Needs ``eliq[bulk]``.
"""

from __future__ import annotations

from .build import build_report

__all__ = ["build_report"]
