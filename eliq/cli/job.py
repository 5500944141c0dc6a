"""Runs one ``score`` or ``rank``: scores, writes rows, keeps what is done when interrupted."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..shown_text import counted
from . import scoring
from .gates import Gate
from .inputs import Item
from .output import OutputClosed, RowWriter, message

__all__ = ["EXIT_FAILED_ITEMS", "EXIT_GATE", "Request", "Terminated", "run"]

EXIT_FAILED_ITEMS = 3
EXIT_GATE = 4


class Terminated(BaseException):
    """SIGTERM, as an exception: what is finished is written before the program ends."""


@dataclass(frozen=True)
class Request:
    """What ``score`` and ``rank`` were asked to do, already checked."""

    items: list[Item]
    writer: Callable[[], RowWriter]
    prompts_path: str | None = None
    gates: list[Gate] = field(default_factory=list)
    scorer_options: dict[str, Any] = field(default_factory=dict)
    quiet: bool = False


def run(
    request: Request, *, rank_by: str | None = None, contact_sheet_path: str | None = None
) -> int:
    """Score, write and judge; returns the exit code.

    ``rank_by`` None keeps the order given and writes each row as it is finished; otherwise rows
    wait until all are scored. What ends the run early, an interruption or an error, goes on after
    the rows that are done were written.
    """
    start_s = time.perf_counter()
    writer = request.writer()
    rows: list[dict[str, Any]] = []

    def write_rest() -> None:
        if rank_by is not None:
            rows[:] = scoring.sort_rows(rows, rank_by)
            for number, row in enumerate(rows, start=1):
                writer.write({"rank": number, **row})
        writer.finish()

    try:
        scorer = scoring.load_scorer(**request.scorer_options)
        if not request.quiet:  # only now: a checkpoint that is not there is the first thing to say
            _warn_of_missing_prompts(request)
        scored = scoring.score_rows(scorer, request.items)
        for row in _with_progress(scored, len(request.items), quiet=request.quiet):
            rows.append(row)
            if rank_by is None:
                writer.write(row)
    except OutputClosed:
        raise
    except (KeyboardInterrupt, Terminated, Exception) as reason:
        write_rest()
        if rows or not isinstance(reason, Exception):
            word = "stopped by an error" if isinstance(reason, Exception) else "interrupted"
            message(f"{word}: {len(rows)} of {counted(len(request.items), 'image')} scored")
        raise
    write_rest()
    if contact_sheet_path is not None:
        _write_contact_sheet(rows, contact_sheet_path, rank_by or "mean")
        if not request.quiet:
            message(f"contact sheet: {contact_sheet_path}")
    return _judge(rows, request, time.perf_counter() - start_s)


def _judge(rows: list[dict[str, Any]], request: Request, elapsed_s: float) -> int:
    num_failed = sum(row["status"] != "ok" for row in rows)
    scored = [row for row in rows if row["status"] == "ok"]
    num_missed = sum(any(gate.is_missed(row) for gate in request.gates) for row in scored)
    if not request.quiet:
        summary = f"{counted(len(scored), 'image')} scored"
        summary += f", {num_failed} failed" if num_failed else ""
        summary += f", {num_missed} below --fail-under" if num_missed else ""
        message(f"{summary} in {elapsed_s:.1f} s")
    # The gate comes first: whoever asked for it must see that it was missed.
    return EXIT_GATE if num_missed else EXIT_FAILED_ITEMS if num_failed else 0


def _with_progress(
    rows: Iterable[dict[str, Any]], total: int, *, quiet: bool
) -> Iterator[dict[str, Any]]:
    if quiet or not sys.stderr.isatty():
        yield from rows
        return
    from tqdm import tqdm

    yield from tqdm(rows, total=total, unit="image", file=sys.stderr, leave=False)


def _warn_of_missing_prompts(request: Request) -> None:
    missing = [item.path for item in request.items if not (item.prompt or "").strip()]
    if not missing:
        return
    if len(missing) < len(request.items) or request.prompts_path is not None:
        where = f" in {request.prompts_path}" if request.prompts_path else ""
        text = f"{len(missing)} of {len(request.items)} images have no prompt{where}"
        message(f"{text}, so no alignment (first: {missing[0]})")
    else:
        message("no prompt given, so no alignment: use --prompt or --prompts")


def _write_contact_sheet(rows: list[dict[str, Any]], path: str, rank_by: str) -> None:
    from ..contact_sheet import SheetEntry, write_contact_sheet

    words = {"mean": "the mean of both scores", "min": "the lower of both scores"}
    entries = [
        SheetEntry(
            path=row["path"],
            prompt=row["prompt"],
            visual_quality=row["visual_quality"],
            alignment=row["alignment"],
            flags=tuple(row["flags"]),
            error=row["error"],
        )
        for row in rows
    ]
    write_contact_sheet(entries, path, sorted_by=words.get(rank_by, rank_by.replace("_", " ")))
