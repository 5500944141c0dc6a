"""The taxonomy that prompts are written for: seven categories (section 3.2.1), their sub-concepts
and the rules of each. The words that recognise them stand in `eliq.supervision.taxonomy`.

The paper's own sub-concepts and rules are in an appendix that is not public: these are ours.
"""

from __future__ import annotations

from eliq.supervision.taxonomy import CATEGORIES, CONCEPTS

__all__ = ["CATEGORIES", "CATEGORY_RULES", "COMMON_RULES", "CONCEPTS", "LENGTHS", "STYLES"]

#: What holds for every prompt (the paper: realistic content, a length limit).
COMMON_RULES = (
    "Describe one picture of something that could exist and be photographed, or be drawn as it is.",
    "Say what is to be seen: things, how many, colours, where they stand to one another, light.",
    "No word about how good the picture is, no camera brands, no resolution, no web site.",
    "No names of living people, artists, films, brands or characters; no text to be written out.",
    "No violence, nudity, or anything that shames people.",
    "One sentence or phrase of plain English, without a full stop, quotation marks or numbering.",
)

#: What makes a prompt one of its category.
CATEGORY_RULES: dict[str, tuple[str, ...]] = {
    "Indoor Scenes": (
        "The room is the subject: its furniture, surfaces and light, seen from within.",
        "People and animals may be in it, but small or busy with something of the room.",
    ),
    "Urban Scenes": (
        "A place made by people, outdoors: streets, buildings, stations, harbours, suburbs.",
        "Name the part of a city and the time of day or weather, not the name of the city.",
    ),
    "Natural Scenes": (
        "Land, water, sky, plants or wild animals are the subject.",
        "Buildings and people at most small in the picture.",
    ),
    "People & Activities": (
        "One or more people are the subject, and what they do, or their faces.",
        "Ages, places and occupations vary; say what the hands and bodies do.",
    ),
    "Objects & Artifacts": (
        "One thing or a few made by people are the subject, close enough to show material.",
        "Place them against each other (left of, on top of, behind) where there are several.",
    ),
    "Food": (
        "A dish, ingredient or drink is the subject, ready to be eaten or being made.",
        "Say what is on or in what, and its texture.",
    ),
    "Events": (
        "Something that happens at a certain time: a feast, match, ceremony, fair, performance.",
        "Show a moment of it, so that the event can be told from the picture alone.",
    ),
}

#: Lengths in words, from and to; SD 1.x and the CLIP encoders of SD 3.5 and FLUX read 77 tokens,
#: which 48 words of such prompts stay below.
LENGTHS: dict[str, tuple[int, int]] = {"short": (4, 10), "medium": (11, 22), "long": (23, 48)}

#: The medium a prompt names; most are photographs, which need not say so.
STYLES = (
    "photograph", "macro photograph", "aerial photograph", "black and white photograph",
    "film photograph", "studio photograph", "watercolour", "oil painting", "drawing",
    "illustration", "3D render",
)  # fmt: skip
