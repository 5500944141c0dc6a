"""ELIQ Re-roll Until Pass: the graph before an image, again with the next seeds, until it passes.

The node samples nothing itself. It takes the link of its image instead of the image (``raw_link``,
and lazy, or ComfyUI would run the graph before it anyhow) and expands: first into a score and a
judge of the graph as it stands, whose outputs ComfyUI may have in its cache; each judge that
refuses expands into a copy of the graph with the next seeds, its score and the next judge.
"""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .judge import JudgeNode
from .link_types import CRITIC, SCORES
from .reroll_tries import expand_try
from .seed_graph import find_seeds
from .seed_limits import seed_limits
from .try_results import ANY_IMAGE, PASS_RULES

__all__ = ["RerollNode"]


class RerollNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQReroll",
            display_name="ELIQ Re-roll Until Pass",
            category="ELIQ",
            description=(
                "Runs the graph before its image again with the next seeds until the image reaches "
                "both thresholds. The first try is the graph as it stands; in each further try "
                "every seed that the image depends on is one higher. When nothing passes, the best "
                "try is put out."
            ),
            search_aliases=[
                "reroll",
                "re-roll",
                "retry until",
                "loop until",
                "next seed",
                "quality gate",
                "auto regenerate",
            ],
            enable_expand=True,
            is_output_node=True,  # it shows its tries with nothing behind it, too
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            inputs=[
                io.Image.Input(
                    "images",
                    lazy=True,
                    raw_link=True,
                    tooltip="The image to judge. What it comes from is run again, so link it "
                    "directly, for example from VAE Decode.",
                ),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    lazy=True,
                    raw_link=True,
                    placeholder="prompt (empty: found in the graph)",
                    tooltip="The prompt that the image should match. Empty = the text found "
                    "before 'positive'.",
                ),
                io.Float.Input(
                    "min_visual_quality",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Least visual quality. 0 = off.",
                ),
                io.Float.Input(
                    "min_alignment",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Least alignment with the prompt. 0 = off.",
                ),
                io.Int.Input(
                    "max_tries",
                    default=8,
                    min=1,
                    max=64,
                    tooltip="Tries altogether, the first one with the seeds as they stand.",
                ),
                io.Combo.Input(
                    "pass_rule",
                    options=list(PASS_RULES),
                    default=ANY_IMAGE,
                    optional=True,
                    advanced=True,
                    tooltip="For batches: whether one image that passes is enough.",
                ),
                CRITIC.Input(
                    "critic",
                    optional=True,
                    lazy=True,
                    raw_link=True,
                    tooltip="From ELIQ Load Critic. Nothing linked = the embedded critic.",
                ),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    lazy=True,
                    raw_link=True,
                    tooltip="The sampler's positive conditioning: its text is the prompt where "
                    "none is typed.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "images",
                    is_output_list=True,
                    tooltip="The images of the try that passed, else of the best one.",
                ),
                io.Boolean.Output("passed", tooltip="Whether a try passed."),
                io.Int.Output("attempts", tooltip="How many tries there were."),
                io.Int.Output(
                    "used_seed",
                    tooltip="Seed of those images: the one nearest to them, where they depend on "
                    "several. -1 = they depend on none.",
                ),
                SCORES.Output("scores", is_output_list=True, tooltip="Scores of those images."),
                io.String.Output("summary", tooltip="The tries in words, one a line."),
            ],
        )

    @classmethod
    def execute(
        cls, images: Any, prompt: Any, pass_rule: str = ANY_IMAGE, **inputs: Any
    ) -> io.NodeOutput:
        dynprompt = cls.hidden.dynprompt
        seeds = find_seeds(dynprompt.get_node, [images], seed_limits)
        nodes, judge = expand_try(
            dynprompt,
            source={
                "images": images,
                "prompt": prompt,
                "critic": inputs.pop("critic", None),
                "positive": inputs.pop("positive", None),
            },
            number=0,
            judge_inputs={
                **inputs,
                "pass_rule": pass_rule,
                "seed": seeds[0].value if seeds else None,
            },
        )
        outputs = len(JudgeNode.define_schema().outputs)
        return io.NodeOutput(*([judge, index] for index in range(outputs)), expand=nodes)
