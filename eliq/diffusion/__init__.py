"""Scores inside a diffusers pipeline: best-of-N, re-roll, a step callback, early pruning.

    from eliq.diffusion import best_of_n, reroll, ScoreCallback

Names are loaded when they are first used. diffusers itself is imported here and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

__all__: list[str] = []

_MODULES: dict[str, str] = {}


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
