"""What is compared: a critic, a bare model asked zero-shot, any metric of pyiqa.

A rater gives each image numbers by name, higher is better. `columns` says which of them is held
against which opinion; a critic brings two, its head's scores and its backbone's margins alone.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from eliq import Scorer, __version__
from eliq.errors import EvaluationError
from eliq.images import load_image

from ..fingerprints import module_sha256

__all__ = [
    "Column",
    "CriticRater",
    "PyiqaRater",
    "Rater",
    "check_pyiqa",
]


@dataclass(frozen=True)
class Column:
    """One row of a table: `title`, and for each opinion the name of the number held against it."""

    title: str
    numbers: dict[str, str]
    labels: str = "none"


@dataclass
class Rater:
    """Scores images; `facts` are all that the numbers depend on besides image and prompt.

    Attributes:
        name: short, for files and tables.
        reads_prompt: whether a number may depend on the prompt.
    """

    name: str
    columns: tuple[Column, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    reads_prompt: bool = True

    @property
    def fingerprint(self) -> str:
        """sha256 of the facts: numbers of another fingerprint are never mixed in."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()

    def score(
        self, paths: Sequence[str], prompts: Sequence[str | None]
    ) -> Iterator[list[dict[str, Any]]]:
        """Rows in order, in parts: numbers by name, and `error`, None where the image was scored.

        A number that is not defined is None, never 0.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Gives the memory of a model back; the rater scores no more."""


class CriticRater(Rater):
    """A `Scorer`, trained or zero-shot.

    Its numbers: raw visual_quality and alignment (what the head gives, not yet squeezed into 0..1:
    the calibration changes no order, but float32 near 1 would make ties), and for a trained critic
    also margin_quality and margin_alignment, logit(high) - logit(low) of the tuned backbone alone.
    """

    def __init__(self, scorer: Scorer, *, name: str | None = None) -> None:
        self.scorer = scorer
        title = "zero-shot" if scorer.is_zero_shot else "critic"
        name = name or f"{title} {scorer.source or 'in memory'}"
        columns = [Column(name, {"quality": "visual_quality", "alignment": "alignment"})]
        if not scorer.is_zero_shot:
            numbers = {"quality": "margin_quality", "alignment": "margin_alignment"}
            columns.append(Column(f"{name}, backbone without head", numbers))
        info = scorer.info()
        facts = {
            "kind": info["kind"],
            "fingerprint": info["fingerprint"] or _in_memory(scorer),
            "dtype": info["dtype"],
            "library_version": __version__,
        }
        super().__init__(name, tuple(columns), facts)

    def score(
        self, paths: Sequence[str], prompts: Sequence[str | None]
    ) -> Iterator[list[dict[str, Any]]]:
        for part in self.scorer.stream(list(paths), list(prompts)):
            yield [_numbers(row) for row in part.to_rows()]

    def close(self) -> None:
        del self.scorer
        _free()


def check_pyiqa(name: str) -> Any:
    """The module pyiqa, which has a no-reference metric called `name`; nothing is loaded.

    Raises:
        EvaluationError: it is not installed, or has no such metric.
    """
    try:
        import pyiqa
    except ImportError as error:
        raise EvaluationError(
            f"{name}: pyiqa is not installed: pip install pyiqa (its licence, PolyForm "
            "Noncommercial, is not ours)"
        ) from error
    if name not in pyiqa.list_models("NR"):
        raise EvaluationError(
            f"{name}: expected a no-reference metric of pyiqa, found none of that name; "
            "pyiqa.list_models('NR') lists them"
        )
    return pyiqa


class PyiqaRater(Rater):
    """A no-reference metric of pyiqa by its name there, with the sign turned where lower is better.

    It sees the same decoded pixels as a critic, one image at a time. A metric that takes captions
    (clipscore) is held against alignment, any other against quality.

    Raises:
        EvaluationError: as `check_pyiqa`, or the metric cannot be made (its weights are fetched).
    """

    def __init__(self, name: str, *, device: str | torch.device = "cpu") -> None:
        pyiqa = check_pyiqa(name)
        try:
            self.metric = pyiqa.create_metric(name, device=torch.device(device))
        except Exception as error:  # pyiqa fetches weights, and what fails there is many things
            raise EvaluationError(
                f"{name}: pyiqa could not make this metric, {type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error
        self.device = torch.device(device)
        self.sign = -1.0 if self.metric.lower_better else 1.0
        self.takes_caption = name.startswith("clipscore")
        opinion = "alignment" if self.takes_caption else "quality"
        facts = {
            "kind": "pyiqa",
            "metric": name,
            "pyiqa": getattr(pyiqa, "__version__", "unknown"),
            "device": self.device.type,
        }
        columns = (Column(f"{name} (pyiqa)", {opinion: "value"}, labels="see the metric"),)
        super().__init__(f"pyiqa-{name}", columns, facts, reads_prompt=self.takes_caption)

    def score(
        self, paths: Sequence[str], prompts: Sequence[str | None]
    ) -> Iterator[list[dict[str, Any]]]:
        for path, prompt in zip(paths, prompts, strict=True):
            yield [self._one(path, prompt)]

    def close(self) -> None:
        del self.metric
        _free()

    def _one(self, path: str, prompt: str | None) -> dict[str, Any]:
        image = load_image(path)
        if image.pixels is None:
            return {"value": None, "error": image.error}
        if self.takes_caption and not prompt:
            return {"value": None, "error": None}
        caption = {"caption_list": [prompt]} if self.takes_caption else {}
        try:
            with torch.no_grad():
                found = self.metric(image.pixels[None].to(self.device), **caption)
            value = self.sign * float(found)
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            return {"value": None, "error": f"{self.facts['metric']}: {type(error).__name__}"}
        if not math.isfinite(value):
            return {"value": None, "error": f"{self.facts['metric']} gave {value}"}
        return {"value": value, "error": None}


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `Scores` as numbers by name."""
    aspects = {name: _logit(p) for name, p in row["aspects"].items()}
    pair = (aspects["technical"], aspects["aesthetic"])
    return {
        "visual_quality": row["raw"]["visual_quality"],
        "alignment": row["raw"]["alignment"],
        "margin_quality": None if None in pair else sum(pair) / 2,
        "margin_alignment": aspects["alignment"],
        "calibrated_visual_quality": row["visual_quality"],
        "calibrated_alignment": row["alignment"],
        "error": row["error"],
    }


def _logit(probability: float | None) -> float | None:
    """The margin again from P(high); float32 cannot tell margins beyond about 16 apart."""
    if probability is None:
        return None
    p = min(max(probability, 1e-30), 1.0 - 2.0**-25)
    return math.log(p) - math.log1p(-p)


def _in_memory(scorer: Scorer) -> str:
    """A fingerprint of a critic that was never saved."""
    parts = [module_sha256(scorer.backbone)]
    if scorer.head is not None:
        parts.append(module_sha256(scorer.head))
    rest = {
        "instructions": scorer.backbone.instructions.to_json(),
        "patches": scorer.backbone.patches.to_json(),
        "max_prompt_tokens": scorer.backbone.max_prompt_tokens,
    }
    return hashlib.sha256(json.dumps([parts, rest], sort_keys=True).encode()).hexdigest()
