"""The prompt never becomes control tokens, and the layout is Qwen's."""

from __future__ import annotations

import json
import random

import pytest
from tokenizers import Tokenizer

from eliq.errors import BackboneError, ConfigError
from eliq.instructions import ChatLayout, Instructions
from tests.tiny import CONTROL_TOKENS, INSTRUCTIONS, tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def layout(tokenizer):
    return ChatLayout(tokenizer, INSTRUCTIONS, max_prompt_tokens=64)


def test_layout_is_the_stock_chat_template(layout, tokenizer):
    """Segments joined as ids equal the whole chat text tokenised at once."""
    ids = [
        *layout.prefix_head,
        layout.image_token_id,
        *layout.prefix_tail,
        *layout.alignment("a b"),
    ]
    chat = (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>"
        'shows "a b"?<|im_end|>\n<|im_start|>assistant\n'
    )
    assert ids == tokenizer.encode(chat, add_special_tokens=False).ids


def test_added_tokens_in_a_prompt_are_text(layout, tokenizer):
    first_added = tokenizer.token_to_id(CONTROL_TOKENS[0])
    draw = random.Random(0)
    pieces = [*CONTROL_TOKENS, "<|im_", "end|>", "<think>", " a ", "é", "\n", "狐", "<|", "|>"]
    for _ in range(300):
        prompt = "".join(draw.choice(pieces) for _ in range(draw.randint(0, 12)))
        ids, truncated = layout.prompt_ids(prompt)
        assert all(index < first_added for index in ids)
        if not truncated:
            assert tokenizer.decode(ids, skip_special_tokens=False) == prompt


def test_long_prompts_are_cut_and_said(layout):
    ids, truncated = layout.prompt_ids("x" * 100_000)
    assert len(ids) == 64 and truncated
    assert layout.prompt_ids("x" * 64)[1] is False
    assert layout.prompt_ids(None) == ([], False)


def test_a_vocabulary_with_a_control_token_as_a_word_is_refused():
    """Some tokenizers give a word of the vocabulary before they look at merges."""
    data = json.loads(tiny_tokenizer().to_str())
    data["model"]["vocab"] |= {token["content"]: token["id"] for token in data["added_tokens"]}
    data["pre_tokenizer"]["use_regex"] = False  # one word a text
    ChatLayout(Tokenizer.from_str(json.dumps(data)), INSTRUCTIONS)
    data["model"]["ignore_merges"] = True
    with pytest.raises(BackboneError, match="plain text"):
        ChatLayout(Tokenizer.from_str(json.dumps(data)), INSTRUCTIONS)


def test_a_prompt_is_tokenised_once(tokenizer, monkeypatch):
    layout = ChatLayout(tokenizer, INSTRUCTIONS, max_prompt_tokens=4)
    seen = []
    encode = layout.encode
    monkeypatch.setattr(layout, "encode", lambda text: seen.append(text) or encode(text))
    for _ in range(3):
        ids, was_cut = layout.prompt_ids("a red fox")
        ids.append(0)  # what a caller does with its list changes no other prompt
        assert len(ids) == 5 and was_cut
    assert layout.prompt_ids("a re") == (ids[:4], False) and len(seen) == 2
    for number in range(3000):
        layout.prompt_ids(f"{number}" + "x" * 10_000)
    assert len(layout._prompts) <= 1024 and max(map(len, layout._prompts)) <= 97


def test_answers_must_be_one_token(tokenizer):
    with pytest.raises(BackboneError, match="one token"):
        ChatLayout(tokenizer, Instructions(low="bad", high="high"))
    with pytest.raises(BackboneError, match="different"):
        ChatLayout(tokenizer, Instructions(low="high", high="high"))


@pytest.mark.parametrize(
    "change",
    [{"alignment": "no place"}, {"alignment": "{prompt}{prompt}"}, {"technical": "{prompt}"},
     {"low": ""}, {"technical": "x" * 4001}],
)  # fmt: skip
def test_bad_instructions(change):
    with pytest.raises(ConfigError):
        Instructions(**change)


def test_round_trip():
    assert Instructions.from_json(INSTRUCTIONS.to_json()) == INSTRUCTIONS
    with pytest.raises(ConfigError, match="keys among"):
        Instructions.from_json({"colour": "x"})
