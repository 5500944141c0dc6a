"""Writes a contact sheet in the form that its file name asks for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError
from .entry import SheetEntry

__all__ = ["write_contact_sheet"]


def write_contact_sheet(
    entries: Sequence[SheetEntry],
    out_path: str | os.PathLike[str],
    *,
    title: str = "ELIQ contact sheet",
    sorted_by: str = "the mean of both scores",
    max_cells: int | None = None,
) -> None:
    """Write ``entries``, in the order given, as a PNG picture or an offline HTML page.

    The file appears whole or not at all: it is written beside its place, then renamed.

    Args:
        entries: best first.
        out_path: ends in ``.png``, ``.html`` or ``.htm``.
        sorted_by: words for the heading, "sorted by ...".
        max_cells: at most this many cells (default 240 for PNG, 1000 for HTML); of more entries
            the best and the worst are shown, and the heading says so.

    Raises:
        ConfigError: another suffix, or ``max_cells`` below 2.
        OSError: the file cannot be written.
    """
    target = Path(out_path)
    suffix = target.suffix.lower()
    if suffix not in (".png", ".html", ".htm"):
        raise ConfigError(f"contact sheet: expected a .png or .html file, found {target.name}")
    if max_cells is not None and max_cells < 2:
        raise ConfigError(f"contact sheet: expected max_cells >= 2, found {max_cells}")
    limit = max_cells or (240 if suffix == ".png" else 1000)
    numbered = list(enumerate(entries, start=1))
    note = f"{len(entries)} image{'' if len(entries) == 1 else 's'}"
    note += f", best first, sorted by {sorted_by}"
    if len(numbered) > limit:
        num_best = (limit + 1) // 2
        num_worst = limit - num_best
        numbered = numbered[:num_best] + numbered[-num_worst:]
        note += f"; shown are the {num_best} best and the {num_worst} worst"
    if suffix == ".png":
        import io

        from .png import draw_sheet

        buffer = io.BytesIO()
        draw_sheet(numbered, title=title, note=note).save(buffer, "PNG")
        data = buffer.getvalue()
    else:
        from .html import html_sheet

        data = html_sheet(numbered, title=title, note=note).encode("utf-8", "replace")
    _write_atomically(target, data)


def _write_atomically(target: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's own mode is for secrets
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
