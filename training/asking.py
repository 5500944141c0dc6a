"""Ask a backbone exactly the questions that are needed, with gradients.

`Backbone.forward` asks all three questions of every image. Training needs others: a positive is
asked technical, aesthetic, alignment with p and alignment with p-ali (four answers of one image
pass), a negative its primary aspect alone (the others are not supervised, paper 3.3.1). The
questions of an image are packed behind it, so each answer and its gradient is what a pass of its
own would give. Shapes: N questions in all, h hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from eliq.backbone import Backbone

from .precision import bf16_autocast

__all__ = ["Answers", "Asking", "Question"]


class Question(NamedTuple):
    """One question about one image; `prompt` is read by "alignment" alone (None: empty text)."""

    aspect: str
    prompt: str | None = None


class Answers(NamedTuple):
    """States z [N,h] float32, margins logit(high) - logit(low) [N] float32, logits [M,V] or None.

    Order: image by image, in each the order of its questions. `logits` holds the M questions
    that were labelled.
    """

    states: Tensor
    margins: Tensor
    logits: Tensor | None


class Asking(nn.Module):
    """The backbone as a module of questions (so that DistributedDataParallel can wrap it).

    `bf16` runs the backbone under bfloat16 autocast, except on a CPU that would be slower so;
    states and margins are float32 regardless.
    """

    def __init__(self, backbone: Backbone, *, bf16: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.bf16 = bf16

    def forward(
        self,
        images: list[Tensor],
        questions: list[list[Question]],
        labelled: Tensor | None = None,
    ) -> Answers:
        """Answers to `questions[i]` about `images[i]` ([3,H,W] in [0,1], sizes may differ).

        `labelled` bool [N] says for which questions the logits over the vocabulary are wanted.
        """
        layout = self.backbone.layout
        fixed = {"technical": layout.technical, "aesthetic": layout.aesthetic}
        suffixes = [
            [fixed.get(q.aspect) or layout.alignment(q.prompt) for q in asked]
            for asked in questions
        ]
        pixel_values, grid_thw = self.backbone.pixels(images)
        kind = self.backbone.device.type
        with bf16_autocast(kind, enabled=self.bf16):
            states = self._states(pixel_values, grid_thw, suffixes)
            logits = None
            if labelled is not None:
                logits = self.backbone.label_logits(states[labelled.to(states.device)]).float()
        # Outside autocast, which would round the margins that a ladder compares to 8 bits.
        with torch.autocast(kind, enabled=False):
            states = states.float()
            return Answers(states, self.backbone.margins(states), logits)

    def _states(self, pixel_values: Tensor, grid_thw: Tensor, suffixes: list) -> Tensor:
        backbone = self.backbone
        if backbone.is_packed:
            rows = backbone.pack(grid_thw, suffixes)
            hidden = backbone.hidden_states(rows, pixel_values, grid_thw)
            return backbone.read(hidden, rows)[rows.valid]
        pixels = pixel_values.split(grid_thw.prod(-1).tolist())
        answers = [
            backbone.separate_states(pixels[i], grid_thw[i : i + 1], [row])[0]
            for i, row in enumerate(suffixes)
        ]
        return torch.cat(answers)
