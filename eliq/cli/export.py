"""``eliq export``: a run in the form that another tool reads."""

from __future__ import annotations

import io
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import BulkError
from .app import Debug, app
from .keep import MinAlignment, MinVisualQuality, make_selection, seen_from_here
from .output import emit, message
from .report import RunDir, say_if_unfinished
from .usage import PlainCommand

__all__ = ["export"]


class Tool(str, Enum):
    csv = "csv"
    label_studio = "label-studio"
    fiftyone = "fiftyone"


@app.command(cls=PlainCommand)
def export(
    directory: RunDir,
    to: Annotated[Tool, typer.Option("--to", help="The form.", show_default=False)],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Default: standard output. FiftyOne keeps its own.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(
            "--root",
            metavar="DIR",
            help="Label Studio's document root, which image addresses are relative to; default: "
            "the current folder.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Of the FiftyOne dataset; default: eliq- and the name of DIR.",
            show_default=False,
        ),
    ] = None,
    min_visual_quality: MinVisualQuality = None,
    min_alignment: MinAlignment = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No messages.")] = False,
    debug: Debug = False,
) -> int:
    """Write a run for another tool.

    All images, those that failed too, or with thresholds only what is kept.

    eliq export scored --to csv > scores.csv

    eliq export scored --to label-studio --root images --out tasks.json

    eliq export scored --to fiftyone
    """
    if to is Tool.fiftyone and out is not None:
        raise typer.BadParameter("--out: FiftyOne keeps its datasets itself; use --name")
    if to is not Tool.fiftyone and name is not None:
        raise typer.BadParameter("--name goes with --to fiftyone")
    if to is not Tool.label_studio and root is not None:
        raise typer.BadParameter("--root goes with --to label-studio")
    rows, folder = _rows(directory, min_visual_quality, min_alignment)
    if not quiet:
        say_if_unfinished(directory)
    if to is Tool.csv:  # the other tools are told where the paths begin
        rows = seen_from_here(rows, folder)
    if to is Tool.fiftyone:
        from ..interop import export_fiftyone

        name = name or f"eliq-{Path(directory).resolve().name}"
        number = len(export_fiftyone(rows, name, run_dir=folder))
        where = f"FiftyOne's dataset {name}"
    elif out is None:
        number = _write(to, rows, _Emitting(), folder, root)
        where = ""
    else:
        from ..bulk import write_file_atomically

        numbers: list[int] = []

        def write(file: Any) -> None:
            text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
            numbers.append(_write(to, rows, text, folder, root))
            text.flush()
            text.detach()

        write_file_atomically(out, write)
        number, where = numbers[0], out
    if not quiet and where:
        message(f"{number} image{'' if number == 1 else 's'} exported to {where}")
    return 0


def _rows(
    directory: str, min_visual_quality: float | None, min_alignment: float | None
) -> tuple[Any, Path]:
    from ..bulk import iterate_rows
    from ..keep import iterate_kept, run_folder

    folder = run_folder(directory)
    if min_visual_quality is None and min_alignment is None:
        return (row for batch in iterate_rows(directory) for row in batch.to_pylist()), folder
    selection = make_selection(min_visual_quality, min_alignment)
    return iterate_kept(directory, selection), folder


def _write(to: Tool, rows: Any, file: Any, folder: Path, root: str | None) -> int:
    from ..interop import export_csv, export_label_studio

    if to is Tool.csv:
        return export_csv(rows, file)
    if to is Tool.label_studio:
        return export_label_studio(rows, file, run_dir=folder, root=root)
    raise BulkError(f"{to.value} is no file")


class _Emitting(io.TextIOBase):
    """Standard output as a file; a reader that goes away ends the command quietly."""

    def write(self, text: str) -> int:
        encoding = sys.stdout.encoding or "ascii"
        emit(text.encode(encoding, "replace").decode(encoding))
        return len(text)
