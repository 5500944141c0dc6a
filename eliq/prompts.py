"""Prompts as they come from users, made safe and comparable before they are tokenised.

What is invisible on a screen must not change a score unseen: bidirectional controls, zero-width
and tag characters go, with a flag. Joiners and variation selectors stay where a script or an
emoji needs them. That a prompt never becomes a control token is the tokenizer's part, not this
module's: text such as ``<|im_end|>`` is kept as it is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import PromptError

__all__ = ["MAX_PROMPT_CHARS", "PROMPT_FLAGS", "CleanPrompt", "clean_prompt", "match_prompts"]

MAX_PROMPT_CHARS = 20_000
PROMPT_FLAGS = frozenset({"no_prompt", "prompt_truncated", "control_characters_removed"})

# A flag emoji of a region (black flag, tags, cancel tag) is the one use of tag characters that
# shows; it is matched first so that the second alternative does not take its tags away.
_INVISIBLE = re.compile(
    "(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f)"
    "|["
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 and C1 controls, without tab and line ends
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls
    "\u00ad\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb"  # zero width
    "\u3164\uffa0"  # fillers that look like nothing and are letters to Python
    "\ud800-\udfff"  # lone surrogates: no encoding has them
    "\U000e0000-\U000e007f"  # tags: a whole hidden text fits into them
    "]+"
)
_JOINERS = "\u200c\u200d"
_ATTACHED = re.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]+")


@dataclass(frozen=True)
class CleanPrompt:
    """A prompt ready for the tokenizer.

    Attributes:
        text: the cleaned text; empty where there is no prompt.
        flags: some of `PROMPT_FLAGS`.
    """

    text: str
    flags: tuple[str, ...]


def clean_prompt(prompt: str | None, *, max_chars: int = MAX_PROMPT_CHARS) -> CleanPrompt:
    """``prompt`` in Unicode NFC, without invisible characters, of at most ``max_chars``.

    White space around the text is dropped without a flag; None, an empty text and white space
    alone are the same: no prompt. Cleaning a cleaned text changes nothing.

    Raises:
        PromptError: ``prompt`` is neither text nor None, or ``max_chars`` is not positive.
    """
    if max_chars < 1:
        raise PromptError(f"max_chars: expected 1 or more, found {max_chars}")
    if prompt is None:
        return CleanPrompt("", ("no_prompt",))
    if not isinstance(prompt, str):
        hint = "; decode it to text first" if isinstance(prompt, bytes) else ""
        raise PromptError(f"prompt: expected text or None, found {type(prompt).__name__}{hint}")

    shown = _INVISIBLE.sub(lambda match: match.group(1) or "", prompt)
    visible = shown.strip()
    # Cut before normalising: its time grows with the square of a run of combining marks.
    text = unicodedata.normalize("NFC", visible[:max_chars])
    attached = _ATTACHED.sub(_keep_attached, text)
    # Again, because a joiner that went may have stood between a letter and its accent.
    composed = unicodedata.normalize("NFC", attached)
    clean = composed[:max_chars].strip()

    flags = []
    if not clean:
        flags.append("no_prompt")
    if len(visible) > max_chars or len(composed) > max_chars:
        flags.append("prompt_truncated")
    if shown != prompt or attached != text:
        flags.append("control_characters_removed")
    return CleanPrompt(clean, tuple(flags))


def match_prompts(prompts: str | None | Sequence[str | None], num_images: int) -> list[str | None]:
    """One prompt an image: None and a single text go to every image, a list must match.

    Raises:
        PromptError: a list of another length than ``num_images``, or an entry of a wrong type.
    """
    if prompts is None or isinstance(prompts, str):
        return [prompts] * num_images
    if not isinstance(prompts, (list, tuple)):
        raise PromptError(
            "prompts: expected None, one text or a list with one text an image, "
            f"found {type(prompts).__name__}"
        )
    for position, prompt in enumerate(prompts):
        if prompt is not None and not isinstance(prompt, str):
            raise PromptError(
                f"prompts[{position}]: expected text or None, found {type(prompt).__name__}"
            )
    if len(prompts) != num_images:
        raise PromptError(
            f"prompts: expected one an image ({num_images}), found {len(prompts)}; "
            "give a single text, not a list, to use it for every image"
        )
    return list(prompts)


def _keep_attached(match: re.Match[str]) -> str:
    """Of a run of joiners and variation selectors, those that have something to attach to."""
    before = match.string[match.start() - 1] if match.start() else " "
    kept = ""
    for character in match.group():
        if character in _JOINERS:  # ASCII letters are never joined
            attaches = not (before.isascii() or before.isspace() or before in _JOINERS)
        else:  # digits take a selector (keycaps), a second selector means nothing
            attaches = not (before.isspace() or _ATTACHED.fullmatch(before))
        if attaches:
            kept += character
            before = character
    return kept
