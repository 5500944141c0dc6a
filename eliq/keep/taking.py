"""Links or copies the kept images into a folder; run again, it goes on where it was."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from ..bulk import ImageReader
from ..bulk.items import IMAGE_SUFFIXES, unstorable
from ..errors import BulkError, ConfigError, ImageError
from .marks import RATE_BY, png_with_text, xmp_sidecar
from .metadata import FolderMetadata
from .names import numbered, relative_name
from .selection import Selection, iterate_kept, run_folder

__all__ = ["WAYS", "TakenCounts", "take_away"]

WAYS = ("link", "hardlink", "copy")


@dataclass
class TakenCounts:
    """What `take_away` did.

    Attributes:
        num_kept: images that the selection keeps.
        num_taken: linked or copied now.
        num_there: already there from an earlier time.
        num_renamed: of both, those that got a number because of another file of their name.
        num_without_text: copied without PNG text, because they are no PNG.
        num_others: images in the folder that this call did not put there or find there: those
            of an earlier selection, of another way of taking, or the user's own. They stay.
        missing: paths of originals that are no longer there, or cannot be read.
    """

    num_kept: int = 0
    num_taken: int = 0
    num_there: int = 0
    num_renamed: int = 0
    num_without_text: int = 0
    num_others: int = 0
    missing: list[str] = field(default_factory=list)


def take_away(
    out_dir: str | os.PathLike[str],
    selection: Selection,
    target: str | os.PathLike[str],
    *,
    how: str = "link",
    flat: bool = False,
    xmp: bool = False,
    rate_by: str = "visual_quality",
    png_text: bool = False,
    metadata: bool = False,
    observer: Callable[[TakenCounts], None] | None = None,
) -> TakenCounts:
    """Link or copy what ``selection`` keeps of the run in ``out_dir`` into ``target``.

    A file in ``target`` is never overwritten: one that is already the same stays, another one
    makes the newcomer ``name~2``. Nothing is removed from it, images of an earlier selection
    neither: ``num_others`` counts them. Originals are only read.

    Args:
        how: "link" (symbolic, absolute), "hardlink", or "copy". Members of tars can only be
            copied: they are extracted.
        flat: without the folders of the run.
        xmp: also a sidecar ``name.ext.xmp`` with a rating of 0 to 5, for ``rate_by`` (one of
            `RATE_BY`).
        png_text: with "copy": PNG copies get the scores as text ``eliq``.
        metadata: also ``metadata.jsonl`` with prompts and scores, by which
            ``datasets.load_dataset("imagefolder", data_dir=target)`` loads the images.
        observer: called after each image.

    Raises:
        BulkError: no run; a member of a tar that should be linked; a target that lies among the
            originals; the disk refuses.
        ConfigError: options that do not go together.
    """
    _check(how, rate_by, png_text)
    base, root = run_folder(out_dir), Path(target)
    _make_folder(root)
    counts = TakenCounts()
    reader = ImageReader()
    with os.scandir(root) as entries:
        places: set[str] | None = set() if any(entries) else None
    with FolderMetadata(root) if metadata else nullcontext() as listed:
        for row in iterate_kept(out_dir, selection):
            counts.num_kept += 1
            if row["member"] is not None and how != "copy":
                raise BulkError(
                    f"{row['path']}: its members cannot be linked, they lie inside a tar; use "
                    "--copy"
                )
            original = _original(row, base)
            place = root / relative_name(row, flat=flat)
            try:
                taken = _Taken(row, original, how, png_text, counts, reader)
            except (OSError, BulkError):
                counts.missing.append(str(row["path"]))
                if places is not None:  # it may have arrived at an earlier time
                    places.update(map(os.fspath, takewhile(os.path.lexists, numbered(place))))
                continue
            _make_folder(place.parent, inside=root)
            final = _settle(place, original, taken, counts)
            if places is not None:
                places.add(os.fspath(final))
            if listed is not None:
                listed.add(final, row)
            if xmp:
                _write_new(_with_suffix(final, ".xmp"), xmp_sidecar(row, rate_by), replace=True)
            if observer is not None:
                observer(counts)
        if listed is not None:
            listed.write()
    counts.num_others = 0 if places is None else _num_others(root, places)
    return counts


def _num_others(root: Path, places: set[str]) -> int:
    """How many images lie below ``root`` that are at none of ``places``."""
    return sum(
        name.lower().endswith(IMAGE_SUFFIXES) and os.fspath(Path(folder, name)) not in places
        for folder, _, names in os.walk(root)
        for name in names
    )


class _Taken:
    """One image about to arrive: how it gets to its place, and whether it is there already."""

    def __init__(
        self,
        row: dict[str, Any],
        original: Path,
        how: str,
        png_text: bool,
        counts: TakenCounts,
        reader: ImageReader,
    ) -> None:
        self._original, self._how = original, how
        self._data: bytes | None = None
        if how == "copy":
            self._data = reader.read({**row, "path": os.fspath(original)})
            if png_text:
                try:
                    self._data = png_with_text(self._data, row)
                except ImageError:
                    counts.num_without_text += 1
        else:
            os.stat(original)  # a link to nothing is no use

    def is_at(self, place: Path) -> bool:
        """Whether ``place`` already holds it, from an earlier time."""
        if self._data is not None:
            return place.is_file() and not place.is_symlink() and _holds(place, self._data)
        if self._how == "link":
            return place.is_symlink() and os.readlink(place) == self._link_target()
        return place.exists() and not place.is_symlink() and place.samefile(self._original)

    def arrive(self, place: Path) -> None:
        """Put it at a place that is free.

        Raises:
            FileExistsError: the place was taken in the meantime.
            OSError: the disk refuses.
        """
        if self._data is not None:
            _write_new(place, self._data)
        elif self._how == "link":
            os.symlink(self._link_target(), place)
        else:
            os.link(os.path.realpath(self._original), place)

    def _link_target(self) -> str:
        return os.path.abspath(self._original)


def _settle(place: Path, original: Path, taken: _Taken, counts: TakenCounts) -> Path:
    """Put an image at the first of its names that is free or already holds it."""
    for number, name in enumerate(numbered(place)):
        if os.path.lexists(name):
            if _is_original(name, original):
                raise BulkError(
                    f"{name.parent} holds the originals themselves: choose another folder, they "
                    "are never touched"
                )
            if not taken.is_at(name):
                continue
            counts.num_there += 1
        else:
            try:
                taken.arrive(name)
            except FileExistsError:
                continue
            except OSError as error:
                raise BulkError(_refusal(name, error)) from error
            counts.num_taken += 1
        counts.num_renamed += number > 0
        return name
    raise BulkError(f"{place}: no name is free")  # never: numbered() does not end


def _original(row: dict[str, Any], base: Path) -> Path:
    """The file of a row: relative to where the run was started, and to nowhere else, where another
    file may have its name."""
    path = base / row["path"]
    return path if os.path.lexists(path) else base / unstorable(row["path"])


def _is_original(place: Path, original: Path) -> bool:
    """Whether ``place`` is the original under its own name, not a link that we made."""
    return not place.is_symlink() and os.path.realpath(place) == os.path.realpath(original)


def _holds(place: Path, data: bytes) -> bool:
    return place.stat().st_size == len(data) and place.read_bytes() == data


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _write_new(place: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a file that is there whole or not at all; another one is replaced only if asked."""
    partial = place.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace or not os.path.lexists(place):
            os.replace(partial, place)
        else:
            raise FileExistsError(place)
    finally:
        partial.unlink(missing_ok=True)


def _make_folder(folder: Path, *, inside: Path | None = None) -> None:
    """Make a folder; one that a link leads out of the target is refused."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BulkError(_refusal(folder, error)) from error
    if inside is not None and not Path(os.path.realpath(folder)).is_relative_to(
        os.path.realpath(inside)
    ):
        raise BulkError(f"{folder} is a link that leads out of {inside}: remove it")


def _refusal(place: Path, error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    hint = ""
    if error.errno == 18:  # EXDEV
        hint = "; a hard link stays on one disk: use --link or --copy"
    elif getattr(error, "winerror", None) == 1314:
        hint = "; Windows lets only developers make symbolic links: use --hardlink or --copy"
    return f"cannot write {place}: {reason}{hint}"


def _check(how: str, rate_by: str, png_text: bool) -> None:
    if how not in WAYS:
        raise ConfigError(f"how: expected one of {', '.join(WAYS)}, found {how!r}")
    if rate_by not in RATE_BY:
        raise ConfigError(f"rate_by: expected one of {', '.join(RATE_BY)}, found {rate_by!r}")
    if png_text and how != "copy":
        raise ConfigError("PNG text needs copies: a link is the original, which stays as it is")
