"""Which images a command scores, and which prompt belongs to each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ImageError, PromptError
from ..prompt_lists import LIST_SUFFIXES, read_prompt_list
from ..prompt_paths import PromptPaths

__all__ = ["IMAGE_SUFFIXES", "Item", "find_images", "pair_prompts", "read_prompts"]

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".ppm",
)  # fmt: skip


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
    if suffix in LIST_SUFFIXES:
        folder = Path(prompts_path).parent
        rows = read_prompt_list(prompts_path)
        return [(os.path.join(folder, row.path), row.prompt) for row in rows]
    if suffix != ".txt":
        raise PromptError(f"{prompts_path}: expected a .jsonl, .csv or .txt file of prompts")
    try:
        lines = Path(prompts_path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise PromptError(
            f"{prompts_path}: {(error.strerror or 'cannot be read').lower()}"
        ) from error
    except UnicodeDecodeError as error:
        raise PromptError(f"{prompts_path}: expected UTF-8 text") from error
    return [(None, line.strip() or None) for line in lines]


def pair_prompts(
    paths: Sequence[str], *, prompt: str | None = None, prompts_path: str | None = None
) -> list[Item]:
    """Each image with its prompt: one for all, from a file, or from the ``.txt`` beside it.

    Without ``paths`` the images are those that the prompts file lists.

    Raises:
        PromptError: a prompts file that is unreadable, does not match the images in number, or
            has a prompt for none of them.
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
    named = [(path, text if text and text.strip() else None) for path, text in rows if path]
    prompts = PromptPaths(named, prompts_path)
    items = [Item(path, prompts.prompt_of(path)) for path in paths]
    if not prompts.is_used:
        raise PromptError(
            f"{prompts_path}: no prompt for any of the {len(paths)} images: expected their paths, "
            f"relative to this file, {prompts.example()}"
        )
    return items


def _sidecar(path: str) -> str | None:
    sidecar = Path(path).with_suffix(".txt") if Path(path).suffix else None
    # A text file is no prompt of its own: it is scored, and refused, as the image it is taken for.
    if sidecar is None or sidecar == Path(path) or not sidecar.is_file():
        return None
    try:
        return sidecar.read_text(encoding="utf-8-sig").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{sidecar}: expected a prompt as UTF-8 text") from error
