"""``eliq report``: write a run's page again."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

from ..errors import BulkError
from .app import Debug, Format, Json, PathsFormat, app, chosen_format
from .output import emit, message
from .usage import PlainCommand

__all__ = ["RunDir", "plain_unless_asked", "report", "say_if_unfinished"]

RunDir = Annotated[
    str, typer.Argument(metavar="DIR", help="What eliq run wrote.", show_default=False)
]


def plain_unless_asked(format: Format, json: bool, quiet: bool) -> Format:
    """As `chosen_format`, but plain text into a pipe too: paths are for other programs."""
    asked = json or quiet or format is not Format.auto
    return chosen_format(format, json, quiet) if asked else Format.human


def say_if_unfinished(directory: str) -> None:
    """Say on standard error that some of a run is not scored yet; a run without a plan is whole."""
    from ..bulk import load_plan
    from ..bulk.parts import units_begun

    try:
        plan = load_plan(directory)
    except BulkError:
        return
    begun = units_begun(directory)
    gone = {number for number, tar in enumerate(plan.tars) if tar.is_gone}
    if num_missing := len(set(plan.units()) - begun - gone):
        what = "tars" if plan.num_items is None else "parts"
        message(
            f"{directory}: {num_missing} of {plan.num_units} {what} of this run are not scored "
            "yet; the same eliq run goes on with them"
        )


@app.command(cls=PlainCommand)
def report(
    directory: RunDir,
    rows: Annotated[
        int,
        typer.Option(
            "--rows",
            min=1,
            metavar="N",
            help="Of a larger run a sample of this size is shown; counts stay those of all.",
        ),
    ] = 20_000,
    one_file: Annotated[
        bool,
        typer.Option("--one-file", help="All thumbnails inside the page, however many they are."),
    ] = False,
    format: PathsFormat = Format.auto,
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
    debug: Debug = False,
) -> int:
    """Write a run's page again, DIR/report.html.

    One offline page to find a threshold on.

    eliq report scored
    """
    from ..report import build_report

    options = {"max_inline_bytes": 2**40} if one_file else {}
    chosen = plain_unless_asked(format, json, quiet)
    path = build_report(directory, max_rows=rows, **options)
    if chosen is not Format.quiet:
        say_if_unfinished(directory)
    if chosen is Format.json:
        emit(json_module.dumps({"report": str(path)}) + "\n")
    elif chosen is not Format.quiet:
        emit(f"{path}\n")
    return 0
