"""``--prompts FILE``: which prompt belongs to which image of a folder, told by their paths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from ..errors import BulkError
from .items import Item
from .listing import iterate_manifest, path_key

__all__ = ["PromptFile"]

_AMBIGUOUS = object()  # rows with different prompts name one file


class PromptFile:
    """The prompts of a .csv, .jsonl or .parquet; paths in it are relative to it.

    A row and an image belong together if they name the same path. Only where no row does are links
    followed: first those of folders, then a link to a file that a row names, or the other way
    round. Two links to one file stay two images, each with its own prompt.

    Attributes:
        num_images: that were asked for since the listing began.
        num_without: those of them without a prompt here.

    Raises:
        BulkError: a file that cannot be read, or is of another kind.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._rows = {path_key(name): (name, prompt) for name, prompt in iterate_manifest(path)}
        self._followed: tuple[dict[str, object], dict[str, object]] | None = None
        self._folder = lru_cache(maxsize=4096)(os.path.realpath)
        self.num_images = self.num_without = 0

    def prompt_of(self, path: str) -> str | None:
        """The prompt of an image; None where no row gives one, or rows contradict each other."""
        prompt = self._find(path)
        self.num_images += 1
        self.num_without += prompt is None
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

    def counted(self, items: Iterator[Item], limit: int | None) -> Iterator[Item]:
        """The first ``limit`` of ``items``, whose prompts `prompt_of` gives as they are listed.

        Raises:
            BulkError: there are images, and this file has a prompt for none of them.
        """
        self.num_images = self.num_without = 0
        last: Item | None = None
        for item in islice(items, limit):
            if last is not None:
                yield last
            last = item
        # Before the last image: who takes no more than ``limit`` does not ask for what follows it.
        if self.num_images and self.num_without == self.num_images:
            raise BulkError(
                f"{self._path}: no prompt for any of the {self.num_images} images: expected their "
                f"paths, relative to this file, {self._found()}"
            )
        if last is not None:
            yield last

    def _found(self) -> str:
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


def _add(known: dict[str, object], key: str, prompt: str) -> None:
    known[key] = prompt if known.get(key, prompt) == prompt else _AMBIGUOUS
