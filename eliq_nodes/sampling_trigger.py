"""At which noise level a sampling is looked at. Nothing of ComfyUI.

Sigma falls while a picture forms, but not evenly: over most of the way of an old noise schedule it
is already small. So a fraction of the way is one of the model's own schedule ("percent"), by which
ComfyUI's start and end of a ControlNet are given too, and not one of sigma itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["has_reached", "trigger_sigma"]

_HALVINGS = 30
_TOLERANCE = 1e-5  # relative: schedules are rounded to float32


def trigger_sigma(
    percent_to_sigma: Callable[[float], float], sigmas: Sequence[float], at: float
) -> float | None:
    """The sigma from which on a run has gone the fraction ``at`` of its way.

    A run need not begin at full noise (image to image) nor end without any: the way is that of
    the run. Where its steps jump past the end of the way, the last noise level counts.

    Args:
        percent_to_sigma: of the model's sampling: 0 = full noise, 1 = none.
        sigmas: of the run, as many as steps and one.
        at: 0..1.

    Returns:
        None where there is nothing to look at: no step, or noise that grows (unsampling).

    Raises:
        ValueError: ``at`` outside 0..1.
    """
    if not 0.0 <= at <= 1.0:
        raise ValueError(f"at: expected a fraction from 0 to 1, found {at}")
    if len(sigmas) < 2 or not sigmas[0] > sigmas[-1]:
        return None
    start = _percent_of(percent_to_sigma, sigmas[0])
    end = _percent_of(percent_to_sigma, sigmas[-1])
    wanted = float(percent_to_sigma(start + at * (end - start)))
    last = min(sigma for sigma in sigmas[:-1] if sigma > 0)
    return max(wanted, last)


def has_reached(sigma: float, trigger: float) -> bool:
    """Whether a step at ``sigma`` is at the trigger or past it."""
    return sigma <= trigger * (1 + _TOLERANCE)


def _percent_of(percent_to_sigma: Callable[[float], float], sigma: float) -> float:
    """The inverse of a function that falls, by halving: models give only the one direction."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if float(percent_to_sigma(middle)) > sigma:
            low = middle
        else:
            high = middle
    return 0.0 if high < 2.0 ** (1 - _HALVINGS) else high
