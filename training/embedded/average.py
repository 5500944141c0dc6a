"""A running average of the weights that are trained, and which moment of it is kept."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

from eliq.backbone import Backbone

from ..precision import bf16_autocast
from ..run_state import RunState
from .model import make_backbone
from .select_photographs import photograph_figures
from .selection import select_alignment

__all__ = ["Average"]


class Average:
    """A running average of weights, looked at on photographs; the best that was seen is kept."""

    def __init__(
        self, backbone: Backbone, fingerprint: dict, decay: float, out: Path, folder: Path
    ) -> None:
        """`out`/best is written; `folder` holds the photographs."""
        self.backbone = make_backbone(backbone.tokenizer).eval()
        self.backbone.model.load_state_dict(backbone.model.state_dict())
        self.folder, self.decay = folder, decay
        self.best_score = -math.inf
        self._state = RunState(out / "best", fingerprint, keep=1)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average by what `model` has become; a tied weight is moved once."""
        for mine, its in zip(self.backbone.model.parameters(), model.parameters(), strict=True):
            mine.lerp_(its.to(mine.dtype), 1 - self.decay)

    def check(self, step: int) -> dict[str, float]:
        """Selection figures: of scenes, and of every third photograph by the mean of the margins.

        Those of the highest ``score`` are kept: order within and across photographs, and prompts.
        """

        def score(images: list[torch.Tensor]) -> tuple[list[float], list[float]]:
            values: list[float] = []
            with bf16_autocast():
                for start in range(0, len(images), 8):
                    part = images[start : start + 8]
                    margins = self.backbone.embed(part, [""] * len(part)).margins
                    values += margins[:, :2].mean(1).tolist()
            return values, values

        found = select_alignment(self.backbone, size_px=256)
        swaps = float(np.mean([value for kind, value in found.items() if kind != "shuffle"]))
        photographs = photograph_figures(score, folder=self.folder, severities=(1, 3, 5), every=3)
        for name in ("above", "below"):  # of calibrated scores, which margins are not
            del photographs[name]
        found |= photographs
        found["score"] = photographs["within"] + photographs["pooled"] + swaps
        if found["score"] > self.best_score:
            self.best_score = found["score"]
            self._state.save(step, modules={"average": self.backbone.model}, extra=found)
        return found
