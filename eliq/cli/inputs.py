"""Which images a command scores, and which prompt belongs to each."""

from __future__ import annotations

import csv
import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ImageError, PromptError

__all__ = ["IMAGE_SUFFIXES", "Item", "find_images", "pair_prompts", "read_prompts"]

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".ppm",
)  # fmt: skip

# The second name of each is what Hugging Face's imagefolder metadata calls it.
_PATH_KEYS = ("path", "file_name")
_PROMPT_KEYS = ("prompt", "text")


@dataclass(frozen=True)
class Item:
    """One image to score: its path as the user wrote or the directory listed it, and its prompt."""

    path: str
    prompt: str | None


def find_images(sources: Sequence[str]) -> list[str]:
    """Paths of the images that ``sources`` name: files as given, directories listed recursively.

    A directory is listed in sorted order, by suffix, without hidden files. A single file that is
    missing is kept, so that a long run reports it as one failed row.

    Raises:
        ImageError: a directory without images, or not one of the sources exists.
    """
    if sources and not any(os.path.exists(source) for source in sources):
        raise ImageError(f"no such file or directory: {', '.join(sources[:3])}")
    paths: list[str] = []
    for source in sources:
        if not os.path.isdir(source):
            paths.append(source)
            continue
        found = sorted(_images_below(source), key=lambda path: Path(path).parts)
        if not found:
            raise ImageError(f"no images below {source} (looked for {' '.join(IMAGE_SUFFIXES)})")
        paths.extend(found)
    return paths


def _images_below(directory: str) -> Iterable[str]:
    for folder, subfolders, names in os.walk(directory):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                yield os.path.join(folder, name)


def read_prompts(prompts_path: str) -> list[tuple[str | None, str | None]]:
    """Rows (path, prompt) of a prompts file; the path is None in a ``.txt`` file.

    ``.jsonl``: one object a line with ``path`` and ``prompt``. ``.csv``: a header with these two
    names. ``.txt``: one prompt a line, in the order of the images. A path in the file is relative
    to the file; ``file_name`` and ``text`` are understood in place of ``path`` and ``prompt``.

    Raises:
        PromptError: an unknown suffix, a file that cannot be read, or a row without a path.
    """
    suffix = Path(prompts_path).suffix.lower()
    if suffix not in (".jsonl", ".csv", ".txt"):
        raise PromptError(f"{prompts_path}: expected a .jsonl, .csv or .txt file of prompts")
    try:
        with open(prompts_path, encoding="utf-8-sig", newline="") as file:
            if suffix == ".txt":
                return [(None, line.strip() or None) for line in file.read().splitlines()]
            rows = _csv_rows(file) if suffix == ".csv" else _jsonl_rows(file)
            folder = Path(prompts_path).parent
            return [_prompt_row(row, number, prompts_path, folder) for number, row in rows]
    except OSError as error:
        raise PromptError(
            f"{prompts_path}: {(error.strerror or 'cannot be read').lower()}"
        ) from error
    except UnicodeDecodeError as error:
        raise PromptError(f"{prompts_path}: expected UTF-8 text") from error
    except csv.Error as error:
        raise PromptError(f"{prompts_path}: expected a CSV table, {error}") from error


def _csv_rows(file: Iterable[str]) -> Iterable[tuple[int, object]]:
    reader = csv.DictReader(file)
    for row in reader:
        yield reader.line_num, row


def _jsonl_rows(file: Iterable[str]) -> Iterable[tuple[int, object]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError):
                yield number, None


def _prompt_row(
    row: object, number: int, prompts_path: str, folder: Path
) -> tuple[str | None, str | None]:
    where = f"{prompts_path}, line {number}"
    if not isinstance(row, dict):
        raise PromptError(f"{where}: expected an object with {_PATH_KEYS[0]} and {_PROMPT_KEYS[0]}")
    path = next((row[key] for key in _PATH_KEYS if row.get(key)), None)
    prompt = next((row[key] for key in _PROMPT_KEYS if row.get(key) is not None), None)
    if not isinstance(path, str):
        raise PromptError(f'{where}: expected the image\'s "path", found {path!r}')
    if prompt is not None and not isinstance(prompt, str):
        raise PromptError(f'{where}: expected "prompt" to be text, found {type(prompt).__name__}')
    return os.path.join(folder, path), prompt


def pair_prompts(
    paths: Sequence[str], *, prompt: str | None = None, prompts_path: str | None = None
) -> list[Item]:
    """Each image with its prompt: one for all, from a file, or from the ``.txt`` beside it.

    Without ``paths`` the images are those that the prompts file lists.

    Raises:
        PromptError: a prompts file that is unreadable or does not match the images in number.
    """
    if prompts_path is None:
        return [Item(path, prompt if prompt is not None else _sidecar(path)) for path in paths]
    rows = read_prompts(prompts_path)
    if rows and rows[0][0] is None:
        if len(rows) != len(paths):
            raise PromptError(
                f"{prompts_path}: expected one line for each of the {len(paths)} images, "
                f"found {len(rows)}; name the images in a .jsonl or .csv file to match them by path"
            )
        return [Item(path, text) for path, (_, text) in zip(paths, rows, strict=True)]
    if not paths:
        return [Item(path, text) for path, text in rows if path is not None]
    by_path = {_path_key(path): text for path, text in rows if path is not None}
    return [Item(path, by_path.get(_path_key(path))) for path in paths]


def _path_key(path: str) -> str:
    # macOS lists names decomposed while a prompts file has them composed.
    return unicodedata.normalize("NFC", os.path.normcase(os.path.realpath(path)))


def _sidecar(path: str) -> str | None:
    sidecar = Path(path).with_suffix(".txt") if Path(path).suffix else None
    if sidecar is None or not sidecar.is_file():
        return None
    try:
        return sidecar.read_text(encoding="utf-8-sig").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{sidecar}: expected a prompt as UTF-8 text") from error
