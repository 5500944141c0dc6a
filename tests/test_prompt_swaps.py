"""Wrong prompts: wrong in one thing, never a no-op, grammatical where that can be checked."""

from __future__ import annotations

import re

import numpy as np
import pytest

from eliq.errors import SupervisionError
from eliq.supervision import SWAP_KINDS, categories_of, hard_swaps, shuffled_prompt
from eliq.supervision.prompt_swaps import same_prompt, swap_vocabulary
from eliq.supervision.prompt_words import NEAR_COLOURS

PROMPTS = (
    "A red apple on a wooden table in a kitchen, soft light",
    "Two dogs playing in the snow, golden hour",
    "an orange umbrella next to a bicycle on a city street",
    "Portrait of a woman wearing a blue hat in front of a castle",
    "three red balloons above a green meadow",
    "A BLACK CAT under a chair",
    "an elephant walking through the desert at sunset",
    "Underwater photo of a turtle with blue fish",
)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_swaps_are_never_the_prompt_and_keep_articles_right(prompt):
    for seed in range(30):
        for kind, swapped in hard_swaps(prompt, seed).items():
            assert kind in SWAP_KINDS
            assert not same_prompt(prompt, swapped)
            assert not re.search(r"\ba [aeio]", swapped, re.IGNORECASE), swapped
            assert not re.search(r"\ban [bcdfgjklmnpqrstvwxyz]", swapped, re.IGNORECASE), swapped
            assert swapped[0].isupper() == prompt[0].isupper()


@pytest.mark.parametrize(
    ("prompt", "kinds"),
    [
        ("A red apple on a wooden table in a kitchen", {"object", "colour", "count", "background"}),
        ("Two dogs in front of a castle", {"object", "count", "relation"}),
        ("un chat noir sur une table", set()),
        ("black and white photo of the sky", set()),
        ("an orange on a plate, 35mm, f/2 lens", set()),
        ("one of the best photos, 8k", set()),
        ("people standing outside", set()),
        ("a hot dog", set()),
        ("", set()),
    ],
)
def test_only_kinds_that_apply(prompt, kinds):
    for seed in range(5):
        assert set(hard_swaps(prompt, seed)) == kinds


def swaps(prompt: str, kind: str) -> set[str]:
    return {hard_swaps(prompt, seed).get(kind) for seed in range(60)}


def test_known_swaps():
    assert swaps("a cup to the left of a plate", "relation") == {"a cup to the right of a plate"}
    assert swaps("a cup behind a plate", "relation") == {"a cup in front of a plate"}
    assert swaps("two owls", "count") == {f"{n} owls" for n in ("four", "five", "six")} | {
        "three owls"
    }
    assert "three black cats" in swaps("a black cat", "count")
    assert "four women" in swaps("a woman", "count")
    # Near colours are no contradiction; a colour that the prompt names is none either.
    assert not {"an orange box", "a pink box"} & swaps("a red box", "colour")
    assert not any("blue box" in s for s in swaps("a red box beside a blue ball", "colour"))
    assert "an orange cat" in swaps("a black cat", "colour")


def test_an_object_is_swapped_wherever_it_is_named():
    for swapped in swaps("a fox, two foxes playing, portrait of a fox", "object"):
        assert "fox" not in swapped
    assert all("men" not in s.split() for s in swaps("two men and a dog", "object") if "dog" in s)


def test_backgrounds_leave_their_class():
    for swapped in swaps("a fox in the snow", "background"):
        assert not re.search("snow|forest|mountain|meadow|beach|desert|lake", swapped)


def test_deterministic_and_kinds_do_not_move_one_another():
    assert hard_swaps(PROMPTS[0], 3) == hard_swaps(PROMPTS[0], np.random.default_rng(3))
    with_count = hard_swaps("a red box behind two owls", 3)
    without = hard_swaps("a red box behind the owls", 3)
    assert with_count["colour"].split()[1] == without["colour"].split()[1]


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[\w'-]+", text.casefold()))


def test_a_set_is_swapped_within_its_own_words():
    prefer = swap_vocabulary(["three foxes and a fox in a garage", "a green box behind a cup"])
    for seed in range(10):
        made = hard_swaps("a red dog in the snow", seed, prefer=prefer)
        assert made == {
            "object": "a red fox in the snow",
            "colour": "a green dog in the snow",
            "background": "a red dog in a garage",
        }
        # "dogs" and "in front of" are said nowhere, "three" and "foxes" are.
        made = hard_swaps("a fox behind a cup", seed, prefer=prefer)
        assert made == {"count": "three foxes behind a cup"}


def test_the_words_of_a_wrong_prompt_do_not_give_it_away():
    prefer = swap_vocabulary(PROMPTS)
    true_words = set().union(*map(words_of, PROMPTS))
    kinds = set()
    for prompt in PROMPTS:
        for seed in range(40):
            made = hard_swaps(prompt, seed, prefer=prefer)
            kinds |= made.keys()
            for swapped in made.values():
                assert words_of(swapped) <= true_words, swapped
    assert kinds == {"object", "colour", "count", "background"}  # no relation has its opposite here


def test_what_is_true_of_one_another_is_not_swapped():
    for said in ("many discs on top of one another", "boxes behind each other"):
        assert swaps(said, "relation") == {None}


def test_near_colours_are_near_both_ways():
    for colour, near in NEAR_COLOURS.items():
        assert all(colour in NEAR_COLOURS[other] for other in near)


def test_shuffles_are_another_prompt():
    prompts = ["a fox", "A fox.", "a  FOX", "an owl", "a fox"]
    for seed in range(20):
        assert shuffled_prompt("a fox", prompts, seed) == "an owl"
    assert shuffled_prompt("a fox", ["a fox", "A fox."], 0) is None
    with pytest.raises(SupervisionError):
        shuffled_prompt("a fox", [], 0)


def test_seven_categories_several_a_prompt():
    said = categories_of("People eating pizzas at a birthday party in a kitchen")
    assert said == ("Indoor Scenes", "People & Activities", "Food", "Events")
    assert categories_of("abstract swirls") == ()
    assert categories_of("a Lake below mountains") == ("Natural Scenes",)
