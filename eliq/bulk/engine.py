"""Scores the units of a plan: decode ahead, score window by window, write part by part."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

from ..errors import BulkError
from ..images import LoadedImage
from ..shown_text import counted
from .config import RunConfig, default_workers
from .critic import load_critic
from .decoding import Decoded, DecodePool
from .fingerprint import RunFingerprint, check_fingerprint
from .items import Item, SubPart, storable
from .parts import PartDone, all_parts, part_facts, read_part, read_thumbnails, write_part
from .plan import Plan, load_plan
from .rows import Columns, add_window, empty_columns, prompt_of
from .unfinished import forget_beginning, keep_beginning, read_beginning
from .windows import split_windows, window_px
from .worker_process import WorkerProcess

if TYPE_CHECKING:
    from ..ip_iqa import IPIQA
    from ..patches import PatchConfig
    from ..scorer import Scorer

__all__ = ["Observer", "Progress", "UnitScorer", "run_local"]


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        num_done: rows that are there, those of earlier runs included.
        num_failed: of them.
        num_new: scored by this run.
    """

    num_done: int
    num_failed: int
    num_new: int


Observer = Callable[[Progress], None]  # may raise, which ends the run after what is done was kept


@dataclass(frozen=True)
class _Task:
    """A part to be written: what is to be scored of it, and what is there already."""

    subpart: SubPart
    items: tuple[Item, ...]
    columns: Columns  # what an interruption kept of the rows before those of the items
    thumbnails: list[bytes | None] | None  # of these; None = the part has none
    rows: tuple[int, ...] | None = None  # where all these go in ``old``; None = they are the part
    old: Columns | None = None
    old_thumbnails: list[bytes | None] | None = None
    is_retry: bool = False


class UnitScorer:
    """A loaded critic with its decoding processes; use as a context manager.

    Args:
        config: of the run.
        plan: None = the one in ``config.out_dir``.
        scorer: None = the one that the config names.
        pool: None = processes that decode as the config says.

    Raises:
        BulkError: the directory holds scores of another critic; the fields that differ are named.
        EliqError: as `eliq.Scorer.from_pretrained` and `zero_shot`.
    """

    def __init__(
        self,
        config: RunConfig,
        plan: Plan | None = None,
        *,
        scorer: Scorer | IPIQA | None = None,
        pool: DecodePool | None = None,
    ) -> None:
        self.config = config
        self.plan = plan or load_plan(config.out_dir)
        self._folder = self.plan.folder
        num_workers = 0 if pool is not None else config.workers or default_workers()
        # First of all: their imports take as long as the loading of a model, and run beside it.
        workers = [WorkerProcess() for _ in range(num_workers)]
        try:
            self.scorer = scorer or load_critic(config)
            self.fingerprint = RunFingerprint.of(self.scorer)
            check_fingerprint(self._folder, self.fingerprint)
            self._full_px = window_px(self.scorer.max_batch_px)
            self._pool = pool or DecodePool(
                workers,
                patches=_patches(self.scorer),
                thumbnails=config.thumbnails,
                timeout_s=config.item_timeout_s,
                most_ahead_bytes=3 * self._full_px,
            )
        except BaseException:
            for worker in workers:
                worker.kill()
                worker.wait()
            raise
        self._num_done = self._num_failed = self._num_new = 0
        self._observer: Observer | None = None

    def __enter__(self) -> UnitScorer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding processes."""
        self._pool.close()

    def score_unit(self, unit: int, observer: Observer | None = None) -> list[PartDone]:
        """Score what is missing of one unit; see `score_units`."""
        return list(self.score_units([unit], observer))

    def score_units(
        self, units: Iterable[int], observer: Observer | None = None
    ) -> Iterator[PartDone]:
        """Score what is missing of ``units`` and write it; yields each part when it is written.

        Parts that are there are passed over, or with ``retry_failed`` completed. What an error or
        an interruption stops is kept up to the last finished window.

        Raises:
            BulkError: more images failed than ``max_errors``, or the disk refuses.
        """
        self._observer = observer
        tasks: deque[_Task] = deque()
        stream = self._pool.stream(self._feed(units, tasks))
        while True:
            if not tasks:
                first = next(stream, None)
                if not tasks:
                    return
                if first is not None:
                    stream = chain([first], stream)
            task = tasks.popleft()
            yield self._score_task(task, islice(stream, len(task.items)))

    def _feed(self, units: Iterable[int], tasks: deque[_Task]) -> Iterator[Item]:
        for unit in units:
            if self._is_whole(unit):
                continue
            for subpart in self.plan.subparts(unit):
                task = self._task(subpart)
                if task is not None:
                    tasks.append(task)
                    yield from task.items

    def _is_whole(self, unit: int) -> bool:
        """Whether nothing of a unit is to be scored, told from its parts: no tar is opened."""
        parts = all_parts(self.plan, unit, self._folder)
        num_failed = sum(part.num_failed for part in parts or ())
        is_gone = bool(self.plan.tars) and self.plan.tars[unit].is_gone
        if parts is None or (self.config.retry_failed and num_failed and not is_gone):
            return False
        self._count(sum(part.num_rows for part in parts), num_failed, num_new=0)
        return True

    def _task(self, subpart: SubPart) -> _Task | None:
        """What is to be done for a part; None where it is whole."""
        facts = part_facts(self._folder, subpart.name)
        if facts is None or facts.digest != subpart.digest:
            return self._task_anew(subpart, facts)
        if not self.config.retry_failed or not facts.num_failed:
            self._count(facts.num_rows, facts.num_failed, num_new=0)
            return None
        old = self._rows_there(subpart)
        rows = tuple(
            row
            for row, (status, item) in enumerate(zip(old["status"], subpart.items, strict=True))
            if status != "ok" and not item.is_gone
        )
        self._count(facts.num_rows - len(rows), facts.num_failed - len(rows), num_new=0)
        if not rows:
            return None
        pictures = read_thumbnails(self._folder, subpart.name)
        return _Task(
            subpart,
            tuple(subpart.items[row] for row in rows),
            empty_columns(),
            None if pictures is None else [],
            rows,
            old,
            pictures,
            is_retry=True,
        )

    def _task_anew(self, subpart: SubPart, facts: PartDone | None) -> _Task:
        """A part that is not there, or is of other items: rows of what is gone are all to be had
        of these, and stay."""
        old, pictures, rows = None, None, None
        if facts is not None and any(item.is_gone for item in subpart.items):
            there = self._rows_there(subpart)
            shown = read_thumbnails(self._folder, subpart.name) or []
            if len(shown) != facts.num_rows:  # none, or a kill fell between pictures and rows
                shown = [None] * facts.num_rows
            places = {id: row for row, id in enumerate(there["id"])}
            found = [places.get(item.id) if item.is_gone else None for item in subpart.items]
            old = {
                name: [None if row is None else column[row] for row in found]
                for name, column in there.items()
            }
            pictures = [None if row is None else shown[row] for row in found]
            rows = tuple(place for place, row in enumerate(found) if row is None)
            num_failed = sum(status not in (None, "ok") for status in old["status"])
            self._count(len(found) - len(rows), num_failed, num_new=0)
        items = subpart.items if rows is None else tuple(subpart.items[row] for row in rows)
        columns, begun = empty_columns(), []
        beginning = read_beginning(self._folder, subpart)
        if beginning is not None and self._goes_on(beginning[0], items):
            columns, begun = beginning
            num_failed = sum(status != "ok" for status in columns["status"])
            self._count(len(columns["id"]), num_failed, num_new=0)
        return _Task(
            subpart,
            items[len(columns["id"]) :],
            columns,
            begun if self.config.thumbnails else None,
            rows,
            old,
            pictures if self.config.thumbnails else None,
        )

    def _goes_on(self, columns: Columns, items: tuple[Item, ...]) -> bool:
        """Whether a part may go on behind these rows."""
        if self.config.retry_failed and set(columns["status"]) != {"ok"}:
            return False  # images that failed move the borders of windows once they are mended
        return columns["id"] == [storable(item.id) for item in items[: len(columns["id"])]]

    def _rows_there(self, subpart: SubPart) -> Columns:
        table = read_part(self._folder, subpart.name)
        return {name: table[name].to_pylist() for name in table.column_names}

    def _score_task(self, task: _Task, decoded: Iterator[Decoded]) -> PartDone:
        columns = task.columns
        # One a row that is there, kept or not: their number tells which windows are finished.
        thumbnails = task.thumbnails or [None] * len(columns["id"])
        try:
            for window in split_windows(decoded, full_px=self._full_px):
                self._score_window(window, columns)
                thumbnails += [one.thumbnail for one in window]
                self._check_errors(columns)
            pictures = thumbnails if task.thumbnails is not None else None
            done = write_part(self._folder, task.subpart, *_merged(task, columns, pictures))
        except BaseException:
            # Rows that were retried are retried again.
            if not task.is_retry and columns["id"]:
                self._try_to_keep(task, columns, thumbnails)
            raise
        forget_beginning(self._folder, task.subpart)
        return done

    def _try_to_keep(self, task: _Task, columns: Columns, thumbnails: list[bytes | None]) -> None:
        num_whole = len(thumbnails)  # the last thing that a finished window adds
        whole = {name: column[:num_whole] for name, column in columns.items()}
        pictures = thumbnails if task.thumbnails is not None else None
        try:
            keep_beginning(self._folder, task.subpart, whole, pictures)
        except BulkError:
            return  # the disk is full: the error that is under way says so

    def _score_window(self, window: list[Decoded], columns: Columns) -> None:
        loaded = [
            LoadedImage(
                one.pixels,
                tuple(one.facts["flags"]),
                one.facts.get("error"),
                one.facts.get("error_class"),
            )
            for one in window
        ]
        prompts = [prompt_of(one)[0] for one in window]
        start_s = time.perf_counter()
        scores = self.scorer.score_loaded(loaded, prompts, bar=_Bar(self._count))
        score_ms = (time.perf_counter() - start_s) * 1000
        add_window(columns, window, scores, self.fingerprint, score_ms=score_ms)
        num_failed = sum(error is not None for error in scores.errors)
        self._count(0, num_failed, num_new=0)

    def _count(self, num_done: int, num_failed: int = 0, num_new: int | None = None) -> None:
        self._num_done += num_done
        self._num_failed += num_failed
        self._num_new += num_done if num_new is None else num_new
        if self._observer is not None:
            self._observer(Progress(self._num_done, self._num_failed, self._num_new))

    def _check_errors(self, columns: Columns) -> None:
        limit = self.config.max_errors
        if limit is None or self._num_failed <= limit:
            return
        text = (
            f"stopped: {counted(self._num_failed, 'image')} failed, more than --max-errors {limit}"
        )
        # Those of earlier parts count too, so that this part need not have one.
        rows = [i for i, status in enumerate(columns["status"]) if status != "ok"]
        if rows:
            text += f"; the last one is {columns['id'][rows[-1]]}: {columns['error'][rows[-1]]}"
        raise BulkError(text)


def run_local(config: RunConfig, plan: Plan, observer: Observer | None = None) -> None:
    """Score every unit of the plan that falls to this process, in this process.

    Raises:
        BulkError, EliqError: as `UnitScorer` and its `score_units`.
    """
    with UnitScorer(config, plan) as scorer:
        for _ in scorer.score_units(plan.units(config.rank, config.world_size), observer):
            pass


def _patches(scorer: Scorer | IPIQA) -> PatchConfig | None:
    """How the workers resize; None = the scorer does it itself."""
    backbone = getattr(scorer, "backbone", None)
    return None if backbone is None else backbone.patches


class _Bar:
    """What the scorer tells when a batch is finished."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count

    def update(self, num_images: int) -> None:
        self._count(num_images)


def _merged(
    task: _Task, columns: Columns, thumbnails: list[bytes | None] | None
) -> tuple[Columns, list[bytes | None] | None]:
    """The rows of a whole part: the scored ones in their places among those that stay."""
    if task.old is None or task.rows is None:
        return columns, thumbnails
    pictures = task.old_thumbnails
    for new, row in enumerate(task.rows):
        for name, column in columns.items():
            task.old[name][row] = column[new]
        if pictures is not None and thumbnails is not None:
            pictures[row] = thumbnails[new]
    return task.old, pictures
