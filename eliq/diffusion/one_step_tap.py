"""A tap for the next step of a run and for none after it, for where nobody says when a run ends.

A step callback of diffusers is called after every step, and not at all when the pipeline fails.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from .clean_estimate import SchedulerTap, StepEstimate

__all__ = ["OneStepTap"]


class OneStepTap:
    """Calls ``on_estimate`` after the next step if that is ``step_index``; then it is gone.

    Args:
        pipe: pipeline or scheduler.
        step_index: of the step that is expected; at any other, a new run has begun.
        while_alive: an object that the pipeline's call holds until its next step and then lets
            go, such as the latents. When it dies before, the call has failed, and the scheduler
            is restored. None = restored at the next step or by `close`.

    Attributes:
        was_missed: whether ``while_alive`` died before a step was made. If the run goes on all
            the same, something else was given to the pipeline in its place.
    """

    def __init__(
        self,
        pipe: Any,
        step_index: int,
        on_estimate: Callable[[StepEstimate], object],
        *,
        while_alive: Any = None,
    ) -> None:
        self.step_index = step_index
        self.was_missed = False
        self._on_estimate = on_estimate
        self._tap = SchedulerTap(pipe, self._on_step).__enter__()
        self._finalizer = None
        if while_alive is not None:
            self._finalizer = weakref.finalize(while_alive, self._give_up)
            self._finalizer.atexit = False

    def close(self) -> None:
        """Restore the scheduler, if that has not been done."""
        if self._finalizer is not None:
            self._finalizer.detach()
        self._tap.__exit__()

    def _give_up(self) -> None:
        self.was_missed = True
        self._tap.__exit__()

    def _on_step(self, estimate: StepEstimate) -> None:
        self.close()
        if estimate.step_index == self.step_index:
            self._on_estimate(estimate)
