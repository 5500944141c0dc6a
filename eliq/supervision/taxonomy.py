"""The seven categories of prompts (section 3.2.1), matched by keywords, several a prompt.

The paper refines uncertain cases with a language model and gives its lists in an appendix that is
not public: these lists are ours.
"""

from __future__ import annotations

import re

__all__ = ["CATEGORIES", "categories_of"]

CATEGORIES: dict[str, tuple[str, ...]] = {
    "Indoor Scenes": (
        "bathroom", "bedroom", "classroom", "dining room", "gym", "hallway", "indoors", "interior",
        "kitchen", "library", "living room", "museum", "office", "restaurant", "studio", "workshop",
    ),
    "Urban Scenes": (
        "alley", "bridge", "building", "bus stop", "city", "cityscape", "crosswalk", "downtown",
        "neon", "plaza", "road", "skyline", "skyscraper", "street", "subway", "tower", "town",
        "traffic", "train station", "urban",
    ),
    "Natural Scenes": (
        "beach", "canyon", "cliff", "desert", "field", "forest", "garden", "glacier", "hill",
        "island", "jungle", "lake", "meadow", "mountain", "ocean", "river", "sea", "snow", "sunset",
        "sunrise", "valley", "volcano", "waterfall", "woods",
    ),
    "People & Activities": (
        "athlete", "baby", "boy", "child", "children", "crowd", "cyclist", "dancer", "dancing",
        "family", "farmer", "fisherman", "girl", "man", "men", "musician", "people", "person",
        "player", "portrait", "reading", "running", "soldier", "student", "surfer", "woman",
        "women",
    ),
    "Objects & Artifacts": (
        "bicycle", "book", "bottle", "camera", "car", "chair", "clock", "computer", "cup", "guitar",
        "jewelry", "lamp", "machine", "motorcycle", "painting", "phone", "piano", "pottery",
        "robot", "sculpture", "statue", "sword", "table", "tool", "toy", "typewriter", "vase",
        "watch",
    ),
    "Food": (
        "apple", "banana", "bread", "breakfast", "burger", "cake", "cheese", "chocolate", "coffee",
        "cookie", "dessert", "dish", "food", "fruit", "ice cream", "meal", "noodle", "pancake",
        "pasta", "pizza", "salad", "sandwich", "soup", "steak", "sushi", "tea", "vegetable",
    ),
    "Events": (
        "birthday", "carnival", "celebration", "ceremony", "christmas", "concert", "dinner party",
        "festival", "fireworks", "graduation", "halloween", "marathon", "market", "match", "parade",
        "party", "protest", "race", "wedding",
    ),
}  # fmt: skip

_PATTERNS = {
    name: re.compile(r"\b(?:" + "|".join(words) + r")(?:e?s)?\b", re.IGNORECASE)
    for name, words in CATEGORIES.items()
}


def categories_of(prompt: str) -> tuple[str, ...]:
    """Categories with a keyword in the prompt (plurals too), in the paper's order; maybe none."""
    return tuple(name for name, pattern in _PATTERNS.items() if pattern.search(prompt))
