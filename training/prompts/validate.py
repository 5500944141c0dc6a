"""Checks a list of prompts: each prompt by itself, and the set for balance and near-duplicates.

    python -m training.prompts.validate                     # the shipped 400
    python -m training.prompts.validate PROMPTS.jsonl
    python -m training.prompts.validate PROMPTS.txt --each  # each prompt, not the set

Hardware: any; a second for 400 prompts (the time grows with the square of their number).
Expect: a JSON object on stdout with counts and faults; exit code 0 without a fault, 1 with some.
`--smoke` checks the shipped set.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eliq.errors import EliqError
from eliq.supervision import hard_swaps
from eliq.supervision.taxonomy import match_keywords

from .checks import Rules, length_counts, prompt_faults, set_faults
from .prompt_set import Prompt, read_prompts
from .taxonomy import CATEGORIES, CONCEPTS


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code (1: faults, 2: no list of prompts)."""
    parser = argparse.ArgumentParser(
        prog="python -m training.prompts.validate",
        description="Checks each prompt of a list, and the list for balance and near-duplicates.",
    )
    parser.add_argument("prompts", nargs="?", type=Path, help=".jsonl or .txt (default: shipped)")
    parser.add_argument("--each", action="store_true", help="check the prompts, not the set")
    parser.add_argument("--max-similarity", type=float, default=Rules.max_similarity)
    parser.add_argument("--smoke", action="store_true", help="check the shipped set")
    options = parser.parse_args(arguments)
    try:
        prompts = read_prompts(None if options.smoke else options.prompts)
    except EliqError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    rules = Rules(max_similarity=options.max_similarity)
    report = report_of(prompts, rules, check_set=not options.each)
    sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
    return 1 if report["faults"] else 0


def report_of(prompts: Sequence[Prompt], rules: Rules, *, check_set: bool = True) -> dict[str, Any]:
    """Counts of a set, and all its faults."""
    words = [len(prompt.text.split()) for prompt in prompts]
    matches = [match_keywords(prompt.text) for prompt in prompts]
    labels = [(p, name, m) for p, m in zip(prompts, matches, strict=True) for name in p.categories]
    used = Counter((prompt.category, prompt.concept) for prompt in prompts)
    faults = [
        f"{prompt.prompt_id}: {fault}"
        for prompt in prompts
        for fault in prompt_faults(prompt, rules)
    ]
    return {
        "num_prompts": len(prompts),
        "num_by_category": {name: sum(p.category == name for p in prompts) for name in CATEGORIES},
        "num_by_label": {name: sum(name in p.categories for p in prompts) for name in CATEGORIES},
        "num_by_labels_a_prompt": _counts(len(p.categories) for p in prompts),
        "num_concepts_used": sum(
            used[category, concept] > 0 for category in CONCEPTS for concept in CONCEPTS[category]
        ),
        "num_by_length": length_counts(prompts),
        "words": {"least": min(words), "median": float(np.median(words)), "most": max(words)},
        "num_by_style": _counts(p.style or "not said" for p in prompts),
        "num_by_objects": _counts(p.num_objects for p in prompts),
        "num_uncertain_by_keywords": sum(match.is_uncertain for match in matches),
        # Neither a keyword nor a hint stands behind these: a person or a model said so.
        "num_labels_without_a_word": sum(
            name not in (*match.certain, *match.possible) for _, name, match in labels
        ),
        "num_with_a_hard_swap": sum(bool(hard_swaps(p.text, 0)) for p in prompts),
        "faults": faults + (set_faults(prompts, rules) if check_set else []),
    }


def _counts(values: Any) -> dict[str, int]:
    counted = Counter(values)
    ordered = sorted(counted.items(), key=lambda item: (-item[1], str(item[0])))
    return {str(value): count for value, count in ordered}


if __name__ == "__main__":
    sys.exit(main())
