"""What a scoring run asks of a model: one batch of images and texts to seven columns.

Columns [7,B], float32: the two scores in 0..1, the two raw scores, P(high) of the three aspects,
in the orders of `eliq.scores`. A column that a model does not have is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..backbone import Backbone
from ..calibration import Calibration
from ..head import ScoringHead
from ..patches import target_size

__all__ = ["ALIGNMENT_COLUMNS", "NUM_COLUMNS", "CriticJudge", "Judge"]

NUM_COLUMNS = 7
ALIGNMENT_COLUMNS = [1, 3, 6]  # score, raw score, aspect: none of them without a prompt


class Judge(Protocol):
    """A model under the scoring run, which decodes, batches, and keeps failures apart.

    Attributes:
        answers: the columns that every scored image has; a NaN there is a failure.
        flags: words that go to every image.
        px_per_token: pixels of an image that cost as much as a token of the prompt.
    """

    answers: Sequence[int]
    flags: Sequence[str]

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def px_per_token(self) -> int: ...

    def size_px(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after resizing."""
        ...

    def num_prompt_tokens(self, text: str) -> int:
        """An upper bound, without tokenising."""
        ...

    def prompt_is_truncated(self, text: str) -> bool: ...

    def columns(self, images: list[Tensor], texts: list[str]) -> Tensor:
        """[7,B] of images [3,H,W], uint8 or float32 in [0,1], and cleaned prompts."""
        ...


@dataclass(frozen=True)
class CriticJudge:
    """A backbone with its head; head None = the low/high margins are the raw scores."""

    backbone: Backbone
    head: ScoringHead | None
    calibration: dict[str, Calibration]
    answers: Sequence[int] = field(default=range(NUM_COLUMNS), init=False)
    flags: Sequence[str] = field(default=(), init=False)

    @property
    def device(self) -> torch.device:
        return self.backbone.device

    @property
    def dtype(self) -> torch.dtype:
        return self.backbone.dtype

    @property
    def px_per_token(self) -> int:
        return self.backbone.patches.factor_px**2

    def size_px(self, height: int, width: int) -> tuple[int, int]:
        return target_size(height, width, self.backbone.patches)

    def num_prompt_tokens(self, text: str) -> int:
        # A token is at least a byte.
        return min(len(text.encode()), self.backbone.max_prompt_tokens)

    def prompt_is_truncated(self, text: str) -> bool:
        return self.backbone.prompt_is_truncated(text)

    @torch.inference_mode()
    def columns(self, images: list[Tensor], texts: list[str]) -> Tensor:
        # A caller's autocast would run the head in half precision, and make scores depend on it.
        with torch.autocast(self.backbone.device.type, enabled=False):
            found = self.backbone.embed(images, texts)
            margins = found.margins.float()  # [B,3]
            if self.head is None:
                raw_visual, raw_alignment = margins[:, :2].mean(dim=1), margins[:, 2]
            else:
                raw_visual, raw_alignment = self.head(
                    found.technical, found.aesthetic, found.alignment
                )
            return torch.stack(
                [
                    self.calibration["visual_quality"](raw_visual),
                    self.calibration["alignment"](raw_alignment),
                    raw_visual,
                    raw_alignment,
                    *torch.sigmoid(margins).unbind(1),
                ]
            )
