"""Runs one ``eliq run``: plan, score, write what a user takes away, judge."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import typer

from ..bulk.config import RunConfig
from ..errors import BulkError, EliqError
from ..shown_text import counted
from .gates import Gate
from .job import EXIT_FAILED_ITEMS, EXIT_GATE, Terminated
from .output import message
from .run_output import ProgressBar, show_dry_run, show_summary

if TYPE_CHECKING:
    from ..bulk.old_run import OldRun
    from ..bulk.plan import Plan

__all__ = ["Job", "run_job"]

_MOST_ROWS_ON_INTERRUPT = 100_000  # whoever presses Ctrl-C does not wait for more


@dataclass(frozen=True)
class Job:
    """What ``eliq run`` was asked to do, already checked.

    Attributes:
        format: human, json or quiet.
        devices: a process each; empty = this process alone.
        engine: local or ray.
    """

    config: RunConfig
    gates: Sequence[Gate]
    format: str
    devices: tuple[str, ...] = ()
    engine: str = "local"
    ray_address: str | None = None
    has_report: bool = True
    is_dry: bool = False
    is_overwriting: bool = False
    is_sure: bool = False

    @property
    def is_quiet(self) -> bool:
        return self.format == "quiet"


def run_job(job: Job) -> int:
    """Do it; returns the exit code.

    Raises:
        EliqError: the run failed; parts that are finished stay.
        KeyboardInterrupt, Terminated: after what is done was kept and summed up.
    """
    from ..bulk.critic import check_critic
    from ..bulk.old_run import OldRun
    from ..bulk.out_dir import claim_out_dir, holds_run
    from ..bulk.sources import check_source
    from .run_processes import end_with_parent, is_child, rank_of_this_process

    if not is_child():
        check_critic(job.config)  # a name that is mistyped costs no listing of a large source
    if job.is_dry:
        return _dry_run(job)
    start_s = time.perf_counter()
    job = replace(job, config=rank_of_this_process(job.config))
    config = job.config
    if config.world_size > 1 and not is_child() and (job.devices or job.engine != "local"):
        what = "--devices" if job.devices else "--engine ray"
        raise BulkError(f"{what} starts processes itself: leave it out under a launcher")
    if job.is_overwriting and not job.is_sure and holds_run(config.out_dir):
        if not typer.confirm(f"remove the run in {config.out_dir}?", err=True):
            raise BulkError(f"{config.out_dir} stays as it is: nothing was removed, nothing scored")
    with claim_out_dir(config, is_child=is_child()) as folder:
        old = None
        if job.is_overwriting and config.rank == 0 and holds_run(folder):
            check_source(config)  # which a word that is mistyped must not cost
            old = OldRun(folder)
        end_with_parent()
        sums_up = config.rank == 0 and not is_child()
        try:
            with old or nullcontext():
                num_kept = _score(job, old)
        except (KeyboardInterrupt, Terminated):
            if sums_up and not (old is not None and old.is_back):
                _sum_up_interrupted(job)
            raise
        finally:
            if old is not None and old.is_back and not job.is_quiet:
                message(f"the run that was in {folder} stays: no critic was loaded for another")
        if not sums_up:
            return 0
        return _finish(job, time.perf_counter() - start_s, num_kept)


def _score(job: Job, old: OldRun | None) -> int | None:
    """Score what is missing; returns how many rows of earlier runs were kept, None = not known.

    Args:
        old: the run that this one replaces.
    """
    from .run_launch import Launch
    from .run_processes import is_child, plan_of_all_processes, run_launched, run_on_devices

    config = job.config
    with ExitStack() as stack:
        launch = None
        if config.world_size > 1 and not is_child():
            launch = stack.enter_context(Launch(config, quiet=job.is_quiet))
        plan = plan_of_all_processes(config, launch)
        is_silent = job.is_quiet or config.rank != 0 or is_child()
        if not is_silent:
            _say_what_is_left_out(plan)
            _say_what_has_no_prompt(plan, config)
            _say_what_is_to_do(plan, config)
        bar = stack.enter_context(ProgressBar(plan, config, quiet=is_silent))
        observer = bar if old is None else old.watched(bar)
        if job.devices:
            run_on_devices(config, plan, job.devices, observer)
        elif job.engine == "ray":
            from ..bulk.ray_engine import run_ray

            run_ray(config, plan, address=job.ray_address, observer=observer)
        elif launch is not None:
            run_launched(config, plan, observer, launch)
        else:
            from ..bulk.engine import run_local

            run_local(config, plan, observer)
    return bar.num_kept if config.world_size == 1 else None


def _say_what_is_to_do(plan: Plan, config: RunConfig) -> None:
    from ..bulk.parts import all_parts, part_paths

    unit = "tar" if plan.num_items is None else "part"  # tars are not opened to be counted
    text = "" if plan.num_items is None else f"{counted(plan.num_items, 'image')}, "
    text += counted(plan.num_units, unit)
    if part_paths(plan.folder):
        found = [all_parts(plan, number, plan.folder) for number in range(plan.num_units)]
        done = [parts for parts in found if parts is not None]
        num_rows = sum(part.num_rows for parts in done for part in parts)
        verb = "is" if len(done) == 1 else "are"
        text += f"; {len(done)} already done {verb} kept ({counted(num_rows, 'image')})"
        if config.retry_failed:
            text += ", what failed in them is scored again"
    message(text)


def _say_what_is_left_out(plan: Plan) -> None:
    from ..bulk.tars import find_tars

    if plan.num_gone:
        what = counted(plan.num_gone, "tar" if plan.tars else "image")
        verb, whose = ("is", "its") if plan.num_gone == 1 else ("are", "their")
        message(f"{what} of this run {verb} no longer in the source; {whose} rows stay")
    if "folder" in plan.kind and (tars := find_tars(plan.source)):
        message(
            f"{counted(len(tars), 'tar')} in {plan.source} left out, because images lie there too; "
            f'to score what tars hold: "{os.path.join(plan.source, "*.tar")}"'
        )


def _say_what_has_no_prompt(plan: Plan, config: RunConfig) -> None:
    if plan.num_without_prompt:
        message(
            f"{plan.num_without_prompt} of {plan.num_items} images have no prompt in "
            f"{config.prompts_path}"
        )


def _finish(job: Job, elapsed_s: float, num_kept: int | None) -> int:
    """Write and show what a user takes away.

    Raises:
        BulkError: after all that, where parts of the plan are missing.
    """
    from ..bulk.results import finish_run

    out_dir = job.config.out_dir
    summary = finish_run(out_dir)
    num_missed = _num_missed(job) if job.gates else 0
    report_path = None
    if job.has_report:
        from ..report import build_report

        report_path = os.fspath(build_report(out_dir))
    facts = summary | {
        "out": os.fspath(out_dir),
        "report": report_path,
        "elapsed_s": round(elapsed_s, 2),
        "num_kept": num_kept,  # of earlier runs, among num_images
    }
    if job.gates:
        facts["num_below_fail_under"] = num_missed
    show_summary(facts, job.format)
    if num_missing := summary["num_pending_units"]:
        what = "tars" if summary["num_planned"] is None else "parts"
        raise BulkError(
            f"{num_missing} {what} of the plan are not scored, or were changed while they were: "
            "the same command goes on with them"
        )
    # The gate comes first: whoever asked for it must see that it was missed.
    return EXIT_GATE if num_missed else EXIT_FAILED_ITEMS if summary["num_failed"] else 0


def _num_missed(job: Job) -> int:
    from ..bulk.parts import iterate_rows

    names = ["visual_quality", "alignment", "status"]
    rows = (row for batch in iterate_rows(job.config.out_dir, names) for row in batch.to_pylist())
    return sum(
        row["status"] == "ok" and any(gate.is_missed(row) for gate in job.gates) for row in rows
    )


def _sum_up_interrupted(job: Job) -> None:
    """Say what is kept; the views are made as far as the parts go."""
    from ..bulk.parts import part_facts, part_paths
    from ..bulk.results import finish_run

    out_dir = job.config.out_dir
    facts = [part_facts(out_dir, path.stem) for path in part_paths(out_dir)]
    num_rows = sum(one.num_rows for one in facts if one is not None)
    if 0 < num_rows <= _MOST_ROWS_ON_INTERRUPT:
        try:
            finish_run(out_dir)
        except EliqError as error:
            message(str(error))
    how = "the same command without --overwrite" if job.is_overwriting else "the same command"
    message(
        f"interrupted: {counted(num_rows, 'image')} in finished parts, and what was scored of the "
        f"part under way, are kept; {how} goes on"
    )


def _dry_run(job: Job) -> int:
    """Say what would be done.

    Raises:
        EliqError: the run would be refused, as far as that is known before a critic is loaded.
    """
    import shutil
    import tempfile
    from pathlib import Path

    from ..bulk.fingerprint import check_fields, known_fields
    from ..bulk.old_run import has_old_run
    from ..bulk.out_dir import check_strangers
    from ..bulk.parts import all_parts
    from ..bulk.plan import plan_run

    out_dir = job.config.out_dir
    check_strangers(out_dir)
    if has_old_run(out_dir):
        message(f"{out_dir}: an --overwrite was stopped; a run puts the one before it back first")
    if not job.is_overwriting and out_dir.is_dir():
        check_fields(out_dir, known_fields(job.config))
    facts: dict[str, Any] = {"num_done": 0, "num_failed": 0, "num_done_units": 0}
    with tempfile.TemporaryDirectory() as temporary:
        if not job.is_overwriting:
            for name in ("plan.json", "plan.parquet"):
                if (out_dir / name).is_file():
                    shutil.copy(out_dir / name, temporary)
        plan = plan_run(job.config, folder=Path(temporary))
        for unit in range(plan.num_units) if not job.is_overwriting else ():
            parts = all_parts(plan, unit, out_dir)
            facts["num_done_units"] += parts is not None
            facts["num_done"] += sum(part.num_rows for part in parts or ())
            facts["num_failed"] += sum(part.num_failed for part in parts or ())
    if not job.is_quiet:
        _say_what_has_no_prompt(plan, job.config)
    shown = {
        "source": plan.source,
        "kind": plan.kind,
        "num_images": plan.num_items,
        "num_units": plan.num_units,
        **facts,
        "num_pending_units": plan.num_units - facts["num_done_units"],
        "num_to_retry": facts["num_failed"] if job.config.retry_failed else 0,
        "out": os.fspath(out_dir),
    }
    show_dry_run(shown, job.format)
    return 0
