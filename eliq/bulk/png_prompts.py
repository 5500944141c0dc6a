"""The prompt that an image generator wrote into a picture: AUTOMATIC1111's and ComfyUI's text.

Both come with the file and are data: they are read as text and as JSON, and nothing in them is
followed, run or trusted. Where a graph feeds several different prompts to its samplers none of
them is taken, since which one made this picture cannot be told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["embedded_prompt", "user_comment"]

_MOST_CHARS = 4 << 20  # of a graph; larger ones have been seen only in attacks
_MOST_BRACKETS = 20
_WEIGHTED = re.compile(r"(?<!\\)\(((?:[^()\\]|\\.)*?)(?::[-+]?[\d.]{1,8})?(?<!\\)\)")
_NOT_WORDS = re.compile(r"<(?:lora|lyco|hypernet):[^<>\n]{0,200}>|\bembedding:[^\s,()]+")
_MOST_STEPS = 64  # along the links of a graph
_A1111_KEY, _COMFYUI_KEY = "parameters", "prompt"
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_A1111_END = re.compile(r"\n(?:Negative prompt:|Steps: \d)")
_A1111_SETTINGS = re.compile(r"^(?:Negative prompt:|Steps: \d)")
_TEXT_INPUTS = (
    "text",
    "text_g",
    "text_l",
    "t5xxl",
    "clip_l",
    "prompt",
    "positive",
    "string",
    "value",
)


def embedded_prompt(info: Mapping[Any, Any], user_comment: bytes | None) -> tuple[str, str] | None:
    """(prompt, "png_a1111" or "png_comfyui") of a picture's metadata, or None.

    Args:
        info: the texts of the picture, as Pillow's ``image.info`` has them.
        user_comment: the EXIF field of JPEG and WebP files.
    """
    parameters = info.get(_A1111_KEY)
    if not isinstance(parameters, str) and user_comment:
        parameters = _decoded_comment(user_comment)
    if isinstance(parameters, str) and len(parameters) <= _MOST_CHARS:
        text = _a1111_prompt(parameters)
        if text:
            return without_weights(text), "png_a1111"
    graph_text = info.get(_COMFYUI_KEY)
    if isinstance(graph_text, str) and len(graph_text) <= _MOST_CHARS:
        text = _comfyui_prompt(graph_text)
        if text:
            return without_weights(text), "png_comfyui"
    return None


def user_comment(image: Any) -> bytes | None:
    """The EXIF user comment of an image that Pillow has opened, where A1111 puts its text.

    Raises:
        what Pillow raises on damaged EXIF data, which is nearly anything.
    """
    if image.format not in ("JPEG", "MPO", "WEBP", "AVIF"):
        return None
    comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    return comment if isinstance(comment, bytes) else None


def without_weights(text: str) -> str:
    r"""``text`` without what only an encoder reads: (words:1.2), <lora:...>, embedding:names."""
    text = _NOT_WORDS.sub("", text)
    for _ in range(_MOST_BRACKETS):  # inner ones first
        text, count = _WEIGHTED.subn(r"\1", text)
        if not count:
            break
    text = re.sub(r"\\([()])", r"\1", text)
    return re.sub(r"(?:[^\S\n]*,){2,}", ",", re.sub(r"[^\S\n]{2,}", " ", text)).strip(" ,\t\n")


def _a1111_prompt(parameters: str) -> str | None:
    """What stands before "Negative prompt:" and the settings; None where neither is there."""
    parameters = parameters.replace("\r\n", "\n")
    if _A1111_SETTINGS.match(parameters):
        return None  # an empty prompt
    end = _A1111_END.search(parameters)
    return parameters[: end.start()].strip() if end else None


def _comfyui_prompt(text: str) -> str | None:
    try:
        graph = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(graph, dict):
        return None
    found = set()
    for node in graph.values():
        inputs = _inputs(node)
        # What has both is a sampler; a conditioning node that passes both on is one too, and
        # leads to the same text.
        if "positive" in inputs and "negative" in inputs:
            found.add(_text_behind(graph, inputs["positive"], set()))
        elif "guider" in inputs:  # SamplerCustomAdvanced
            guider = _inputs(_linked(graph, inputs["guider"]))
            link = guider.get("conditioning", guider.get("positive"))
            found.add(_text_behind(graph, link, set()))
    found.discard(None)
    return found.pop() if len(found) == 1 else None


def _text_behind(graph: Mapping[str, Any], value: Any, seen: set[str]) -> str | None:
    """The one text that a link leads to, through conditioning and string nodes."""
    if isinstance(value, str):
        return value.strip() or None
    if not isinstance(value, list) or len(value) != 2 or len(seen) > _MOST_STEPS:
        return None
    name = str(value[0])
    if name in seen:
        return None
    seen.add(name)
    inputs = _inputs(graph.get(name))
    texts = {_text_behind(graph, inputs[key], seen) for key in _TEXT_INPUTS if key in inputs}
    texts.discard(None)
    if texts:
        return texts.pop() if len(texts) == 1 else None
    behind = {
        _text_behind(graph, link, seen)
        for key, link in inputs.items()
        if key.startswith("conditioning") and isinstance(link, list)
    }
    behind.discard(None)
    return behind.pop() if len(behind) == 1 else None


def _linked(graph: Mapping[str, Any], link: Any) -> Any:
    return graph.get(str(link[0])) if isinstance(link, list) and len(link) == 2 else None


def _inputs(node: Any) -> Mapping[str, Any]:
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def _decoded_comment(comment: bytes) -> str | None:
    """The text of an EXIF comment, whose first 8 bytes name its encoding."""
    name, body = comment[:8].rstrip(b"\0"), comment[8:]
    try:
        if name == b"UNICODE":
            # A1111 writes big endian whatever the rest of the file has; the zeros tell.
            big = body[0::2].count(0) >= body[1::2].count(0)
            return body.decode("utf-16-be" if big else "utf-16-le")
        return body.decode("ascii") if name == b"ASCII" else None
    except UnicodeDecodeError:
        return None
