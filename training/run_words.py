"""The end of a run in a few lines, for people; the JSON on stdout has everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["held_out_in_words", "in_words"]

_PAIRS = ("technical", "aesthetic", "alignment", "ladder")


def in_words(steps: Mapping[str, Any], *, smoke: bool = False) -> list[str]:
    """Lines about the steps of `run_all`: the critic, its held-out figures, its evaluation; of a
    `smoke` run the latter with the warning that they mean nothing."""
    critic, evaluation = steps["critic"], steps["evaluation"]
    lines = held_out_in_words(critic)
    warning = " (means nothing here: random models)" if smoke else ""
    for name, opinions in evaluation.get("srcc", {}).items():
        for opinion, scorers in opinions.items():
            said = "; ".join(f"{_number(value)} {scorer}" for scorer, value in scorers.items())
            lines.append(f"{name}, {opinion}: SRCC {said}{warning}")
    if "report" in evaluation:
        lines.append(f"evaluation: {evaluation['report']}")
    else:
        lines.append(f"evaluation: {evaluation['not_run']}")
    return lines


def held_out_in_words(critic: Mapping[str, Any]) -> list[str]:
    """Lines about what `train_critic` returns."""
    lines = [
        f"{stage.replace('stage', 'stage ')}: best of {critic[stage]['steps']} steps is "
        f"{critic[stage]['best_step']}; held-out pairs in order: "
        + ", ".join(f"{n} {_number(critic[stage][n])}" for n in _PAIRS if n in critic[stage])
        for stage in ("stage1", "stage2")
    ]
    if "not_calibrated" in critic["calibration"]:
        lines.append(f"not calibrated: {critic['calibration']['not_calibrated']}")
    where = critic["checkpoint"]
    if where is not None:
        lines.append(f'try it: eliq score IMAGE --prompt "..." --checkpoint {where}')
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
