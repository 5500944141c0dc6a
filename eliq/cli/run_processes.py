"""One run in several processes of one machine: ``--devices``, or under a launcher.

Each process scores every n-th unit of one plan. ``accelerate launch`` and ``torchrun`` start the
processes themselves and tell each its number in the environment; the first of them lists the
source, and sums up when all parts are there.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..bulk.config import RunConfig
from ..errors import BulkError
from ..shown_text import counted

if TYPE_CHECKING:
    from ..bulk.engine import Progress
    from ..bulk.plan import Plan
    from .run_launch import Launch

__all__ = [
    "end_with_parent",
    "is_child",
    "plan_of_all_processes",
    "rank_of_this_process",
    "run_launched",
    "run_on_devices",
]

_POLL_S = 0.5
_CHILD = "ELIQ_RUN_CHILD"  # set for the processes of --devices, whose parent has planned


def rank_of_this_process(config: RunConfig) -> RunConfig:
    """``config`` with the number that a launcher gave this process, and its GPU.

    Raises:
        BulkError: the launcher's processes are on several machines, which is what Ray is for; or
            no launcher has set these variables.
    """
    try:
        rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return config
    if world_size <= 1:
        return config
    try:
        local_size = int(os.environ["LOCAL_WORLD_SIZE"])
    except (KeyError, ValueError):
        # Set by hand, or by a cluster for other programs: nobody would start the other processes.
        raise BulkError(
            f"RANK {rank} and WORLD_SIZE {world_size} are set, and LOCAL_WORLD_SIZE is not: start "
            "the processes with torchrun or accelerate launch, which set all three, or unset "
            "RANK and WORLD_SIZE"
        ) from None
    if local_size != world_size:
        raise BulkError("expected the processes of one machine; for several, use --engine ray")
    device = config.device
    if device is None:
        import torch

        if torch.cuda.is_available():
            device = f"cuda:{int(os.environ.get('LOCAL_RANK', rank)) % torch.cuda.device_count()}"
    return replace(config, rank=rank, world_size=world_size, device=device)


def is_child() -> bool:
    """Whether this is a process of --devices, whose parent plans and sums up."""
    return _CHILD in os.environ


def end_with_parent() -> None:
    """In a process of --devices: end as by SIGTERM when the parent is gone, even by a kill."""
    if not is_child():
        return

    def wait() -> None:
        os.read(0, 1)  # not through sys.stdin, whose lock would be held when Python ends
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def plan_of_all_processes(config: RunConfig, launch: Launch | None) -> Plan:
    """The plan: made by the first process, and read by the others when it is there."""
    from ..bulk.plan import load_plan, plan_run

    if is_child():
        return load_plan(config.out_dir)
    if launch is None:
        return plan_run(config)
    return launch.plan(lambda: plan_run(config), lambda: load_plan(config.out_dir))


def run_launched(
    config: RunConfig, plan: Plan, observer: Callable[[Any], None], launch: Launch
) -> None:
    """Score the share of one of a launcher's processes; the first then waits for the others.

    Raises:
        BulkError: as `eliq.bulk.run_local`; more images failed in all of them than ``max_errors``.
    """
    from ..bulk.engine import run_local

    errors = _ErrorsOfAll(config, plan, observer)
    run_local(config, plan, errors)
    if config.rank != 0:
        launch.tell_scored()
    else:
        launch.wait_for_others(errors.check)


class _ErrorsOfAll:
    """The observer of one of a launcher's processes, before another one: ends it with too many.

    It counts its own failures at once, and those of the others when their parts are written.
    """

    def __init__(self, config: RunConfig, plan: Plan, observer: Callable[[Any], None]) -> None:
        from ..bulk.part_counts import PartCounts

        self._config, self._observer = config, observer
        self._others = PartCounts(
            plan.folder,
            rank=config.rank,
            world_size=config.world_size,
            retry_failed=config.retry_failed,
        )
        self._num_own = 0
        self._checked_s = -math.inf

    def __call__(self, progress: Progress) -> None:
        self._observer(progress)
        self._num_own = progress.num_failed
        if time.monotonic() - self._checked_s >= _POLL_S:
            self.check()

    def check(self) -> None:
        """Look at what the others have written."""
        self._checked_s = time.monotonic()
        if self._config.max_errors is not None:
            _check_errors(self._config, self._num_own + self._others.count()[1])


def run_on_devices(
    config: RunConfig, plan: Plan, devices: Sequence[str], observer: Callable[[Any], None]
) -> None:
    """Score on several devices, a process each, and wait for all of them.

    Raises:
        BulkError: one of them failed; the others are ended, and what is done is kept.
    """
    from ..bulk.engine import Progress
    from ..bulk.part_counts import PartCounts

    counts = PartCounts(plan.folder, retry_failed=config.retry_failed)
    children = [
        _start(device.strip(), number, len(devices)) for number, device in enumerate(devices)
    ]
    num_old: int | None = None
    try:
        while True:
            codes = [child.poll() for child in children]
            # Now, because those that are ended here fail too.
            failed = [pair for pair in zip(devices, codes, strict=True) if pair[1]]
            if failed or None not in codes:
                break
            num_done, num_failed = counts.count()
            num_old = num_done if num_old is None else num_old
            observer(Progress(num_done, num_failed, num_done - num_old))
            _check_errors(config, num_failed)
            time.sleep(_POLL_S)
    finally:
        for child in children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in children:
            child.wait()
            child.stdin.close()
    if failed:
        named = ", ".join(
            f"on {device.strip()} ended with status {code}" for device, code in failed
        )
        raise BulkError(f"the process {named}; what is done is kept, the same command goes on")
    _check_errors(config, counts.count()[1])


def _check_errors(config: RunConfig, num_failed: int) -> None:
    """Each process counts its own failures; --max-errors is of all together."""
    if config.max_errors is not None and num_failed > config.max_errors:
        raise BulkError(
            f"stopped: {counted(num_failed, 'image')} failed, more than --max-errors "
            f"{config.max_errors}"
        )


def _start(device: str, rank: int, world_size: int) -> subprocess.Popen:
    """This very command again, on one device; what it says of errors goes to standard error."""
    arguments = list(sys.argv[1:])
    for name in ("--devices", "--overwrite"):
        arguments = _without(arguments, name, has_value=name == "--devices")
    size = str(world_size)
    environment = os.environ | {"RANK": str(rank), "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    environment[_CHILD] = "1"
    code = f"import sys; from {__package__} import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, arguments[0], "--device", device, *arguments[1:]],
        env=environment,
        stdin=subprocess.PIPE,  # its end tells the child that this process is gone
        stdout=subprocess.DEVNULL,
    )


def _without(arguments: list[str], name: str, *, has_value: bool) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word == name:
            skip = has_value
        elif not word.startswith(f"{name}="):
            kept.append(word)
    return kept
