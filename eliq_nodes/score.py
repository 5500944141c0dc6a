"""ELIQ Score: two scores for every image, on the node and on its outputs."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import comfy.utils
from comfy_api.latest import io

from .critic import ManagedCritic, embedded_critic
from .link_types import CRITIC, SCORES
from .node_text import show_text
from .pixels import to_bchw
from .prompt_search import ask_again, search_prompt
from .score_table import ScoreTable
from .score_text import describe_scores, spread_prompts
from .strip_files import save_strip
from .upstream_prompt import clean_weights

__all__ = ["ScoreNode"]


class ScoreNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQScore",
            display_name="ELIQ Score",
            category="ELIQ",
            description=(
                "Scores each image twice, from 0 to 1: visual quality, and alignment with its "
                "prompt. Shows them on the node; link nothing but images and it works."
            ),
            search_aliases=[
                "quality score",
                "aesthetic score",
                "image quality",
                "prompt alignment",
                "clip score",
                "image reward",
                "rate images",
                "eliq",
            ],
            is_output_node=True,
            is_input_list=True,
            enable_expand=True,
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            inputs=[
                io.Image.Input("images", tooltip="The images to score, a batch or a list."),
                CRITIC.Input(
                    "critic",
                    optional=True,
                    tooltip="From ELIQ Load Critic. Without it, the critic that comes with ELIQ.",
                ),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    raw_link=True,
                    tooltip="The conditioning that the images were made with: its prompt is found "
                    "in the graph when none is typed.",
                ),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    optional=True,
                    placeholder="prompt (empty: found in the graph)",
                    tooltip="What the images should show: typed, or linked, one text for all or a "
                    "list with one for each image. Weights such as (fox:1.2) are taken out.",
                ),
                io.Boolean.Input(
                    "find_prompt",
                    default=True,
                    optional=True,
                    advanced=True,
                    tooltip="Look for the prompt in the graph when none is typed: behind "
                    "'positive', or else behind the images. Off: no prompt, no alignment.",
                ),
            ],
            outputs=[
                io.Image.Output("images", tooltip="The images, as they came.", is_output_list=True),
                io.Float.Output(
                    "visual_quality",
                    tooltip="A list, one number an image, 0 to 1, higher is better.",
                    is_output_list=True,
                ),
                io.Float.Output(
                    "alignment",
                    tooltip="A list, one number an image, 0 to 1; not a number without a prompt.",
                    is_output_list=True,
                ),
                io.String.Output("summary", tooltip="The scores as text."),
                SCORES.Output(
                    "scores",
                    tooltip="For ELIQ Gate, ELIQ Pick Best and ELIQ Save Scored Image.",
                    is_output_list=True,
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: list[Any],
        critic: list[ManagedCritic] | None = None,
        positive: list[Any] | None = None,
        prompt: list[str] | None = None,
        find_prompt: list[bool] | None = None,
    ) -> io.NodeOutput:
        texts = [clean_weights(text or "") for text in prompt or [""]]
        is_searched = not any(texts) and (find_prompt is None or find_prompt[0])
        if is_searched:
            found = search_prompt(cls.hidden, (positive or [None])[0], "images")
            if found.link is not None:
                return ask_again(
                    cls.hidden, "ELIQScore", found.link, num_outputs=5, lists=(0, 1, 2, 4)
                )
            texts = [clean_weights(found.text)]
        managed = (critic or [None])[0] or embedded_critic()
        batches = [to_bchw(batch) for batch in images]
        singles = [image for batch in batches for image in batch]
        asked = spread_prompts(texts, [len(batch) for batch in batches])
        bar = comfy.utils.ProgressBar(len(singles))
        scores = managed.score(singles, asked, on_batch=bar.update_absolute)
        table = ScoreTable.from_scores(
            scores, asked, critic=managed.source, critic_fingerprint=managed.fingerprint
        )
        text = describe_scores(table, is_prompt_found=is_searched)
        shown = {"images": save_strip(singles, table), "eliq_scores": table.to_json()}
        return io.NodeOutput(
            images,
            list(table.visual_quality),
            list(table.alignment),
            text,
            _split(table, [len(batch) for batch in batches]),
            ui={**shown, **show_text(cls, text)},
        )


def _split(table: ScoreTable, sizes: list[int]) -> list[ScoreTable]:
    """A table for each batch of a list of them."""
    ends = list(accumulate(sizes))
    return [table.take(range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
