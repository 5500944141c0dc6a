"""What is true of a scene, as plain data, and the prompts that say it truly or with one error.

A scene's facts are one JSON-ready dict:

    groups      list of {"noun", "colour" (None: its own), "count"}, in the order of mention
    relation    None, or what the first group is to the second: "left", "right", "above", "below"
    background  name of the background
    wording     {"frame", "join", "relation", "digits"}: which sentence says it

`describe(facts)` is the only writer of prompts: a wrong prompt is the true facts with one of them
changed, in the same wording. Wrong facts are drawn so that (true, wrong) and (wrong, true) are
equally likely; the text alone then tells nothing of whether it is true.
"""

from __future__ import annotations

import copy

import numpy as np

from .backgrounds import BACKGROUNDS
from .nouns import COLOURS, NOUNS, SHAPES, TINTABLE, article, noun_phrase

SWAP_KINDS = ("object", "colour", "count", "relation", "background")
RELATIONS = ("left", "right", "above", "below")
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}

# Each of these could be called by the name of another: a wrong prompt must be wrong.
_KIN = (
    {"car", "taxi"},
    {"tree", "palm tree"},
    {"tree", "christmas tree"},
    {"cake", "cupcake"},
    {"bear", "teddy bear"},
    {"bear", "panda"},
    {"bear", "koala"},
    {"truck", "fire engine"},
    {"truck", "ambulance"},
    {"truck", "tractor"},
    {"ship", "sailboat"},
    {"motorcycle", "scooter"},
    {"whale", "dolphin"},
    {"octopus", "squid"},
    {"house", "tent"},
)

_RELATION_WORDS = {
    "left": ("to the left of", "left of", "on the left of"),
    "right": ("to the right of", "right of", "on the right of"),
    "above": ("above", "over", "above"),
    "below": ("below", "under", "below"),
}
_JOINS = ("{a} and {b}", "{a} with {b}", "{a}, {b}", "{a} and {b}", "{a} next to {b}")
# The first frames are the most frequent; the last two leave the background unsaid.
_FRAMES = (
    "{things} {place}",
    "a photo of {things} {place}",
    "{things}, {name} background",
    "{place}, {things}",
    "a picture of {things} {place}",
    "{things} with {a_name} background",
    "an image of {things}, {name} background",
    "{name} background with {things}",
    "{things}",
    "a photo of {things}",
)
_SILENT_FRAMES = 2


def _pick(rng: np.random.Generator, options):
    return options[int(rng.random() * len(options))]


class Vocabulary:
    """The part of the vocabulary that a config opens, in pools that facts are drawn from."""

    def __init__(self, num_objects: int, num_backgrounds: int, num_colours: int) -> None:
        self.nouns = NOUNS[:num_objects]
        self.colourable = SHAPES + tuple(n for n in self.nouns if n in TINTABLE)
        self.colours = tuple(COLOURS)[:num_colours]
        self.backgrounds = tuple(BACKGROUNDS)[:num_backgrounds]

    def pool(self, group: dict) -> tuple[str, ...]:
        """The nouns that could stand in this group's place."""
        return self.nouns if group["colour"] is None else self.colourable


def max_count_of(num_groups: int, related: bool, max_count: int) -> int:
    """The largest count of a group; it depends only on what every wording shows."""
    if related:
        return min(2, max_count)
    return max_count if num_groups == 1 else min(3, max_count)


def sample_facts(
    vocabulary: Vocabulary,
    rng: np.random.Generator,
    *,
    max_count: int,
    max_groups: int,
    relations: bool,
    coloured: float = 0.45,
) -> dict:
    """Draw the facts of one scene; each is uniform over its pool given the kind of scene."""
    num_groups = 1 + int(rng.random() * max_groups)
    related = relations and num_groups == 2 and rng.random() < 0.5
    top = max_count_of(num_groups, related, max_count)
    tinted = [rng.random() < coloured for _ in range(num_groups)]
    while True:  # all groups at once, so that pairs of distinct nouns stay uniform
        nouns = [_pick(rng, vocabulary.colourable if t else vocabulary.nouns) for t in tinted]
        colours = [_pick(rng, vocabulary.colours) if t else None for t in tinted]
        both = colours[0] if num_groups == 2 and colours[0] == colours[1] else None
        if len(set(nouns)) == num_groups and both is None:
            break
    return {
        "groups": [
            {"noun": n, "colour": c, "count": 1 + int(rng.random() * top)}
            for n, c in zip(nouns, colours, strict=True)
        ],
        "relation": _pick(rng, RELATIONS) if related else None,
        "background": _pick(rng, vocabulary.backgrounds),
        "wording": {
            "frame": int(rng.random() ** 1.2 * len(_FRAMES)),
            "join": int(rng.random() * len(_JOINS)),
            "relation": int(rng.random() * 3),
            "digits": bool(rng.random() < 0.1),
        },
    }


def mentions_background(facts: dict) -> bool:
    """Whether the facts' wording names the background."""
    return facts["wording"]["frame"] < len(_FRAMES) - _SILENT_FRAMES


def describe(facts: dict) -> str:
    """The prompt that states the facts in their wording."""
    wording = facts["wording"]
    said = [
        noun_phrase(g["noun"], g["colour"], g["count"], digits=wording["digits"])
        for g in facts["groups"]
    ]
    if len(said) == 1:
        things = said[0]
    elif facts["relation"] is not None:
        words = _RELATION_WORDS[facts["relation"]][wording["relation"]]
        things = f"{said[0]} {words} {said[1]}"
    else:
        things = _JOINS[wording["join"]].format(a=said[0], b=said[1])
    background = BACKGROUNDS[facts["background"]]
    return _FRAMES[wording["frame"]].format(
        things=things, place=background.place, name=background.name, a_name=article(background.name)
    )


def swap_kinds(facts: dict, vocabulary: Vocabulary, *, max_count: int) -> tuple[str, ...]:
    """The kinds of single error that these facts admit."""
    kinds = ["object"]
    if max_count_of(len(facts["groups"]), facts["relation"] is not None, max_count) > 1:
        kinds.append("count")
    if facts["relation"] is not None:
        kinds.append("relation")
    if any(g["colour"] is not None for g in facts["groups"]) and len(vocabulary.colours) > 2:
        kinds.append("colour")
    if mentions_background(facts) and len(vocabulary.backgrounds) > 1:
        kinds.append("background")
    return tuple(kinds)


def swap_fact(
    facts: dict, kind: str, vocabulary: Vocabulary, rng: np.random.Generator, *, max_count: int
) -> dict:
    """A copy of the facts that is wrong in exactly one of them, of the given kind."""
    wrong = copy.deepcopy(facts)
    groups = wrong["groups"]
    if kind == "object":
        group = _pick(rng, groups)
        taken = {g["noun"] for g in groups}
        kin = set().union(*(pair for pair in _KIN if group["noun"] in pair))
        group["noun"] = _pick(rng, [n for n in vocabulary.pool(group) if n not in taken | kin])
    elif kind == "colour":
        painted = [g for g in groups if g["colour"] is not None]
        if len(painted) == 2 and rng.random() < 0.5:
            painted[0]["colour"], painted[1]["colour"] = painted[1]["colour"], painted[0]["colour"]
        else:
            taken = {g["colour"] for g in painted}
            free = [c for c in vocabulary.colours if c not in taken]
            _pick(rng, painted)["colour"] = _pick(rng, free)
    elif kind == "count":
        group = _pick(rng, groups)
        top = max_count_of(len(groups), wrong["relation"] is not None, max_count)
        group["count"] = _pick(rng, [c for c in range(1, top + 1) if c != group["count"]])
    elif kind == "relation":
        if rng.random() < 0.7:
            wrong["relation"] = OPPOSITE[wrong["relation"]]
        else:
            same = (wrong["relation"], OPPOSITE[wrong["relation"]])
            wrong["relation"] = _pick(rng, [r for r in RELATIONS if r not in same])
    elif kind == "background":
        others = [b for b in vocabulary.backgrounds if b != wrong["background"]]
        wrong["background"] = _pick(rng, others)
    else:
        raise ValueError(f"kind must be one of {', '.join(SWAP_KINDS)}; found {kind!r}.")
    return wrong
