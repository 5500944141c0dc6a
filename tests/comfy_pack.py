"""The clone loaded as ComfyUI loads a pack: by the location of its folder, under any name.

Relative imports such as ``from ..eliq import`` work in it, and it is not `eliq` of sys.path: its
classes are others. Only modules that import nothing of ComfyUI can be had without ComfyUI.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

__all__ = ["ROOT", "load_pack", "pack_module"]

ROOT = Path(__file__).resolve().parents[1]


def load_pack(name: str = "ComfyUI-ELIQ", folder: Path = ROOT) -> ModuleType:
    """The pack in ``folder`` as the package ``name``, which may hold a dash; loaded once."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"expected a pack in {folder}, found no __init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def pack_module(name: str) -> ModuleType:
    """A module of the pack by its name in `eliq_nodes`, such as "score_table"."""
    return import_module(f"{load_pack().__name__}.eliq_nodes.{name}")
