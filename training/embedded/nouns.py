"""The vocabulary of the rendered scenes: nouns with their emoji, shapes, colours, plurals.

The order matters: a curriculum takes the first `num_objects` nouns and the first `num_colours`
colours, so the lists begin with what differs most in silhouette and colour. Only single code
points are used, which every text layout of the font renders alike.
"""

from __future__ import annotations

# (noun, emoji, category); the first 25 are as far from one another as we could choose by eye.
_TABLE = """
apple 🍎 food; car 🚗 vehicle; frog 🐸 animal; tree 🌳 plant; guitar 🎸 music; house 🏠 building;
fish 🐟 animal; banana 🍌 food; soccer ball ⚽ sport; rocket 🚀 vehicle; butterfly 🦋 animal;
umbrella ☂ object; mushroom 🍄 plant; bicycle 🚲 vehicle; alarm clock ⏰ object; pizza 🍕 food;
snowman ⛄ object; balloon 🎈 object; penguin 🐧 animal; key 🔑 object; sunflower 🌻 plant;
book 📕 object; cat 🐱 animal; carrot 🥕 food; sailboat ⛵ vehicle;
ladybug 🐞 animal; cactus 🌵 plant; camera 📷 object; burger 🍔 food; elephant 🐘 animal;
bus 🚌 vehicle; octopus 🐙 animal; drum 🥁 music; ice cream 🍦 food; crown 👑 object;
airplane ✈ vehicle; fox 🦊 animal; grapes 🍇 food; basketball 🏀 sport; castle 🏰 building;
turtle 🐢 animal; hat 🎩 object; tulip 🌷 plant; helicopter 🚁 vehicle; cake 🎂 food;
trumpet 🎺 music; pig 🐷 animal; lamp 💡 object; watermelon 🍉 food; whale 🐳 animal;
train 🚂 vehicle; scissors ✂ object; chicken 🐔 animal; tent ⛺ building; corn 🌽 food;
violin 🎻 music; shirt 👕 object; bee 🐝 animal; tractor 🚜 vehicle; robot 🤖 object;
snail 🐌 animal; donut 🍩 food; bell 🔔 object; palm tree 🌴 plant; panda 🐼 animal;
saxophone 🎷 music; trophy 🏆 sport; strawberry 🍓 food; owl 🦉 animal; truck 🚚 vehicle;
dog 🐶 animal; gift 🎁 object; lemon 🍋 food; crab 🦀 animal; television 📺 object;
tennis racket 🎾 sport; motorcycle 🏍 vehicle; cookie 🍪 food; lion 🦁 animal; chair 🪑 object;
dolphin 🐬 animal; maple leaf 🍁 plant; egg 🥚 food; bear 🐻 animal; teddy bear 🧸 object;
ship 🚢 vehicle; pumpkin 🎃 food; spider 🕷 animal; microphone 🎤 music; rose 🌹 plant;
horse 🐴 animal; dress 👗 object; pear 🍐 food; snake 🐍 animal; telephone ☎ object;
dice 🎲 object; tomato 🍅 food; monkey 🐵 animal; hammer 🔨 object; scooter 🛵 vehicle;
shark 🦈 animal; avocado 🥑 food; christmas tree 🎄 plant; duck 🦆 animal; laptop 💻 object;
kite 🪁 sport; hot dog 🌭 food; camel 🐪 animal; magnet 🧲 object; parrot 🦜 animal;
shopping cart 🛒 object; sandwich 🥪 food; koala 🐨 animal; shoe 👟 object; squid 🦑 animal;
tower 🗼 building; croissant 🥐 food; giraffe 🦒 animal; candle 🕯 object; taxi 🚕 vehicle;
rugby ball 🏉 sport; kiwi 🥝 food; rabbit 🐰 animal; bucket 🪣 object; lobster 🦞 animal;
piano 🎹 music; pineapple 🍍 food; tiger 🐯 animal; backpack 🎒 object; scorpion 🦂 animal;
church ⛪ building; broccoli 🥦 food; unicorn 🦄 animal; globe 🌍 object; flamingo 🦩 animal;
fire engine 🚒 vehicle; eggplant 🍆 food; mouse 🐭 animal; hourglass ⌛ object; peacock 🦚 animal;
ambulance 🚑 vehicle; peach 🍑 food; wolf 🐺 animal; padlock 🔒 object; sheep 🐑 animal;
volleyball 🏐 sport; pretzel 🥨 food; crocodile 🐊 animal; teapot 🫖 object; swan 🦢 animal;
baseball ⚾ sport; cupcake 🧁 food; hedgehog 🦔 animal; glasses 👓 object; eagle 🦅 animal;
skateboard 🛹 sport; lollipop 🍭 food; kangaroo 🦘 animal; toothbrush 🪥 object; bat 🦇 animal;
hot pepper 🌶 food; ant 🐜 animal; wine glass 🍷 object; shell 🐚 animal; coconut 🥥 food
"""

PLURALS = {
    "fish": "fish", "sheep": "sheep", "grapes": "grapes", "scissors": "scissors",
    "glasses": "glasses", "mouse": "mice", "wolf": "wolves", "maple leaf": "maple leaves",
    "octopus": "octopuses", "dice": "dice", "strawberry": "strawberries",
    "butterfly": "butterflies", "sandwich": "sandwiches",
}  # fmt: skip
# Nouns that are plural in form: "a bunch of grapes", never "a grapes".
MEASURES = {
    "grapes": ("bunch", "bunches"),
    "scissors": ("pair", "pairs"),
    "glasses": ("pair", "pairs"),
}

NOUNS: tuple[str, ...] = ()
EMOJI: dict[str, str] = {}
CATEGORY: dict[str, str] = {}
for _entry in _TABLE.replace("\n", " ").split(";"):
    *_words, _emoji, _category = _entry.split()
    _noun = " ".join(_words)
    NOUNS += (_noun,)
    EMOJI[_noun] = _emoji
    CATEGORY[_noun] = _category

SHAPES = ("circle", "star", "square", "triangle", "heart", "cross", "ring", "diamond")

# sRGB 0..255
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 38),
    "blue": (36, 84, 214),
    "yellow": (248, 212, 34),
    "green": (40, 150, 56),
    "white": (244, 244, 244),
    "black": (30, 30, 32),
    "purple": (128, 46, 172),
    "orange": (244, 132, 24),
    "pink": (248, 138, 188),
    "brown": (122, 76, 40),
}

# Emoji that stay recognisable in a single hue, so that "a green car" can be drawn.
TINTABLE = frozenset(
    "car;fish;balloon;umbrella;book;key;butterfly;cat;house;frog;mushroom;sailboat;bicycle;guitar;"
    "elephant;bus;hat;tulip;whale;shirt;bell;dog;chair;turtle;octopus;rose;dress;duck;shoe;truck;"
    "rabbit;bucket;teapot;crown;gift;airplane;pig;bear;owl;snail".split(";")
)


def plural(noun: str) -> str:
    """The plural of one noun of the vocabulary (last word inflected)."""
    if noun in PLURALS:
        return PLURALS[noun]
    if noun.endswith(("s", "sh", "ch", "x")):
        return noun + "es"
    if noun == "tomato":
        return "tomatoes"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def article(words: str) -> str:
    """`words` with "a" or "an" in front."""
    vowel = words[0] in "aeiou" and not words.startswith(("unicorn", "uni", "one"))
    return f"{'an' if vowel else 'a'} {words}"


def noun_phrase(noun: str, colour: str | None, count: int, *, digits: bool = False) -> str:
    """E.g. "two red stars", "an apple", "3 bunches of grapes"; count in 1..9."""
    one, many = noun, plural(noun)
    if colour is not None:
        one, many = f"{colour} {one}", f"{colour} {many}"
    if noun in MEASURES:
        single, several = MEASURES[noun]
        one, many = f"{single} of {one}", f"{several} of {many}"
    if digits:
        return f"{count} {one if count == 1 else many}"
    words = ("", "", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return article(one) if count == 1 else f"{words[count]} {many}"
