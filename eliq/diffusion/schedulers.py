"""What a scheduler knows about noise: how far a run is, how noisy its latents are, and the closed
form that turns the model's output into the clean latents.

Every sampler that is known here mixes clean latents and noise, x = alpha * x0 + sigma * noise, and
differs in (alpha, sigma) and in what the model predicts. With a_n, s_n = (alpha, sigma) divided by
sqrt(alpha^2 + sigma^2), m = the model's output:

| prediction | m | x0 |
|---|---|---|
| epsilon | noise | (x - sigma m) / alpha |
| sample | x0 | m |
| v_prediction | a_n noise - s_n x0 | a_n x / sqrt(alpha^2 + sigma^2) - s_n m |
| flow | noise - x0 | (x - sigma m) / (alpha + sigma) |

(Salimans & Ho 2022 for v; Karras et al. 2022 for sigmas without an alpha, where alpha = 1; Lipman
et al. 2023 for flow, where alpha = 1 - sigma.) Private names of diffusers that are read:
`_step_index`, `_threshold_sample`.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import DiffusionError

__all__ = [
    "NoiseLevel",
    "Position",
    "check_scheduler",
    "clean_latents",
    "noise_level",
    "run_position",
]

# How (alpha, sigma) are found. Keys are names of classes, so that diffusers need not be imported;
# a subclass is known by its parent.
_KINDS = {
    "FlowMatchEulerDiscreteScheduler": "flow",
    "FlowMatchHeunDiscreteScheduler": "flow",
    "FlowMatchLCMScheduler": "flow",
    "EulerDiscreteScheduler": "sigma",
    "EulerAncestralDiscreteScheduler": "sigma",
    "HeunDiscreteScheduler": "sigma",
    "LMSDiscreteScheduler": "sigma",
    "KDPM2DiscreteScheduler": "sigma_interpol",
    "KDPM2AncestralDiscreteScheduler": "sigma_interpol",
    "EDMEulerScheduler": "edm",
    "EDMDPMSolverMultistepScheduler": "edm",
    "DPMSolverMultistepScheduler": "normalised_sigma",
    "DPMSolverSinglestepScheduler": "normalised_sigma",
    "DEISMultistepScheduler": "normalised_sigma",
    "UniPCMultistepScheduler": "normalised_sigma",
    "SASolverScheduler": "normalised_sigma",
    "DDIMScheduler": "alphas_cumprod",
    "DDIMParallelScheduler": "alphas_cumprod",
    "DDPMScheduler": "alphas_cumprod",
    "DDPMParallelScheduler": "alphas_cumprod",
    "PNDMScheduler": "alphas_cumprod",
    "TCDScheduler": "alphas_cumprod",
    "LCMScheduler": "consistency",
}
_NO_LIMITS = {"TCDScheduler"}  # has the settings of thresholding and clipping, and ignores them
_FLOW = ("flow", "flow_prediction")


@dataclass(frozen=True)
class NoiseLevel:
    """x = alpha * x0 + sigma * noise; both >= 0."""

    alpha: float
    sigma: float


@dataclass(frozen=True)
class Position:
    """Where a run is.

    Attributes:
        index: of the call of `scheduler.step` in this run, from 0.
        num_steps: calls that the run makes in all; Heun makes 15 for 8 steps.
        schedule_index: of the call in the scheduler's own tables; differs from ``index`` where
            the run starts inside the schedule.
    """

    index: int
    num_steps: int
    schedule_index: int

    @property
    def fraction(self) -> float:
        """Share of the run's calls that are done when this one is, 0..1."""
        return min((self.index + 1) / self.num_steps, 1.0)

    @property
    def previous_fraction(self) -> float:
        """The same before this call."""
        return self.index / self.num_steps

    @property
    def next_fraction(self) -> float:
        """The same after the next call."""
        return min((self.index + 2) / self.num_steps, 1.0)


def check_scheduler(scheduler: Any) -> None:
    """Refuse a scheduler whose clean estimate is not known.

    Raises:
        DiffusionError: such a scheduler, or no scheduler at all.
    """
    _kind(scheduler)


def run_position(scheduler: Any, timestep: Any) -> Position:
    """Where the run is, after the call of `scheduler.step` at ``timestep``.

    Raises:
        DiffusionError: a timestep that is not in the schedule.
    """
    timesteps = scheduler.timesteps
    begin = getattr(scheduler, "begin_index", None) or 0
    if getattr(scheduler, "_step_index", None) is not None:
        index = scheduler._step_index - 1
    elif isinstance(getattr(scheduler, "counter", None), int):  # PNDM repeats a timestep
        index = scheduler.counter - 1
    else:
        found = (timesteps == timestep).nonzero()
        if len(found) == 0:
            raise DiffusionError(
                f"{type(scheduler).__name__}: expected one of its timesteps, found {timestep}"
            )
        index = int(found[0])
    return Position(index - begin, max(len(timesteps) - begin, 1), index)


def noise_level(
    scheduler: Any, schedule_index: int, timestep: Any, *, is_first_order: bool = True
) -> NoiseLevel:
    """How noisy the latents were that the model saw.

    Args:
        schedule_index: as in `Position`.
        timestep: what `step` was given.
        is_first_order: False in the second of two calls a step; the scheduler's
            ``state_in_first_order`` before the call.
    """
    kind = _kind(scheduler)
    if kind in ("alphas_cumprod", "consistency"):
        signal = float(scheduler.alphas_cumprod[int(timestep)])
        return NoiseLevel(math.sqrt(signal), math.sqrt(1 - signal))
    if kind == "sigma_interpol" and not is_first_order:
        # KDPM2 looks half-way between two sigmas; the ancestral one counts them from one earlier.
        is_ancestral = _has_class(scheduler, "KDPM2AncestralDiscreteScheduler")
        sigma = float(scheduler.sigmas_interpol[schedule_index - is_ancestral])
    else:
        sigma = float(scheduler.sigmas[schedule_index])
    if kind == "flow" or _own_setting(scheduler, "use_flow_sigmas", False):
        return NoiseLevel(1 - sigma, sigma)
    if kind == "normalised_sigma":
        scale = 1 / math.sqrt(sigma**2 + 1)
        return NoiseLevel(scale, sigma * scale)
    return NoiseLevel(1.0, sigma)


def clean_latents(
    scheduler: Any, model_output: Tensor, sample: Tensor, level: NoiseLevel, timestep: Any
) -> Tensor:
    """The clean latents that the model's output stands for, as the scheduler itself sees them.

    The scheduler's own thresholding and clipping are applied where it applies them, and the
    boundary condition of a consistency model (LCM).

    Args:
        model_output: what `step` was given, after guidance.
        sample: the latents before the step, of the same shape.
        level: from `noise_level`.

    Returns:
        A new float32 tensor of the shape of ``sample``.

    Raises:
        DiffusionError: a kind of prediction that is not known.
    """
    x, m = sample.float(), _mean_output(scheduler, model_output, sample).float()
    alpha, sigma, prediction = level.alpha, level.sigma, _prediction_type(scheduler)
    if _kind(scheduler) == "edm":
        x0 = scheduler.precondition_outputs(x, m, sigma)
    elif prediction == "epsilon":
        x0 = (x - sigma * m) / alpha
    elif prediction in ("sample", "original_sample"):
        x0 = m.clone()
    elif prediction == "v_prediction":
        total = alpha**2 + sigma**2
        x0 = (alpha / total) * x - (sigma / math.sqrt(total)) * m
    elif prediction in _FLOW:
        x0 = (x - sigma * m) / (alpha + sigma)
    else:
        raise DiffusionError(
            f"{type(scheduler).__name__}: expected prediction_type epsilon, sample, v_prediction "
            f"or flow_prediction, found {prediction!r}"
        )
    x0 = _limited(scheduler, x0)
    if _kind(scheduler) == "consistency":
        skip, out = scheduler.get_scalings_for_boundary_condition_discrete(timestep)
        x0 = out * x0 + skip * x
    return x0


def _limited(scheduler: Any, x0: Tensor) -> Tensor:
    if any(_has_class(scheduler, name) for name in _NO_LIMITS):
        return x0
    if _own_setting(scheduler, "thresholding", False):
        # UniPC thresholds only where it works on x0.
        return (
            scheduler._threshold_sample(x0) if _own_setting(scheduler, "predict_x0", True) else x0
        )
    if _own_setting(scheduler, "clip_sample", False):
        limit = _own_setting(scheduler, "clip_sample_range", 1.0)
        return x0.clamp(-limit, limit)
    return x0


def _mean_output(scheduler: Any, model_output: Tensor, sample: Tensor) -> Tensor:
    """The half that predicts, of an output that also holds a variance."""
    has_variance = _own_setting(scheduler, "variance_type", None) in ("learned", "learned_range")
    if has_variance and model_output.shape[1] == 2 * sample.shape[1]:
        return model_output[:, : sample.shape[1]]
    return model_output


def _prediction_type(scheduler: Any) -> str:
    if _kind(scheduler) == "flow":
        return "flow"
    return _own_setting(scheduler, "prediction_type", "epsilon")


def _own_setting(scheduler: Any, name: str, default: Any) -> Any:
    """A value of the config if the class knows it.

    `from_config` keeps the values of the scheduler that it was given: an Euler scheduler made from
    a DDIM one carries ``clip_sample``, and does not clip.
    """
    cls: type
    for cls in type(scheduler).__mro__:
        if name in inspect.signature(cls.__init__).parameters:
            return scheduler.config.get(name, default)
    return default


def _kind(scheduler: Any) -> str:
    for cls in type(scheduler).__mro__:
        if cls.__name__ in _KINDS:
            return _KINDS[cls.__name__]
    names = ", ".join(sorted(name.removesuffix("Scheduler") for name in _KINDS))
    raise DiffusionError(
        f"expected a scheduler whose clean estimate is known ({names}), found "
        f"{type(scheduler).__name__}: give the pipeline one of these"
    )


def _has_class(scheduler: Any, name: str) -> bool:
    return any(cls.__name__ == name for cls in type(scheduler).__mro__)
