"""The three questions of the critic and the chat layout, as segments of token ids.

Template and prompt are tokenised apart and joined as ids. The tokenizer that reads prompts has no
added tokens at all, so that ``<|im_end|>`` or ``<|image_pad|>`` typed by a user stays plain text.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from tokenizers import Tokenizer

from .errors import BackboneError, ConfigError

__all__ = ["ASPECTS", "ChatLayout", "Instructions"]

ASPECTS = ("technical", "aesthetic", "alignment")
_MOST_CHARS = 4_000  # of a question; the longest that was ever asked has 250
_KEPT_PROMPTS = 1024


@dataclass(frozen=True)
class Instructions:
    """Texts of the three questions (paper 3.3.1) and the two answers.

    ``alignment`` holds ``{prompt}`` exactly once; the others must not, since technical and
    aesthetic quality are asked without the prompt (Eqs. 6, 7).

    Raises:
        ConfigError: a question that breaks this rule, or has more than 4,000 characters.
    """

    technical: str = (
        "Judge only the technical quality of this image: sharpness, noise, compression, exposure, "
        "broken or garbled structure. Ignore its beauty and its content. Answer low or high."
    )
    aesthetic: str = (
        "Judge only the aesthetic quality of this image: composition, colour, light, appeal. "
        "Ignore technical flaws and its content. Answer low or high."
    )
    alignment: str = (
        "Judge only whether this image shows what the following text says, every object, colour, "
        'number and relation of it: "{prompt}" Ignore the quality of the image. Answer low or high.'
    )
    low: str = "low"
    high: str = "high"

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, str) or not value:
                raise ConfigError(f"instructions.{name} must be a text that is not empty")
            if len(value) > _MOST_CHARS:
                raise ConfigError(
                    f"instructions.{name} must have at most {_MOST_CHARS} characters, "
                    f"not {len(value)}"
                )
        if self.alignment.count("{prompt}") != 1:
            raise ConfigError("instructions.alignment must hold {prompt} exactly once")
        if "{prompt}" in self.technical or "{prompt}" in self.aesthetic:
            raise ConfigError("instructions.technical and .aesthetic must not hold {prompt}")

    def to_json(self) -> dict:
        """Plain JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> Instructions:
        """Inverse of :meth:`to_json`; unknown keys raise ConfigError."""
        known = set(cls.__dataclass_fields__)
        if not isinstance(data, dict) or set(data) - known:
            raise ConfigError(f"instructions must be a table with keys among {sorted(known)}")
        return cls(**data)


class ChatLayout:
    """Token ids of one chat turn about one image, in Qwen's format.

    prefix  ``<|im_start|>user\\n<|vision_start|>`` + image pads + ``<|vision_end|>``
    suffix  ``{instruction}<|im_end|>\\n<|im_start|>assistant\\n`` (one for each question)

    The embedding z of a question is read at the last token of its suffix.

    Raises:
        BackboneError: a tokenizer without Qwen's control tokens, one that makes them out of plain
            text, or one with answers of many tokens.
    """

    def __init__(
        self, tokenizer: Tokenizer, instructions: Instructions, *, max_prompt_tokens: int = 512
    ) -> None:
        self.instructions = instructions
        self.max_prompt_tokens = max_prompt_tokens
        self._plain = without_added_tokens(tokenizer)
        self._control = {
            name: tokenizer.token_to_id(f"<|{name}|>")
            for name in ("im_start", "im_end", "vision_start", "vision_end", "image_pad")
        }
        missing = [name for name, index in self._control.items() if index is None]
        if missing:
            raise BackboneError(
                f"the tokenizer must have Qwen's control tokens; it lacks {missing}: "
                "use the tokenizer.json that belongs to the backbone"
            )
        self._check_plain(tokenizer)
        self._prompts: dict[str, tuple[list[int], bool]] = {}
        self.image_token_id: int = self._control["image_pad"]
        self.pad_token_id: int = self._control["im_end"]
        start, end, newline = self._control["im_start"], self._control["im_end"], self.encode("\n")
        self.prefix_head = [start, *self.encode("user"), *newline, self._control["vision_start"]]
        self.prefix_tail = [self._control["vision_end"]]
        self.suffix_tail = [end, *newline, start, *self.encode("assistant"), *newline]
        self.low_id, self.high_id = self._answer(instructions.low), self._answer(instructions.high)
        if self.low_id == self.high_id:
            raise BackboneError("instructions.low and instructions.high must be different tokens")
        before, after = instructions.alignment.split("{prompt}")
        self._alignment_before, self._alignment_after = self.encode(before), self.encode(after)
        self.technical = [*self.encode(instructions.technical), *self.suffix_tail]
        self.aesthetic = [*self.encode(instructions.aesthetic), *self.suffix_tail]

    def _check_plain(self, tokenizer: Tokenizer) -> None:
        """Refuse a vocabulary that holds a control token as a word of its own."""
        added = tokenizer.get_added_tokens_decoder().items()
        control = {index: token.content for index, token in added if token.special}
        control |= {index: f"<|{name}|>" for name, index in self._control.items()}
        for text in control.values():
            if found := control.keys() & self.encode(text):
                raise BackboneError(
                    f"the tokenizer must read {text[:80]!r} in a prompt as plain text, but makes "
                    f"control token {min(found)} of it: use the tokenizer.json that belongs to the "
                    "backbone"
                )

    def encode(self, text: str) -> list[int]:
        """Ids of plain text: no added token can come out of it."""
        return self._plain.encode(text, add_special_tokens=False).ids

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """(start, end) in characters of each token of :meth:`encode`."""
        return self._plain.encode(text, add_special_tokens=False).offsets

    def _answer(self, word: str) -> int:
        ids = self.encode(word)
        if len(ids) != 1:
            raise BackboneError(
                f"the answer {word!r} must be one token of the backbone, not {len(ids)}: "
                "choose other words for instructions.low and instructions.high"
            )
        return ids[0]

    def prompt_ids(self, prompt: str | None) -> tuple[list[int], bool]:
        """Ids of a prompt, cut to ``max_prompt_tokens``, and whether it was cut."""
        # A huge prompt is not tokenised whole. A token may hold a longer run of one character, so
        # what is left out here counts as cut whatever the ids say.
        text, num_chars = prompt or "", 24 * self.max_prompt_tokens
        text = text[: num_chars + 1]
        known = self._prompts.get(text)
        if known is None:
            ids = self.encode(text[:num_chars])
            was_cut = len(ids) > self.max_prompt_tokens or len(text) > num_chars
            known = ids[: self.max_prompt_tokens], was_cut
            # One prompt is often asked of many images, and once more whether it was cut. Emptied
            # as a whole, which is safe in any number of threads.
            if len(self._prompts) >= _KEPT_PROMPTS:
                self._prompts.clear()
            self._prompts[text] = known
        return list(known[0]), known[1]

    def alignment(self, prompt: str | None) -> list[int]:
        """Suffix of the alignment question about one prompt (Eq. 8)."""
        ids, _ = self.prompt_ids(prompt)
        return [*self._alignment_before, *ids, *self._alignment_after, *self.suffix_tail]

    def suffixes(self, prompt: str | None) -> list[list[int]]:
        """The three suffixes in the order of ``ASPECTS``."""
        return [self.technical, self.aesthetic, self.alignment(prompt)]


def without_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """A copy of a tokenizer to which every added token is plain text."""
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = []
    data["post_processor"] = None
    data["truncation"] = None
    data["padding"] = None
    return Tokenizer.from_str(json.dumps(data))
