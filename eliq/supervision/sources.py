"""A folder of images with prompts: which pictures a supervision set is made from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import PromptError, SupervisionError
from ..prompt_lists import read_prompt_list
from ..prompts import clean_prompt

__all__ = ["IMAGE_SUFFIXES", "Source", "read_sources"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_LISTS = ("prompts.jsonl", "prompts.csv", "metadata.jsonl", "metadata.csv")


@dataclass(frozen=True)
class Source:
    """One picture: its name in the folder (forward slashes), where it lies, its prompt.

    `prompt` is "" where none was found: such a source is skipped and counted by the builder.
    """

    name: str
    path: str
    prompt: str


def read_sources(
    folder: str | os.PathLike, prompts_path: str | os.PathLike | None = None
) -> list[Source]:
    """The pictures of a folder with their prompts, sorted by name.

    Prompts come from `prompts_path`, else from `prompts.jsonl`, `prompts.csv`, `metadata.jsonl` or
    `metadata.csv` in the folder (keys path and prompt, or file_name and text; paths relative to the
    folder), else from a text file beside each picture (`a.png`, `a.txt`).

    Raises:
        SupervisionError: no such folder, no pictures in it, or a list with a line that is no pair
            of path and prompt, or that names a path twice.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SupervisionError(f"{folder}: no such folder of images")
    listed = [Path(prompts_path)] if prompts_path else [folder / name for name in _LISTS]
    found = [path for path in listed if path.is_file()]
    if prompts_path and not found:
        raise SupervisionError(f"{prompts_path}: no such list of prompts")
    pairs = _listed(found[0]) if found else _with_text_files(folder)
    sources = [
        Source(name, str(folder / name), clean_prompt(prompt).text) for name, prompt in pairs
    ]
    if not sources:
        raise SupervisionError(
            f"{folder}: no images (looked for {' '.join(IMAGE_SUFFIXES)}, and for {_LISTS[0]})"
        )
    return sorted(sources, key=lambda source: source.name)


def _with_text_files(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not hidden:
            text = path.with_suffix(".txt")
            prompt = text.read_text(encoding="utf-8", errors="replace") if text.is_file() else ""
            yield relative.as_posix(), " ".join(prompt.split())


def _listed(list_path: Path) -> list[tuple[str, str]]:
    pairs: dict[str, str] = {}
    try:
        rows = read_prompt_list(list_path)
    except PromptError as error:
        raise SupervisionError(str(error)) from None
    for where, name, prompt in rows:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise SupervisionError(f"{where}: paths must stay inside the folder, found {name!r}")
        name = Path(name).as_posix()
        if name in pairs:
            raise SupervisionError(f"{where}: {name!r} occurs twice")
        pairs[name] = prompt or ""
    return list(pairs.items())
