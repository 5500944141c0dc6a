"""A benchmark of one's own: a plain CSV."""

from __future__ import annotations

import logging
from pathlib import Path

from eliq.errors import EvaluationError

from ..rated import RatedImage, RatedSet, collect
from ..tables import read_csv, score, text

__all__ = ["own_csv"]

log = logging.getLogger("eliq")


def own_csv(path: str | Path, *, name: str | None = None) -> RatedSet:
    """A CSV with `path` and at least one of `quality` and `alignment`, higher is better; where
    neither is there a column `mos` is taken for quality.

    Optional columns: `prompt`, `generator`, `group` (rows of one group stay together in splits;
    without it the prompt is the group), `split`. Paths are relative to the CSV, or absolute. An
    image may be rated with several prompts, one a row.

    Raises:
        EvaluationError: no such file, columns missing, a score that is no number, no image left.
    """
    path = Path(path)
    table = read_csv(path, ["path"])
    header = set(table[0]) if table else {"quality"}
    quality = "quality"
    if not header & {"quality", "alignment"}:
        if "mos" not in header:
            raise EvaluationError(
                f"{path}: expected a column quality or alignment (or mos) beside path, found "
                f"{sorted(header)}"
            )
        quality = "mos"
        log.info("%s: column mos is taken for quality", path)
    prompts_of: dict[str | None, set[str | None]] = {}
    for row in table:
        prompts_of.setdefault(text(row["path"]), set()).add(text(row.get("prompt")))
    rows = []
    for number, row in enumerate(table, start=2):
        where = f"{path}, row {number}"
        image, prompt = text(row["path"]), text(row.get("prompt"))
        if image is None:
            raise EvaluationError(f"{where}: expected the path of an image, found an empty cell")
        rows.append(
            RatedImage(
                id=image if len(prompts_of[image]) == 1 else f"{image} | {prompt}",
                path=path.parent / image,
                quality=score(row.get(quality), where),
                alignment=score(row.get("alignment"), where),
                prompt=prompt,
                generator=text(row.get("generator")),
                group=text(row.get("group")),
                split=text(row.get("split")),
            )
        )
    return collect(name or path.stem, rows, path)
