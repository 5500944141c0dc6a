"""Lists that say which prompt belongs to which image: JSON lines or a CSV table."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .errors import PromptError

__all__ = [
    "LIST_SUFFIXES",
    "PATH_KEYS",
    "PROMPT_KEYS",
    "ListedPrompt",
    "iterate_prompt_list",
    "read_prompt_list",
]

LIST_SUFFIXES = (".jsonl", ".csv")
# The second name of each is what Hugging Face's imagefolder metadata calls it, the third what
# tables of image-text pairs do. The first that is there counts.
PATH_KEYS = ("path", "file_name", "image_path")
PROMPT_KEYS = ("prompt", "text", "caption")


class ListedPrompt(NamedTuple):
    """A row: where it stands ("list.jsonl, line 3"), the path as it is written, the prompt."""

    where: str
    path: str
    prompt: str | None


def read_prompt_list(list_path: str | os.PathLike[str]) -> list[ListedPrompt]:
    """The rows of a list, in order.

    ``.csv``: a header with ``path`` and ``prompt``. Anything else: one JSON object a line with
    these two. `PATH_KEYS` and `PROMPT_KEYS` are understood in their place.

    Raises:
        PromptError: a file that cannot be read, or a row without a path or whose prompt is no text.
    """
    return list(iterate_prompt_list(list_path))


def iterate_prompt_list(list_path: str | os.PathLike[str]) -> Iterator[ListedPrompt]:
    """As `read_prompt_list`, a row at a time: for lists that are larger than the memory."""
    name = os.fspath(list_path)
    try:
        with open(name, encoding="utf-8-sig", newline="") as file:
            rows = _csv_rows(file) if name.lower().endswith(".csv") else _jsonl_rows(file)
            for number, row in rows:
                yield _listed(row, f"{name}, line {number}")
    except OSError as error:
        raise PromptError(f"{name}: {(error.strerror or 'cannot be read').lower()}") from error
    except UnicodeDecodeError as error:
        raise PromptError(f"{name}: expected UTF-8 text") from error
    except csv.Error as error:
        raise PromptError(f"{name}: expected a CSV table, {error}") from error


def _csv_rows(file: Iterable[str]) -> Iterator[tuple[int, object]]:
    reader = csv.DictReader(file)
    for row in reader:
        yield reader.line_num, row


def _jsonl_rows(file: Iterable[str]) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError):
                yield number, None


def _listed(row: object, where: str) -> ListedPrompt:
    if not isinstance(row, dict):
        raise PromptError(f"{where}: expected an object with {PATH_KEYS[0]} and {PROMPT_KEYS[0]}")
    path = next((row[key] for key in PATH_KEYS if row.get(key)), None)
    prompt = next((row[key] for key in PROMPT_KEYS if row.get(key) is not None), None)
    if path is None and row and not any(key in row for key in PATH_KEYS):
        found = ", ".join(map(str, row))[:200]
        raise PromptError(f'{where}: expected the image\'s "path", found {found}')
    if not isinstance(path, str):
        raise PromptError(f'{where}: expected the image\'s "path", found {path!r}')
    if prompt is not None and not isinstance(prompt, str):
        raise PromptError(f'{where}: expected "prompt" to be text, found {type(prompt).__name__}')
    return ListedPrompt(where, path, prompt)
