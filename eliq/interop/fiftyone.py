"""A run as a FiftyOne dataset: scores, aspects and flags as fields of its samples."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import BulkError

__all__ = ["export_fiftyone"]

_FIELDS = (
    "visual_quality", "alignment", "aspect_technical", "aspect_aesthetic", "aspect_alignment",
    "prompt", "status", "error_class", "model_id", "dtype",
)  # fmt: skip
_AT_ONCE = 1000


def export_fiftyone(
    rows: Iterable[Mapping[str, Any]],
    name: str,
    *,
    run_dir: str | os.PathLike[str],
) -> Any:
    """A new persistent ``fiftyone.Dataset`` called ``name`` with a sample a row; returns it.

    Numbers and words become fields of the same name as in the run, what is missing stays unset, and
    flags become tags. Images stay where they are.

    Args:
        run_dir: what relative paths of the rows are relative to.

    Raises:
        BulkError: FiftyOne is not installed, a dataset of that name exists, or an image lies
            inside a tar.
    """
    try:
        import fiftyone
    except ImportError as error:
        raise BulkError("FiftyOne is not installed: pip install fiftyone") from error
    if fiftyone.dataset_exists(name):
        raise BulkError(f"FiftyOne has a dataset {name!r} already: give another --name")
    dataset = fiftyone.Dataset(name, persistent=True)
    try:
        samples = (_sample(fiftyone, row, Path(run_dir)) for row in rows)
        while some := list(islice(samples, _AT_ONCE)):
            dataset.add_samples(some, progress=False)
    except BaseException:
        dataset.delete()  # half a dataset would pass for a whole one
        raise
    return dataset


def _sample(fiftyone: Any, row: Mapping[str, Any], run_dir: Path) -> Any:
    if row["member"] is not None:
        raise BulkError(
            f"{row['path']}: FiftyOne cannot look into a tar; copy its images out with "
            "eliq keep --copy, and run and export those"
        )
    fields = {name: row[name] for name in _FIELDS if row[name] is not None}
    path = os.path.abspath(run_dir / row["path"])
    return fiftyone.Sample(filepath=path, tags=list(row["flags"] or ()), **fields)
