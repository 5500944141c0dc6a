"""A run as tasks for Label Studio, with the scores as pre-annotations that people can correct.

Format: labelstud.io/guide/predictions, "JSON format for pre-annotations". Images are named as
Label Studio serves local files: relative to the folder that it knows as
LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT (labelstud.io/guide/storage, "Local storage").
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

from ..errors import BulkError

__all__ = ["LABEL_CONFIG", "export_label_studio"]

LABEL_CONFIG = """<View>
  <Image name="image" value="$image"/>
  <Text name="prompt" value="$prompt"/>
  <Number name="visual_quality" toName="image" min="0" max="1" step="0.01"/>
  <Number name="alignment" toName="image" min="0" max="1" step="0.01"/>
</View>
"""


def export_label_studio(
    rows: Iterable[Mapping[str, Any]],
    file: TextIO,
    *,
    run_dir: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
) -> int:
    """Write ``rows`` of a run as a JSON array of tasks; returns how many.

    `LABEL_CONFIG` is the labelling interface that fits. Members of tars have no address there and
    are refused: take them away with ``eliq keep --copy`` first.

    Args:
        run_dir: what relative paths of the rows are relative to.
        root: Label Studio's document root; default: the current folder.

    Raises:
        BulkError: an image outside ``root``, or inside a tar.
    """
    base = os.path.abspath(os.curdir if root is None else root)
    number = 0
    for row in rows:
        task = _task(row, os.path.abspath(Path(run_dir) / row["path"]), base)
        file.write(",\n " if number else "[\n ")
        file.write(json.dumps(task, ensure_ascii=False, allow_nan=False))
        number += 1
    file.write("\n]\n" if number else "[]\n")
    return number


def _task(row: Mapping[str, Any], path: str, root: str) -> dict[str, Any]:
    if row["member"] is not None:
        raise BulkError(
            f"{row['path']}: Label Studio cannot look into a tar; copy its images out with "
            "eliq keep --copy, and run and export those"
        )
    if os.path.commonpath([path, root]) != root:
        raise BulkError(f"{path} lies outside {root}: give Label Studio's document root as --root")
    relative = os.path.relpath(path, root).replace(os.sep, "/")
    results = [
        {
            "from_name": name,
            "to_name": "image",
            "type": "number",
            "value": {"number": round(row[name], 6)},
        }
        for name in ("visual_quality", "alignment")
        if row[name] is not None
    ]
    task: dict[str, Any] = {
        "data": {
            "image": f"/data/local-files/?d={quote(relative)}",
            "prompt": row["prompt"] or "",
            "flags": list(row["flags"] or ()),
            "status": row["status"],
        }
    }
    if results:
        model = "@".join(filter(None, (row["model_id"], row["revision"])))
        prediction = {"model_version": model or "eliq", "result": results}
        task["predictions"] = [{**prediction, "score": round(row["visual_quality"], 6)}]
    return task
