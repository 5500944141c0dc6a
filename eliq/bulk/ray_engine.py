"""The units of a run on a Ray cluster: Ray decides where, all else is as on one machine.

Each actor holds a critic with its decoding processes, is given one unit at a time and writes the
part files itself, so that the nodes must share the file system. Plain actors rather than Ray
Data: the part file marks what is done, so that nothing of a dataset is needed, and a unit that
ends every actor that takes it can be named (docs/decisions/0009). Needs ``eliq[ray]``.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from typing import Any

from ..errors import BulkError, ConfigError, EliqError
from ..shown_text import counted
from .config import RunConfig
from .engine import Observer, Progress
from .plan import Plan
from .ray_actor import UnitActor
from .ray_cluster import actor_resources, connected, import_ray

__all__ = ["run_ray"]

_logger = logging.getLogger("eliq")
_MOST_ATTEMPTS = 3  # an actor may die of a full machine; the third one dies of the unit
_POLL_S = 1.0
_SAY_AFTER_S = 120.0
_STOP_TIMEOUT_S = 15.0  # a batch, and the rows of a part to write


def run_ray(
    config: RunConfig,
    plan: Plan,
    *,
    address: str | None = None,
    observer: Observer | None = None,
    num_actors: int | None = None,
) -> None:
    """Score every unit of the plan on the actors of a cluster.

    An actor that is killed costs the part that it had not written; another one takes over.

    Args:
        address: of a running cluster; None = one on this machine, ended with the run.
        observer: told about once a second.
        num_actors: None = one a GPU, or where there are none one a node.

    Raises:
        ConfigError: one GPU was named, where Ray gives each actor its own.
        BulkError: Ray is not installed or does not start, a node does not see the files, a unit
            ends every actor that takes it, or as `eliq.bulk.run_local`.
        EliqError: as `eliq.Scorer.from_pretrained` and `zero_shot`.
    """
    if config.device is not None and config.device.startswith("cuda:"):
        raise ConfigError(
            "device: expected 'cuda' or none, with Ray, which gives each worker a GPU of its own; "
            f"found {config.device!r}"
        )
    ray = import_ray()
    with connected(ray, address):
        resources = actor_resources(ray, num_actors, wants_gpu=config.device != "cpu")
        with _Pool(ray, config, plan, observer) as pool:
            pool.run(resources)


class _Pool:
    """Actors, and the units that wait for them; a context manager that ends the actors."""

    def __init__(self, ray: Any, config: RunConfig, plan: Plan, observer: Observer | None) -> None:
        self._ray = ray
        self._config, self._plan, self._observer = config, plan, observer
        self._class = ray.remote(UnitActor)
        self._waiting = deque(plan.units(config.rank, config.world_size))
        self._attempts: dict[int | None, int] = {}
        self._tasks: dict[Any, tuple[Any, int | None]] = {}  # a task: its actor and its unit
        self._options: dict[Any, dict[str, Any]] = {}  # of the actors that live
        self._settled: dict[Any, Progress] = {}  # by actor, dead ones too: of finished units
        self._last: dict[Any, Progress] = {}  # by actor, as it last answered
        self._reported_s = 0.0

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        """End the actors and their processes; what is under way is kept first."""
        for task, (actor, unit) in list(self._tasks.items()):
            if unit is None:  # it has nothing to keep, and may never start
                self._ray.kill(actor)
                del self._tasks[task], self._options[actor]
        actors = list(self._options)
        waited = [actor.stop.remote() for actor in actors] + list(self._tasks)
        if not self._tasks:
            waited += [actor.close.remote() for actor in actors]
        if waited:
            self._ray.wait(waited, num_returns=len(waited), timeout=_STOP_TIMEOUT_S)
        for actor in actors:
            self._ray.kill(actor)

    def run(self, resources: list[dict[str, Any]]) -> None:
        """Until no unit waits and none is under way; one actor for each of ``resources``.

        What a busy cluster has no room for waits, and is not waited for.
        """
        start_s = time.monotonic()
        for options in resources[: len(self._waiting)]:
            self._start(options)
        while self._is_unfinished():
            done, _ = self._ray.wait(list(self._tasks), timeout=_POLL_S)
            for task in done:
                self._finish(task)
            if time.monotonic() - self._reported_s > _POLL_S or not self._is_unfinished():
                self._report()
            if not self._settled and time.monotonic() - start_s > _SAY_AFTER_S:
                start_s = math.inf
                _logger.warning(
                    "no Ray worker is ready yet: each loads the critic, and needs %s", resources[0]
                )

    def _is_unfinished(self) -> bool:
        return bool(self._waiting) or any(unit is not None for _, unit in self._tasks.values())

    def _start(self, options: dict[str, Any]) -> None:
        """A new actor; it is given units when its critic is loaded."""
        # The second thread answers while the first one scores.
        actor = self._class.options(max_concurrency=2, max_restarts=0, **options).remote(
            self._config, self._plan, os.getcwd()
        )
        self._options[actor] = options
        self._tasks[actor.load.remote()] = (actor, None)

    def _finish(self, task: Any) -> None:
        actor, unit = self._tasks.pop(task)
        try:
            result = self._ray.get(task)
        except self._ray.exceptions.RayActorError as error:
            self._replace(actor, unit, error)
            return
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause or error) from None
        if isinstance(result, EliqError):
            raise result
        if unit is None:
            self._attempts.pop(None, None)  # a long run may lose many workers, but not in a row
        self._settled[actor] = self._last[actor] = result
        if self._waiting:
            self._give_unit(actor)

    def _give_unit(self, actor: Any) -> None:
        unit = self._waiting.popleft()
        self._tasks[actor.score.remote(unit)] = (actor, unit)

    def _replace(self, actor: Any, unit: int | None, error: Exception) -> None:
        """The actor is gone: one that has no more to do takes its unit, else a new one."""
        options = self._options.pop(actor)
        self._last[actor] = self._settled.get(actor, Progress(0, 0, 0))  # the rest is done again
        attempts = self._attempts[unit] = self._attempts.get(unit, 0) + 1
        if attempts >= _MOST_ATTEMPTS:
            what = "the critic, while it was loaded," if unit is None else f"unit {unit}"
            reason = " ".join(str(error).split())[:200]
            raise BulkError(
                f"{what} has ended {attempts} Ray workers; what is finished is kept: {reason}"
            ) from None
        if unit is not None:
            self._waiting.appendleft(unit)
        busy = {other for other, _ in self._tasks.values()}
        idle = [other for other in self._options if other not in busy]
        if unit is not None and idle:  # the machine of the dead one may be gone for good
            self._give_unit(idle[0])
        else:
            self._start(options)

    def _report(self) -> None:
        """Tell the observer, and end a run with too many failures."""
        self._reported_s = time.monotonic()
        starting = {actor for actor, unit in self._tasks.values() if unit is None}
        asked = {a.progress.remote(): a for a in self._options if a not in starting}
        if not asked:
            return
        answered, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=_POLL_S)
        for answer in answered:
            try:
                self._last[asked[answer]] = self._ray.get(answer)
            except self._ray.exceptions.RayActorError:
                continue  # it is replaced when its task comes back
        parts = list(self._last.values())
        num_failed = sum(part.num_failed for part in parts)
        if self._observer is not None:
            num_done, num_new = (sum(getattr(p, n) for p in parts) for n in ("num_done", "num_new"))
            self._observer(Progress(num_done, num_failed, num_new))
        limit = self._config.max_errors
        if limit is not None and num_failed > limit:
            raise BulkError(
                f"stopped: {counted(num_failed, 'image')} failed, more than --max-errors {limit}"
            )
