"""The gate: drops generated negatives that are not really worse, and says why and how many.

Asked of each, in this order; the first that fails is the reason:

    unreadable        the file, or its positive's, does not decode or is of one colour
    enlarged          it is smaller than its positive in the set: its softness would tell it apart
    lossy_positive    the positive is a lossy file whose traces it cannot be given (not a JPEG)
    identical         it differs from the positive by less than `min_difference`
    not_less_detail   an early decode with more than `max_detail_ratio` of the positive's detail
    not_worse         the opinion finds the positive better by less than `min_margin`, in the aspect
                      of the negative; of a prompt variant each of the two images must match its own
                      prompt better than the other's by as much
    no_opinion        the opinion gave no number for one of the two

Images are compared as they will stand in the set, matched in size and compression. People prefer
the normal image over a low-step one of the same model only half of the time for some models
(AGIQA-3K, sd1.5: 49.7 %), which is why nothing is believed to be worse by how it was made.
An opinion is an opinion: a gate lets through what its scorer takes for worse, and a critic that is
trained behind it inherits some of that. `scorer="none"` asks the other questions alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from eliq.supervision import GeneratedNegative, SupervisionConfig
from eliq.supervision.making import read_negative, read_pixels, read_positive
from eliq.supervision.negatives import difference
from eliq.supervision.sources import Source

from .config import GateConfig
from .detail import detail_energy
from .opinions import Opinion

__all__ = ["REASONS", "Verdict", "judge"]

REASONS = (
    "unreadable", "enlarged", "lossy_positive", "identical", "not_less_detail", "not_worse",
    "no_opinion",
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What the gate found of one negative.

    Attributes:
        reason: one of REASONS, or None: it is kept.
        measures: the numbers that were compared, by name, as far as they were taken.
    """

    negative_id: str
    reason: str | None
    measures: dict[str, float | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "negative_id": self.negative_id,
            "reason": self.reason,
            "measures": {
                name: None if value is None else round(value, 6)
                for name, value in self.measures.items()
            },
        }


def judge(
    pairs: Sequence[tuple[GeneratedNegative, Source]],
    gate: GateConfig,
    supervision: SupervisionConfig,
    opinion: Opinion | None,
) -> list[Verdict]:
    """The verdicts on negatives, each with its positive, in order.

    Args:
        supervision: of the set that they are for: the sizes at which they are compared.
        opinion: None = what the pixels say alone.

    Raises:
        OSError: the temporary folder cannot be written.
    """
    verdicts: list[Verdict] = []
    asked: list[tuple[int, GeneratedNegative, np.ndarray, np.ndarray]] = []
    for place, (negative, source) in enumerate(pairs):
        found = _by_pixels(negative, source, gate, supervision)
        if not isinstance(found, Verdict):
            positive, damaged, measures = found
            asked.append((place, negative, positive, damaged))
            found = Verdict(negative.negative_id, None, measures)
        verdicts.append(found)
    if opinion is None or not asked:
        return verdicts
    with tempfile.TemporaryDirectory() as folder:
        paths, prompts = [], []
        for place, negative, positive, damaged in asked:
            files = [f"{folder}/{place}_{name}.png" for name in ("positive", "negative")]
            for file, image in zip(files, (positive, damaged), strict=True):
                Image.fromarray(image).save(file, compress_level=1)
            paths += files
            prompts += [negative.prompt] * 2
            if negative.aspect == "alignment":
                paths += files
                prompts += [negative.generation_prompt] * 2
        answers = iter(opinion.ask(paths, prompts))
        for place, negative, *_ in asked:
            numbers = [next(answers)[negative.aspect] for _ in range(2)]
            if negative.aspect == "alignment":
                numbers += [next(answers)[negative.aspect] for _ in range(2)]
            verdicts[place] = _by_opinion(verdicts[place], numbers, gate)
    return verdicts


def _by_pixels(
    negative: GeneratedNegative, source: Source, gate: GateConfig, supervision: SupervisionConfig
) -> Verdict | tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """A verdict, or the two images as they will stand in the set and what was measured of them."""

    def drop(reason: str, **measures: float) -> Verdict:
        return Verdict(negative.negative_id, reason, measures)

    positive = read_positive(source, supervision)
    if not isinstance(positive, np.ndarray):
        return drop("unreadable")
    if _is_lossy(source.path):
        return drop("lossy_positive")
    if not isinstance(read_pixels(negative.path), np.ndarray):
        return drop("unreadable")
    damaged = read_negative(negative, source, positive)
    if damaged is None:
        return drop("enlarged")
    measures = {"difference": difference(positive, damaged)}
    if measures["difference"] < gate.min_difference:
        return drop("identical", **measures)
    if negative.kind == "early_decode":
        whole = detail_energy(positive)
        measures["detail_ratio"] = detail_energy(damaged) / whole if whole else float(2**30)
        if measures["detail_ratio"] > gate.max_detail_ratio:
            return drop("not_less_detail", **measures)
    return positive, damaged, measures


def _by_opinion(verdict: Verdict, numbers: list[float | None], gate: GateConfig) -> Verdict:
    """`numbers`: of the positive and of the negative; of a variant with p, then with p'."""
    if None in numbers:
        return Verdict(verdict.negative_id, "no_opinion", verdict.measures)
    margins = {"margin": numbers[0] - numbers[1]}
    if len(numbers) == 4:
        # Row by image: each against its own prompt, then against the other's.
        margins = {"margin": numbers[0] - numbers[2], "margin_variant": numbers[3] - numbers[1]}
    reason = None if min(margins.values()) >= gate.min_margin else "not_worse"
    return Verdict(verdict.negative_id, reason, {**verdict.measures, **margins})


def _is_lossy(path: str) -> bool:
    """Whether a picture went through a lossy codec whose traces `read_negative` cannot repeat."""
    with Image.open(path) as image:
        return image.format in ("WEBP", "MPO") or (image.format == "JPEG" and image.mode != "RGB")
