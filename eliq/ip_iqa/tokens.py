"""Prompts to the token ids of CLIP's text transformer.

SOT, the words, EOT, padding. A prompt never becomes control tokens: its text is tokenised without
the tokenizer's added tokens, and control ids are placed by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor

from ..errors import ConfigError
from ..instructions import without_added_tokens
from ..prompts import clean_prompt
from .config import IPIQAConfig

__all__ = ["PromptTokenizer", "PromptTokens"]

_CHARS_PER_TOKEN = 24  # a huge prompt is not tokenised whole


class PromptTokens(NamedTuple):
    """``ids`` int64 [B,T], T = the longest row; ``truncated``: which prompts were cut."""

    ids: Tensor
    truncated: tuple[bool, ...]


class PromptTokenizer:
    """Texts to ids for one model: at most 77 tokens with SOT, EOT and, where it has one, [QA].

    Raises:
        ConfigError: a tokenizer whose ids do not fit the model.
    """

    def __init__(self, tokenizer: Tokenizer, config: IPIQAConfig) -> None:
        self.config = config
        self.tokenizer = tokenizer
        largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if largest >= config.text.vocab_size:
            raise ConfigError(
                f"tokenizer: expected ids below {config.text.vocab_size}, the text tower's, found "
                f"{largest}: use the tokenizer.json that belongs to it"
            )
        self._plain = without_added_tokens(tokenizer)
        control = {config.text.sot_id, config.text.eot_id}
        for index in control:
            text = tokenizer.id_to_token(index) or ""
            if control & set(self._plain.encode(text, add_special_tokens=False).ids):
                raise ConfigError(
                    f"tokenizer: expected {text[:80]!r} in a prompt to be read as plain text, "
                    "found a control token: use the tokenizer.json that belongs to CLIP"
                )

    def __call__(self, prompts: Sequence[str | None]) -> PromptTokens:
        """Ids of B prompts; None and an empty text are SOT and EOT alone.

        Raises:
            PromptError: an entry that is neither text nor None.
        """
        text = self.config.text
        most = self.config.max_prompt_tokens
        rows, truncated = [], []
        for prompt in prompts:
            cleaned = clean_prompt(prompt)
            shown = cleaned.text[: _CHARS_PER_TOKEN * most]
            ids = self._plain.encode(shown, add_special_tokens=False).ids
            truncated.append(
                len(ids) > most
                or len(shown) < len(cleaned.text)
                or "prompt_truncated" in cleaned.flags
            )
            rows.append([text.sot_id, *ids[:most], text.eot_id])
        longest = max(map(len, rows), default=2)
        padded = [row + [text.pad_id] * (longest - len(row)) for row in rows]
        return PromptTokens(
            torch.tensor(padded, dtype=torch.int64).view(len(rows), longest), tuple(truncated)
        )
