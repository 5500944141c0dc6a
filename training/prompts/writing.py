"""The loop that asks a model for prompts and keeps those that pass.

Each request is for one sub-concept and one length. Sub-concepts have equal shares of the prompts
wanted; of those that lack some, the one that was asked for least often is next. All follows from
the seed and from what was kept before, so a run that was killed and goes on ends with the same list
as one that was not.

    OUT.requests.jsonl   settings, then a line a request: what was kept, what was rejected and why
    OUT                  the prompts kept, as `read_prompts` reads them
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from eliq.errors import ConfigError, PromptError, TrainingError

from ..journal import Journal, write_lines
from ..stop_request import StopRequest
from .chat import Chat
from .checks import Rules, content_words, prompt_faults, similarity
from .labels import assign_categories, chat_refiner
from .prompt_set import Prompt
from .taxonomy import CATEGORIES, CATEGORY_RULES, COMMON_RULES, CONCEPTS, LENGTHS, STYLES

__all__ = ["WritingConfig", "write_prompts"]

_PER_REQUEST = 8
_BULLET = re.compile(r"^\s*(?:\d+[.):]|[-*\u2022])\s*")
# Category by category in turn, so that a short list is balanced too.
_PAIRS = tuple(
    (category, concept)
    for concepts in zip(*CONCEPTS.values(), strict=True)
    for category, concept in zip(CONCEPTS, concepts, strict=True)
)


@dataclass(frozen=True)
class WritingConfig:
    """How many prompts are wanted (`num`), of which model, from which seed.

    `max_requests` 0 = five times the number that would do if every line passed.

    Raises:
        ConfigError: a number below what it may be.
    """

    num: int = 400
    seed: int = 0
    max_requests: int = 0
    model: str = ""

    def __post_init__(self) -> None:
        for name, least in (("num", 1), ("seed", 0), ("max_requests", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}: expected {least} or more, found {getattr(self, name)}")

    @property
    def request_limit(self) -> int:
        return self.max_requests or 5 * (self.num // _PER_REQUEST + len(_PAIRS))


def write_prompts(
    chat: Chat,
    out: str | os.PathLike[str],
    config: WritingConfig,
    *,
    existing: Sequence[Prompt] = (),
    rules: Rules | None = None,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Asks until `config.num` prompts are kept or the requests are used up.

    Returns:
        num_kept, num_requests, num_by_category, rejected (reason -> count), stopped.

    Raises:
        TrainingError: `out` was begun with other settings.
    """
    out, rules = Path(out), rules or Rules()
    with (
        Journal(out.with_name(out.name + ".requests.jsonl")) as journal,
        tqdm(total=config.num, desc="prompts", disable=None if progress else True) as bar,
    ):
        _check_settings(journal, config, rules, existing)
        kept, rejected = _so_far(journal)
        bar.update(len(kept))
        words = [content_words(prompt.text) for prompt in (*existing, *kept)]
        stopped = False
        while len(kept) < config.num and len(journal.rows) - 1 < config.request_limit:
            if stop is not None and stop.requested:
                stopped = True
                break
            number = len(journal.rows) - 1
            pair, lacking, length = _next_request(journal.rows[1:], kept, config.num)
            category, concept = pair
            seed = _seed(config.seed, number)
            reply = chat(_message(category, concept, length, kept), seed=seed)
            row: dict[str, Any] = {"request": number, "category": category, "concept": concept}
            row |= {"length": length, "kept": [], "rejected": []}
            for text in _lines(reply):
                if len(row["kept"]) == lacking:
                    break
                made = _prompt(text, category, concept, chat, seed, rules, words)
                if isinstance(made, str):
                    row["rejected"].append([text[:300], made])
                    continue
                row["kept"].append(made.to_json())
                kept.append(made)
                words.append(content_words(made.text))
                bar.update()
            rejected.update(_reason(reason) for _, reason in row["rejected"])
            journal.append(row)
        num_requests = len(journal.rows) - 1
    write_lines(out, [prompt.to_json() for prompt in kept])
    counts = Counter(prompt.category for prompt in kept)
    return {
        "num_kept": len(kept),
        "num_requests": num_requests,
        "num_by_category": {name: counts[name] for name in CATEGORIES},
        "rejected": dict(rejected.most_common()),
        "stopped": stopped,
    }


def _prompt(
    text: str,
    category: str,
    concept: str,
    chat: Chat,
    seed: int,
    rules: Rules,
    words: Sequence[frozenset[str]],
) -> Prompt | str:
    """The prompt of one line of a reply, or why it is none."""
    own = content_words(text)
    if any(similarity(own, other) > rules.max_similarity for other in words):
        return "too much like another prompt"
    labels = assign_categories(text, chat_refiner(chat, seed=seed))
    if category not in labels.categories:
        return f"does not show {category}"
    data = {"prompt": text, "category": category, "concept": concept, "style": _style(text)}
    try:
        prompt = Prompt.from_json({**data, "categories": labels.categories})
    except PromptError as error:
        return str(error)
    faults = prompt_faults(prompt, rules)
    return faults[0] if faults else prompt


def _message(category: str, concept: str, length: str, kept: Sequence[Prompt]) -> str:
    least, most = LENGTHS[length]
    recent = [prompt.text for prompt in kept if prompt.concept == concept][-4:]
    rules = "\n".join(f"- {rule}" for rule in (*CATEGORY_RULES[category], *COMMON_RULES))
    avoid = "".join(f"\nUnlike: {text}" for text in recent)
    return (
        f"Write {_PER_REQUEST} descriptions of pictures for a text-to-image model, one a line.\n"
        f"Category: {category}\nSub-concept: {concept}\n"
        f"Each has {least} to {most} words. They differ from one another in what is shown, in how "
        "many things there are (one, two, three, a crowd), in place, light and words. Most are "
        f"photographs, which need not say so; at most one is another medium ({', '.join(STYLES)}), "
        f"which it names first.\n{rules}{avoid}"
    )


def _lines(reply: str) -> list[str]:
    """The candidates of a reply: numbers, bullets and quotation marks gone."""
    reply = re.sub(r"<think>.*?(</think>|$)", "\n", reply, flags=re.DOTALL)
    found = []
    for line in reply.splitlines():
        text = " ".join(_BULLET.sub("", line).replace("**", "").split())
        text = text.strip("\"'\u201c\u201d ").rstrip(".")
        if text:
            found.append(text)
    return found


def _next_request(
    requests: Sequence[dict[str, Any]], kept: Sequence[Prompt], num: int
) -> tuple[tuple[str, str], int, str]:
    """(category, sub-concept), how many prompts it lacks, and the length to ask for."""
    counts = Counter((prompt.category, prompt.concept) for prompt in kept)
    asked = Counter((row["category"], row["concept"]) for row in requests)
    share, rest = divmod(num, len(_PAIRS))
    lacking = {pair: share + (place < rest) - counts[pair] for place, pair in enumerate(_PAIRS)}
    pair = min((pair for pair in _PAIRS if lacking[pair] > 0), key=lambda pair: asked[pair])
    return pair, lacking[pair], list(LENGTHS)[len(requests) % len(LENGTHS)]


def _style(text: str) -> str:
    start = text.lower()[:60]
    named = [style for style in STYLES if style.lower() in start]
    return max(named, key=len) if named else "photograph"


def _reason(text: str) -> str:
    """A reason without what is particular to one prompt, to count by."""
    return re.sub(r"^\d+ words.*", "length", text.split(":")[0])


def _seed(base: int, number: int) -> int:
    digest = hashlib.sha256(f"{base} {number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _so_far(journal: Journal) -> tuple[list[Prompt], Counter]:
    rows = journal.rows[1:]
    kept = [Prompt.from_json(one) for row in rows for one in row["kept"]]
    rejected = Counter(_reason(reason) for row in rows for _, reason in row["rejected"])
    return kept, rejected


def _check_settings(
    journal: Journal, config: WritingConfig, rules: Rules, existing: Sequence[Prompt]
) -> None:
    """The first row says what the requests were made with; more may be wanted of the same."""
    ids = " ".join(sorted(prompt.prompt_id for prompt in existing))
    settings = {
        **{k: v for k, v in asdict(config).items() if k in ("seed", "model")},
        "rules": asdict(rules),
        "existing_sha256": hashlib.sha256(ids.encode()).hexdigest(),
    }
    if not journal.rows:
        journal.append({"settings": settings})
    saved = journal.rows[0].get("settings") or {}
    for key, value in settings.items():
        if saved.get(key) != value:
            raise TrainingError(
                f"{journal.path}: begun with {key} {saved.get(key)!r}, found {value!r}: restore "
                "it or choose another list to write"
            )
