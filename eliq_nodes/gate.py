"""ELIQ Gate: parts a batch into the images that reach the thresholds and those that do not.

It only compares numbers: ELIQ Score is another node, so that a new threshold judges again from
ComfyUI's cache without scoring again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from .batch_items import take_images, take_latents, take_masks
from .node_text import TEXT_HIDDEN, show_text
from .verdicts import describe_verdicts, join_positions, judge, split_positions

__all__ = ["GateNode"]

_SCORES = io.Custom("ELIQ_SCORES")


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
                _SCORES.Input("scores", tooltip="Their scores, from the same ELIQ Score."),
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
                _SCORES.Output("accepted_scores", tooltip="Scores of the accepted images."),
                _SCORES.Output("rejected_scores", tooltip="Scores of the rejected images."),
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
        total = len(verdicts)
        return io.NodeOutput(
            *(_taken(take_images, images, "", side, total) for side in sides),
            *(len(side) for side in sides),
            *(join_positions(side) for side in sides),
            *(scores.take(side) if side else ExecutionBlocker(None) for side in sides),
            *(_taken(take_latents, latent, "latent", side, total) for side in sides),
            *(_taken(take_masks, mask, "mask", side, total) for side in sides),
            ui=show_text(cls, describe_verdicts(verdicts)),
        )


def _taken(
    take: Callable[..., Any], batch: Any, name: str, positions: list[int], num_items: int
) -> Any:
    """The items of one side, or what skips the nodes behind it where there are none.

    An empty side is no error and says nothing. An output that nothing was linked for is one: the
    message reaches only a user who linked something behind it.
    """
    if batch is None:
        return ExecutionBlocker(f"nothing is linked to '{name}' of ELIQ Gate: link it there first")
    chosen = take(batch, positions, num_items=num_items)  # also of an empty side: it must match
    return chosen if positions else ExecutionBlocker(None)
