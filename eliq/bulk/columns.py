"""The columns of a result: one row an image, null where there is nothing, never 0 or -1."""

from __future__ import annotations

from .arrow import pa

__all__ = ["COLUMN_NAMES", "PLAN_SCHEMA", "SCHEMA", "THUMBNAIL_SCHEMA", "TIMING_COLUMNS"]

_TEXT, _SCORE = pa.string(), pa.float32()

SCHEMA = pa.schema(
    [
        ("id", _TEXT),  # unique in the run
        ("path", _TEXT),  # of the file, or of the tar that it lies in
        ("shard", _TEXT),  # name of the tar
        ("member", _TEXT),  # name within the tar
        ("width", pa.int32()),  # as stored, before any rotation
        ("height", pa.int32()),
        ("format", _TEXT),
        ("mode", _TEXT),
        ("n_frames", pa.int32()),
        ("prompt", _TEXT),
        ("prompt_source", _TEXT),
        ("visual_quality", _SCORE),  # 0..1, higher is better
        ("alignment", _SCORE),
        ("aspect_technical", _SCORE),  # P(high)
        ("aspect_aesthetic", _SCORE),
        ("aspect_alignment", _SCORE),
        ("raw_visual_quality", _SCORE),
        ("raw_alignment", _SCORE),
        ("status", _TEXT),  # ok, failed
        ("error_class", _TEXT),
        ("error", _TEXT),
        ("flags", pa.list_(_TEXT)),
        ("model_id", _TEXT),
        ("revision", _TEXT),
        ("head_sha256", _TEXT),
        ("dtype", _TEXT),
        ("max_pixels", pa.int32()),
        ("lib_version", _TEXT),
        ("ms", _SCORE),  # decoding, and its share of its batches
    ]
)
COLUMN_NAMES = tuple(SCHEMA.names)
TIMING_COLUMNS = ("ms",)  # all others are the same in two runs on one machine

THUMBNAIL_SCHEMA = pa.schema([("id", _TEXT), ("thumbnail", pa.binary())])

PLAN_SCHEMA = pa.schema(
    [
        ("id", _TEXT),
        ("path", pa.binary()),  # as the system has it: a file name need not be UTF-8
        ("prompt", _TEXT),
        ("prompt_source", _TEXT),
        ("has_sidecar", pa.bool_()),
        ("is_gone", pa.bool_()),  # the source no longer has it
    ]
)
