"""Scores an image set of any size into a directory: part files that a kill cannot damage.

    from eliq.bulk import RunConfig, finish_run, plan_run, run_local

    config = RunConfig("images/", "scored/")
    run_local(config, plan_run(config))
    summary = finish_run("scored/")

``eliq run`` is this, with a progress bar. Names are loaded when they are first used: a decoding
worker that imports this package pays for neither pyarrow nor a model. Needs ``eliq[bulk]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .atomic import write_file_atomically
    from .config import RunConfig
    from .engine import Progress, UnitScorer, run_local
    from .images_again import ImageReader, read_image_bytes
    from .out_dir import claim_out_dir
    from .parts import PartDone, iterate_rows, iterate_thumbnails
    from .plan import Plan, load_plan, plan_run
    from .results import finish_run

__all__ = [
    "ImageReader",
    "PartDone",
    "Plan",
    "Progress",
    "RunConfig",
    "UnitScorer",
    "claim_out_dir",
    "finish_run",
    "iterate_rows",
    "iterate_thumbnails",
    "load_plan",
    "plan_run",
    "read_image_bytes",
    "run_local",
    "write_file_atomically",
]

_MODULES = {
    "ImageReader": ".images_again",
    "PartDone": ".parts",
    "Plan": ".plan",
    "Progress": ".engine",
    "RunConfig": ".config",
    "UnitScorer": ".engine",
    "claim_out_dir": ".out_dir",
    "finish_run": ".results",
    "iterate_rows": ".parts",
    "iterate_thumbnails": ".parts",
    "load_plan": ".plan",
    "plan_run": ".plan",
    "read_image_bytes": ".images_again",
    "run_local": ".engine",
    "write_file_atomically": ".atomic",
}


def __getattr__(name: str) -> object:
    """A public name, imported at its first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_MODULES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
