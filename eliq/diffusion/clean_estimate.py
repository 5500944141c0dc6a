"""The clean latents x0 that a running pipeline is heading for, exact at every step.

`SchedulerTap` listens at `scheduler.step`, where the model's output after guidance, the latents
and the noise level meet; a pipeline's own step callback only sees the latents afterwards, from
which x0 cannot be had with ancestral samplers and only coarsely in half precision. What the
pipeline computes is not touched: its images are the same bit for bit.

    with SchedulerTap(pipe, on_estimate, at=(0.25, 0.5)):
        pipe(prompt)
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, DiffusionError
from .schedulers import Position, check_scheduler, clean_latents, noise_level, run_position

__all__ = [
    "SchedulerTap",
    "StepEstimate",
    "check_fractions",
    "crosses",
    "estimate_step",
    "find_scheduler",
]

_ROUNDING = 1e-9  # 3 of 10 steps reach 0.3


@dataclass(frozen=True, eq=False)
class StepEstimate:
    """What one call of `scheduler.step` tells of the image to come.

    Attributes:
        step_index: of the call in its run, from 0.
        num_steps: calls that the run makes (second-order samplers make about two a step).
        fraction: share of the run's calls that are done, 0..1.
        timestep: as the scheduler counts it.
        alpha, sigma: the latents before the call were alpha * x0 + sigma * noise.
        latents: x0, float32 in the shape and on the device of the pipeline's latents, [B,C,h,w]
            or packed [B,L,C]; a tensor of its own.
    """

    step_index: int
    num_steps: int
    fraction: float
    timestep: float
    alpha: float
    sigma: float
    latents: Tensor


class SchedulerTap:
    """Calls ``on_estimate(estimate)`` after steps of a scheduler, while it is entered.

    Taps may be nested and left in any order; the scheduler is as it was once the last one is
    left. A deep copy that is made of the scheduler meanwhile is tapped too. What ``on_estimate``
    raises, `scheduler.step` raises.

    Args:
        target: a pipeline (also a modular one) or a scheduler.
        on_estimate: gets a `StepEstimate`; what it returns is ignored.
        at: fractions of the run, in (0, 1]: the call that reaches one gives an estimate; None =
            every call.

    Raises:
        DiffusionError: no scheduler there, or one whose clean estimate is not known.
        ConfigError: a fraction outside (0, 1].
    """

    def __init__(
        self,
        target: Any,
        on_estimate: Callable[[StepEstimate], object],
        *,
        at: Iterable[float] | None = None,
    ) -> None:
        self.scheduler = find_scheduler(target)
        self.at = None if at is None else check_fractions(at)
        self._on_estimate = on_estimate
        self._step: _TappedStep | None = None

    def __enter__(self) -> SchedulerTap:
        if self._step is not None:
            raise DiffusionError("this tap is already in place: leave it before entering it again")
        step = vars(self.scheduler).get("step")
        if not isinstance(step, _TappedStep):
            step = _TappedStep(self.scheduler)
            self.scheduler.step = step
        step.taps.append(self)
        self._step = step
        return self

    def __exit__(self, *_: object) -> None:
        step, self._step = self._step, None
        if step is None:
            return
        step.taps.remove(self)
        # Whoever wrapped `step` after us still holds ours, which from now on only passes on.
        if not step.taps and vars(self.scheduler).get("step") is step:
            step.restore()

    def listen(self, call: _StepCall) -> None:
        """Give an estimate of this call if it reaches a fraction that is asked for."""
        where = call.position
        if self.at is None or crosses(self.at, where.previous_fraction, where.fraction):
            self._on_estimate(call.estimate())


def find_scheduler(target: Any) -> Any:
    """The scheduler of a pipeline, or the scheduler itself.

    Raises:
        DiffusionError: there is none, or its clean estimate is not known.
    """
    scheduler = getattr(target, "scheduler", target)
    if not callable(getattr(scheduler, "step", None)):
        raise DiffusionError(
            f"expected a pipeline of diffusers with a scheduler, found {type(target).__name__}"
        )
    check_scheduler(scheduler)
    return scheduler


@torch.no_grad()
def estimate_step(
    scheduler: Any,
    model_output: Tensor,
    timestep: Any,
    sample: Tensor,
    *,
    position: Position,
    is_first_order: bool = True,
) -> StepEstimate:
    """The estimate of one step from what `scheduler.step` is given.

    Args:
        is_first_order: the scheduler's ``state_in_first_order`` before the step.

    Raises:
        DiffusionError: a kind of prediction that is not known.
    """
    level = noise_level(scheduler, position.schedule_index, timestep, is_first_order=is_first_order)
    return StepEstimate(
        step_index=position.index,
        num_steps=position.num_steps,
        fraction=position.fraction,
        timestep=float(timestep),
        alpha=level.alpha,
        sigma=level.sigma,
        latents=clean_latents(scheduler, model_output, sample, level, timestep),
    )


def check_fractions(at: Iterable[float]) -> tuple[float, ...]:
    """Fractions of a run, sorted.

    Raises:
        ConfigError: none, or one outside (0, 1].
    """
    fractions = tuple(sorted(at)) if not isinstance(at, (int, float)) else (at,)
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise ConfigError(f"at: expected fractions in (0, 1], found {fractions}")
    return tuple(float(fraction) for fraction in fractions)


def crosses(at: Iterable[float], before: float, after: float) -> bool:
    """Whether a call that moves a run from ``before`` to ``after`` reaches one of ``at``."""
    return any(before < fraction - _ROUNDING <= after for fraction in at)


@dataclass
class _StepCall:
    """One call of `scheduler.step`, right after it was made."""

    scheduler: Any
    arguments: dict[str, Any]
    is_first_order: bool

    @functools.cached_property
    def position(self) -> Position:
        return run_position(self.scheduler, self.arguments["timestep"])

    def estimate(self) -> StepEstimate:
        if self.arguments.get("per_token_timesteps") is not None:
            raise DiffusionError("a clean estimate of latents with a timestep a token is not known")
        return estimate_step(
            self.scheduler,
            self.arguments["model_output"],
            self.arguments["timestep"],
            self.arguments["sample"],
            position=self.position,
            is_first_order=self.is_first_order,
        )


class _TappedStep:
    """Stands in for a scheduler's `step`: calls it, then the taps that are in place.

    Its signature is that of the original: pipelines look there for `eta` and `generator`.
    """

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.original = scheduler.step
        self.was_own = "step" in vars(scheduler)  # somebody else's wrapper on this instance
        self.taps: list[SchedulerTap] = []
        functools.update_wrapper(self, self.original)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        is_first_order = getattr(self.scheduler, "state_in_first_order", True)
        result = self.original(*args, **kwargs)
        if self.taps:
            # By the class: somebody's wrapper may take anything and say nothing.
            signature = inspect.signature(type(self.scheduler).step)
            arguments = signature.bind(self.scheduler, *args, **kwargs).arguments
            call = _StepCall(self.scheduler, arguments, is_first_order)
            for tap in tuple(self.taps):
                tap.listen(call)
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> _TappedStep:
        # A copied scheduler must step itself, not the one that it was copied from.
        copied = memo.get(id(self.scheduler))
        if copied is None:
            return self
        twin = _TappedStep.__new__(_TappedStep)
        twin.__dict__.update(vars(self))
        twin.scheduler, twin.original = copied, copy.deepcopy(self.original, memo)
        functools.update_wrapper(twin, twin.original)
        return twin

    def restore(self) -> None:
        if self.was_own:
            self.scheduler.step = self.original
        else:
            del self.scheduler.step
