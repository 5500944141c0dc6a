"""Paused calls: one call of a pipeline a candidate, all stopped at the same step of the schedule.

Where a batch does not fit in memory, candidates are generated one by one. Each call runs in a
greenlet of its own on a shallow copy of the pipeline (weights are shared, scheduler and guider are
copies) and is parked inside `scheduler.step` while the others catch up; a call that is dropped
simply never goes on. A parked call costs its latents and the embeddings of its prompt, which each
call computes for itself.

Survivors are the very bits of a call alone where all noise comes from the candidate's generator. A
scheduler that draws from torch's global one (FlowMatchEuler with `stochastic_sampling`) draws in
another order here, as it does in any two runs.
"""

from __future__ import annotations

import contextvars
import copy
import functools
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from types import FunctionType, TracebackType
from typing import Any

import torch
from torch import nn

from ..errors import DiffusionError
from .clean_estimate import SchedulerTap, StepEstimate
from .row_gather import RowGather, reset_step_caches

__all__ = ["PausedCall", "PausedCalls", "has_greenlet", "independent_copy", "require_greenlet"]


class PausedCall:
    """One call, which runs up to a step of the schedule and waits there.

    Args:
        owner: the user's pipeline; interrupting it interrupts this call.
        body: makes the call, on the independent copy of the pipeline that it is given.

    Attributes:
        result: what `body` returned, once `is_done`.
        rows_run: denoiser rows that this call has run so far.
    """

    def __init__(self, owner: Any, body: Callable[[Any], Any]) -> None:
        from greenlet import greenlet

        self._owner, self._pipe, self._body = owner, independent_copy(owner), body
        self._until: Callable[[int], int | None] = lambda num_steps: None
        self._estimate: StepEstimate | None = None
        self._greenlet = greenlet(self._run)
        self._greenlet.gr_context = contextvars.copy_context()
        self.result: Any = None
        self.is_done = False
        self.rows_run = 0

    def advance(self, until: Callable[[int], int | None]) -> StepEstimate | None:
        """Run on until so many steps are done, and return the estimate of that step.

        Args:
            until: from the number of steps of the schedule to that of the step to stop after;
                None = run to the end.

        Returns:
            None if the call came to its end.

        Raises:
            Whatever the pipeline raises.
        """
        self._until, self._estimate = until, None
        self._greenlet.switch()
        return self._estimate

    def drop(self) -> None:
        """End the call where it stands: what it has open is closed, nothing is decoded."""
        if self._greenlet:  # started and not at its end
            self._greenlet.throw()

    def _run(self) -> None:
        with SchedulerTap(self._pipe, self._on_estimate):
            self.result = self._body(self._pipe)
        self.is_done = True

    def _on_estimate(self, estimate: StepEstimate) -> None:
        if getattr(self._owner, "_interrupt", False):
            self._pipe._interrupt = True
        if estimate.step_index + 1 == self._until(estimate.num_steps):
            self._estimate = estimate
            self._greenlet.parent.switch()


class PausedCalls:
    """Context manager: one paused call a candidate; what is left on leaving is dropped.

    Args:
        pipe: the user's pipeline; it is not changed.
        bodies: N functions, each makes the call of its candidate on the pipeline it is given.
        denoisers: modules whose rows are counted and whose step caches are emptied between calls.

    Attributes:
        rows_run: denoiser rows computed.
    """

    def __init__(
        self,
        pipe: Any,
        bodies: Sequence[Callable[[Any], Any]],
        *,
        denoisers: Sequence[nn.Module],
    ) -> None:
        require_greenlet()
        self._pipe = pipe
        self._denoisers = list(denoisers)
        self._calls = [PausedCall(pipe, body) for body in bodies]
        self._counter = RowGather(denoisers, 1)
        self._no_grad = torch.no_grad()

    @property
    def rows_run(self) -> int:
        return self._counter.rows_run

    def __enter__(self) -> PausedCalls:
        if getattr(self._pipe, "_interrupt", False):
            self._pipe._interrupt = False  # of an earlier run; every call begins so
        # Gradients are switched per thread, not per greenlet: a call that ends while another is
        # parked would switch them on for it. Off around all of them, every call finds them off.
        self._no_grad.__enter__()
        try:
            self._counter.__enter__()
        except BaseException:
            self._no_grad.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for call in self._calls:
                call.drop()
        finally:
            self._counter.__exit__(kind, error, trace)
            self._no_grad.__exit__(None, None, None)
            free = getattr(self._pipe, "maybe_free_model_hooks", None)
            if free is not None:
                free()

    def advance(
        self, candidates: Sequence[int], until: Callable[[int], int | None]
    ) -> list[StepEstimate | None]:
        """Run each of these calls on, in this order; see `PausedCall.advance`."""
        estimates = []
        for candidate in candidates:
            call = self._calls[candidate]
            for denoiser in self._denoisers:
                reset_step_caches(denoiser)  # they hold what another call left
            before = self._counter.rows_run
            estimates.append(call.advance(until))
            call.rows_run += self._counter.rows_run - before
        return estimates

    def drop(self, candidates: Sequence[int]) -> None:
        """End these calls."""
        for candidate in candidates:
            self._calls[candidate].drop()

    def result(self, candidate: int) -> Any:
        """What the body of a call that came to its end returned."""
        return self._calls[candidate].result

    def rows_of(self, candidate: int) -> int:
        """Denoiser rows that one call has run so far."""
        return self._calls[candidate].rows_run


def independent_copy(pipe: Any) -> Any:
    """A pipeline that shares the models of `pipe` and nothing that changes during a call.

    Raises:
        DiffusionError: a pipeline whose scheduler cannot be replaced.
    """
    state = getattr(pipe, "__dict__", {})
    if not hasattr(state.get("scheduler"), "step"):
        raise DiffusionError(
            f"one call a candidate: expected a pipeline with a scheduler of its own, found "
            f"{type(pipe).__name__}; prune in one batch, without batch_size"
        )
    copied = copy.copy(pipe)
    # Into the dict: setting a component as an attribute would rewrite the pipeline's config.
    for name, value in state.items():
        if name.endswith(("scheduler", "guider")) and value is not None:
            copied.__dict__[name] = copy.deepcopy(value)
    step = vars(copied.scheduler).get("step")
    if isinstance(step, FunctionType):
        # Somebody's wrapper; copied as it is, it would step the user's scheduler.
        del copied.scheduler.step
    elif step is not None:
        # A tap of the user's, which listens to the copy too: ours must not be added to its own.
        copied.scheduler.step = functools.wraps(step, updated=())(
            lambda *args, **kwargs: step(*args, **kwargs)
        )
    copied.__dict__["_progress_bar_config"] = {
        **(state.get("_progress_bar_config") or {}),
        "disable": True,  # bars of calls that run in turns would overwrite one another
    }
    # Moves every model to the CPU where they are offloaded; the last to leave does it once.
    copied.__dict__["maybe_free_model_hooks"] = _nothing
    return copied


def has_greenlet() -> bool:
    """Whether the optional package greenlet is installed."""
    return find_spec("greenlet") is not None


def require_greenlet() -> None:
    """Raise DiffusionError unless greenlet is installed."""
    if not has_greenlet():
        raise DiffusionError(
            "pruning with one call a candidate needs the package greenlet: "
            "pip install 'eliq[diffusers]', or prune in one batch, without batch_size"
        )


def _nothing() -> None:
    """Instead of `maybe_free_model_hooks` of a copy."""
