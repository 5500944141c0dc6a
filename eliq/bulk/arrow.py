"""pyarrow, or one line that says how to get it."""

from __future__ import annotations

from ..errors import BulkError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise BulkError(
        "runs over many images write Parquet files, and pyarrow is not installed: "
        "pip install 'eliq[bulk]', or '.[bulk]' in a clone"
    ) from error

__all__ = ["pa", "pq"]
