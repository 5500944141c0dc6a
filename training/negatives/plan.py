"""Which negatives are to be generated: a function of the positives and the settings alone.

So every process knows the whole plan, each takes its share, and a run that is killed knows what is
missing.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eliq.errors import SupervisionError
from eliq.prompts import clean_prompt
from eliq.supervision import bare_prompt, hard_swaps
from eliq.supervision.prompt_swaps import same_prompt
from eliq.supervision.sources import read_sources

from ..journal import read_journal
from ..positives import ModelSettings
from .config import NegativesConfig
from .wordings import DEGRADED_LOOKS, DEGRADED_PROMPTS, degrade, edit_instruction

__all__ = ["Job", "Positive", "plan_jobs", "read_positive_images", "read_variants"]


@dataclass(frozen=True)
class Positive:
    """A positive: its name in the folder, where it lies, its prompt, the model if it is known."""

    name: str
    path: str
    prompt: str
    model: str = ""


@dataclass(frozen=True)
class Job:
    """One negative to generate.

    Attributes:
        negative_id: of the image and its row.
        kind: a key of `GENERATED_KINDS`.
        positive: what it is a negative of.
        model: name of the model that makes it.
        generation_prompt: what that is told; of an early decode the positive's own prompt.
        fraction: of the run, for an early decode.
        change: kind of the swap, for a prompt variant; "listed" where a list gave it.
    """

    negative_id: str
    kind: str
    positive: Positive
    model: str
    generation_prompt: str
    fraction: float | None = None
    change: str | None = None

    @property
    def path(self) -> str:
        """Relative to the folder of the negatives."""
        return f"images/{self.kind}/{self.negative_id}.png"

    @property
    def severity(self) -> float | None:
        """Of an early decode: 4 at 20 % of the run, 2 at 40 %; an order, not a measure."""
        return None if self.fraction is None else min(5.0, max(1.0, 6.0 - 10 * self.fraction))


def read_positive_images(
    folder: str | Path, prompts_path: str | Path | None = None
) -> list[Positive]:
    """The images of a folder that have prompts, sorted by name, with their model where the list of
    `training.make_positives` says it.

    Raises:
        SupervisionError: as `read_sources`.
    """
    listed = Path(prompts_path or Path(folder) / "prompts.jsonl")
    models: dict[str, str] = {}
    if listed.suffix == ".jsonl" and listed.is_file():
        rows = read_journal(listed)
        models = {str(row.get("path")): str(row.get("model") or "") for row in rows}
    return [
        Positive(one.name, one.path, one.prompt, models.get(one.name, ""))
        for one in read_sources(folder, prompts_path)
        if one.prompt
    ]


def read_variants(path: str | Path) -> dict[str, list[str]]:
    """Prompt variants that somebody wrote (or asked a language model for), by bare prompt.

    Lines {"prompt": "a red cup", "variant": "a blue cup"}; a prompt may have several. A variant
    must be wrong for the picture of its prompt: nobody but the gate checks that.

    Raises:
        SupervisionError: no such file, or a line without the two texts, or with the same ones.
    """
    path = Path(path)
    if not path.is_file():
        raise SupervisionError(f"{path}: no such list of variants")
    found: dict[str, list[str]] = defaultdict(list)
    for number, row in enumerate(read_journal(path), start=1):
        prompt, variant = row.get("prompt"), row.get("variant")
        are_texts = all(isinstance(one, str) and one.strip() for one in (prompt, variant))
        if not are_texts or same_prompt(prompt, variant):
            raise SupervisionError(
                f"{path}, row {number}: expected two different texts, prompt and variant, found "
                f"{prompt!r} and {variant!r}"
            )
        found[bare_prompt(clean_prompt(prompt).text)].append(variant)
    return dict(found)


def plan_jobs(
    positives: Sequence[Positive],
    config: NegativesConfig,
    variants: Mapping[str, Sequence[str]] | None = None,
) -> list[Job]:
    """The negatives of a set of positives, in a fixed order.

    A kind that no model is given for is left out. So is a variant whose words are another prompt of
    the set, or a variant of another one: two groups of prompts would hang together by it.

    Args:
        variants: of `read_variants`; a prompt that has none there gets swaps of words.
    """
    owners = {bare_prompt(one.prompt): bare_prompt(one.prompt) for one in positives}
    jobs = []
    for positive in positives:
        for kind, share in config.shares.items():
            rng = np.random.default_rng(_number(config.seed, kind, positive.name, positive.prompt))
            if rng.random() >= share:
                continue
            model = _model(kind, positive, config, rng)
            own = (variants or {}).get(bare_prompt(positive.prompt), ())
            facts = None if model is None else _facts(kind, positive, config, rng, own)
            if facts is None:
                continue
            if kind == "prompt_variant":
                owner = bare_prompt(positive.prompt)
                if owners.setdefault(bare_prompt(facts["generation_prompt"]), owner) != owner:
                    continue
            number = _number(config.seed, kind, positive.name, positive.prompt, model.name)
            negative_id = f"{number:016x}"
            jobs.append(Job(negative_id, kind, positive, model.name, **facts))
    return jobs


def _model(
    kind: str, positive: Positive, config: NegativesConfig, rng: np.random.Generator
) -> ModelSettings | None:
    if kind == "instruction_edit":
        return config.editor
    models = config.weak_models if kind == "weak_generator" else config.generators
    if not models:
        return None
    drawn = models[int(rng.integers(len(models)))]
    return next((one for one in models if one.name == positive.model), drawn)


def _facts(
    kind: str,
    positive: Positive,
    config: NegativesConfig,
    rng: np.random.Generator,
    variants: Sequence[str],
) -> dict[str, Any] | None:
    """What the generator is told, or None where the prompt allows no such negative."""
    prompt = positive.prompt
    if kind == "degraded_prompt":
        return {"generation_prompt": degrade(prompt, DEGRADED_PROMPTS, rng)}
    if kind == "degraded_look":
        return {"generation_prompt": degrade(prompt, DEGRADED_LOOKS, rng)}
    if kind == "instruction_edit":
        return {"generation_prompt": edit_instruction(rng)}
    if kind == "early_decode":
        fraction = config.early_fractions[int(rng.integers(len(config.early_fractions)))]
        return {"generation_prompt": prompt, "fraction": fraction}
    if kind == "prompt_variant" and variants:
        chosen = variants[int(rng.integers(len(variants)))]
        return {"generation_prompt": clean_prompt(chosen).text, "change": "listed"}
    if kind == "prompt_variant":
        # Any words: each variant becomes the true prompt of an image, so they give nothing away.
        swaps = hard_swaps(prompt, rng)
        if not swaps:
            return None
        change = list(swaps)[int(rng.integers(len(swaps)))]
        return {"generation_prompt": clean_prompt(swaps[change]).text, "change": change}
    return {"generation_prompt": prompt}


def _number(*parts: object) -> int:
    """A whole number below 2**64 that these decide."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:8], "big")
