"""The text that images were made from, read out of the graph. Nothing of ComfyUI.

A graph is ComfyUI's prompt: node id -> {"class_type": ..., "inputs": {name: value}}, in which a
link is a list [node id, output index]. CONDITIONING carries no text, so the nodes that made it are
asked instead. Names differ between models' encoders; a name that is not known here is passed by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .graph_links import is_link

__all__ = ["FoundPrompt", "clean_weights", "find_prompt"]

# Fields of text encoders: CLIP alone, SDXL, SD3 and FLUX, Hunyuan, HiDream, edit models, Lumina.
_TEXT_FIELDS = (
    "text",
    "prompt",
    "positive_prompt",
    "text_positive",
    "user_prompt",
    "text_g",
    "text_l",
    "clip_g",
    "clip_l",
    "t5xxl",
    "bert",
    "mt5xl",
    "llama",
    "qwen25_7b",
)
# Where the way on leads from a node without a text, the likeliest first. Never by a "negative".
_ON_THE_WAY = (
    "positive",
    "conditioning",
    "conditioning_1",
    "conditioning_2",
    "conditioning_to",
    "conditioning_from",
    "cond",
    "cond1",
    "cond2",
    "guider",
    "samples",
    "latent_image",
    "latent",
    "images",
    "image",
    "pixels",
)
_MOST_NODES = 400  # that are asked; each is a level of recursion
_DEEPEST = 50  # brackets in brackets
_WEIGHTED = re.compile(r"(?<!\\)\(((?:[^()\\]|\\.)*?)(?::\s*[-+]?[\d.]+\s*)?(?<!\\)\)", re.DOTALL)
_ESCAPED_BRACKET = re.compile(r"\\([()])")
_NOT_WORDS = re.compile(r"\bembedding:[^\s,()]+|<(?:lora|lyco|hypernet):[^<>]*>", re.IGNORECASE)


@dataclass(frozen=True)
class FoundPrompt:
    """What was found: a text, or the link that will be one when the graph has run.

    Attributes:
        text: as it stands in the graph; "" where there is none.
        link: [node id, output index] of a text that another node makes, else None.
        node_id: the node it was found on.
    """

    text: str = ""
    link: list[Any] | None = None
    node_id: str | None = None


def find_prompt(graph: Mapping[str, Any], link: Sequence[Any] | None) -> FoundPrompt:
    """The positive prompt behind ``link``, an input of type CONDITIONING, IMAGE or LATENT.

    The node nearest to it that holds a text is taken; where several conditionings are put
    together, their texts are joined. An unknown node ends the way: no prompt is better than a
    wrong one.
    """
    if link is None or not is_link(link):
        return FoundPrompt()
    return _visit(graph, str(link[0]), int(link[1]), set())


def clean_weights(text: str) -> str:
    r"""``text`` without what only an encoder reads: (words:1.2), embedding:names, <lora:...>.

    Words keep their place, brackets written as ``\(`` become brackets, and white space around
    what went is closed up.
    """
    text = _NOT_WORDS.sub("", text)
    for _ in range(_DEEPEST):  # inner brackets first
        text, count = _WEIGHTED.subn(r"\1", text)
        if not count:
            break
    text = _ESCAPED_BRACKET.sub(r"\1", text)
    text = re.sub(r"[^\S\n]+", " ", text)
    return re.sub(r"(?:\s*,){2,}", ",", text).strip(" ,\t\n") if "," in text else text.strip()


def _visit(
    graph: Mapping[str, Any], node_id: str, output: int, visited: set[tuple[str, int]]
) -> FoundPrompt:
    if (node_id, output) in visited or len(visited) >= _MOST_NODES:
        return FoundPrompt()
    visited.add((node_id, output))
    node = graph.get(node_id)
    inputs = node.get("inputs", {}) if isinstance(node, Mapping) else {}
    if "zeroout" in str(node.get("class_type", "") if node else "").lower():
        return FoundPrompt()  # an empty prompt on purpose
    if own := _own_text(inputs, node_id):
        return own
    ways = [name for name in _ON_THE_WAY if is_link(inputs.get(name))]
    # A node with two such outputs, a control net's, passes the negative one through the second.
    if output == 1 and "positive" in ways and is_link(inputs.get("negative")):
        return FoundPrompt()
    if not ways:
        ways = _only_link(inputs)
    joined = [name for name in ways if name.startswith(("conditioning", "cond"))]
    if len(joined) > 1:
        return _together(
            [_visit(graph, str(inputs[n][0]), int(inputs[n][1]), visited) for n in joined]
        )
    for name in ways:
        found = _visit(graph, str(inputs[name][0]), int(inputs[name][1]), visited)
        if found.text or found.link:
            return found
    return FoundPrompt()


def _own_text(inputs: Mapping[str, Any], node_id: str) -> FoundPrompt | None:
    """The texts in a node's own fields; what one field says another need not say again."""
    texts: list[str] = []
    for name in _TEXT_FIELDS:
        value = inputs.get(name)
        if is_link(value):
            return FoundPrompt(link=list(value), node_id=node_id)
        if isinstance(value, str) and value.strip():
            texts.append(value.strip())
    kept = _without_repeats(texts)
    return FoundPrompt(text=", ".join(kept), node_id=node_id) if kept else None


def _only_link(inputs: Mapping[str, Any]) -> list[str]:
    """The one link of a reroute or another node that passes things on, whatever its name."""
    links = [name for name, value in inputs.items() if is_link(value)]
    return links if len(links) == 1 and "negative" not in links[0] else []


def _together(found: list[FoundPrompt]) -> FoundPrompt:
    for one in found:
        if one.link:
            return one
    kept = _without_repeats([one.text for one in found if one.text])
    return FoundPrompt(", ".join(kept), None, found[0].node_id) if kept else FoundPrompt()


def _without_repeats(texts: list[str]) -> list[str]:
    kept: list[str] = []
    for text in texts:
        if any(text in other for other in kept):
            continue
        kept = [other for other in kept if other not in text] + [text]
    return kept
