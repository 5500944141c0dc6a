"""What SOURCE is: a folder, an imagefolder, a manifest or tars."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ..errors import BulkError
from .config import RunConfig
from .items import IMAGE_SUFFIXES, Item
from .listing import METADATA_NAMES, list_folder, list_manifest
from .prompt_file import PromptFile
from .tar_reader import compression_of
from .tar_units import TarUnit
from .tars import find_tars

__all__ = [
    "MANIFEST_SUFFIXES",
    "Source",
    "check_named",
    "check_source",
    "find_source",
    "nothing_found",
]

_MOST_DEPTH = 3  # of folders in which tars are looked for to name them
MANIFEST_SUFFIXES = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Source:
    """Where the images come from.

    Attributes:
        kind: folder, imagefolder, manifest or tars.
        items: lists them, one at a time; not for tars.
        tars: not opened yet; empty for other kinds.
        prompt_file: of a folder; counts while the items are listed.
    """

    kind: str
    items: Callable[[], Iterator[Item]] = field(default=lambda: iter(()))
    tars: tuple[TarUnit, ...] = ()
    prompt_file: PromptFile | None = None


def find_source(config: RunConfig) -> Source:
    """Tell what ``config.source`` is, without listing it.

    Raises:
        BulkError: there is nothing of that name, or nothing that can be scored.
    """
    source = config.source
    is_folder = os.path.isdir(source)
    if not is_folder and source.lower().endswith(MANIFEST_SUFFIXES):
        if not os.path.isfile(source):
            raise BulkError(f"{source}: no such manifest")
        if config.prompts_path is not None:
            raise BulkError("--prompts: expected a folder as SOURCE, which is a manifest itself")
        return Source("manifest", lambda: _prompted(list_manifest(source), config.prompt))
    if not is_folder and ".tar" in source.lower():
        return _tars(source, config)
    if not is_folder:
        if os.path.exists(source) and source.lower().endswith(IMAGE_SUFFIXES):
            raise BulkError(f"{source}: expected a folder of images; eliq score takes single ones")
        found = "found another file" if os.path.exists(source) else "no such file or directory"
        raise BulkError(
            f"{source}: expected a folder, a .csv, .jsonl or .parquet manifest, or .tar files: "
            f"{found}"
        )
    out_dir = Path(config.out_dir).resolve()
    if find_tars(source) and not _has_images(source, out_dir):
        return _tars(source, config)
    has_metadata = any(os.path.isfile(os.path.join(source, name)) for name in METADATA_NAMES)
    kind = "imagefolder" if has_metadata else "folder"
    if config.prompts_path is None:
        listed = partial(list_folder, source, skipped=out_dir, prompt_of=None)
        return Source(kind, lambda: _prompted(listed(), config.prompt))
    prompts = _prompt_file(config.prompts_path)
    listed = partial(list_folder, source, skipped=out_dir, prompt_of=prompts.prompt_of)
    return Source(kind, lambda: prompts.counted(listed(), config.limit), prompt_file=prompts)


def check_named(config: RunConfig) -> None:
    """Look whether what the command names is there, without listing or reading any of it.

    Raises:
        BulkError: there is no such source, or no such file of prompts.
    """
    source = config.source
    if not os.path.exists(source):
        if ".tar" not in source.lower():
            raise BulkError(f"{source}: no such file or directory")
        find_tars(source)
    if config.prompts_path is not None and not os.path.isfile(config.prompts_path):
        raise BulkError(f"{config.prompts_path}: no such file of prompts")


def check_source(config: RunConfig) -> None:
    """Look whether there is something to score, without listing all of it.

    Raises:
        BulkError: as `find_source`, or there are no images.
    """
    source = find_source(config)
    if not source.tars and next(source.items(), None) is None:
        raise BulkError(nothing_found(config.source))


def nothing_found(source: str) -> str:
    """What to say of a source without an image: whether there are tars further down."""
    for depth in range(1, _MOST_DEPTH + 1):
        pattern = os.path.join(glob.escape(source), *"*" * depth, "*.tar")
        if os.path.isdir(source) and (tars := glob.glob(pattern)):
            return (
                f"{source}: no images found in it; {len(tars)} tars lie in folders below it, name "
                f'them to score them: "{pattern}"'
            )
    return f"{source}: no images found in it"


def _tars(source: str, config: RunConfig) -> Source:
    if config.prompts_path is not None:
        raise BulkError("--prompts: expected a folder as SOURCE; tars carry their prompts inside")
    paths = find_tars(source)
    # One among others is a row that says so. It ends with the first that is not compressed.
    if all(map(compression_of, paths)):
        raise BulkError(
            f"{paths[0]}: expected a plain tar, found {compression_of(paths[0])}: unpack it"
        )
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    names = [Path(os.path.relpath(os.path.abspath(path), root)).as_posix() for path in paths]
    return Source("tars", tars=tuple(map(TarUnit, paths, names)))


def _has_images(folder: str, skipped: Path) -> bool:
    return next(list_folder(folder, skipped=skipped, prompt_of=None), None) is not None


def _prompt_file(path: str) -> PromptFile:
    if not path.lower().endswith(MANIFEST_SUFFIXES):
        raise BulkError(f"{path}: expected a .csv, .jsonl or .parquet of prompts")
    return PromptFile(path)


def _prompted(items: Iterator[Item], prompt: str | None) -> Iterator[Item]:
    if prompt is None:
        yield from items
        return
    for item in items:
        yield replace(item, prompt=prompt, prompt_source="option", has_sidecar=False)
