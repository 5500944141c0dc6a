"""The taxonomy of prompts: keywords, hints, phrases before words, plurals, possessives."""

from __future__ import annotations

import pytest

from eliq.supervision.taxonomy import CATEGORIES, CONCEPTS, categories_of, match_keywords
from eliq.supervision.taxonomy_words import HINTS, NEUTRAL_PHRASES

INDOOR, URBAN, NATURE, PEOPLE, OBJECTS, FOOD, EVENTS = CATEGORIES  # in the paper's order


def test_seven_categories_of_eight_sub_concepts():
    assert (INDOOR, EVENTS) == ("Indoor Scenes", "Events")
    assert len(CATEGORIES) == 7 and set(HINTS) == set(CATEGORIES)
    assert {len(concepts) for concepts in CONCEPTS.values()} == {8}


def test_words_are_plain_and_stand_once_in_a_list():
    for lists in (*CONCEPTS.values(), HINTS):
        words = [word for words in lists.values() for word in words]
        for word in words:
            assert word == word.lower().strip() and word
        if lists is not HINTS:
            assert len(words) == len(set(words))
    assert len(NEUTRAL_PHRASES) == len(set(NEUTRAL_PHRASES))


def test_every_keyword_finds_its_category():
    for name, words in CATEGORIES.items():
        for word in words:
            assert name in categories_of(f"a {word} seen by day"), (name, word)


@pytest.mark.parametrize(
    "prompt, certain, possible",
    [
        ("a street at night", (URBAN,), ()),
        ("street food on a tray", (FOOD,), (INDOOR,)),  # the phrase goes before the word
        ("two mountains", (NATURE,), ()),
        ("MOUNTAINS", (NATURE,), ()),
        ("a child's tricycle", (OBJECTS,), ()),  # of a child, who is not to be seen
        ("a child\u2019s tricycle", (OBJECTS,), ()),
        ("the sisters' beds", (), (INDOOR,)),
        ("a wedding cake", (FOOD, EVENTS), ()),
        ("a table", (), (INDOOR, OBJECTS)),
        ("an oil painting of a dune", (NATURE,), ()),
        ("a man-made lake", (NATURE,), ()),
        ("categorical imperatives", (), ()),  # "cat" and "oral" are no words here
        ("", (), ()),
    ],
)
def test_what_keywords_and_hints_say(prompt, certain, possible):
    match = match_keywords(prompt)
    assert (match.certain, match.possible) == (certain, possible)
    assert match.is_uncertain == (bool(possible) or not certain)
    assert categories_of(prompt) == certain
