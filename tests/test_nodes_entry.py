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
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.name)
def test_what_says_that_it_needs_no_comfyui_is_imported_without(path):
    assert pack_module(path.stem).__doc__


def test_importing_the_pack_loads_neither_comfyui_nor_torch():
    run(
        "import importlib, sys; from tests.comfy_pack import load_pack\n"
        "importlib.import_module(load_pack().__name__ + '.eliq_nodes')\n"
        "assert not {'torch', 'comfy', 'comfy_api', 'transformers'} & set(sys.modules)"
    )


def test_a_clone_named_eliq_does_not_hide_the_library_from_the_tests(tmp_path):
    clone = tmp_path / "eliq"
    shutil.copytree(ROOT / "eliq", clone / "eliq", ignore=shutil.ignore_patterns("embedded"))
    for name in ("__init__.py", "pyproject.toml", "tests/conftest.py"):
        (clone / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, clone / name)
    (clone / "tests" / "test_it.py").write_text(
        "def test_it():\n    import eliq\n    from eliq import errors\n\n"
        "    assert eliq.EliqError is errors.EliqError\n"
    )
    run("import pytest, sys; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider']))", clone)


def test_the_library_beside_the_nodes_is_not_that_of_the_path():
    import eliq.errors

    assert pack_module("hub_files").EliqError is not eliq.errors.EliqError
