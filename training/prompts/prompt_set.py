"""A list of text-to-image prompts with their categories: the shipped one, or a user's own.

    {"id": "food-012", "prompt": "...", "category": "Food", "concept": "bakery",
     "categories": ["Food", "Indoor Scenes"], "style": "photograph", "num_objects": 2}

Only `prompt` is needed; what is left out is worked out from the text.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eliq.errors import PromptError
from eliq.prompts import clean_prompt
from eliq.supervision import CATEGORIES, categories_of

__all__ = ["SHIPPED_PATH", "Prompt", "read_prompts"]

#: 400 prompts written for this project.
SHIPPED_PATH = Path(__file__).with_name("prompts.jsonl")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True)
class Prompt:
    """One prompt and what it shows.

    Attributes:
        prompt_id: names files; letters, digits, dots, - and _.
        text: the prompt.
        category: the one it was written for, "" where nobody said and no keyword matches.
        categories: all that it shows, `category` among them, in the paper's order.
        concept: sub-concept of the category.
        style: the medium: "photograph", "watercolour", ...
        num_objects: how many main things are to be seen; 0 = not counted.

    Raises:
        PromptError: an empty text, an id that names no file, a category that is none.
    """

    prompt_id: str
    text: str
    category: str = ""
    categories: tuple[str, ...] = ()
    concept: str = ""
    style: str = ""
    num_objects: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.prompt_id, str) or not _ID.fullmatch(self.prompt_id):
            raise PromptError(
                f"id: expected letters, digits, dots, - and _, found {self.prompt_id!r}"
            )
        if not self.text:
            raise PromptError(f"{self.prompt_id}: expected a prompt, found an empty text")
        for name in (*self.categories, *([self.category] if self.category else [])):
            if name not in CATEGORIES:
                raise PromptError(
                    f"{self.prompt_id}: expected a category of {', '.join(CATEGORIES)}, found "
                    f"{name!r}"
                )
        if self.category and self.category not in self.categories:
            raise PromptError(f"{self.prompt_id}: its category is not among its categories")

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.prompt_id,
            "prompt": self.text,
            "category": self.category,
            "concept": self.concept,
            "categories": list(self.categories),
            "style": self.style,
            "num_objects": self.num_objects,
        }

    @classmethod
    def from_text(cls, text: str) -> Prompt:
        """A prompt of which the text alone is known: id by its hash, categories by keywords."""
        return cls.from_json({"prompt": text})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Prompt:
        """Keys as in the module's head; `text` is understood in place of `prompt`.

        Raises:
            PromptError: no prompt, or a value of a wrong type.
        """
        text = data.get("prompt", data.get("text"))
        if not isinstance(text, str):
            raise PromptError(f'expected "prompt" to be text, found {type(text).__name__}')
        text = clean_prompt(text).text
        categories = data.get("categories")
        if categories is None:
            categories = categories_of(text)
            if data.get("category"):
                categories = {*categories, data["category"]}
        if isinstance(categories, str) or not all(isinstance(one, str) for one in categories):
            raise PromptError(f'expected "categories" to be a list of texts, found {categories!r}')
        known = [one for one in CATEGORIES if one in categories]
        unknown = sorted(set(categories) - set(known))
        category = data.get("category", known[0] if known else "")
        num_objects = data.get("num_objects", 0)
        if not isinstance(num_objects, int) or isinstance(num_objects, bool) or num_objects < 0:
            raise PromptError(f'expected "num_objects" to be a count, found {num_objects!r}')
        return cls(
            prompt_id=data.get("id") or _hash_id(text),
            text=text,
            category=category or "",
            categories=(*known, *unknown),
            concept=str(data.get("concept") or ""),
            style=str(data.get("style") or ""),
            num_objects=num_objects,
        )


def read_prompts(path: str | os.PathLike[str] | None = None) -> list[Prompt]:
    """The prompts of a file, in order.

    Args:
        path: JSON lines; or `.txt` with a prompt a line; None = the shipped 400.

    Raises:
        PromptError: a file that cannot be read, that holds none, a line that is no prompt, or an id
            that occurs twice.
    """
    path = SHIPPED_PATH if path is None else Path(path)
    try:
        # Not splitlines: a prompt may hold other line separators of Unicode.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise PromptError(f"{path}: expected a list of prompts, found none ({reason})") from error
    except UnicodeDecodeError as error:
        raise PromptError(f"{path}: expected UTF-8 text") from error
    prompts: dict[str, Prompt] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            prompt = Prompt.from_json(_row(line, is_text=path.suffix.lower() == ".txt"))
        except PromptError as error:
            raise PromptError(f"{path}, line {number}: {error}") from None
        if prompt.prompt_id in prompts:
            raise PromptError(f"{path}, line {number}: id {prompt.prompt_id!r} occurs twice")
        prompts[prompt.prompt_id] = prompt
    if not prompts:
        raise PromptError(f"{path}: expected a list of prompts, found an empty file")
    return list(prompts.values())


def _row(line: str, *, is_text: bool) -> dict[str, Any]:
    if is_text:
        return {"prompt": line}
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise PromptError('expected an object with "prompt"')
    return row


def _hash_id(text: str) -> str:
    return "p-" + hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:12]
