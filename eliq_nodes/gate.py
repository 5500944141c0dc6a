"""ELIQ Gate: parts a batch into the images that reach the thresholds and those that do not.

It only compares numbers: ELIQ Score is another node, so that a new threshold judges again from
ComfyUI's cache without scoring again.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from .batch_items import take_images, take_latents, take_masks
from .link_types import SCORES
from .linked_items import items_or_blocker
from .node_text import TEXT_HIDDEN, show_text
from .verdicts import describe_verdicts, join_positions, judge, split_positions

__all__ = ["GateNode"]


class GateNode(io.ComfyNode):
    """IMAGE [B,H,W,C] and its scores [B] -> both sides of the thresholds, each in batch order.

    LATENT and MASK are parted with the images they belong to. A threshold of 0 is off.

    Raises:
        ValueError: a threshold outside 0..1, or batches that do not hold B items.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQGate",
            display_name="ELIQ Gate",
            category="ELIQ",
            description=(
                "Parts a batch into the images that reach both thresholds and those that do not. "
                "What follows a side without images is skipped; the rest of the graph runs on."
            ),
            search_aliases=[
                "quality gate",
                "filter images",
                "threshold",
                "accept reject",
                "quality filter",
                "image filter",
            ],
            hidden=list(TEXT_HIDDEN),
            is_output_node=True,  # so that it says its counts with nothing behind it
            inputs=[
                io.Image.Input("images", tooltip="The images that ELIQ Score passed on."),
                SCORES.Input("scores", tooltip="Their scores, from the same ELIQ Score."),
                io.Float.Input(
                    "min_visual_quality",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Least visual quality. 0 = off. 0.5 is where the critic finds a good "
                    "image and a spoiled one equally likely.",
                ),
                io.Float.Input(
                    "min_alignment",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Least alignment with the prompt. 0 = off. Above 0, an image that was "
                    "scored without a prompt is rejected.",
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="The latents that the images were decoded from, to part them too.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="A mask for each image, or one for all, to part them too.",
                ),
            ],
            outputs=[
                io.Image.Output("accepted", tooltip="Images that reach both thresholds."),
                io.Image.Output("rejected", tooltip="The other images."),
                io.Int.Output("accepted_count", tooltip="How many images were accepted."),
                io.Int.Output("rejected_count", tooltip="How many images were rejected."),
                io.String.Output(
                    "accepted_indices",
                    tooltip='Where the accepted images stood in the batch, from 0, such as "0,2".',
                ),
                io.String.Output(
                    "rejected_indices", tooltip="Where the rejected images stood in the batch."
                ),
                SCORES.Output("accepted_scores", tooltip="Scores of the accepted images."),
                SCORES.Output("rejected_scores", tooltip="Scores of the rejected images."),
                io.Latent.Output("accepted_latents", tooltip="Latents of the accepted images."),
                io.Latent.Output("rejected_latents", tooltip="Latents of the rejected images."),
                io.Mask.Output("accepted_masks", tooltip="Masks of the accepted images."),
                io.Mask.Output("rejected_masks", tooltip="Masks of the rejected images."),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: Any,
        scores: Any,
        min_visual_quality: float,
        min_alignment: float,
        latent: dict[str, Any] | None = None,
        mask: Any = None,
    ) -> io.NodeOutput:
        verdicts = judge(
            scores.visual_quality,
            scores.alignment,
            min_visual_quality=min_visual_quality,
            min_alignment=min_alignment,
        )
        sides = split_positions(verdicts)  # accepted, rejected: so for every pair of outputs
        taken = partial(items_or_blocker, num_items=len(verdicts))
        return io.NodeOutput(
            *(taken(take_images, images, side, told="'images' of ELIQ Gate") for side in sides),
            *(len(side) for side in sides),
            *(join_positions(side) for side in sides),
            *(scores.take(side) if side else ExecutionBlocker(None) for side in sides),
            *(taken(take_latents, latent, side, told="'latent' of ELIQ Gate") for side in sides),
            *(taken(take_masks, mask, side, told="'mask' of ELIQ Gate") for side in sides),
            ui=show_text(cls, describe_verdicts(verdicts)),
        )
