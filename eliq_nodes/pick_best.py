"""ELIQ Pick Best: the best images of a batch, sorted, with their latents and masks."""

from __future__ import annotations

from functools import partial
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..eliq.diffusion.ranking import combine_scores, rank_order
from .batch_items import take_images, take_latents, take_masks
from .link_types import SCORES
from .linked_items import items_or_blocker
from .node_text import TEXT_HIDDEN, show_text
from .picks import RANKINGS, describe_picks, weights_of
from .verdicts import join_positions

__all__ = ["PickBestNode"]


class PickBestNode(io.ComfyNode):
    """IMAGE [B,H,W,C] and its scores [B] -> the k best, best first; an unscored image comes last.

    LATENT and MASK are picked with the images they belong to.

    Raises:
        ValueError: an unknown combination, or batches that do not hold B items.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQPickBest",
            display_name="ELIQ Pick Best",
            category="ELIQ",
            description=(
                "The best k images of a batch, best first, with their latents and masks: make "
                "many small ones, then upscale or refine only these."
            ),
            search_aliases=[
                "best of",
                "best of n",
                "top k",
                "rank images",
                "sort by score",
                "select best image",
            ],
            hidden=list(TEXT_HIDDEN),
            is_output_node=True,  # so that it says its ranking with nothing behind it
            inputs=[
                io.Image.Input("images", tooltip="The images that ELIQ Score passed on."),
                SCORES.Input("scores", tooltip="Their scores, from the same ELIQ Score."),
                io.Int.Input(
                    "k",
                    default=1,
                    min=1,
                    max=4096,
                    tooltip="How many images to keep. A batch with fewer is kept whole, sorted.",
                ),
                io.Combo.Input(
                    "combine",
                    options=list(RANKINGS),
                    default="mean",
                    tooltip="What to rank by: the mean of both scores, min (the lower of the two: "
                    "good at both), one score alone, or weighted (see alignment_weight). An image "
                    "without a prompt is ranked by its visual quality.",
                ),
                io.Float.Input(
                    "alignment_weight",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    advanced=True,
                    tooltip="Only for 'weighted': the share of alignment; visual quality has the "
                    "rest.",
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="The latents that the images were decoded from, to pick them too.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="A mask for each image, or one for all, to pick them too.",
                ),
            ],
            outputs=[
                io.Image.Output("images", tooltip="The best images, best first."),
                io.Latent.Output("latents", tooltip="Their latents, in the same order."),
                io.Mask.Output("masks", tooltip="Their masks, in the same order."),
                SCORES.Output("scores", tooltip="Their scores, in the same order."),
                io.String.Output(
                    "indices",
                    tooltip='Where they stood in the batch, from 0, best first, such as "3,0".',
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: Any,
        scores: Any,
        k: int,
        combine: str,
        alignment_weight: float = 0.5,
        latent: dict[str, Any] | None = None,
        mask: Any = None,
    ) -> io.NodeOutput:
        how = weights_of(combine, alignment_weight)
        ranked_by = combine_scores(scores.visual_quality, scores.alignment, how)
        positions = rank_order(ranked_by)[: max(1, k)]
        taken = partial(items_or_blocker, num_items=len(ranked_by))
        text = describe_picks(
            positions,
            visual_quality=scores.visual_quality,
            alignment=scores.alignment,
            wanted=k,
        )
        if not positions:  # an empty batch breaks the nodes behind it; a blocked output skips them
            nothing = ExecutionBlocker(None)
            return io.NodeOutput(*[nothing] * 5, ui=show_text(cls, text))
        return io.NodeOutput(
            taken(take_images, images, positions, told="'images' of ELIQ Pick Best"),
            taken(take_latents, latent, positions, told="'latent' of ELIQ Pick Best"),
            taken(take_masks, mask, positions, told="'mask' of ELIQ Pick Best"),
            scores.take(positions),
            join_positions(positions),
            ui=show_text(cls, text),
        )
