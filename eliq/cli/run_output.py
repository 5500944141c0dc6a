"""What ``eliq run`` shows: a bar on standard error, the summary on standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..shown_text import counted, printable
from .output import emit, message

if TYPE_CHECKING:
    from ..bulk.config import RunConfig
    from ..bulk.engine import Progress
    from ..bulk.plan import Plan

__all__ = ["ProgressBar", "show_dry_run", "show_summary"]


class ProgressBar:
    """Images a second and the time that is left, where standard error is a terminal.

    It is the observer of a run: call it with a `Progress`.
    """

    def __init__(self, plan: Plan, config: RunConfig, *, quiet: bool) -> None:
        self._bar: Any = None
        self._num_shown = self._num_old = 0
        self._is_started = False
        total = plan.num_items
        if total is not None and config.world_size > 1:
            total = -(-total // config.world_size)
        self._lines = None if quiet or sys.stderr.isatty() else _Lines(total)
        if quiet or not sys.stderr.isatty():
            return
        from tqdm import tqdm

        self._bar = tqdm(
            total=total, unit="image", file=sys.stderr, leave=False, smoothing=0.05, miniters=1
        )

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    @property
    def num_kept(self) -> int:
        """Rows of earlier runs, as far as this one has come to them."""
        return self._num_old

    def __call__(self, progress: Progress) -> None:
        if self._bar is None:
            self._num_old = progress.num_done - progress.num_new
            if self._lines is not None:
                self._lines.show(progress)
            return
        if not self._is_started:  # what came before was loading: no part of the speed
            self._bar.unpause()
            self._is_started = True
        num_old = progress.num_done - progress.num_new
        if num_old != self._num_old:  # of earlier runs: they took no time of this one
            self._bar.initial += num_old - self._num_old
            self._bar.n += num_old - self._num_old
            self._num_old = num_old
        self._bar.update(progress.num_new - self._num_shown)
        self._num_shown = progress.num_new
        if progress.num_failed:
            self._bar.set_postfix_str(f"{progress.num_failed} failed", refresh=False)


class _Lines:
    """How far a run has come where there is no terminal: a line a tenth, or a minute."""

    _LEAST_S, _MOST_S = 10.0, 60.0  # between lines

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._last_s = time.monotonic()
        self._tenth = 0

    def show(self, progress: Progress) -> None:
        now_s = time.monotonic()
        waited_s = now_s - self._last_s
        tenth = 10 * progress.num_done // self._total if self._total else 0
        if waited_s < self._LEAST_S or (tenth == self._tenth and waited_s < self._MOST_S):
            return
        self._last_s, self._tenth = now_s, tenth
        failed = f", {progress.num_failed} failed" if progress.num_failed else ""
        done = counted(progress.num_done, "image")
        if self._total:
            done = f"{progress.num_done} of {counted(self._total, 'image')}"
        message(f"{done}{failed}")


def show_summary(facts: Mapping[str, Any], format: str) -> None:
    """The summary of a run: one JSON object, a few lines, or the path of the result alone."""
    if format == "json":
        _emit_json(facts)
    elif format == "quiet":
        emit(printable(facts["out"]) + "\n")
    else:
        emit("".join(f"{printable(line)}\n" for line in _summary_lines(facts)))


def show_dry_run(facts: Mapping[str, Any], format: str) -> None:
    """What a run would do."""
    if format == "json":
        _emit_json(facts)
        return
    if format == "quiet":
        return
    is_tars = facts["num_images"] is None  # which are not opened to be counted
    what = counted(facts["num_units"], "tar")
    if not is_tars:
        what = counted(facts["num_images"], "image")
    failed = f" ({facts['num_failed']} failed)" if facts["num_failed"] else ""
    emit(f"source    {printable(facts['source'])} ({facts['kind']}): {what}\n")
    emit(f"done      {counted(facts['num_done'], 'image')}{failed}\n")
    parts = counted(facts["num_units"], "tar" if is_tars else "part")
    again = counted(facts["num_to_retry"], "image")
    again = f", and {again} again" if facts["num_to_retry"] else ""
    emit(f"to do     {facts['num_pending_units']} of {parts}{again}\n")
    emit(f"result    {printable(facts['out'])} (nothing was written)\n")


def _summary_lines(facts: Mapping[str, Any]) -> list[str]:
    lines = [f"scored    {facts['num_scored']} of {counted(facts['num_images'], 'image')}"]
    if facts.get("num_kept"):
        lines[0] += f": {facts['num_kept']} kept from before,"
        lines[0] += f" {facts['num_images'] - facts['num_kept']} scored now"
    lines[0] += f" in {facts['elapsed_s']:.1f} s"
    for name, label in (("visual_quality", "quality"), ("alignment", "alignment")):
        stats = facts[name]
        if stats["count"]:
            of_some = f" ({counted(stats['count'], 'image')})"
            lines.append(
                f"{label:<9} mean {stats['mean']:.3f}, half between {stats['p25']:.3f} and "
                f"{stats['p75']:.3f}" + ("" if stats["count"] == facts["num_scored"] else of_some)
            )
    if facts["num_scored"] and not facts["alignment"]["count"]:
        lines.append("alignment none: no image has a prompt; see --prompt, --prompts")
    if facts["num_failed"]:
        kinds = ", ".join(f"{count} {name}" for name, count in facts["errors"].items())
        lines.append(f"failed    {facts['num_failed']}: {kinds} (errors.csv)")
    if facts.get("num_below_fail_under"):
        below = counted(facts["num_below_fail_under"], "image")
        lines.append(f"below     {below} under --fail-under")
    lines.append(f"result    {facts['out']}")
    if facts["report"]:
        lines.append(f"report    {facts['report']}")
    return lines


def _emit_json(facts: Mapping[str, Any]) -> None:
    emit(json.dumps(facts, ensure_ascii=True, allow_nan=False) + "\n")
