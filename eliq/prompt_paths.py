"""Which row of a list of prompts belongs to an image, told by their paths."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from .errors import PromptError

__all__ = ["PromptPaths", "path_key"]

_AMBIGUOUS = object()  # rows with different prompts lead to one file


class PromptPaths:
    """Prompts by path.

    A row and an image belong together if they name the same path. Only where no row does are links
    followed: first those of folders, then a link to a file that a row names, or the other way
    round. Two links to one file stay two images, each with its own prompt.

    Args:
        rows: (path, prompt), the paths as they are reached from here.
        list_path: the file that they are from, for the error.

    Attributes:
        is_used: a prompt was found here for an image.

    Raises:
        PromptError: two rows name one path with different prompts.
    """

    def __init__(self, rows: Iterable[tuple[str, str | None]], list_path: str) -> None:
        self._rows: dict[str, tuple[str, str | None]] = {}
        for name, prompt in rows:
            key = path_key(name)
            known = self._rows.get(key, (name, None))[1]
            if known is not None and prompt is not None and known != prompt:
                raise PromptError(
                    f"{list_path}: two rows give {name} different prompts; keep one of them"
                )
            self._rows[key] = (name, prompt if known is None else known)
        self.is_used = False
        self._followed: tuple[dict[str, object], dict[str, object]] | None = None
        self._folder = lru_cache(maxsize=4096)(os.path.realpath)

    def prompt_of(self, path: str) -> str | None:
        """The prompt of an image; None where no row gives one, or links lead to several."""
        prompt = self._find(path)
        self.is_used |= prompt is not None
        return prompt

    def _find(self, path: str) -> str | None:
        if (row := self._rows.get(path_key(path))) is not None:
            return row[1]
        if self._followed is None:
            self._followed = self._follow_links()
        places, targets = self._followed
        place, target = self._place(path), path_key(os.path.realpath(path))
        for known, key in ((places, place), (places, target), (targets, place)):
            if (found := known.get(key)) is not None:
                return found if isinstance(found, str) else None
        return None

    def example(self) -> str:
        """What to say was found in the list, where nothing fits."""
        for name, prompt in self._rows.values():
            return f"found {name!r}" + ("" if prompt else " without a prompt")
        return "found no row"

    def _follow_links(self) -> tuple[dict[str, object], dict[str, object]]:
        """Prompts by where the rows' paths lie, and by what those that are links lead to."""
        places: dict[str, object] = {}
        targets: dict[str, object] = {}
        for name, prompt in self._rows.values():
            if prompt is not None and "\0" not in name:
                _add(places, self._place(name), prompt)
                if os.path.islink(name):
                    _add(targets, path_key(os.path.realpath(name)), prompt)
        return places, targets

    def _place(self, path: str) -> str:
        folder, name = os.path.split(path)
        return path_key(os.path.join(self._folder(folder), name))


def path_key(path: str) -> str:
    """``path`` in a form in which the same path, written in two ways, is the same text."""
    # macOS lists names decomposed while a list has them composed.
    return unicodedata.normalize("NFC", os.path.normcase(os.path.abspath(path)))


def _add(known: dict[str, object], key: str, prompt: object) -> None:
    known[key] = prompt if known.get(key, prompt) == prompt else _AMBIGUOUS
