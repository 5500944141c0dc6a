"""What ``eliq explain`` writes: pictures of where an IP-IQA model looks for the words of a prompt.

The numbers go to standard output, one row a map; the pictures into a directory.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError
from ..shown_text import printable
from .output import emit, message

if TYPE_CHECKING:
    from ..ip_iqa.explain_picture import WordMap
    from ..ip_iqa.explaining import Explanation

__all__ = ["explain_image"]

_MAX_NAME_CHARS = 40


def explain_image(
    image: str,
    prompt: str,
    *,
    checkpoint: str,
    out_dir: str,
    words: Sequence[str] | None = None,
    device: str | None = None,
    as_json: bool = False,
    quiet: bool = False,
) -> int:
    """Draw the maps of an image; returns the exit code.

    Written are ``<image>_words.png``, a strip of all maps on one scale of colours, and for the
    whole prompt and each word ``<image>_<nn>_<word>.png`` with the image beside its heat.

    Args:
        words: None = all words of the prompt, in the strip alone.

    Raises:
        CheckpointError: no checkpoint of IP-IQA.
        ConfigError, ImageError, PromptError: as `eliq.ip_iqa.explain`.
        OSError: a picture that cannot be written.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from ..ip_iqa import IPIQA, explain
    from ..ip_iqa.explaining import check_can_explain
    from ..loading import find_system

    if find_system(checkpoint) != "ip-iqa":  # before gigabytes of a critic are loaded
        raise CheckpointError(
            f"expected a checkpoint of IP-IQA, found a label-free critic in {checkpoint}: it "
            "has no cross-modality pooling to show; eliq score --json says what it has to say"
        )
    scorer = IPIQA.from_pretrained(checkpoint, device=device)
    check_can_explain(scorer)
    found = explain(scorer, image, prompt, words=words or None)
    directory = Path(out_dir).expanduser()
    directory.mkdir(parents=True, exist_ok=True)
    rows = _write_pictures(found, image, checkpoint, directory, with_words=bool(words))
    strip_path = _strip_path(image, directory)
    _show(rows, as_json=as_json, strip_path=strip_path)
    if not quiet:
        message(f"all maps side by side: {strip_path}")
    if found.unread and not quiet:
        shown = ", ".join(found.unread[:5]) + (", ..." if len(found.unread) > 5 else "")
        message(f"{len(found.unread)} words stand beyond what the model reads: {shown}")
    return 0


def _write_pictures(
    found: Explanation, image: str, checkpoint: str, directory: Path, *, with_words: bool
) -> list[dict[str, Any]]:
    """Draw and save; one row a map, the whole prompt first."""
    from ..ip_iqa.explain_picture import draw_strip, draw_word

    note = _note(found, image, checkpoint)
    stem, strip_path = _stem(image), _strip_path(image, directory)
    maps = [found.whole, *found.words]
    _save(draw_strip(found.image, maps, prompt=found.prompt, note=note), strip_path)
    rows = []
    for number, word_map in enumerate(maps):
        path = strip_path
        if with_words or number == 0:
            path = directory / f"{stem}_{number:02d}_{_plain_name(word_map.word) or 'word'}.png"
            _save(draw_word(found.image, word_map, prompt=found.prompt, note=note), path)
        rows.append(_row(word_map, path))
    return rows


def _row(word_map: WordMap, path: Path) -> dict[str, Any]:
    row, column = word_map.peak
    height, width = word_map.cells.shape
    return {
        "word": word_map.word,
        "x": round((column + 0.5) / width, 4),
        "y": round((row + 0.5) / height, 4),
        "peak": round(word_map.peak_ratio, 4),
        "is_flat": word_map.is_flat,
        "whole_image_share": round(word_map.global_share, 4),
        "cells": [[round(float(value), 4) for value in line] for line in word_map.cells],
        "path": str(path),
    }


def _note(found: Explanation, image: str, checkpoint: str) -> str:
    parts = [Path(image).name, Path(checkpoint).name]
    for name, score in (("quality", found.visual_quality), ("alignment", found.alignment)):
        if score is not None:
            parts.append(f"{name} {score:.2f}")
    return "  ·  ".join(parts)


def _stem(image: str) -> str:
    return _plain_name(Path(image).stem) or "image"


def _strip_path(image: str, directory: Path) -> Path:
    return directory / f"{_stem(image)}_words.png"


def _plain_name(text: str) -> str:
    """Letters and digits of any script, the rest as single underscores."""
    return re.sub(r"[\W_]+", "_", text).strip("_")[:_MAX_NAME_CHARS]


def _save(picture: Any, path: Path) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            picture.save(file, "PNG")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _show(rows: Sequence[dict[str, Any]], *, as_json: bool, strip_path: Path) -> None:
    """Rows as JSON, or for people a table that names the pictures of single words."""
    if as_json:
        for row in rows:
            emit(json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("word", "hottest at x, y", "times even", "whole image", "picture"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        place = "no place" if row["is_flat"] else f"{row['x']:.2f}, {row['y']:.2f}"
        shares = (f"{row['peak']:.2f}", f"{row['whole_image_share']:.0%}")
        own = "" if row["path"] == str(strip_path) else Path(row["path"]).name
        cells = (row["word"], place, *shares, own)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    with console.capture() as capture:
        console.print(table)
    encoding = sys.stdout.encoding or "ascii"
    emit(capture.get().encode(encoding, "replace").decode(encoding))
