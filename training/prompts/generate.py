"""Writes more prompts with a local instruction model; the rules of `checks` reject some.

    python -m training.prompts.generate --model Qwen/Qwen3-4B-Instruct-2507 --num 400 \\
        --out runs/prompts/prompts.jsonl
    python -m training.prompts.generate --smoke

--model is any model of transformers with a chat template, a hub id or a directory. The set grows
evenly over the 56 sub-concepts, and no prompt is like one of the shipped 400 (or of --existing) or
another of its own. Labels come from keywords, and from the same model where they leave doubt.
Killed, it goes on where it stopped: OUT.requests.jsonl holds what was kept, rejected, and why.

Hardware: one GPU for a model of 4B or more (about 10 GB for 4B) [estimated; no weights were at hand
here]. Time: some 10 requests a minute, of 8 prompts each [estimated]. --smoke: seconds, with a
stand-in that strings words together, which proves the way and not the prompts.
Expect: a JSON object on stdout with the number kept and the rejections by reason; fewer than --num
where the model cannot do better within --max-requests.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from eliq.errors import EliqError

from ..stop_request import StopRequest
from .chat import Chat, TransformersChat
from .checks import Rules
from .prompt_set import read_prompts
from .smoke_chat import SmokeChat
from .writing import WritingConfig, write_prompts


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; exit codes as in `eliq` (2: wrong input, 130/143: stopped)."""
    options = _parser().parse_args(arguments)
    level = logging.WARNING if options.quiet else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s")
    try:
        with StopRequest() as stop, tempfile.TemporaryDirectory() as temporary:
            result = _run(options, stop, Path(temporary))
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    if result["stopped"]:
        sys.stderr.write("stopped; the same command goes on from here\n")
        return stop.exit_code or 1
    return 0


def _run(options: argparse.Namespace, stop: StopRequest, temporary: Path) -> dict[str, Any]:
    chat: Chat
    if options.smoke:
        chat, name, num = SmokeChat(), "smoke", min(options.num, 14)
        out = options.out or temporary / "prompts.jsonl"
    elif options.model is None or options.out is None:
        raise EliqError("give --model and --out, or --smoke; see --help")
    else:
        chat = TransformersChat(
            options.model,
            revision=options.revision,
            device=options.device,
            temperature=options.temperature,
        )
        name, num, out = options.model, options.num, options.out
    report = write_prompts(
        chat,
        out,
        WritingConfig(num=num, seed=options.seed, max_requests=options.max_requests, model=name),
        existing=[] if options.existing == "none" else read_prompts(options.existing),
        rules=Rules(max_similarity=options.max_similarity),
        stop=stop,
        progress=not options.quiet,
    )
    return {"out": str(options.out) if options.out else None, **report}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.prompts.generate",
        description="Writes prompts with a local instruction model and keeps those that pass.",
    )
    add = parser.add_argument
    add("--model", help="instruction model of transformers: hub id or directory")
    add("--revision", help="commit or tag of a hub id")
    add("--out", type=Path, help="list to write, .jsonl")
    add("--num", type=int, default=400, help="prompts wanted (default %(default)s)")
    add("--existing", help='list that new prompts keep away from (default: the shipped; or "none")')
    add("--max-requests", type=int, default=0, help="0 = five times what would do")
    add("--max-similarity", type=float, default=Rules.max_similarity)
    add("--temperature", type=float, default=0.9)
    add("--seed", type=int, default=0)
    add("--device", help="cpu, cuda, ... (default: cuda where there is one)")
    add("--quiet", action="store_true", help="no progress bar, only warnings")
    add("--smoke", action="store_true", help="14 prompts by a stand-in, without a model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
