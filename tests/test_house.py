"""Rules of the house that a reader would otherwise have to check by eye."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("eliq", "eliq_nodes", "training", "examples", "benchmarks", "tests")
PYTHON = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))
HOME_PATH = re.compile(r"(?:^|[\s\"'(=`])(/(?:home|root|work|Users|mnt)/[\w.-]+|[A-Z]:\\Users)")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PYTHON, ids=named)
def test_one_idea_a_file(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400, f"{named(path)} has {len(lines)} lines: more than one idea?"
    tree = ast.parse("\n".join(lines))
    if lines and path.name != "__init__.py":
        assert ast.get_docstring(tree), f"{named(path)} does not say what it is for"


@pytest.mark.parametrize("path", sorted((ROOT / "eliq").rglob("*.py")), ids=named)
def test_the_library_does_not_print_nor_assert(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        where = f"{named(path)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{where} prints: data goes through the command line"
        assert not isinstance(node, ast.Assert), f"{where} asserts: raise an error of eliq.errors"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{where} catches everything"


def test_no_paths_of_one_machine():
    """Text files name no home directory or other path that only one machine has."""
    endings = {".py", ".md", ".toml", ".txt", ".json", ".jsonl", ".html", ".sh", ""}
    not_ours = {"runs", "dist", "build"}
    found = []
    for folder, inner, files in os.walk(ROOT):
        inner[:] = [name for name in inner if not name.startswith(".") and name not in not_ours]
        for path in (Path(folder, name) for name in files):
            if path == Path(__file__) or path.suffix not in endings or path.name == ".git":
                continue  # a worktree has a .git file, which is of one machine and not committed
            if path.stat().st_size < 2_000_000:
                text = path.read_text(encoding="utf-8", errors="replace")
                found += [f"{named(path)}: {match[1]}" for match in HOME_PATH.finditer(text)]
    assert not found, found


def test_markdown_links_point_at_files():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{named(page)} links to {target}"


def test_dependencies_have_floors_only():
    tomllib = pytest.importorskip("tomllib", reason="the standard library has it from 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in project["dependencies"]:
        assert not re.search(r"<|==|~=", requirement), f"{requirement}: no upper bounds"


def test_make_help_lists_what_readme_names():
    done = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for target in ("demo", "test", "check", "bench", "clean"):
        assert f"make {target}" in done.stdout


def test_the_method_page_names_what_exists():
    """docs/method.md: every `path/to/file.py:name` is a function or class of that file."""
    page = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    for file, name in re.findall(r"`([\w/]+\.py)(?::(\w+))?`", page):
        assert (ROOT / file).is_file(), f"docs/method.md names {file}"
        names = {
            getattr(node, "name", "") for node in ast.walk(ast.parse((ROOT / file).read_text()))
        }
        assert not name or name in names, f"docs/method.md names {name} in {file}"
    equations = {int(number) for number in re.findall(r"\((\d+)\)", page)}
    assert equations == set(range(1, 22)), "the table holds Eqs. 1-21"


def test_the_scores_page_explains_every_flag():
    from eliq.images import IMAGE_FLAGS
    from eliq.prompts import PROMPT_FLAGS

    page = (ROOT / "docs" / "scores.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    missing = {*IMAGE_FLAGS, *PROMPT_FLAGS} - explained
    assert not missing, f"docs/scores.md does not explain {sorted(missing)}"
