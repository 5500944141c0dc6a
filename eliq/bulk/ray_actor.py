"""What runs on a node of a Ray cluster: a critic that is given one unit after another."""

from __future__ import annotations

import os
import socket

from ..errors import BulkError, EliqError
from .config import RunConfig
from .engine import Progress, UnitScorer
from .plan import PLAN_NAME, Plan

__all__ = ["UnitActor"]


class UnitActor:
    """A critic with its decoding processes; other calls are answered while a unit is under way.

    Errors on purpose come back as values: what Ray raises for them is no longer of their class.

    Args:
        working_dir: from which the command was started: relative paths mean the same here.
    """

    def __init__(self, config: RunConfig, plan: Plan, working_dir: str) -> None:
        self._config, self._plan, self._working_dir = config, plan, working_dir
        self._scorer: UnitScorer | None = None
        self._progress = Progress(0, 0, 0)
        self._is_stopping = False

    def load(self) -> EliqError | Progress:
        """Load the critic; a node that does not see the run's files says so."""
        try:
            os.chdir(self._working_dir)
            os.stat(self._plan.folder / PLAN_NAME)
            self._scorer = UnitScorer(self._config, self._plan)
        except FileNotFoundError as error:
            return BulkError(
                f"the Ray worker on {socket.gethostname()} does not see {error.filename}: the "
                "nodes of a cluster must share the files of a run, under the same paths"
            )
        except EliqError as error:
            return error
        return self._progress

    def score(self, unit: int) -> EliqError | Progress:
        """Score what is missing of a unit; the progress when it is written."""
        if self._scorer is None:
            return BulkError("a Ray worker was given a unit before its critic was loaded")
        try:
            self._scorer.score_unit(unit, self._observe)
        except EliqError as error:
            return error
        return self._progress

    def progress(self) -> Progress:
        """Of all units that this actor has had."""
        return self._progress

    def stop(self) -> None:
        """End the unit that is under way; what is scored of it is kept."""
        self._is_stopping = True

    def close(self) -> None:
        """End the decoding processes."""
        if self._scorer is not None:
            self._scorer.close()

    def _observe(self, progress: Progress) -> None:
        self._progress = progress
        if self._is_stopping:
            raise BulkError("stopped")
