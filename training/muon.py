"""Muon, which orthogonalises the step of a matrix; quick on CPUs without bfloat16 too.

torch's own computes the Newton-Schulz iteration in bfloat16, which a CPU without units for it
emulates: half of a small backbone's training step. Here such a CPU computes it in float32, and all
matrices of a shape at once (`python benchmarks/training_precision.py`).

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
                f"optimizer muon needs torch 2.9 or later, found {torch.__version__}: update torch "
                "or take optimizer=adamw"
            )
        super().__init__(
            parameters, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; torch's own where bfloat16 is quick."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        if has_bfloat16_units() or any(p.device.type != "cpu" for p in parameters):
            return super().step(closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_in_float32(group)
        return loss

    def _step_in_float32(self, group: dict[str, Any]) -> None:
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            gradient, state = parameter.grad, self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
            momentum = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
            if group["nesterov"]:
                momentum = gradient.lerp(momentum, group["momentum"])
            alike[parameter.shape].append((parameter, momentum))
        for shape, pairs in alike.items():
            steps = _orthogonalised(
                torch.stack([momentum.float() for _, momentum in pairs]),
                group["ns_coefficients"],
                group["ns_steps"],
                group["eps"],
            )
            rate = group["lr"] * 0.2 * math.sqrt(max(shape))  # match_rms_adamw
            for (parameter, _), step in zip(pairs, steps, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(step.to(parameter.dtype), alpha=-rate)


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
