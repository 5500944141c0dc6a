"""When candidates are dropped, and how many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError

__all__ = ["Cut", "PruneSchedule", "as_schedule"]

DEFAULT_CUTS = ((0.25, 0.5), (0.45, 0.5), (0.70, 0.5))


@dataclass(frozen=True)
class Cut:
    """A cut of one run: after `step` steps, `fraction` of its schedule, `num_keep` go on."""

    step: int
    fraction: float
    num_keep: int


@dataclass(frozen=True)
class PruneSchedule:
    """Keep so much of what is alive, at so much of the schedule.

    The default halves three times: of 8 candidates 4, 2 and 1 go on, and the denoiser runs at most
    45 % of the rows from 4 steps on.

    Args:
        cuts: pairs (fraction of the steps done, share of the candidates alive that goes on), both
            above 0 and at most 1, fractions ascending. At least one candidate goes on.
        trial: rank previews at every cut and drop nothing: a run that costs more, and shows how
            far previews can be trusted with this model and these prompts.

    Raises:
        ConfigError: anything else.
    """

    cuts: tuple[tuple[float, float], ...] = DEFAULT_CUTS
    trial: bool = False

    def __post_init__(self) -> None:
        pairs = self.cuts if isinstance(self.cuts, (list, tuple)) else ()
        is_valid = len(pairs) > 0 and all(
            isinstance(pair, (list, tuple)) and len(pair) == 2 and all(map(_is_share, pair))
            for pair in pairs
        )
        fractions = [pair[0] for pair in pairs] if is_valid else []
        if not is_valid or any(a >= b for a, b in zip(fractions, fractions[1:], strict=False)):
            raise ConfigError(
                "prune: expected pairs (fraction of the steps, share that goes on) in 0..1 with "
                f"ascending fractions, such as {DEFAULT_CUTS}, found {self.cuts!r}"
            )
        if not isinstance(self.trial, bool):
            raise ConfigError(f"prune: expected trial to be True or False, found {self.trial!r}")
        object.__setattr__(self, "cuts", tuple((float(a), float(b)) for a, b in pairs))

    def cuts_of(self, num_steps: int, num_candidates: int) -> list[Cut]:
        """The cuts of a run of `num_steps` scheduler steps with `num_candidates` at its start.

        Fractions are rounded down, to one step at least; cuts that fall on the same step are
        joined; those that would drop nobody, or come with the last step, are left out.
        """
        keeps: dict[int, int] = {}
        alive = num_candidates
        for fraction, share in self.cuts:
            step = max(1, math.floor(fraction * num_steps + 1e-9))
            keep = max(1, math.ceil(share * alive - 1e-9))
            if keep < alive and step < num_steps:
                keeps[step] = alive = keep
        return [Cut(step, step / num_steps, keep) for step, keep in keeps.items()]

    def row_share(self, num_steps: int, num_candidates: int) -> float:
        """Denoiser rows that such a run needs, as a share of the unpruned run's."""
        rows, alive, done = 0, num_candidates, 0
        for cut in self.cuts_of(num_steps, num_candidates):
            rows += alive * (cut.step - done)
            alive, done = cut.num_keep, cut.step
        return (rows + alive * (num_steps - done)) / (num_candidates * num_steps)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; `PruneSchedule(**json)` is the same schedule."""
        return {"cuts": [list(pair) for pair in self.cuts], "trial": self.trial}


def as_schedule(
    prune: bool | PruneSchedule | Sequence[Sequence[float]] | None,
) -> PruneSchedule | None:
    """What a user gives as `prune=`: None or False, True for the default, a schedule, or its cuts.

    Raises:
        ConfigError: something else.
    """
    if prune is None or prune is False:
        return None
    if prune is True:
        return PruneSchedule()
    return prune if isinstance(prune, PruneSchedule) else PruneSchedule(prune)


def _is_share(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0.0 < value <= 1.0
