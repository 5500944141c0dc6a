"""The shipped prompts pass their own rules; lists of users are read or refused by the line."""

from __future__ import annotations

import json

import pytest

from eliq.errors import PromptError
from eliq.supervision.taxonomy import CATEGORIES, CONCEPTS, match_keywords
from training.prompts import Prompt, read_prompts
from training.prompts.checks import (
    Rules,
    content_words,
    prompt_faults,
    set_faults,
    similarity,
)
from training.prompts.taxonomy import CATEGORY_RULES, LENGTHS, STYLES
from training.prompts.validate import main


@pytest.fixture(scope="module")
def shipped():
    return read_prompts()


def test_the_shipped_set_has_no_fault(capsys):
    assert main(["--smoke"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["num_prompts"] == 400 and report["faults"] == []
    assert set(report["num_by_category"].values()) == {57, 58}
    assert report["num_concepts_used"] == 56
    assert report["words"]["most"] <= LENGTHS["long"][1]


def test_the_shipped_set_varies(shipped):
    assert {prompt.style for prompt in shipped} == set(STYLES)
    assert {1, 2, 3, 4, 5} <= {prompt.num_objects for prompt in shipped}
    assert max(len(prompt.categories) for prompt in shipped) >= 3
    for category, concepts in CONCEPTS.items():
        for concept in concepts:
            same = [p for p in shipped if (p.category, p.concept) == (category, concept)]
            assert len(same) >= 7, (category, concept)


def test_labels_of_the_shipped_set_hold_every_certain_keyword(shipped):
    for prompt in shipped:
        assert set(match_keywords(prompt.text).certain) <= set(prompt.categories), prompt
        assert prompt.category in prompt.categories


def test_a_style_that_is_no_plain_photograph_is_named_in_the_prompt(shipped):
    others = {
        "black and white photograph": ("black and white",),
        "drawing": ("drawing", "sketch"),
        "film photograph": ("film photograph", "photograph on film"),
        "macro photograph": ("macro", "close-up"),
    }
    for prompt in shipped:
        if prompt.style != "photograph":
            named = others.get(prompt.style, (prompt.style.lower(),))
            assert any(word in prompt.text.lower() for word in named), prompt


def test_rules_are_there_for_every_category():
    assert set(CATEGORY_RULES) == set(CATEGORIES)


def prompt(text: str, **facts) -> Prompt:
    return Prompt.from_json({"prompt": text, **facts})


@pytest.mark.parametrize(
    "text, fault",
    [
        ("a fox", "2 words"),
        (" ".join(["fox"] * 49), "49 words"),
        ("A stunning lake between two mountains", "quality"),
        ("A lake in 8k between two hills", "quality"),
        ("A unicorn beside a calm lake", "not exist"),
        ("A calm lake, see https://example.org now", "markup"),
        ("A calm lake between two hills,", "phrase"),
    ],
)
def test_a_prompt_that_breaks_a_rule_is_named(text, fault):
    assert any(fault in found for found in prompt_faults(prompt(text)))


def test_a_plain_prompt_has_no_fault():
    assert prompt_faults(prompt("A calm lake between two hills")) == []


def test_labels_against_the_keywords():
    wrong = prompt("A calm lake between two hills", category="Food", categories=["Food"])
    assert prompt_faults(wrong) == ["its words say Natural Scenes, its labels do not"]
    strange = prompt("A calm lake between hills", category="Natural Scenes", concept="bakery")
    assert prompt_faults(strange) == ["'bakery' is no sub-concept of Natural Scenes"]


def test_similarity_by_hand():
    first = content_words("Two red foxes in the snow")  # two red foxe snow
    second = content_words("A red fox beside two rocks in snow")  # red fox two rock snow
    assert first == {"two", "red", "foxe", "snow"}
    assert similarity(first, second) == pytest.approx(3 / 6)
    assert similarity(first, first) == 1
    assert similarity(frozenset(), frozenset()) == 1


def test_set_rules():
    one = prompt("A calm lake between two green hills")
    twin = prompt("Between two green hills, a calm lake")
    faults = set_faults([one, twin], Rules(min_length_share=0))
    assert faults == [
        f"{one.prompt_id} and {twin.prompt_id} are alike (1.00)",
        "not balanced: 2 of Natural Scenes, 0 of Indoor Scenes",
    ]
    assert "too few long prompts: 0 of 1" in set_faults([one])


def test_a_list_of_a_user(tmp_path, capsys):
    path = tmp_path / "prompts.txt"
    path.write_text("\ufeffa man in a kitchen\n\n  swirls \n", encoding="utf-8")
    first, second = read_prompts(path)
    assert first.categories == ("Indoor Scenes", "People & Activities")
    assert first.category == "Indoor Scenes" and second.category == ""
    assert first.prompt_id == Prompt.from_text("a man in a kitchen").prompt_id
    assert main([str(path), "--each"]) == 1  # one word is no prompt
    assert "1 words" in capsys.readouterr().out


def test_rows_go_to_json_and_back(shipped, tmp_path):
    path = tmp_path / "again.jsonl"
    lines = [json.dumps(prompt.to_json()) for prompt in shipped[:30]]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read_prompts(path) == shipped[:30]


@pytest.mark.parametrize(
    "line, said",
    [
        ("[1]", "line 2: expected an object"),
        ('{"text": 3}', "to be text"),
        ('{"prompt": " "}', "empty text"),
        ('{"prompt": "a", "id": "../a"}', "letters, digits"),
        ('{"prompt": "a fox", "id": "x"}', "'x' occurs twice"),
        ('{"prompt": "a", "categories": ["Cars"]}', "found 'Cars'"),
        ('{"prompt": "a", "categories": "Food"}', "list of texts"),
        ('{"prompt": "a", "category": "Food", "categories": []}', "not among"),
        ('{"prompt": "a", "num_objects": -1}', "a count"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, said):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a red fox", "id": "x"}\n' + line, encoding="utf-8")
    with pytest.raises(PromptError, match="line 2") as caught:
        read_prompts(path)
    assert said in str(caught.value)


def test_no_list_no_prompts(tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(PromptError, match="empty file"):
        read_prompts(tmp_path / "empty.txt")
    assert main([str(tmp_path / "none.txt")]) == 2
    assert "found none" in capsys.readouterr().err
