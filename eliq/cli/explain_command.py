"""The options of ``eliq explain``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

__all__ = ["explain"]


def explain(
    image: Annotated[str, typer.Argument(metavar="IMAGE", show_default=False)],
    prompt: Annotated[
        str,
        typer.Option(
            "--prompt", "-p", metavar="TEXT", help="The prompt of the image.", show_default=False
        ),
    ],
    checkpoint: Annotated[
        str,
        typer.Option(
            "--checkpoint",
            "-c",
            metavar="DIR|HUB_ID",
            help="A trained IP-IQA model; none comes with the package.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Where the pictures go.", show_default=False
        ),
    ],
    word: Annotated[
        list[str] | None,
        typer.Option(
            "--word",
            "-w",
            metavar="WORD",
            help="A word of the prompt, or several that follow one another; may be repeated. "
            "Default: all words, in one strip.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="DEVICE",
            help="cpu, cuda, ...; default: cuda where there is one.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="One JSON object a map, with its cells; default: off a terminal."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No messages.")] = False,
    # `main` acts on it: errors of the command line itself are shown there too.
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> int:
    """Show where IP-IQA looks for words.

    For the words of a prompt: attention maps of its cross-modality pooling as pictures, the heat of
    a word beside the image, and all words as a strip. A map says where the model looked for the
    word, not that the thing is there, nor why the score is what it is.

    eliq explain fox.png --prompt "a red fox in snow" --word fox --checkpoint DIR --out maps
    """
    from .explain import explain_image

    return explain_image(
        image,
        prompt,
        checkpoint=checkpoint,
        out_dir=out,
        words=word,
        device=device,
        as_json=json or not sys.stdout.isatty(),
        quiet=quiet,
    )
