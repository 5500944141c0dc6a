"""Which negatives a variant trains on: families and aspects of section 3.2.3."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from eliq.errors import ConfigError, TrainingError
from eliq.supervision.distortions import FAMILIES
from eliq.supervision.generated import family_of

from ..dataset import ASPECTS, LadderRow, Supervision, TupleRow

__all__ = ["ALL_NEGATIVES", "Negatives", "family"]


@dataclass(frozen=True)
class Negatives:
    """Families and aspects that are kept; each negative of a tuple is kept or left out by itself.

    A tuple's technical and aesthetic negatives are of the family of their distortion. A shuffled
    prompt is conventional; a prompt wrong in one thing, and a generated variant's, is AI-specific,
    since there the paper modifies prompts. Ladders go with their family and aspect, or are all kept
    (`keep_ladders`), where a loss on tuples alone is left out.
    """

    families: tuple[str, ...] = tuple(FAMILIES)
    aspects: tuple[str, ...] = ASPECTS
    keep_ladders: bool = False

    def __post_init__(self) -> None:
        for name, known in (("families", tuple(FAMILIES)), ("aspects", ASPECTS)):
            value = getattr(self, name)
            if not value or not set(value) <= set(known):
                raise ConfigError(f"{name}: expected some of {known}, found {value}")

    def of(self, side: Supervision) -> Supervision:
        """The rows of one side with the others left out: tuples with no negative left and ladders
        of another family or aspect are gone, single negatives are in `left_out`.

        Raises:
            TrainingError: no tuple is left.
        """
        dropped = {
            (row.tuple_id, aspect)
            for row in side.tuples
            for aspect in ASPECTS
            if not self._keeps(aspect, family(row, aspect))
        }
        left = replace(side, left_out=side.left_out | dropped)
        tuples = tuple(row for row in side.tuples if left.aspects(row))
        if not tuples:
            raise TrainingError(
                f"no tuple has a negative of {' or '.join(self.families)} in "
                f"{' or '.join(self.aspects)}: build a set that has some"
            )
        kept = {row.tuple_id for row in tuples}
        return replace(
            left,
            tuples=tuples,
            ladders=tuple(row for row in side.ladders if self._keeps_ladder(row)),
            left_out=frozenset(pair for pair in left.left_out if pair[0] in kept),
        )

    def _keeps_ladder(self, row: LadderRow) -> bool:
        return self.keep_ladders or self._keeps(row.aspect, row.family)

    def _keeps(self, aspect: str, of_family: str) -> bool:
        return aspect in self.aspects and of_family in self.families

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


ALL_NEGATIVES = Negatives()


def family(row: TupleRow, aspect: str) -> str:
    """The family of a tuple's negative in one aspect."""
    if aspect == "alignment":
        return "conventional" if row.negative_prompt_kind == "shuffle" else "ai_specific"
    return family_of(getattr(row, aspect).distortion)
