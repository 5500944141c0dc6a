"""Held-out values of stage 1: are positives above negatives, and ladders in order?"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .asking import Asking
from .dataset import Supervision
from .stage1_batches import make_batch

__all__ = ["by_group", "validate"]


@torch.no_grad()
def validate(
    asking: Asking, held_out: Supervision, *, max_rows: int = 256, rows_per_forward: int = 4
) -> dict[str, float]:
    """Accuracies 0..1 by the margin logit(high) - logit(low), on at most `max_rows` rows each.

    technical, aesthetic, alignment: share of tuples whose positive lies above its negative;
    `ladder`: share of neighbouring severities in the right order; `high`: share of positives that
    get high for technical quality (an absolute verdict, not used to select); `score`: the mean
    of the first four, as far as there are rows for them. Keys with a slash, such as
    `alignment/colour` or `technical/blur`, are the same for one kind of negative. Negatives that
    `held_out.left_out` names do not count.
    """
    was_training = asking.training
    asking.eval()
    device = asking.backbone.device
    wins: dict[str, list[float]] = {"technical": [], "aesthetic": [], "alignment": []}
    ladder, high = [], []
    tuples = list(held_out.tuples[:max_rows])
    for start in range(0, len(tuples), rows_per_forward):
        batch = make_batch(tuples[start : start + rows_per_forward], [])
        answers = asking([image.to(device) for image in batch.images], batch.questions)
        m = answers.margins.cpu()[batch.tuples]  # [T,6]
        wins["technical"] += (m[:, 0] > m[:, 4]).float().tolist()
        wins["aesthetic"] += (m[:, 1] > m[:, 5]).float().tolist()
        wins["alignment"] += (m[:, 2] > m[:, 3]).float().tolist()
        high += (m[:, 0] > 0).float().tolist()
    rows = list(held_out.ladders[:max_rows])
    for start in range(0, len(rows), rows_per_forward):
        batch = make_batch([], rows[start : start + rows_per_forward])
        answers = asking([image.to(device) for image in batch.images], batch.questions)
        margins = answers.margins.cpu()
        for places in batch.ladders:
            chain = margins[places[places >= 0]]
            ladder += (chain[:-1] > chain[1:]).float().tolist()
    asking.train(was_training)
    kinds = {
        "technical": [row.technical.distortion for row in tuples],
        "aesthetic": [row.aesthetic.distortion for row in tuples],
        "alignment": [row.negative_prompt_kind for row in tuples],
    }
    if held_out.left_out:
        for name in wins:
            counts = [name in held_out.aspects(row) for row in tuples]
            wins[name] = [w for w, c in zip(wins[name], counts, strict=True) if c]
            kinds[name] = [k for k, c in zip(kinds[name], counts, strict=True) if c]
    values = {name: sum(w) / len(w) for name, w in wins.items() if w}
    if ladder:
        values["ladder"] = sum(ladder) / len(ladder)
    values["score"] = sum(values.values()) / max(1, len(values))
    if high:
        values["high"] = sum(high) / len(high)
    for name, groups in kinds.items():
        values |= by_group(name, wins[name], groups)
    return values


def by_group(name: str, wins: list[float], groups: Sequence[str]) -> dict[str, float]:
    """Means of `wins` for each group, as {"name/group": mean}."""
    found: dict[str, list[float]] = {}
    for win, group in zip(wins, groups, strict=True):
        found.setdefault(f"{name}/{group}", []).append(win)
    return {key: sum(values) / len(values) for key, values in sorted(found.items())}
