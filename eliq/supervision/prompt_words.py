"""Word lists for prompt swaps: words of one list exclude each other as descriptions of one thing.

Small on purpose: a swap must be surely wrong, so broad words (animal, vehicle, person) and words
that may both be true of one picture are left out.
"""

from __future__ import annotations

__all__ = [
    "COLOUR_TARGETS",
    "COLOUR_WORDS",
    "FIXED_PHRASES",
    "IRREGULAR_PLURALS",
    "NEAR_COLOURS",
    "NUMBER_WORDS",
    "OBJECT_GROUPS",
    "PLACES",
    "RELATIONS",
    "SMALL_WORDS",
]

OBJECT_GROUPS: tuple[tuple[str, ...], ...] = (
    (
        "dog", "cat", "horse", "cow", "sheep", "elephant", "lion", "tiger", "bear", "fox", "wolf",
        "rabbit", "deer", "giraffe", "zebra", "monkey", "panda", "pig", "goat", "camel", "mouse",
        "squirrel", "owl", "eagle", "parrot", "penguin", "duck", "swan", "frog", "turtle", "snake",
        "shark", "dolphin", "whale", "butterfly", "bee", "spider", "dragon",
    ),
    (
        "car", "bus", "truck", "train", "bicycle", "motorcycle", "airplane", "helicopter",
        "sailboat", "submarine", "tractor", "scooter", "rocket", "tram",
    ),
    (
        "apple", "banana", "pear", "lemon", "strawberry", "pineapple", "watermelon", "pizza",
        "burger", "sandwich", "cake", "croissant", "pancake", "salad", "soup", "cookie", "carrot",
        "tomato", "mushroom", "avocado",
    ),
    ("chair", "sofa", "lamp", "wardrobe", "bookshelf", "mirror", "bathtub", "refrigerator"),
    ("man", "woman", "boy", "girl", "baby", "robot", "astronaut", "knight", "wizard", "clown"),
    ("guitar", "piano", "violin", "trumpet", "drum", "saxophone", "cello", "harp", "flute"),
    (
        "clock", "vase", "candle", "umbrella", "bottle", "teapot", "camera", "typewriter", "hammer",
        "sword", "key", "balloon", "kite", "lantern", "laptop", "book", "bucket", "basket",
    ),
    ("hat", "shirt", "dress", "jacket", "scarf", "shoe", "glove", "sweater"),
    ("rose", "sunflower", "tulip", "cactus", "palm tree", "pine tree", "daisy", "orchid"),
    ("castle", "lighthouse", "windmill", "church", "barn", "skyscraper", "temple", "igloo"),
    ("football", "basketball", "tennis racket", "skateboard", "surfboard", "snowboard"),
)  # fmt: skip
IRREGULAR_PLURALS = {
    "man": "men", "woman": "women", "mouse": "mice", "sheep": "sheep", "deer": "deer",
    "wolf": "wolves", "bookshelf": "bookshelves", "cactus": "cacti", "baby": "babies",
    "strawberry": "strawberries", "daisy": "daisies", "butterfly": "butterflies",
    "tomato": "tomatoes",
}  # fmt: skip

#: Words of colour and the plain colour that they are.
COLOUR_WORDS = {
    "red": "red", "crimson": "red", "scarlet": "red", "orange": "orange", "yellow": "yellow",
    "golden": "yellow", "green": "green", "emerald": "green", "blue": "blue", "navy": "blue",
    "turquoise": "blue", "teal": "blue", "purple": "purple", "violet": "purple", "pink": "pink",
    "brown": "brown", "black": "black", "white": "white", "grey": "grey", "gray": "grey",
    "silver": "grey",
}  # fmt: skip
COLOUR_TARGETS = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey",
)  # fmt: skip
#: Colours that people may call one another are never exchanged.
NEAR_COLOURS = {
    "red": ("orange", "pink", "brown", "purple"), "orange": ("red", "yellow", "brown"),
    "yellow": ("orange", "brown"), "green": ("blue",), "blue": ("purple", "green"),
    "purple": ("pink", "blue", "red"), "pink": ("purple", "red"),
    "brown": ("orange", "red", "yellow"), "black": ("grey",), "white": ("grey",),
    "grey": ("black", "white"),
}  # fmt: skip
#: Where a colour, number or object word is part of a name or of a manner, it stays.
FIXED_PHRASES = (
    "black and white", "black & white", "black-and-white", "white balance", "golden hour",
    "blue hour", "golden ratio", "golden gate", "white house", "red cross", "red carpet",
    "green screen", "black hole", "hot dog", "hot dogs", "teddy bear", "polar bear", "stop light",
    "one point perspective", "one-point perspective", "two-point perspective", "inside out",
    "mickey mouse", "computer mouse", "red wine", "white wine", "green tea", "black tea",
    "tennis shoe", "golden retriever",
    # Of things and one another, both or neither is true.
    "on top of one another", "on top of each other", "behind one another", "behind each other",
    "in front of one another", "in front of each other", "above one another", "above each other",
    "below one another", "below each other", "underneath one another", "underneath each other",
    "beneath one another", "beneath each other", "under one another", "under each other",
)  # fmt: skip

NUMBER_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

#: What is said, and what cannot be true at the same time.
RELATIONS = {
    "to the left of": ("to the right of",),
    "to the right of": ("to the left of",),
    "on the left of": ("on the right of",),
    "on the right of": ("on the left of",),
    "on the left": ("on the right",),
    "on the right": ("on the left",),
    "in front of": ("behind",),
    "behind": ("in front of",),
    "above": ("below",),
    "below": ("above",),
    "underneath": ("on top of",),
    "beneath": ("on top of",),
    "on top of": ("underneath",),
    "under": ("on top of",),
    "inside": ("outside",),
    "outside": ("inside",),
    "next to": ("on top of", "far away from"),
    "beside": ("on top of", "far away from"),
    "close to": ("far away from",),
    "far away from": ("right next to",),
    "surrounded by": ("far away from",),
}

#: class -> (words that name the place, the phrase that puts a picture there) a place.
PLACES: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "wild": (
        (("forest", "woods", "jungle", "rainforest"), "in a forest"),
        (("beach", "shore", "seaside"), "on a beach"),
        (("desert", "dunes"), "in a desert"),
        (("snow", "glacier", "snowfield"), "in the snow"),
        (("mountain", "mountains", "hill", "hills", "cliff", "valley"), "in the mountains"),
        (("meadow", "field", "grass", "grassland", "savanna"), "in a meadow"),
        (("lake", "river", "ocean", "sea", "water"), "on a lake"),
    ),
    "urban": (
        (("street", "road", "alley", "city", "downtown", "plaza", "park"), "on a city street"),
        (("train station", "subway station", "subway", "airport"), "in a train station"),
        (("parking lot", "gas station", "highway"), "in a parking lot"),
    ),
    "indoor": (
        (("kitchen",), "in a kitchen"),
        (("bedroom", "living room", "room"), "in a living room"),
        (("office", "classroom"), "in an office"),
        (("library", "museum", "gallery"), "in a library"),
        (("restaurant", "cafe", "bar", "bakery"), "in a restaurant"),
        (("gym", "garage", "workshop", "warehouse", "factory"), "in a garage"),
    ),
    "beyond": (
        (("space", "outer space", "moon", "mars", "galaxy"), "in outer space"),
        (("underwater", "coral reef", "seabed"), "at the bottom of the sea"),
    ),
}

#: Words after which, or before which, a noun phrase ends.
SMALL_WORDS = frozenset(
    "a an the and or but with without in on at by of for from to into onto over under above below "
    "behind beside between near next around across against along through during while as that "
    "which who wearing holding is are was were being inside outside beneath underneath front its "
    "his her their this these those surrounded lit made".split()
)
