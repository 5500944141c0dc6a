"""Muon, which orthogonalises the step of a matrix; quick on CPUs without bfloat16 too.

torch's own computes the Newton-Schulz iteration in bfloat16, which a CPU without units for it
emulates. Here such a CPU computes it in float32, matrices of a shape together
(`python benchmarks/training_precision.py`).

Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from eliq.errors import ConfigError

from .precision import has_bfloat16_units

__all__ = ["Muon"]

_SCALE = "match_rms_adamw"
_MOST_ELEMENTS = 1 << 22  # that are worked on at once: 16 MiB, and some times that on the way


class Muon(getattr(torch.optim, "Muon", torch.optim.Optimizer)):  # type: ignore[misc]
    """torch's Muon for matrices, with steps as large as AdamW's (`match_rms_adamw`).

    Its state is that of `torch.optim.Muon`, whatever it is computed in.

    Raises:
        ConfigError: torch is older than 2.9.
    """

    def __init__(
        self, parameters: Iterable[Tensor], *, learning_rate: float, weight_decay: float
    ) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise ConfigError(
                f"Muon needs torch 2.9 or later, found {torch.__version__}: update torch"
            )
        super().__init__(
            parameters, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn=_SCALE
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; torch's own where bfloat16 is quick, or a group is scaled otherwise."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        is_ours = all(group["adjust_lr_fn"] == _SCALE for group in self.param_groups)
        if has_bfloat16_units() or not is_ours or any(p.device.type != "cpu" for p in parameters):
            return super().step(closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_in_float32(group)
        return loss

    def _step_in_float32(self, group: dict[str, Any]) -> None:
        alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is not None:
                alike[parameter.shape].append(parameter)
        for shape, parameters in alike.items():
            at_once = max(1, _MOST_ELEMENTS // shape.numel())
            rate = group["lr"] * 0.2 * math.sqrt(max(shape))  # match_rms_adamw
            for start in range(0, len(parameters), at_once):
                part = parameters[start : start + at_once]
                steps = _orthogonalised(
                    torch.stack([self._moment(p, group).float() for p in part]),
                    group["ns_coefficients"],
                    group["ns_steps"],
                    group["eps"],
                )
                for parameter, step in zip(part, steps, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(step.to(parameter.dtype), alpha=-rate)

    def _moment(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """The running mean of the gradients, looked ahead where `nesterov`."""
        gradient, state = parameter.grad, self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        moment = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        return gradient.lerp(moment, group["momentum"]) if group["nesterov"] else moment


def _orthogonalised(
    matrices: Tensor, coefficients: tuple[float, float, float], num_steps: int, eps: float
) -> Tensor:
    """Each of [N,R,C] with singular values near 1, by the quintic Newton-Schulz iteration."""
    a, b, c = coefficients
    is_tall = matrices.shape[1] > matrices.shape[2]
    found = matrices.mT if is_tall else matrices
    found = found / found.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(num_steps):
        gram = found @ found.mT
        update = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        found = torch.baddbmm(found, update, found, beta=a)
    return found.mT if is_tall else found
