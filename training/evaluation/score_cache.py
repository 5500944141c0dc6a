"""Numbers of a rater on the images of a set, kept on disk: a killed run goes on where it was.

    OUT/scores/agiqa_3k.critic-0f3a….jsonl

One journal a set and fingerprint of a rater; its first line says what made the numbers, each
further line holds the rows of one part. A row is keyed by image, prompt, and size and time of the
file, so that an image that was replaced is scored again. So is one that failed: what it failed for,
such as too little memory, may be gone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eliq.errors import EvaluationError

from ..journal import Journal
from ..step_lines import StepLines
from ..stop_request import StopRequest
from .rated import RatedImage
from .raters import Rater

__all__ = ["Interrupted", "scored"]


class Interrupted(Exception):
    """A signal asked to stop; every finished part is on disk."""


def scored(
    rater: Rater,
    images: Sequence[RatedImage],
    folder: str | Path,
    set_name: str,
    *,
    prompts: Sequence[str | None] | None = None,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """One row of numbers an image, in order, from the cache or scored now.

    `prompts` replaces the images' own (the shuffle control). A rater that reads no prompt is given
    none, so that its cached numbers serve both.

    Raises:
        Interrupted: `stop` was requested. EvaluationError: the cache is of another rater.
    """
    texts = [image.prompt for image in images] if prompts is None else list(prompts)
    if not rater.reads_prompt:
        texts = [None] * len(texts)
    keys = [_key(image, text) for image, text in zip(images, texts, strict=True)]
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", rater.name).strip("-")[-60:]
    path = Path(folder) / f"{set_name}.{slug}-{rater.fingerprint[:12]}.jsonl"
    with Journal(path) as journal:
        if not journal.rows:
            journal.append({"set": set_name, "rater": rater.name, "facts": rater.facts})
        elif journal.rows[0].get("facts") != json.loads(json.dumps(rater.facts)):
            raise EvaluationError(
                f"{path}: expected scores of {rater.facts}, found {journal.rows[0].get('facts')}; "
                "remove the file"
            )
        known = {
            key: row
            for part in journal.rows[1:]
            for key, row in part["rows"].items()
            if row.get("error") is None
        }
        todo = list({key: i for i, key in enumerate(keys) if key not in known}.values())
        _score(rater, images, texts, keys, todo, journal, known, stop, progress)
    return [known[key] for key in keys]


def _score(
    rater: Rater,
    images: Sequence[RatedImage],
    texts: Sequence[str | None],
    keys: Sequence[str],
    todo: list[int],
    journal: Journal,
    known: dict[str, dict[str, Any]],
    stop: StopRequest | None,
    progress: bool,
) -> None:
    if not todo:
        return
    parts = rater.score([str(images[i].path) for i in todo], [texts[i] for i in todo])
    done = 0
    with StepLines(
        f"scores by {rater.name[-40:]}",
        len(images),
        unit="images",
        done=len(images) - len(todo),
        shown=progress,
    ) as bar:
        for part in parts:
            these = todo[done : done + len(part)]
            rows = {keys[i]: row for i, row in zip(these, part, strict=True)}
            journal.append({"rows": rows})
            known.update(rows)
            done += len(part)
            bar.update(len(part))
            if stop is not None and stop.requested and done < len(todo):
                raise Interrupted
    if done != len(todo):
        raise EvaluationError(f"{rater.name}: expected {len(todo)} rows of scores, found {done}")


def _key(image: RatedImage, prompt: str | None) -> str:
    found = image.path.stat()
    parts = [image.id, prompt, found.st_size, found.st_mtime_ns]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
