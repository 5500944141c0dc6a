"""What README shows works: its Python runs, its command lines run, its make targets exist.

A block that follows the comment `<!-- not run: ... -->` needs what a test has not (a hub, a GPU).
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(<!-- not run:[^>]*-->\s*)?^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [code for skip, kind, code in BLOCK.findall(README) if kind == language and not skip]


def commands(program: str) -> list[list[str]]:
    """The command lines of README that start with `program`, split, comments dropped."""
    lines = [line for code in blocks("sh") for line in code.splitlines()]
    split = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [words for words in split if words and words[0] == program]


@pytest.fixture
def new_user(tmp_path, monkeypatch):
    """An empty folder that holds only the examples, where what a command writes is in no way."""
    (tmp_path / "examples").symlink_to(ROOT / "examples", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_readme_has_the_three_doors():
    assert blocks("python") and commands("eliq") and commands("make")
    assert "ComfyUI" in README


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[0])
def test_python_runs(code, new_user):
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("words", commands("eliq"), ids=" ".join)
def test_commands_run(words, new_user, monkeypatch, capsys):
    from eliq.cli import main

    monkeypatch.setattr(sys, "argv", words)
    try:
        code = main()
    except SystemExit as stop:
        code = stop.code
    assert code in (None, 0), capsys.readouterr().err
    assert capsys.readouterr().out, "a command puts its data on stdout"


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_make_targets_exist(words):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {word for word in words[1:] if "=" not in word} <= set(targets)
