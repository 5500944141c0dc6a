"""``eliq keep``: list, link or copy the images of a run that reach thresholds."""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BulkError, EliqError
from ..shown_text import counted, printable
from .app import Debug, Format, Json, PathsFormat, app
from .job import EXIT_FAILED_ITEMS
from .output import emit, message
from .report import RunDir, plain_unless_asked, say_if_unfinished
from .usage import PlainCommand

if TYPE_CHECKING:
    from ..keep import Selection

__all__ = ["MinAlignment", "MinVisualQuality", "keep", "make_selection", "seen_from_here"]


class RateBy(str, Enum):
    visual_quality = "visual_quality"
    alignment = "alignment"
    lower = "lower"
    mean = "mean"


MinVisualQuality = Annotated[
    float | None,
    typer.Option(
        "--min-visual-quality", metavar="0..1", help="Least visual quality.", show_default=False
    ),
]
MinAlignment = Annotated[
    float | None,
    typer.Option(
        "--min-alignment",
        metavar="0..1",
        help="Least alignment; above 0 an image without a prompt misses it.",
        show_default=False,
    ),
]
Flags = Annotated[
    list[str] | None,
    typer.Option(
        "--flag",
        metavar="FLAG",
        help="Only images with this flag; may be repeated.",
        show_default=False,
    ),
]
WithoutFlags = Annotated[
    list[str] | None,
    typer.Option(
        "--without-flag",
        metavar="FLAG",
        help="Only images without it; may be repeated.",
        show_default=False,
    ),
]
Words = Annotated[
    str,
    typer.Option(
        "--words",
        metavar="WORDS",
        help="Only images with all these words in prompt or path; -word: without it.",
        show_default=False,
    ),
]


@app.command(cls=PlainCommand)
def keep(
    directory: RunDir,
    min_visual_quality: MinVisualQuality = None,
    min_alignment: MinAlignment = None,
    flag: Flags = None,
    without_flag: WithoutFlags = None,
    words: Words = "",
    listed: Annotated[
        bool, typer.Option("--list", help="Print their paths (what happens by default).")
    ] = False,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="End paths with NUL, as xargs -0 reads them.")
    ] = False,
    link: Annotated[
        str | None,
        typer.Option("--link", metavar="OUT", help="Symbolic links into OUT.", show_default=False),
    ] = None,
    hardlink: Annotated[
        str | None,
        typer.Option("--hardlink", metavar="OUT", help="Hard links into OUT.", show_default=False),
    ] = None,
    copy: Annotated[
        str | None,
        typer.Option(
            "--copy",
            metavar="OUT",
            help="Copies into OUT; members of tars are extracted.",
            show_default=False,
        ),
    ] = None,
    flat: Annotated[bool, typer.Option("--flat", help="OUT without the folders.")] = False,
    xmp: Annotated[
        bool, typer.Option("--xmp", help="Beside each file in OUT a sidecar with 0 to 5 stars.")
    ] = False,
    rate_by: Annotated[
        RateBy, typer.Option("--rate-by", help="What the stars are of.")
    ] = RateBy.visual_quality,
    png_text: Annotated[
        bool, typer.Option("--png-text", help="With --copy: the scores as text in PNG copies.")
    ] = False,
    metadata: Annotated[
        bool,
        typer.Option(
            "--metadata",
            help="In OUT a metadata.jsonl with prompts and scores: datasets loads it as an "
            "imagefolder.",
        ),
    ] = False,
    format: PathsFormat = Format.auto,
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no messages.")] = False,
    debug: Debug = False,
) -> int:
    """List, link or copy the good images of a run.

    Those that reach both thresholds; originals are never changed.

    eliq keep scored --min-visual-quality .6 --min-alignment .5 --link kept

    eliq keep scored --min-visual-quality .6 --list
    """
    chosen = plain_unless_asked(format, json, quiet)
    targets = {"link": link, "hardlink": hardlink, "copy": copy}
    given = {how: target for how, target in targets.items() if target is not None}
    if len(given) + listed > 1:
        raise typer.BadParameter("choose one of --list, --link, --hardlink and --copy")
    if not given and (flat or xmp or png_text or metadata):
        raise typer.BadParameter(
            "--flat, --xmp, --png-text and --metadata need --link, --hardlink or --copy"
        )
    if png_text and "copy" not in given:
        raise typer.BadParameter("--png-text needs --copy: a link is the original itself")
    if given and null:
        raise typer.BadParameter("--null goes with --list")
    selection = make_selection(min_visual_quality, min_alignment, flag, without_flag, words)
    if not given:
        return _list(
            directory,
            selection,
            as_json=chosen is Format.json,
            null=null,
            quiet=chosen is Format.quiet,
        )
    ((how, target),) = given.items()
    marks = {
        "flat": flat, "xmp": xmp, "rate_by": rate_by.value, "png_text": png_text,
        "metadata": metadata,
    }  # fmt: skip
    return _take(directory, selection, target, how, chosen, marks)


def make_selection(
    min_visual_quality: float | None,
    min_alignment: float | None,
    flags: list[str] | None = None,
    without_flags: list[str] | None = None,
    words: str = "",
) -> Selection:
    """The selection that the options name; what it refuses is wrong usage."""
    from ..keep import Selection
    from ..report.flag_words import FLAG_WORDS

    for option, given in (("--flag", flags), ("--without-flag", without_flags)):
        for flag in given or ():
            if flag not in FLAG_WORDS:  # which would keep nothing, or leave out nothing, in silence
                raise typer.BadParameter(
                    f"{option}: expected a flag of docs/scores.md, found {flag!r}"
                    + _suggestion(flag, FLAG_WORDS)
                )
    try:
        return Selection(
            min_visual_quality=min_visual_quality,
            min_alignment=min_alignment,
            flags=tuple(flags or ()),
            without_flags=tuple(without_flags or ()),
            words=words,
        )
    except EliqError as error:
        raise typer.BadParameter(f"--{str(error).replace('_', '-')}") from error


def _suggestion(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f": did you mean {near[0]}?" if near else ""


def _list(directory: str, selection: Selection, *, as_json: bool, null: bool, quiet: bool) -> int:
    from ..keep import iterate_kept, run_folder

    number = 0
    if not quiet:
        say_if_unfinished(directory)
    for row in seen_from_here(iterate_kept(directory, selection), run_folder(directory)):
        number += 1
        if as_json:
            facts = {key: row[key] for key in _LISTED}
            emit(json_module.dumps(facts, ensure_ascii=False, allow_nan=False) + "\n")
        else:
            path = row["path"] if row["member"] is None else f"{row['path']}/{row['member']}"
            if null:
                emit(f"{path}\0")
            else:  # a line end in a name would be read as two paths
                emit(printable(path) + "\n")
    if not number and not quiet:
        message(f"no image of {directory} is kept by these thresholds and filters")
    return 0


def seen_from_here(rows: Iterable[dict[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    """Rows with their paths, which begin in ``folder``, as they are called from here."""
    began = os.path.abspath(folder)
    is_elsewhere = began != os.getcwd()
    for row in rows:
        if is_elsewhere and not os.path.isabs(row["path"]):
            row["path"] = _from_here(os.path.join(began, row["path"]))
        yield row


def _from_here(path: str) -> str:
    """Relative to the current folder for what lies in it, else whole."""
    relative = os.path.relpath(path) if os.path.splitdrive(path)[0] == "" else path
    is_outside = relative == os.pardir or relative.startswith(os.pardir + os.sep)
    return os.path.normpath(path) if is_outside else relative


_LISTED = ("path", "member", "visual_quality", "alignment", "flags", "prompt")


def _take(
    directory: str,
    selection: Selection,
    target: str,
    how: str,
    format: Format,
    marks: Mapping[str, Any],
) -> int:
    from ..keep import take_away

    is_quiet = format is Format.quiet
    if not is_quiet:
        say_if_unfinished(directory)
    with _Progress(quiet=is_quiet) as progress:
        counts = take_away(directory, selection, target, how=how, observer=progress, **marks)
    facts = {
        "out": target, "kept": counts.num_kept, "taken": counts.num_taken,
        "already_there": counts.num_there, "renamed": counts.num_renamed,
        "missing": len(counts.missing), "others": counts.num_others,
    }  # fmt: skip
    if format is Format.json:
        emit(json_module.dumps(facts) + "\n")
    elif not is_quiet:
        word = {"link": "linked", "hardlink": "linked", "copy": "copied"}[how]
        text = f"{counts.num_taken} of {counts.num_kept} {word} into {target}"
        text += f", {counts.num_there} were there" if counts.num_there else ""
        text += f", {counts.num_renamed} under another name" if counts.num_renamed else ""
        emit(printable(text) + "\n")
    if counts.num_without_text and not is_quiet:
        verb = "is" if counts.num_without_text == 1 else "are"
        copies = "copy" if counts.num_without_text == 1 else "copies"
        message(f"{counts.num_without_text} {copies} {verb} no PNG: without text")
    if counts.num_others and not is_quiet:
        message(
            f"{target} also holds {counted(counts.num_others, 'image')} that this command did not "
            "put there, and they stay; to have the kept ones alone choose a new folder"
        )
    if not is_quiet and (source := _source_around(directory, target)) is not None:
        message(
            f"{target} lies inside {source}, which this run has scored: the next eliq run of it "
            "would take what is in there for its images; choose a folder outside"
        )
    if counts.missing:
        verb = "is" if len(counts.missing) == 1 else "are"
        message(
            f"{counted(len(counts.missing), 'original')} {verb} not there any more or cannot be "
            f"read (first: {counts.missing[0]})"
        )
        return EXIT_FAILED_ITEMS
    return 0


def _source_around(directory: str, target: str) -> str | None:
    """The folder that the run scored, if the next run of it would find images in ``target``."""
    from ..bulk import load_plan
    from ..bulk.listing import looks_into

    try:
        plan = load_plan(directory)
    except BulkError:
        return None  # the run can be read without it
    if plan.kind == "manifest" or not os.path.isdir(plan.source):
        return None
    is_found = looks_into(plan.source, Path(target), skipped=Path(directory).resolve())
    return plan.source if is_found else None


class _Progress:
    """A count on standard error, where that is a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(unit="image", file=sys.stderr, leave=False)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, counts: Any) -> None:
        if self._bar is not None:
            self._bar.update(1)
