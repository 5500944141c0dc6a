"""What is in a folder or on a manifest: one item an image, in a fixed order, one at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import BulkError, PromptError
from ..prompt_lists import PATH_KEYS, PROMPT_KEYS, iterate_prompt_list
from ..prompt_paths import PromptPaths
from .fingerprint import RUN_NAME
from .items import IMAGE_SUFFIXES, Item
from .prompt_texts import bounded_prompt

__all__ = ["METADATA_NAMES", "iterate_manifest", "list_folder", "list_manifest", "looks_into"]

_logger = logging.getLogger("eliq")
METADATA_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


def list_folder(
    folder: str, *, skipped: Path | None = None, prompt_of: Callable[[str], str | None] | None
) -> Iterator[Item]:
    """The images below ``folder`` by name, without hidden files; links to folders are not followed,
    and results of other runs not looked into.

    The prompt comes from ``prompt_of`` (a path to a prompt or None), else from the metadata file
    of a Hugging Face imagefolder; failing both the item tells whether a .txt lies beside it.

    Args:
        skipped: a folder that is not looked into: where the result goes.

    Raises:
        BulkError: a folder or a metadata file that cannot be read.
    """
    yield from _below(folder, folder, skipped, prompt_of, None)


def looks_into(source: str, folder: Path, *, skipped: Path | None = None) -> bool:
    """Whether `list_folder` of ``source`` would list an image that lies in ``folder``."""
    root, place = Path(source).resolve(), folder.resolve()
    if not place.is_relative_to(root):
        return False
    while place != root:
        is_run = all((place / name).is_file() for name in ("plan.json", RUN_NAME))
        if is_run or place == skipped or place.name.startswith("."):
            return False
        place = place.parent
    return True


def _below(
    folder: str,
    root: str,
    skipped: Path | None,
    prompt_of: Callable[[str], str | None] | None,
    metadata: PromptPaths | None,
) -> Iterator[Item]:
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
    except OSError as error:
        raise BulkError(f"{folder}: cannot be listed: {(error.strerror or '').lower()}") from error
    names = {name for name, is_folder in entries if not is_folder}
    if folder != root and {"plan.json", RUN_NAME} <= names:
        return  # the result of another run: its thumbnails are no images of the set
    own = next((name for name in METADATA_NAMES if name in names), None)
    if own is not None:
        metadata = _metadata_prompts(os.path.join(folder, own))
    for name, is_folder in entries:
        path = os.path.join(folder, name)
        if name.startswith("."):
            continue
        if is_folder:
            if skipped is None or Path(path).resolve() != skipped:
                yield from _below(path, root, skipped, prompt_of, metadata)
        elif name.lower().endswith(IMAGE_SUFFIXES):
            prompt = prompt_of(path) if prompt_of else None
            if prompt is None and metadata is not None:
                prompt = metadata.prompt_of(path)
            yield Item(
                id=Path(os.path.relpath(path, root)).as_posix(),
                path=path,
                prompt=prompt,
                prompt_source=None if prompt is None else "manifest",
                has_sidecar=prompt is None and Path(name).stem + ".txt" in names,
            )
    if own is not None and metadata is not None and not metadata.is_used and prompt_of is None:
        _logger.warning(
            "%s: no prompt for any image below it: expected their paths, relative to this file, %s",
            os.path.join(folder, own), metadata.example(),
        )  # fmt: skip


def _metadata_prompts(path: str) -> PromptPaths:
    try:
        return PromptPaths(iterate_manifest(path), path)
    except PromptError as error:
        raise BulkError(str(error)) from error


def list_manifest(manifest_path: str) -> Iterator[Item]:
    """The rows of a .csv, .jsonl or .parquet with ``path`` and ``prompt``, in order.

    ``file_name`` and ``image_path``, ``text`` and ``caption`` are understood in their place;
    paths are relative to the manifest. A path that comes again gets an id that ends in ``#2``. Of
    an image without a prompt the item tells whether a .txt lies beside it.

    Raises:
        BulkError: a file or a row that cannot be read; the line is named.
    """
    folder = os.path.dirname(manifest_path)
    seen: set[int] = set()  # hashes: a list of millions of paths would fill the memory
    repeats: dict[str, int] = {}
    for name, text in _manifest_rows(manifest_path):
        ident, count = name, repeats.get(name, 1)
        while hash(ident) in seen:  # a file may be called a.png#2
            count += 1
            ident = f"{name}#{count}"
        if count > 1:
            repeats[name] = count
        seen.add(hash(ident))
        prompt, path = _prompt(text), os.path.join(folder, name)
        yield Item(
            id=ident,
            path=path,
            prompt=prompt,
            prompt_source=None if prompt is None else "manifest",
            has_sidecar=prompt is None and os.path.isfile(f"{os.path.splitext(path)[0]}.txt"),
        )


def iterate_manifest(manifest_path: str) -> Iterator[tuple[str, str | None]]:
    """The paths of a .csv, .jsonl or .parquet as they are reached from here, each with its prompt;
    an empty prompt is none.

    Raises:
        BulkError: as `list_manifest`.
    """
    folder = os.path.dirname(manifest_path)
    for name, text in _manifest_rows(manifest_path):
        yield os.path.join(folder, name), _prompt(text)


def _prompt(text: str | None) -> str | None:
    return bounded_prompt(text)[0] if text and text.strip() else None


def _manifest_rows(path: str) -> Iterator[tuple[str, str | None]]:
    if path.lower().endswith(".parquet"):
        yield from _parquet_rows(path)
        return
    try:
        for row in iterate_prompt_list(path):
            yield row.path, row.prompt
    except PromptError as error:
        raise BulkError(str(error)) from error


def _parquet_rows(path: str) -> Iterator[tuple[str, str | None]]:
    from .arrow import pa, pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            path_column = next((key for key in PATH_KEYS if key in names), None)
            prompt_column = next((key for key in PROMPT_KEYS if key in names), None)
            if path_column is None:
                raise BulkError(
                    f"{path}: expected a column {' or '.join(PATH_KEYS)}, found "
                    f"{', '.join(names)[:200]}"
                )
            columns = [key for key in (path_column, prompt_column) if key is not None]
            row_number = 0
            for batch in file.iter_batches(batch_size=4096, columns=columns):
                prompts = batch[prompt_column].to_pylist() if prompt_column else [None] * len(batch)
                for name, prompt in zip(batch[path_column].to_pylist(), prompts, strict=True):
                    if not isinstance(name, str) or not isinstance(prompt, (str, type(None))):
                        raise BulkError(
                            f"{path}, row {row_number}: expected texts as path and prompt, found "
                            f"{type(name).__name__} and {type(prompt).__name__}"
                        )
                    yield name, prompt
                    row_number += 1
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BulkError(f"{path}: expected a Parquet table: {reason}") from error
