"""The commands of ``eliq`` and their options; what is heavy is imported inside them."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import EliqError
from . import job, output
from .explain_command import explain
from .gates import parse_gates
from .inputs import find_images, pair_prompts
from .usage import PlainCommand

__all__ = ["app"]

app = typer.Typer(
    name="eliq",
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(str, Enum):
    auto = "auto"
    human = "human"
    json = "json"
    quiet = "quiet"


class System(str, Enum):
    eliq = "eliq"
    ip_iqa = "ip-iqa"


class SortBy(str, Enum):
    mean = "mean"
    visual_quality = "visual_quality"
    alignment = "alignment"
    min = "min"


Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCES",
        help="Images, or directories to search for images. May be left out if --prompts names the "
        "images.",
        show_default=False,
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt", "-p", metavar="TEXT", help="The prompt of every image.", show_default=False
    ),
]
Prompts = Annotated[
    str | None,
    typer.Option(
        "--prompts",
        metavar="FILE",
        help="A prompt an image: .jsonl or .csv with path and prompt (paths relative to the file), "
        "or .txt with one line an image. Without prompts, a .txt beside an image is its prompt.",
        show_default=False,
    ),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        "-c",
        metavar="DIR|HUB_ID",
        help="A trained critic; default: the one in the package.",
        show_default=False,
    ),
]
SystemOption = Annotated[
    System | None,
    typer.Option(
        "--system",
        help="Insist on a label-free critic (eliq) or a scorer trained on ratings (ip-iqa); "
        "default: what the checkpoint is.",
        show_default=False,
    ),
]
ZeroShot = Annotated[
    str | None,
    typer.Option(
        "--zero-shot",
        metavar="MODEL",
        help="Score with the low/high answers of a bare Qwen-VL model.",
        show_default=False,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="cpu, cuda, cuda:1, ...; default: cuda where there is one.",
        show_default=False,
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype", metavar="TYPE", help="float32, bfloat16 or float16.", show_default=False
    ),
]
BatchPx = Annotated[
    int | None,
    typer.Option(
        "--batch-px",
        min=1,
        metavar="N",
        help="Pixels that go through the model at once.",
        show_default=False,
    ),
]
FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        help="auto: a table on a terminal, JSON lines elsewhere. quiet: visual quality, alignment "
        "and path between tabs.",
    ),
]
FactsFormat = Annotated[
    Format, typer.Option("--format", help="auto: text on a terminal, JSON elsewhere.")
]
PathsFormat = Annotated[
    Format,
    typer.Option("--format", help="auto and human: text, into a pipe too. quiet: as --quiet."),
]
Json = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="The same as --format quiet; no progress, no messages."),
]
FailUnder = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-under",
        metavar="SCORE",
        help="Exit with 4 if a score is below this: 0.5, or visual_quality=0.6, or alignment=0.5; "
        "may be repeated.",
        show_default=False,
    ),
]
Debug = Annotated[
    bool,
    # `main` acts on it: errors of the command line itself are shown there too.
    typer.Option("--debug", help="Show the traceback of an error, as ELIQ_DEBUG=1 does."),
]


def _show_version(value: bool) -> None:
    if value:
        from .. import __version__

        typer.echo(f"eliq {__version__}")
        raise typer.Exit


@app.callback()
def eliq(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Scores generated images twice: visual quality, and alignment with the prompt. Both lie
    between 0 and 1, higher is better; an image without a prompt has no alignment.

    Exit codes: 0 all images scored, 1 the run failed, 2 wrong usage, 3 some images failed,
    4 a --fail-under score was missed, whether or not some failed.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(cls=PlainCommand)
def score(
    sources: Sources = None,
    prompt: Prompt = None,
    prompts: Prompts = None,
    checkpoint: Checkpoint = None,
    system: SystemOption = None,
    zero_shot: ZeroShot = None,
    device: Device = None,
    dtype: Dtype = None,
    batch_px: BatchPx = None,
    fail_under: FailUnder = None,
    format: FormatOption = Format.auto,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Score images, in the order given. JSON lines are written as they are finished.

    eliq score a.png b.png --prompt "a red fox in snow"

    eliq score images/ --prompts prompts.jsonl --json
    """
    request = _request(
        sources, prompt, prompts, checkpoint, system, zero_shot, device, dtype, batch_px,
        fail_under, format, json, quiet,
    )  # fmt: skip
    return job.run(request)


@app.command(cls=PlainCommand)
def rank(
    sources: Sources = None,
    prompt: Prompt = None,
    prompts: Prompts = None,
    by: Annotated[
        SortBy,
        typer.Option("--by", help="What to sort by; mean and min are of the two scores."),
    ] = SortBy.mean,
    contact_sheet: Annotated[
        str | None,
        typer.Option(
            "--contact-sheet",
            metavar="FILE",
            help="Write the ranked images as one picture (.png) or page (.html).",
            show_default=False,
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    system: SystemOption = None,
    zero_shot: ZeroShot = None,
    device: Device = None,
    dtype: Dtype = None,
    batch_px: BatchPx = None,
    fail_under: FailUnder = None,
    format: FormatOption = Format.auto,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Score images, best first.

    Those that failed come last.

    eliq rank images/ --prompts prompts.jsonl --contact-sheet sheet.html
    """
    if contact_sheet is not None:
        if Path(contact_sheet).suffix.lower() not in (".png", ".html", ".htm"):
            raise typer.BadParameter(f"--contact-sheet {contact_sheet}: expected .png or .html")
        if not Path(contact_sheet).resolve().parent.is_dir():
            raise typer.BadParameter(f"--contact-sheet {contact_sheet}: no such directory")
    request = _request(
        sources, prompt, prompts, checkpoint, system, zero_shot, device, dtype, batch_px,
        fail_under, format, json, quiet,
    )  # fmt: skip
    return job.run(request, rank_by=by.value, contact_sheet_path=contact_sheet)


@app.command(cls=PlainCommand)
def info(
    named: Annotated[
        str | None,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Directory or hub id; default: the critic in the package.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            "-c",
            metavar="DIR|HUB_ID",
            help="The same, as the other commands take it.",
            show_default=False,
        ),
    ] = None,
    format: FactsFormat = Format.auto,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Show what a checkpoint holds.

    Its backbone, head, preprocessing, calibration and training.
    """
    from .info import show_info

    if named is not None and checkpoint is not None:
        raise typer.BadParameter("name the checkpoint once: by itself or with --checkpoint")
    checkpoint = named if checkpoint is None else checkpoint
    return show_info(checkpoint, as_json=chosen_format(format, json, False) is Format.json)


app.command(cls=PlainCommand)(explain)


def _request(
    sources: list[str] | None,
    prompt: str | None,
    prompts: str | None,
    checkpoint: str | None,
    system: System | None,
    zero_shot: str | None,
    device: str | None,
    dtype: str | None,
    batch_px: int | None,
    fail_under: list[str] | None,
    format: Format,
    json: bool,
    quiet: bool,
) -> job.Request:
    """What to do, checked before anything heavy is imported; wrong usage exits with 2."""
    chosen = chosen_format(format, json, quiet)
    if prompt is not None and prompts is not None:
        raise typer.BadParameter("give --prompt or --prompts, not both")
    if checkpoint is not None and zero_shot is not None:
        raise typer.BadParameter("give --checkpoint or --zero-shot, not both")
    if system is System.ip_iqa and checkpoint is None:
        raise typer.BadParameter(
            "--system ip-iqa: give --checkpoint too; no such weights come with the package"
        )
    if not sources and prompts is None:
        raise typer.BadParameter("name at least one image or directory")
    try:
        paths = find_images(sources or [])
        items = pair_prompts(paths, prompt=prompt, prompts_path=prompts)
        gates = parse_gates(fail_under or [])
    except EliqError as error:
        raise typer.BadParameter(str(error)) from error
    if not items:
        raise typer.BadParameter("name at least one image or directory")
    return job.Request(
        items=items,
        prompts_path=prompts,
        gates=gates,
        scorer_options={
            "checkpoint": checkpoint,
            "system": system.value if system else None,
            "zero_shot": zero_shot,
            "device": device,
            "dtype": dtype,
            "batch_px": batch_px,
        },
        writer=_WRITERS[chosen],
        quiet=chosen is Format.quiet,
    )


_WRITERS = {
    Format.json: output.JsonWriter,
    Format.human: output.HumanWriter,
    Format.quiet: output.QuietWriter,
}


def chosen_format(format: Format, json: bool, quiet: bool) -> Format:
    """What --format, --json and --quiet say together; wrong usage exits with 2."""
    named = {Format.json} if json else set()
    named |= {Format.quiet} if quiet else set()
    named |= {format} if format is not Format.auto else set()
    if len(named) > 1:
        words = ", ".join(sorted(one.value for one in named))
        raise typer.BadParameter(f"choose one output format, not {words}")
    if named:
        return named.pop()
    return Format.human if sys.stdout.isatty() else Format.json


# The other commands add themselves to `app`.
from . import run as _run  # noqa: E402, F401, I001
from . import report as _report  # noqa: E402, F401
from . import keep as _keep  # noqa: E402, F401
from . import export as _export  # noqa: E402, F401
