"""``eliq run``: score an image set of any size into a directory; its options."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Annotated

import typer

from ..errors import EliqError
from .app import (
    BatchPx,
    Checkpoint,
    Debug,
    Device,
    Dtype,
    FailUnder,
    Format,
    Json,
    Prompt,
    ZeroShot,
    app,
    chosen_format,
)
from .gates import parse_gates
from .usage import PlainCommand

__all__ = ["run"]


class Engine(str, Enum):
    local = "local"
    ray = "ray"


@app.command(cls=PlainCommand)
def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of images, a Hugging Face imagefolder, a .csv, .jsonl or .parquet with "
            "path and prompt, or WebDataset tars: one, a quoted pattern, or their folder.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Where the result goes.", show_default=False
        ),
    ],
    prompt: Prompt = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help="Prompts of a folder's images: .csv, .jsonl or .parquet with path and prompt. "
            "Without it: the imagefolder's metadata, a .txt beside an image, or what ComfyUI or "
            "A1111 wrote into it.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    zero_shot: ZeroShot = None,
    device: Device = None,
    devices: Annotated[
        str | None,
        typer.Option(
            "--devices",
            metavar="LIST",
            help="Several at once, a process each: cuda:0,cuda:1.",
            show_default=False,
        ),
    ] = None,
    dtype: Dtype = None,
    batch_px: BatchPx = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            metavar="N",
            help="Processes that decode; default: one a core but one, on two cores two, at most 8.",
            show_default=False,
        ),
    ] = None,
    part_size: Annotated[
        int | None,
        typer.Option(
            "--part-size",
            min=1,
            metavar="N",
            help="Images of a part: what a kill costs; default: as the run in DIR, else 1000.",
            show_default=False,
        ),
    ] = None,
    item_timeout: Annotated[
        float,
        typer.Option(
            "--item-timeout",
            min=0.1,
            max=3600,
            metavar="SECONDS",
            help="An image that takes longer to decode fails.",
        ),
    ] = 5.0,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Score the images again that failed before.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run that is in DIR; asks.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, write nothing.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, metavar="N", help="Only the first so many.", show_default=False
        ),
    ] = None,
    max_errors: Annotated[
        int | None,
        typer.Option(
            "--max-errors",
            min=0,
            metavar="N",
            help="Stop when more images fail.",
            show_default=False,
        ),
    ] = None,
    fail_under: FailUnder = None,
    thumbnails: Annotated[
        bool,
        typer.Option(
            "--thumbnails/--no-thumbnails", help="Keep a small JPEG of each image for the report."
        ),
    ] = True,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write report.html at the end.")
    ] = True,
    engine: Annotated[
        Engine, typer.Option("--engine", help="ray: the parts on a Ray cluster.")
    ] = Engine.local,
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            metavar="ADDRESS",
            help="Of a running cluster; default: one on this machine, for this run.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="Of the summary; auto: a few lines on a terminal, one JSON object elsewhere. "
            "quiet: only the path of the result.",
        ),
    ] = Format.auto,
    json: Json = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="The same as --format quiet; no progress, no messages."),
    ] = False,
    debug: Debug = False,
) -> int:
    """Score an image set into a directory.

    Of any size; an earlier run that stopped goes on where it was.

    eliq run images/ --out scored

    eliq run "shards/*.tar" --out scored --devices cuda:0,cuda:1

    The same command goes on after an interruption, or with what has been added since.
    """
    chosen = chosen_format(format, json, quiet)
    if prompt is not None and prompts is not None:
        raise typer.BadParameter("give --prompt or --prompts, not both")
    if checkpoint is not None and zero_shot is not None:
        raise typer.BadParameter("give --checkpoint or --zero-shot, not both")
    if device is not None and devices is not None:
        raise typer.BadParameter("give --device or --devices, not both")
    if ray_address is not None and engine is not Engine.ray:
        raise typer.BadParameter("--ray-address: expected --engine ray with it")
    if devices is not None and engine is Engine.ray:
        raise typer.BadParameter("--devices: Ray places its workers itself, on all GPUs it has")
    if overwrite and not yes and not dry_run and not sys.stdin.isatty():
        raise typer.BadParameter("--overwrite asks first: add --yes where nobody can answer")
    try:
        gates = parse_gates(fail_under or [])
        from ..bulk.config import RunConfig
        from ..bulk.sources import check_named
        from .run_job import Job, run_job

        config = RunConfig(
            source,
            out,
            prompt=prompt,
            prompts_path=prompts,
            checkpoint=checkpoint,
            zero_shot=zero_shot,
            device=device,
            dtype=dtype,
            batch_px=batch_px,
            workers=workers,
            part_size=part_size,
            limit=limit,
            max_errors=max_errors,
            retry_failed=retry_failed,
            thumbnails=thumbnails,
            item_timeout_s=item_timeout,
        )
        check_named(config)
    except EliqError as error:
        raise typer.BadParameter(str(error)) from error
    return run_job(
        Job(
            config=config,
            gates=gates,
            format=chosen.value,
            devices=tuple(devices.split(",")) if devices else (),
            engine=engine.value,
            ray_address=ray_address,
            has_report=report,
            is_dry=dry_run,
            is_overwriting=overwrite,
            is_sure=yes,
        )
    )
