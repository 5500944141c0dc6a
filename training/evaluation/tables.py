"""The sheets in which benchmarks publish their scores: CSV, Excel, Matlab, JSON.

Each reader gives plain Python values and says in one line what is wrong with a file.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eliq.errors import EvaluationError

__all__ = ["read_csv", "read_json", "read_mat", "read_sheet", "score", "text"]


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV with a header that has `columns` (others are kept too), in order.

    Raises:
        EvaluationError: not there, not UTF-8, a column is missing or stands twice, or a row has too
            few cells, or too many, as a prompt with a comma and no quotes has.
    """
    try:
        with open(_there(path), encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = header
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path}: expected a CSV table in UTF-8, {error}") from error
    _check_columns(path, header, columns)
    for number, row in enumerate(rows, start=2):
        if any((cell or "").strip() for cell in row.pop(None, ())):
            raise EvaluationError(
                f"{path}, row {number}: more cells than columns in the header; text with a comma "
                "must stand in double quotes"
            )
        if any(row[name] is None for name in columns):
            raise EvaluationError(f"{path}, row {number}: fewer cells than columns in the header")
    return rows


def read_sheet(path: Path, columns: Sequence[str] | None) -> list[dict[str, Any]]:
    """Rows of the first sheet of an .xlsx workbook; rows that are empty throughout are left out.

    With `columns` None the sheet has no header, and the keys are "0", "1", ... by column.

    Raises:
        EvaluationError: not there, not a workbook, a column is missing, or openpyxl is.
    """
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise EvaluationError(
            f"{path}: reading .xlsx needs openpyxl: pip install openpyxl"
        ) from error
    try:
        with open(_there(path), "rb") as file:
            book = load_workbook(file, read_only=True, data_only=True)
            cells = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
    except EvaluationError:
        raise
    except Exception as error:  # openpyxl and zipfile raise many kinds on a damaged file
        raise EvaluationError(
            f"{path}: expected an Excel workbook (.xlsx), {type(error).__name__} on reading"
        ) from error
    cells = [row for row in cells if any(cell is not None for cell in row)]
    if columns is None:
        header = [str(i) for i in range(max(map(len, cells), default=0))]
    else:
        header = [str(cell).strip() if cell is not None else "" for cell in (cells or [[]])[0]]
        _check_columns(path, header, columns)
        cells = cells[1:]
    width = len(header)
    return [
        dict(zip(header, row[:width] + [None] * (width - len(row)), strict=True)) for row in cells
    ]


def read_mat(path: Path, key: str) -> np.ndarray:
    """The numbers under `key` of a Matlab file, float64 [K], whatever their shape was.

    Raises:
        EvaluationError: not there, not such a file, or without the key.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise EvaluationError(f"{path}: reading .mat needs scipy: pip install scipy") from error
    try:
        content = loadmat(str(_there(path)))
    except EvaluationError:
        raise
    except Exception as error:  # scipy raises several kinds; version 7.3 is HDF5 and not read
        raise EvaluationError(
            f"{path}: expected a Matlab file up to version 7.2, {type(error).__name__} on reading"
        ) from error
    if key not in content:
        names = sorted(name for name in content if not name.startswith("__"))
        raise EvaluationError(f"{path}: expected the variable {key}, found {names}")
    return np.asarray(content[key], dtype=np.float64).reshape(-1)


def read_json(path: Path, kind: type) -> Any:
    """The content of a JSON file, which must be a `kind` (list or dict).

    Raises:
        EvaluationError: not there, no JSON, or of another kind.
    """
    try:
        content = json.loads(_there(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: expected JSON in UTF-8, {error}") from error
    if not isinstance(content, kind):
        raise EvaluationError(
            f"{path}: expected a JSON {kind.__name__}, found {type(content).__name__}"
        )
    return content


def score(value: Any, where: str) -> float | None:
    """A mean opinion score; None for an empty cell and for NaN.

    Raises:
        EvaluationError: anything else that is not a number.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"{where}: expected a number, found {value!r}") from error
    return number if math.isfinite(number) else None


def text(value: Any) -> str | None:
    """A cell as text without spaces around it; None where it is empty."""
    return None if value is None else str(value).strip() or None


def _there(path: Path) -> Path:
    if not path.is_file():
        raise EvaluationError(f"{path}: no such file; see docs/evaluation.md for the layout")
    return path


def _check_columns(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        raise EvaluationError(f"{path}: expected the columns {missing}, found {list(header)}")
    twice = [name for name in dict.fromkeys(header) if name and list(header).count(name) > 1]
    if twice:
        raise EvaluationError(f"{path}: the column {twice[0]} stands twice: which one is meant?")
