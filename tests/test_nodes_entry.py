"""The clone as a pack: what it loads, under which name, and what it leaves alone."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.comfy_pack import ROOT, pack_module

PURE = [
    path
    for path in sorted((ROOT / "eliq_nodes").glob("*.py"))
    if "Nothing of ComfyUI." in (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "")
]


def run(code: str, folder: Path = ROOT) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.name)
def test_what_says_that_it_needs_no_comfyui_is_imported_without(path):
    assert pack_module(path.stem).__doc__


def test_importing_the_pack_loads_neither_comfyui_nor_torch():
    run(
        "import importlib, sys; from tests.comfy_pack import load_pack\n"
        "importlib.import_module(load_pack().__name__ + '.eliq_nodes')\n"
        "assert not {'torch', 'comfy', 'comfy_api', 'transformers'} & set(sys.modules)"
    )


def test_a_clone_named_eliq_does_not_hide_the_library(tmp_path):
    clone = tmp_path / "eliq"
    shutil.copytree(ROOT / "eliq", clone / "eliq", ignore=shutil.ignore_patterns("embedded"))
    shutil.copyfile(ROOT / "__init__.py", clone / "__init__.py")
    for folder in (tmp_path, clone):
        run(
            "import eliq; from eliq import errors; assert eliq.EliqError is errors.EliqError",
            folder,
        )


def test_the_library_beside_the_nodes_is_not_that_of_the_path():
    import eliq.errors

    assert pack_module("hub_files").EliqError is not eliq.errors.EliqError
