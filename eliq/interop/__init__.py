"""Doors to other tools: exports of a run, and ELIQ as a metric of pyiqa and of torchmetrics.

    from eliq.interop import export_csv, export_label_studio, export_fiftyone  # of a run
    from eliq.interop.torchmetrics import EliqScore  # a Metric
    from eliq.interop.pyiqa import register  # pyiqa.create_metric("eliq")

Each loads the tool it is for, and only when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .fiftyone import export_fiftyone
    from .label_studio import LABEL_CONFIG, export_label_studio
    from .tables import export_csv

__all__ = ["LABEL_CONFIG", "export_csv", "export_fiftyone", "export_label_studio"]

_MODULES = {
    "LABEL_CONFIG": ".label_studio",
    "export_csv": ".tables",
    "export_fiftyone": ".fiftyone",
    "export_label_studio": ".label_studio",
}


def __getattr__(name: str) -> object:
    """A public name, imported at its first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name], __name__), name)
