"""A supervision set, split by prompt.

The set is what `eliq.supervision` writes: tuples of Eq. 1 in `manifest.jsonl` and severity ladders
in `ladders.jsonl` beside it. The split goes by a hash of the prompt, so that all images of a prompt
fall on one side, whichever generators and seeds made them; prompts of the very same picture are
one. No crop, distortion or ladder of a held-out image is ever trained on, and stage 1, stage 2 and
the calibration hold out the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from eliq.errors import SupervisionError, TrainingError
from eliq.supervision import (
    LadderRow,
    TupleRow,
    bare_prompt,
    read_ladders,
    read_manifest,
    shuffled_prompt,
)

__all__ = ["ASPECTS", "LadderRow", "Supervision", "TupleRow", "read_supervision"]

ASPECTS = ("technical", "aesthetic", "alignment")


@dataclass(frozen=True)
class Supervision:
    """Rows of one set, or of one side of its split; `sha256` is the whole set's.

    `left_out` are (tuple_id, aspect) of the negatives that nothing is trained or selected on, as
    an ablation leaves them out: the aspect is then not asked of that tuple at all, of its positive
    neither. Empty in every other run.
    """

    tuples: tuple[TupleRow, ...]
    ladders: tuple[LadderRow, ...]
    sha256: str
    left_out: frozenset[tuple[str, str]] = frozenset()

    def __add__(self, other: Supervision) -> Supervision:
        """The rows of both sides of a split."""
        return replace(
            self,
            tuples=self.tuples + other.tuples,
            ladders=self.ladders + other.ladders,
            left_out=self.left_out | other.left_out,
        )

    def aspects(self, row: TupleRow) -> tuple[str, ...]:
        """The aspects whose negative in this tuple is trained on."""
        return tuple(name for name in ASPECTS if (row.tuple_id, name) not in self.left_out)

    @property
    def rows_sha256(self) -> str:
        """Which rows these are, in which order, with which prompts, and what is left out."""
        rows = [[row.tuple_id, row.prompt, row.negative_prompt] for row in self.tuples]
        rows += [[row.ladder_id, row.prompt] for row in self.ladders]
        rows += [["left out", *pair] for pair in sorted(self.left_out)]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def split(self, held_out_share: float, *, seed: int = 0) -> tuple[Supervision, Supervision]:
        """(training, held out), disjoint in prompts and so in images; at least one on each side.

        `held_out_share` is that of the prompts; prompts that differ only in capitals, spaces and
        closing punctuation are one, and so are a prompt and its generated variants
        (`prompt_group`) and prompts of one positive, byte for byte. A shuffled prompt that came
        from the other side is drawn anew from its own; where that has no other prompt, it stays.

        Raises:
            TrainingError: fewer than two prompts that share no picture, or a share outside 0..1.
        """
        if not 0 < held_out_share < 1:
            raise TrainingError(
                f"held_out_share: expected a number between 0 and 1, found {held_out_share}"
            )
        groups = {bare_prompt(row.prompt): row.prompt_group for row in self.tuples}
        joined = _joined_by_pictures(self.tuples)

        def hash_of(prompt: str) -> str:
            group = bare_prompt(groups.get(bare_prompt(prompt)) or prompt)
            return _hash(joined.get(group, group), seed)

        # Only prompts of tuples are counted, so that each side has some.
        hashes = sorted({hash_of(row.prompt) for row in self.tuples})
        if len(hashes) < 2:
            raise TrainingError(
                "a held-out split needs images of at least 2 prompts that share no picture, found "
                f"{len(hashes)}"
            )
        number = min(len(hashes) - 1, max(1, round(held_out_share * len(hashes))))
        # The prompt of a ladder that has no tuple falls by the same threshold.
        threshold = hashes[number - 1]

        def is_held_out(prompt: str) -> bool:
            return hash_of(prompt) <= threshold

        def side(held_out: bool) -> Supervision:
            tuples = [row for row in self.tuples if is_held_out(row.prompt) == held_out]
            ladders = [row for row in self.ladders if is_held_out(row.prompt) == held_out]
            prompts = sorted({row.prompt for row in (*tuples, *ladders)})
            for i, row in enumerate(tuples):
                crosses = is_held_out(row.negative_prompt) != held_out
                if row.negative_prompt_kind == "shuffle" and crosses:
                    draw = int(_hash(row.tuple_id, seed)[:16], 16)
                    other = shuffled_prompt(row.prompt, prompts, draw)
                    tuples[i] = replace(row, negative_prompt=other) if other else row
            return replace(self, tuples=tuple(tuples), ladders=tuple(ladders))

        return side(False), side(True)


def read_supervision(path: str | Path) -> Supervision:
    """The set in a folder (or beside a `manifest.jsonl`); a set without ladders is one too.

    Raises:
        SupervisionError: no manifest, a line that is not a row, or no tuple at all.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    tuples = read_manifest(path)
    if not tuples:
        raise SupervisionError(f"{path} holds no tuple: build the supervision set first")
    ladders_path = folder / "ladders.jsonl"
    ladders = read_ladders(ladders_path) if ladders_path.is_file() else []
    digest = hashlib.sha256()
    for file in (path / "manifest.jsonl" if path.is_dir() else path, ladders_path):
        digest.update(file.read_bytes() if file.is_file() else b"")
        digest.update(b"\0")
    return Supervision(tuple(tuples), tuple(ladders), digest.hexdigest())


def _joined_by_pictures(rows: Iterable[TupleRow]) -> dict[str, str]:
    """Bare prompt group -> the one it falls with, where the same positive stands under several.

    A folder may hold a picture twice, once with a wrong prompt. Files of one size are compared by
    their bytes; a set without such files costs a `stat` a picture.
    """
    of_size: dict[int, dict[str, str]] = {}
    for row in rows:
        try:
            size = os.stat(row.positive).st_size
        except OSError:
            continue  # said by whoever reads the picture
        of_size.setdefault(size, {})[row.positive] = bare_prompt(row.prompt_group or row.prompt)
    leader: dict[str, str] = {}

    def find(group: str) -> str:
        while leader.get(group, group) != group:
            group = leader[group]
        return group

    for groups in of_size.values():
        if len(set(groups.values())) < 2:
            continue
        first: dict[bytes, str] = {}
        for path, group in sorted(groups.items()):
            digest = hashlib.sha256(Path(path).read_bytes()).digest()
            both = sorted((find(group), find(first.setdefault(digest, group))))
            leader[both[1]] = both[0]
    return {group: find(group) for group in leader}


def _hash(text: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{bare_prompt(text)}".encode()).hexdigest()
