"""A supervision set, split by source image.

The set is what `eliq.supervision` writes: tuples of Eq. 1 in `manifest.jsonl` and severity ladders
in `ladders.jsonl` beside it. The split goes by source image and by a hash of its name, so that no
crop, distortion or ladder of a held-out image is ever trained on, and that stage 1, stage 2 and the
calibration hold out the same images.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from eliq.errors import SupervisionError, TrainingError
from eliq.supervision import LadderRow, TupleRow, read_ladders, read_manifest

__all__ = ["LadderRow", "Supervision", "TupleRow", "read_supervision"]


@dataclass(frozen=True)
class Supervision:
    """Rows of one set, or of one side of its split; `sha256` is the whole set's."""

    tuples: tuple[TupleRow, ...]
    ladders: tuple[LadderRow, ...]
    sha256: str

    def split(self, held_out_share: float, *, seed: int = 0) -> tuple[Supervision, Supervision]:
        """(training, held out), disjoint in source images; at least one source on each side.

        Raises:
            TrainingError: fewer than two source images, or a share outside 0..1.
        """
        if not 0 < held_out_share < 1:
            raise TrainingError(
                f"held_out_share: expected a number between 0 and 1, found {held_out_share}"
            )
        # Only sources of tuples are counted, so that each side has some.
        hashes = sorted({_hash(row.source, seed) for row in self.tuples})
        if len(hashes) < 2:
            raise TrainingError(
                f"a held-out split needs at least 2 source images, found {len(hashes)}"
            )
        number = min(len(hashes) - 1, max(1, round(held_out_share * len(hashes))))
        # A ladder's source that has no tuple falls by the same threshold.
        threshold = hashes[number - 1]

        def side(held_out: bool) -> Supervision:
            def wanted(row: TupleRow | LadderRow) -> bool:
                return (_hash(row.source, seed) <= threshold) == held_out

            return Supervision(
                tuple(row for row in self.tuples if wanted(row)),
                tuple(row for row in self.ladders if wanted(row)),
                self.sha256,
            )

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


def _hash(source: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{source}".encode()).hexdigest()
