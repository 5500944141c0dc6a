"""Word lists of the taxonomy of prompts: sub-concepts with their keywords, hints, fixed phrases.

Words are in small letters and the singular; irregular plurals are listed beside them. A longer
phrase is read before the words in it: "street food" says nothing of a street. A word may belong to
several categories: a wedding cake is food and an event.
"""

from __future__ import annotations

__all__ = ["CONCEPTS", "HINTS", "NEUTRAL_PHRASES"]

#: Category -> sub-concept -> words that make the category certain.
CONCEPTS: dict[str, dict[str, tuple[str, ...]]] = {
    "Indoor Scenes": {
        "living rooms and bedrooms": (
            "armchair", "bedroom", "bookshelf", "bookshelves", "fireplace", "indoor", "indoors",
            "interior", "living room", "loft", "nursery", "sofa", "tiled stove", "windowsill",
        ),
        "kitchens and dining rooms": (
            "breakfast nook", "dining room", "dining table", "kitchen", "pantry", "pantries",
            "refrigerator", "stove",
        ),
        "bathrooms and laundry rooms": (
            "bathhouse", "bathroom", "bathtub", "laundry room", "sauna", "shower", "sink",
            "toothbrush",
        ),
        "offices, classrooms and libraries": (
            "classroom", "laboratory", "laboratories", "lecture hall", "library", "libraries",
            "office", "whiteboard",
        ),
        "workshops and studios": (
            "basement", "cobbler", "darkroom", "painter's studio", "recording studio",
            "workbench", "workshop",
        ),
        "cafes, restaurants and hotels": (
            "bar counter", "barista", "canteen", "diner", "hotel corridor", "hotel lobby",
            "restaurant", "tavern", "tea house",
        ),
        "museums, theatres and public halls": (
            "chapel", "foyer", "gallery", "galleries", "museum", "nave", "opera house", "theater",
            "theatre",
        ),
        "gyms, corridors and storage": (
            "attic", "ballroom", "cellar", "corridor", "gym", "hallway", "sports hall", "stairwell",
            "storeroom", "swimming pool", "tatami", "warehouse",
        ),
    },
    "Urban Scenes": {
        "streets and alleys": (
            "alley", "boulevard", "crosswalk", "pavement", "row house", "sidewalk", "street",
            "street lamp", "taxi",
        ),
        "skylines and towers": (
            "city", "cities", "cityscape", "clock tower", "downtown", "high-rise",
            "office building", "office tower", "rooftop", "skyline", "skyscraper", "tower block",
            "tower crane",
        ),
        "squares and parks": (
            "bandstand", "city park", "plaza", "public park", "street musician", "town hall",
            "town square", "village square",
        ),
        "bridges and waterfronts": (
            "canal", "container crane", "gondola-like", "harbour town", "harbour wall", "quay",
            "stone bridge", "suspension bridge",
        ),
        "trams, stations and airports": (
            "airport apron", "bus stop", "double-decker", "metro", "motorway", "railway platform",
            "roundabout", "subway", "train station", "tram",
        ),
        "shops and facades": (
            "antiques shop", "apartment building", "awning", "bookshop", "corner grocery", "facade",
            "shop window", "storefront",
        ),
        "night and weather in the city": (
            "elevated road", "phone booth", "traffic", "traffic light", "urban",
        ),
        "suburbs, towns and building sites": (
            "building site", "construction site", "construction worker", "gas station",
            "half-timbered", "loading dock", "suburb", "suburban", "terraced house",
            "timber-framed", "town", "water tower",
        ),
    },
    "Natural Scenes": {
        "mountains and valleys": (
            "alpine", "cliff", "glacier", "mountain", "peak", "ridge", "valley", "volcano",
            "volcanoes",
        ),
        "forests and woods": (
            "fir tree", "forest", "jungle", "oak tree", "pine tree", "rainforest", "snail", "woods",
        ),
        "coasts and seas": (
            "beach", "coast", "coral atoll", "coral reef", "dune", "lagoon", "ocean", "sea",
            "tide line", "tide pool",
        ),
        "rivers, lakes and waterfalls": (
            "cascade", "fjord", "jetty", "lake", "natural arch", "pond", "river delta", "riverbank",
            "stream", "waterfall", "winding river",
        ),
        "deserts and canyons": (
            "cacti", "cactus", "camel", "canyon", "cracked earth", "desert", "oases", "oasis",
            "salt flat", "savanna",
        ),
        "snow and ice": (
            "deep snow", "fresh snow", "iceberg", "northern lights", "penguin", "polar bear",
            "snowflake",
        ),
        "animals and wildlife": (
            "barn owl", "deer", "egret", "elephant", "kingfisher", "lion", "red fox", "roe deer",
            "sea turtle", "snow leopard", "spider", "wildlife", "wolf", "wolves", "zebra",
        ),
        "meadows, flowers and skies": (
            "hay bale", "hedgehog", "lavender", "lightning", "long grass", "meadow", "milky way",
            "poppies", "poppy", "rainbow", "rice field", "starry sky", "sunflower", "thistle",
            "wheat field", "wildflower",
        ),
    },
    "People & Activities": {
        "portraits": (
            "boy", "girl", "man", "men", "people", "person", "portrait", "woman", "women",
        ),
        "children and families": (
            "babies", "baby", "child", "children", "daughter", "families", "family", "father",
            "grandfather", "grandmother", "mother", "newborn", "relative", "sister", "toddler",
        ),
        "work and crafts": (
            "baker", "barber", "barista", "beekeeper", "blacksmith", "carpenter", "chef",
            "construction worker", "cook", "farmer", "firefighter", "fisherman", "fishermen",
            "florist", "judge", "mayor", "monk", "nurse", "pastry chef", "potter", "seamstress",
            "soldier", "surgeon", "teacher", "vendor", "waiter",
        ),
        "sports and exercise": (
            "basketball", "boxer", "climber", "cyclist", "diver", "fencer", "goalkeeper",
            "high jumper", "hiker", "kayaker", "marathon runner", "player", "rider", "runner",
            "sprinter", "surfer", "swimmer", "wheelchair racer", "yoga",
        ),
        "music and dance": (
            "acrobat", "actor", "brass band", "breakdancer", "clown", "conductor", "dancer",
            "drummer", "jazz trio", "juggler", "marching band", "musician", "singer",
            "stilt walker", "street musician", "string quartet", "violinist",
        ),
        "daily life and study": (
            "colleague", "commuter", "graduate", "neighbour", "pedestrian", "reader", "roommate",
            "student", "teenager", "tourist", "volunteer",
        ),
        "travel and outdoors": (
            "backpacker", "camper", "nomad", "traveller",
        ),
        "friends and older people": (
            "bride", "bridesmaid", "centenarian", "crowd", "elderly", "friend", "groom", "guest",
            "wedding couple",
        ),
    },
    "Objects & Artifacts": {
        "furniture and household things": (
            "blender", "candlestick", "carafe", "enamel mug", "grandfather clock",
            "household", "toaster",
        ),
        "tools and machines": (
            "gear", "hammer", "hand plane", "locomotive", "pocket watch", "screwdriver",
            "sewing machine", "wrench",
        ),
        "vehicles": (
            "canoe", "delivery van", "motorcycle", "rocket ship", "sports car", "tricycle",
        ),
        "musical instruments": (
            "accordion", "cello", "clarinet", "drumstick", "flute", "guitar", "organ pipe", "piano",
            "sitar", "tabla", "tambourine", "trumpet", "violin",
        ),
        "clothing and jewellery": (
            "embroidery", "jewellery", "jewelry", "shop dummy", "straw hat",
            "tweed jacket", "wristwatch",
        ),
        "toys and games": (
            "board game", "doll", "puzzle cube", "spinning top", "teddy bear", "toy",
            "wooden train", "yo-yo",
        ),
        "art and pottery": (
            "axe head", "bust", "celadon", "figurine", "hand-thrown", "pottery", "sculpture",
            "torso",
        ),
        "devices, books and stationery": (
            "folding camera", "fountain pen", "gramophone", "leather-bound", "magnifying glass",
            "radio", "rotary telephone", "stamp collector", "telescope", "typewriter",
        ),
    },
    "Food": {
        "bread and pastries": (
            "bagel", "baguette", "bread", "cinnamon roll", "croissant", "dinner roll", "dough",
            "flatbread", "loaf", "loaves", "pastry", "pastries", "pretzel",
        ),
        "fruit and vegetables": (
            "apple", "apricot", "artichoke", "banana", "beetroot", "blueberries", "blueberry",
            "carrot", "cherries", "cherry", "fig", "fruit", "grape", "grapefruit", "kale", "lemon",
            "pear", "pomegranate", "strawberries", "strawberry", "vegetable",
        ),
        "meat and fish": (
            "bacon", "lamb", "oyster", "paella", "roast chicken", "roast turkey", "salmon",
            "sausage", "sea bream", "seafood", "skewer", "steak",
        ),
        "noodles, rice and pasta": (
            "bibimbap", "dumpling", "fried rice", "noodle", "pasta", "ramen", "spaghetti", "sushi",
            "tagliatelle",
        ),
        "soups, stews and salads": (
            "broth", "curries", "curry", "salad", "soup", "stew", "tagine",
        ),
        "cakes and sweets": (
            "birthday cake", "cake", "chocolate", "cookie", "dessert", "doughnut", "gingerbread",
            "ice cream", "icing", "macaron", "meringue", "pastry chef", "tart", "wedding cake",
        ),
        "drinks": (
            "beer", "cappuccino", "cocktail", "iced tea", "juice", "lemonade", "milkshake",
            "red wine", "teapot",
        ),
        "breakfast and street food": (
            "bento", "boiled egg", "breakfast", "burger", "cheese", "crepe", "food", "fried egg",
            "fries", "meal", "pancake", "pizza", "sandwich", "street food", "taco", "toast",
        ),
    },
    "Events": {
        "weddings": (
            "bride", "bridesmaid", "groom", "wedding", "wedding cake", "wedding couple",
            "wedding ring",
        ),
        "birthdays and family celebrations": (
            "anniversary", "birthday", "birthday cake", "family reunion", "parties", "party",
            "pinata",
        ),
        "concerts and performances": (
            "circus", "concert", "festival", "orchestra", "performance", "stage lights",
            "string quartet",
        ),
        "sports events": (
            "cycling race", "finish line", "marathon", "marathon runner", "night match", "regatta",
            "rugby", "stadium", "tournament",
        ),
        "holidays and seasons": (
            "christmas", "christmas tree", "easter", "fireworks", "halloween", "new year's",
            "thanksgiving",
        ),
        "parades and festivals": (
            "brass band", "carnival", "marching band", "parade",
        ),
        "ceremonies and graduations": (
            "ceremonies", "ceremony", "funeral", "graduate", "graduation", "tea ceremony",
            "war memorial",
        ),
        "markets, fairs and gatherings": (
            "book fair", "carousel", "cattle market", "christmas market", "fair", "ferris wheel",
            "flea market", "open-air cinema", "protest",
        ),
    },
}  # fmt: skip

#: Category -> words that may point to it, or to something that merely stands in the picture.
HINTS: dict[str, tuple[str, ...]] = {
    "Indoor Scenes": (
        "airport", "bakery", "bakeries", "bed", "bench", "cafe", "carpet", "ceiling", "chandelier",
        "church", "counter", "curtain", "desk", "floor lamp", "greenhouse", "hall", "hospital",
        "operating table", "orchestra", "room", "shelf", "shelves", "stage", "string quartet",
        "studio", "table", "table tennis", "tray",
    ),
    "Urban Scenes": (
        "balcony", "balconies", "bridge", "building", "bus", "car", "church", "crowd", "fountain",
        "harbour", "house", "lane", "market", "neighbourhood", "neon sign", "park", "park bench",
        "parade", "promenade", "protest", "road", "roof", "shop", "square", "tower", "train",
        "village",
    ),
    "Natural Scenes": (
        "apple tree", "bear", "bird", "dandelion", "farm", "field", "flower", "fog", "fox",
        "garden", "granite", "grass", "gull", "heron", "hill", "hillside", "ice", "island", "leaf",
        "leaves", "moss", "mushroom", "night sky", "oak", "owl", "pine", "rain", "river", "rock",
        "rowing boat", "sand", "shell", "sky", "snow", "stone arch", "sunrise", "sunset", "tree",
        "wave", "wind",
    ),
    "People & Activities": (
        "author", "celebrating", "choir", "climbing", "couple", "customer", "dancing", "face",
        "generation", "hand", "host", "orchestra", "owner", "parade", "passenger", "protest",
        "reading", "referee", "running", "spectator", "swimming", "team", "teammate",
    ),
    "Objects & Artifacts": (
        "balloon", "basket", "bicycle", "boat", "book", "boot", "bottle", "bowl", "brush", "bucket",
        "camera", "candle", "car", "chair", "chess", "clock", "cup", "drum", "hat", "jar",
        "kettle", "kite", "lamp", "lantern", "laptop", "marble", "mask", "mirror", "monitor", "mug",
        "necklace", "newspaper", "painting", "ring", "robot", "scooter", "statue", "suitcase",
        "sweater", "table", "tool", "tractor", "truck", "umbrella", "vase",
    ),
    "Food": (
        "bakery", "bakeries", "butter", "coffee", "cook", "egg", "honey", "kitchen", "milk",
        "mushroom", "oil", "orange", "pepper", "picnic", "pumpkin", "restaurant", "tea", "tomato",
        "tomatoes", "wine",
    ),
    "Events": (
        "audience", "candle", "celebrating", "celebration", "confetti", "costume", "crowd", "final",
        "flag", "game", "lantern", "market", "match", "procession", "race", "stage",
    ),
}  # fmt: skip

#: Read before the words in them, and pointing nowhere.
NEUTRAL_PHRASES: tuple[str, ...] = (
    "apple green", "bird's-eye", "black and white", "cast-iron pan", "cast-iron skillet",
    "chocolate brown", "film photograph", "head of the table", "human being", "man-made",
    "mother-of-pearl", "oil painting", "orange light", "out of focus", "ring of light",
    "rocking horse", "salmon pink", "sand-coloured", "sea green", "sea salt", "sea urchin",
    "state of the art", "still life", "wine red",
)  # fmt: skip
