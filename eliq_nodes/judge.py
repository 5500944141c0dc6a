"""The judge of one try of ELIQ Re-roll Until Pass; hidden unless ComfyUI's developer mode is on."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .link_types import CRITIC, LIST, SCORES
from .node_text import TEXT_HIDDEN, show_text
from .pixels import to_bchw
from .reroll_tries import JUDGE_NODE, expand_try
from .strip_files import save_strip
from .try_results import Thresholds, TryResult, judge_try

__all__ = ["JudgeNode"]

_SOURCES = ("images", "prompt", "critic", "positive")


class JudgeNode(io.ComfyNode):
    """Compares one try with the best before it: puts one of them out, or goes on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        sources = {
            "images": io.Image,
            "prompt": io.String,
            "critic": CRITIC,
            "positive": io.Conditioning,
        }
        return io.Schema(
            node_id=JUDGE_NODE,
            display_name="ELIQ Re-roll (one try)",
            category="ELIQ",
            description="A part of ELIQ Re-roll Until Pass. Use that instead.",
            is_dev_only=True,
            enable_expand=True,
            is_input_list=True,
            hidden=list(TEXT_HIDDEN),
            inputs=[
                io.Image.Input("images", tooltip="Images of this try."),
                SCORES.Input("scores", tooltip="Their scores."),
                io.Int.Input("number", tooltip="Tries before this one."),
                io.Int.Input("seed", optional=True, tooltip="Seed of this try."),
                io.Image.Input(
                    "best_images", optional=True, tooltip="Images of the best try before."
                ),
                SCORES.Input("best_scores", optional=True, tooltip="Their scores."),
                io.Int.Input("best_number", optional=True, tooltip="Tries before that one."),
                io.Int.Input("best_seed", optional=True, tooltip="Seed of that try."),
                io.String.Input("told", optional=True, tooltip="The tries before, in words."),
                io.Float.Input("min_visual_quality", tooltip="Least visual quality. 0 = off."),
                io.Float.Input("min_alignment", tooltip="Least alignment. 0 = off."),
                io.Int.Input("max_tries", tooltip="Tries altogether."),
                io.String.Input("pass_rule", tooltip="For batches of more than one image."),
                *(
                    kind.Input(
                        f"source_{name}",
                        optional=True,
                        lazy=True,
                        raw_link=True,
                        tooltip=f"What '{name}' of ELIQ Re-roll is linked to.",
                    )
                    for name, kind in sources.items()
                ),
            ],
            outputs=[
                LIST.Output("images", tooltip="Images of the try that is put out."),
                io.Boolean.Output("passed", tooltip="Whether it passed."),
                io.Int.Output("attempts", tooltip="How many tries there were."),
                io.Int.Output("used_seed", tooltip="Its seed; -1 = there is none."),
                LIST.Output("scores", tooltip="Its scores."),
                io.String.Output("summary", tooltip="The tries in words."),
            ],
        )

    @classmethod
    def execute(cls, images: list[Any], scores: list[Any], **lists: list[Any]) -> io.NodeOutput:
        given = {name: values[0] for name, values in lists.items()}
        thresholds = Thresholds(
            given["min_visual_quality"], given["min_alignment"], given["pass_rule"]
        )
        number, limit = given["number"], given["max_tries"]
        result = _judge_all(scores, thresholds, number)
        seed = given.get("seed")
        told = f"{given.get('told', '')}try {number + 1} of {limit}, {_seed_text(seed)}: "
        told += result.describe() + "\n"
        is_best, best_number = True, number
        if "best_scores" in lists:
            best = _judge_all(lists["best_scores"], thresholds, given["best_number"])
            is_best = result > best
            best_number = number if is_best else best.number
        why_stop = _why_stop(result, thresholds, scores, seed, number, limit)
        if not why_stop:
            return cls._next_try(given, told, number, is_best)
        told += why_stop if result.is_passed else f"{why_stop}; the best is try {best_number + 1}"
        if not is_best:
            images, scores, seed = (
                lists["best_images"],
                lists["best_scores"],
                given.get("best_seed"),
            )
        return io.NodeOutput(
            images,
            result.is_passed,
            number + 1,
            -1 if seed is None else seed,
            scores,
            told,
            ui={"images": _strips(images, scores), **show_text(cls, told)},
        )

    @classmethod
    def _next_try(
        cls, given: dict[str, Any], told: str, number: int, is_best: bool
    ) -> io.NodeOutput:
        dynprompt = cls.hidden.dynprompt
        own = dynprompt.get_node(cls.hidden.unique_id)["inputs"]  # links, where execute has values
        if is_best:
            best = {name: own.get(name) for name in ("images", "scores", "number", "seed")}
            best = {f"best_{name}": value for name, value in best.items()}
        else:
            best = {name: value for name, value in own.items() if name.startswith("best_")}
        kept = ("min_visual_quality", "min_alignment", "max_tries", "pass_rule")
        nodes, judge = expand_try(
            dynprompt,
            source={name: own.get(f"source_{name}") for name in _SOURCES},
            number=number + 1,
            judge_inputs={**{name: given[name] for name in kept}, **best, "told": told},
        )
        links = ([judge, index] for index in range(len(cls.define_schema().outputs)))
        show_text(cls, told)  # only the line: the strip on the node stays that of this try
        return io.NodeOutput(*links, expand=nodes)


def _judge_all(scores: list[Any], thresholds: Thresholds, number: int) -> TryResult:
    """The result of a try whose images came as a list of batches."""
    quality = [score for table in scores for score in table.visual_quality]
    aligned = [score for table in scores for score in table.alignment]
    return judge_try(quality, aligned, thresholds, number)


def _strips(images: list[Any], scores: list[Any]) -> list[dict[str, str]]:
    """A strip for each batch, as the page shows them."""
    pairs = zip(images, scores, strict=True)
    return [file for batch, table in pairs for file in save_strip(list(to_bchw(batch)), table)]


def _why_stop(
    result: TryResult,
    thresholds: Thresholds,
    scores: list[Any],
    seed: int | None,
    number: int,
    limit: int,
) -> str:
    """Why there is no further try; empty = there is one."""
    if result.is_passed:
        return "passed"
    if thresholds.min_alignment > 0 and not any(prompt for t in scores for prompt in t.prompts):
        return "stopped: no prompt, so no image has the alignment that is asked for"
    if seed is None:
        return "stopped: the image depends on no seed"
    return f"nothing passed in {limit} tries" if number + 1 >= limit else ""


def _seed_text(seed: int | None) -> str:
    return "no seed" if seed is None else f"seed {seed}"
