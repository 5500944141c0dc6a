"""``--prompts FILE``: which prompt belongs to which image of a folder, told by their paths."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from ..errors import BulkError, PromptError
from ..prompt_paths import PromptPaths
from .items import Item
from .listing import iterate_manifest

__all__ = ["PromptFile"]


class PromptFile:
    """The prompts of a .csv, .jsonl or .parquet; paths in it are relative to it.

    Attributes:
        num_images: that were asked for since the listing began.
        num_without: those of them without a prompt here.

    Raises:
        BulkError: a file that cannot be read, is of another kind, or contradicts itself.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._prompts = PromptPaths(iterate_manifest(path), path)
        except PromptError as error:
            raise BulkError(str(error)) from error
        self.num_images = self.num_without = 0

    def prompt_of(self, path: str) -> str | None:
        """The prompt of an image; None where no row gives one, or links lead to several."""
        prompt = self._prompts.prompt_of(path)
        self.num_images += 1
        self.num_without += prompt is None
        return prompt

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
                f"paths, relative to this file, {self._prompts.example()}"
            )
        if last is not None:
            yield last
