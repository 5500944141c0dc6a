"""Just enough of ComfyUI's API to read what the nodes declare; nothing of it runs a node.

Honest for schemas, since a node's declaration is data: the real ComfyUI is asked in tests/comfy.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

__all__ = ["load_nodes"]

ROOT = Path(__file__).resolve().parents[1]
_PACKAGE = "ComfyUI-ELIQ under a stub"
_TOPS = ("comfy", "comfy_execution", "latent_preview", "nodes", "server")


class _Kind:
    """A type of links: gives inputs and outputs that remember how they were declared."""

    def __init__(self, name: str) -> None:
        self.name = name

    def Input(self, id: str, **options: Any) -> SimpleNamespace:
        return SimpleNamespace(kind=self.name, id=id, options=options)

    def Output(self, id: str | None = None, **options: Any) -> SimpleNamespace:
        return SimpleNamespace(kind=self.name, id=id, options=options)


class _Io(ModuleType):
    ComfyNode = type("ComfyNode", (), {})
    Schema = SimpleNamespace
    NodeOutput = SimpleNamespace
    Hidden = MagicMock()
    Custom = _Kind

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Kind(name)


def load_nodes(monkeypatch: Any) -> dict[str, Any]:
    """Node id -> schema of every node of the pack, the stub in place until the test ends."""
    for name in _imported_of_comfyui():
        monkeypatch.setitem(sys.modules, name, MagicMock())
    monkeypatch.setitem(sys.modules, "comfy_api", MagicMock())
    api = ModuleType("comfy_api.latest")
    api.io, api.ComfyExtension = _Io("io"), type("ComfyExtension", (), {})
    monkeypatch.setitem(sys.modules, "comfy_api.latest", api)
    folders = ModuleType("folder_paths")
    folders.models_dir = "models"
    folders.get_folder_paths = lambda kind: []
    folders.add_model_folder_path = lambda *given, **options: None
    monkeypatch.setitem(sys.modules, "folder_paths", folders)
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    package = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, _PACKAGE, package)
    spec.loader.exec_module(package)
    try:
        extension = importlib.import_module(f"{_PACKAGE}.eliq_nodes.extension")
        schemas = [node.define_schema() for node in extension.NODES]
    finally:
        for name in [name for name in sys.modules if name.startswith(f"{_PACKAGE}.")]:
            del sys.modules[name]  # built on the stub: no other test may meet them
    return {schema.node_id: schema for schema in schemas}


def _imported_of_comfyui() -> set[str]:
    """Every module of ComfyUI that some file of the pack imports, and the packages around it."""
    found = set(_TOPS)
    for path in (ROOT / "eliq_nodes").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in _TOPS}
