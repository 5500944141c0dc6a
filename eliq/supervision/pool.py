"""Generated negatives, sorted by the positive that they belong to.

A prompt variant gives two things: a positive of its own, and a wrong prompt. The image of the
variant is no match for the prompt that the variant was made from, nor the other way round, so each
of the two prompts is right once and wrong once: its words alone tell nothing (section 3.2.3,
mismatched across prompt variants).
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SupervisionError
from ..prompts import clean_prompt
from .generated import KEPT_NAME, GeneratedNegative, read_generated
from .prompt_swaps import same_prompt
from .sources import Source

__all__ = ["Pool"]


@dataclass(frozen=True)
class Pool:
    """What generators made for the sources of a set.

    Attributes:
        negatives: by source, those that stand in for distortions.
        variants: images of prompt variants, as sources.
        partners: by source (a positive, or a variant), the prompts that it must not match.
        groups: by variant, the prompt that it was made from.
        sha256: of the list; "" without one.
    """

    negatives: dict[str, tuple[GeneratedNegative, ...]] = field(default_factory=dict)
    variants: list[Source] = field(default_factory=list)
    partners: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    sha256: str = ""

    @classmethod
    def of(cls, sources: Sequence[Source], folder: str | os.PathLike[str] | None) -> Pool:
        """Reads the list in a folder; None is an empty pool.

        Raises:
            SupervisionError: a damaged list, or one made of other positives or prompts.
        """
        if folder is None:
            return cls()
        prompts = {source.name: source.prompt for source in sources}
        negatives, partners = defaultdict(list), defaultdict(list)
        variants, groups = [], {}
        for row in read_generated(folder):
            if row.source not in prompts or not same_prompt(prompts[row.source], row.prompt):
                raise SupervisionError(
                    f"{folder}: {row.negative_id} was made of {row.source!r} with the prompt "
                    f"{row.prompt!r}, which is none of the positives: make the negatives anew"
                )
            if row.aspect != "alignment":
                negatives[row.source].append(row)
                continue
            variant = clean_prompt(row.generation_prompt).text
            name = f"variants/{row.negative_id}"
            if same_prompt(variant, row.prompt) or name in prompts:
                raise SupervisionError(
                    f"{folder}: {row.negative_id}: expected a variant of {row.prompt!r}, found "
                    f"{row.generation_prompt!r} under a name that is taken or with the same words"
                )
            variants.append(Source(name, row.path, variant))
            groups[name] = prompts[row.source]
            partners[name].append(prompts[row.source])
            partners[row.source].append(variant)
        return cls(
            {name: tuple(rows) for name, rows in negatives.items()},
            variants,
            {name: tuple(texts) for name, texts in partners.items()},
            groups,
            hashlib.sha256((Path(folder) / KEPT_NAME).read_bytes()).hexdigest(),
        )
