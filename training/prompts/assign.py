"""Gives the prompts of a list their categories: by keywords, then by a language model where unsure.

    python -m training.prompts.assign PROMPTS.txt --out labelled.jsonl
    python -m training.prompts.assign PROMPTS.jsonl --out labelled.jsonl --model Qwen/Qwen3-4B-Instruct-2507
    python -m training.prompts.assign --smoke

PROMPTS holds a prompt a line, or JSON lines with "prompt". Categories that a list brings along are
kept with --keep; else they are assigned anew. The first category of a prompt without one of its own
becomes its `category`. Without --model, uncertain prompts keep what keywords and hints say.

Hardware: any; a GPU with --model. Time: seconds by keywords alone, and with --model a short answer
for each uncertain prompt. --smoke labels the shipped prompts without a model.
Expect: a JSON object on stdout with the number of prompts by the source of their labels.
"""  # noqa: E501 - a command is one line

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from eliq.errors import EliqError

from ..journal import write_lines
from .chat import TransformersChat
from .labels import assign_categories, chat_refiner
from .prompt_set import Prompt, read_prompts


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code (2: wrong input)."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    try:
        result = _run(options)
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def _run(options: argparse.Namespace) -> dict[str, Any]:
    if not options.smoke and (options.prompts is None or options.out is None):
        raise EliqError("give PROMPTS and --out, or --smoke; see --help")
    prompts = read_prompts(None if options.smoke else options.prompts)
    refiner = None
    if options.model and not options.smoke:
        chat = TransformersChat(
            options.model, device=options.device, temperature=0, max_new_tokens=400
        )
        refiner = chat_refiner(chat)
    labelled, sources = [], Counter()
    for prompt in prompts:
        if options.keep and prompt.category:
            sources["kept"] += 1
            labelled.append(prompt)
            continue
        labels = assign_categories(prompt.text, refiner)
        sources[labels.source] += 1
        data = {**prompt.to_json(), "categories": labels.categories}
        if prompt.category not in labels.categories:
            data |= {"category": labels.categories[0] if labels.categories else "", "concept": ""}
        labelled.append(Prompt.from_json(data))
    if options.out is not None:
        write_lines(options.out, [prompt.to_json() for prompt in labelled])
    return {
        "out": str(options.out) if options.out else None,
        "num_prompts": len(labelled),
        "num_by_source": dict(sources),
        "num_without_category": sum(not prompt.categories for prompt in labelled),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.prompts.assign",
        description="Gives prompts their categories, several a prompt.",
    )
    add = parser.add_argument
    add("prompts", nargs="?", type=Path, help="list of prompts, .txt or .jsonl")
    add("--out", type=Path, help="list to write, .jsonl")
    add("--model", help="instruction model of transformers for uncertain prompts")
    add("--keep", action="store_true", help="prompts that have categories keep them")
    add("--device", help="cpu, cuda, ... (default: cuda where there is one)")
    add("--smoke", action="store_true", help="label the shipped prompts, write nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
