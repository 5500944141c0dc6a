"""Measures a critic against human opinions, beside the bare model and metrics of others.

    python -m training.evaluate --checkpoint runs/critic/critic --set agiqa_3k=DIR --out runs/eval
    python -m training.evaluate --set csv=my_ratings.csv --out runs/eval --pyiqa niqe clipiqa
    python -m training.evaluate --set agiqa_3k=DIR --describe              # reads, scores nothing
    python -m training.evaluate --smoke                                              # seconds

Benchmarks are read as they were published (docs/evaluation.md says what lies where); none is
downloaded. Writes report.md, report.json, scatter plots and the scores into --out; prints one
JSON object: SRCC by set, opinion and scorer. Scores are cached: stopped or killed, the same command
goes on, and a second evaluation of the same critic scores nothing anew.

The bare model that the critic was tuned from is asked zero-shot as a baseline, always where it can
be loaded; where not, the report says why. --zero-shot names another, --no-zero-shot leaves it out.

Hardware: that of scoring; an 8B critic wants one GPU of 24 GB in bfloat16 [estimated, not run].
Time: the scoring of N images once a critic and once the bare model, and 1,000 of them once more
with other prompts; the metrics of 3,000 images take seconds a scorer on one core.
Expect: no figure is promised. The paper's own stand in the report, marked published. The numbers
of --smoke mean nothing but that every step ran.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eliq import Scorer, __version__
from eliq.errors import EliqError, EvaluationError

from .evaluation import (
    READERS,
    CriticRater,
    EvaluationConfig,
    Interrupted,
    RatedSet,
    Rater,
    ScoredSet,
    load_raters,
    measure_set,
    oracles,
    score_set,
    select,
    write_report,
)
from .evaluation.smoke_set import write_smoke_set
from .stop_request import StopRequest
from .tiny_backbone import tiny_backbone

log = logging.getLogger("eliq")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; exit codes as in `eliq` (2: wrong input, 130/143: stopped)."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING if options.quiet else logging.INFO,
        format="%(message)s",
    )
    try:
        with StopRequest() as stop, tempfile.TemporaryDirectory() as temporary:
            try:
                summary = _run(options, stop, Path(temporary))
            except Interrupted:
                log.warning("stopped and saved; the same command goes on from here")
                return stop.exit_code or 1
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if options.describe and not options.smoke and sys.stdout.isatty():
        sys.stdout.write(describe_table(summary))
    else:
        sys.stdout.write(json.dumps(summary) + "\n")
    return 0


def _run(options: argparse.Namespace, stop: StopRequest, temporary: Path) -> dict[str, Any]:
    if options.smoke:
        return _smoke(options, stop, temporary)
    if not options.set or (options.out is None and not options.describe):
        raise EvaluationError("give --set NAME=PATH and --out, or --smoke; see --help")
    sets = [_read(text) for text in options.set]  # before a model is loaded
    names = [rated.name for rated in sets]
    if len(set(names)) != len(names):
        raise EvaluationError(f"--set: expected each benchmark once, found {names}")
    if options.describe:
        return {rated.name: describe(select(rated, _config(options))) for rated in sets}
    not_run: dict[str, str] = {}
    raters = load_raters(
        options.checkpoint,
        not_run=not_run,
        zero_shot="none" if options.no_zero_shot else options.zero_shot or "auto",
        pyiqa=options.pyiqa,
        device=options.device,
        dtype=options.dtype,
    )
    return evaluate(
        sets,
        raters,
        _config(options),
        options.out,
        not_run=not_run,
        stop=stop,
        progress=not options.quiet,
    )


def evaluate(
    sets: Sequence[RatedSet],
    raters: Iterable[Rater],
    config: EvaluationConfig,
    out: Path,
    *,
    not_run: dict[str, str] | None = None,
    note: str | None = None,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Measures every rater on every set and writes the report; returns what the script prints.

    Raters are taken one by one, and closed when they have scored every set: an iterator that loads
    them as it goes has one in memory at a time. `not_run` may be filled by that iterator.

    Raises:
        Interrupted: `stop` was requested; finished parts are kept. EvaluationError: see the steps.
    """
    out = Path(out)
    sets = [select(rated, config) for rated in sets]
    for rated in sets:
        log.info("%s: %d images", rated.name, len(rated))
        if rated.counts.num_missing:
            log.warning("%s: %d of %d files are missing, first %s", rated.name,
                        rated.counts.num_missing, rated.counts.num_listed,
                        ", ".join(rated.counts.missing[:3]))  # fmt: skip
    scored: list[list[ScoredSet]] = [[] for _ in sets]
    made_by = []
    for rater in raters:
        made_by.append({"name": rater.name, "fingerprint": rater.fingerprint, **rater.facts})
        for rated, found in zip(sets, scored, strict=True):
            found.append(
                score_set(rated, rater, config, out / "scores", stop=stop, progress=progress)
            )
        rater.close()
        del rater  # or the next would be loaded beside it
    titles = [column.title for found in scored[:1] for one in found for column in one.columns]
    if not titles or len(set(titles)) != len(titles):
        raise EvaluationError(f"expected raters and sets, with a title each, found {titles}")
    report = {
        "title": f"Evaluation of {made_by[0]['name']}",
        "note": note,
        "library_version": __version__,
        "config": config.to_json(),
        "raters": made_by,
        "not_run": not_run or {},
        "sets": [
            measure_set(rated, found, config) for rated, found in zip(sets, scored, strict=True)
        ],
    }
    path = write_report(report, out)
    srcc = {
        rated["name"]: {
            opinion: {column["title"]: _rounded(column["srcc"]) for column in part["columns"]}
            for opinion, part in rated["opinions"].items()
        }
        for rated in report["sets"]
    }
    return {"report": str(path), "srcc": srcc, "not_run": not_run or {}}


def describe(rated: RatedSet) -> dict[str, Any]:
    """What a benchmark holds and what was left out, without scoring anything."""
    out: dict[str, Any] = {
        "num_images": len(rated),
        "num_groups": len({row.group_key for row in rated.rows}),
        "num_generators": len({row.generator for row in rated.rows} - {None}),
        "counts": rated.counts.to_json(),
    }
    for opinion in rated.opinions():
        rows = [row for row in rated.rows if getattr(row, opinion) is not None]
        values = [getattr(row, opinion) for row in rows]
        out[opinion] = {
            "num_images": len(rows),
            "range": [min(values), max(values)],
            "oracle_srcc": {key: _rounded(value) for key, value in oracles(rows, opinion).items()},
        }
    return out


def describe_table(sets: Mapping[str, Any]) -> str:
    """What `describe` gives of each set by name, as lines for people."""
    lines = []
    for name, found in sets.items():
        lines.append(f"{name}: {found['num_images']} images, {found['num_groups']} prompts or "
                     f"groups, {found['num_generators']} generators")  # fmt: skip
        counts = found["counts"]
        left_out = [f"{counts[key]} {key[len('num_'):]}"
                    for key in ("num_missing", "num_conflicting", "num_repeated", "num_unrated")
                    if counts[key]]  # fmt: skip
        lines.append(f"  listed      {counts['num_listed']}; left out: "
                     f"{', '.join(left_out) or 'none'}")  # fmt: skip
        for opinion in ("quality", "alignment"):
            if opinion not in found:
                continue
            part = found[opinion]
            low, high = part["range"]
            alone = "".join(
                f"; SRCC {value:.3f} by the {key.replace('_', ' ')} alone"
                for key, value in part["oracle_srcc"].items()
            )
            lines.append(f"  {opinion:<11} {part['num_images']} images, {low:g} to {high:g}{alone}")
    return "\n".join(lines) + "\n"


def _read(text: str) -> RatedSet:
    name, found, path = text.partition("=")
    if not found or name not in READERS:
        raise EvaluationError(
            f"--set: expected NAME=PATH with a name of {', '.join(READERS)}, found {text!r}"
        )
    return READERS[name](Path(path).expanduser())


def _config(options: argparse.Namespace) -> EvaluationConfig:
    return EvaluationConfig(
        split=options.split,
        max_images=options.max_images,
        num_resamples=options.resamples,
        shuffle_images=options.shuffle_images,
        seed=options.seed,
    )


def _smoke(options: argparse.Namespace, stop: StopRequest, temporary: Path) -> dict[str, Any]:
    """A tiny random model asked zero-shot and the embedded critic, on 24 pictures of our own."""
    ratings = write_smoke_set(temporary / "set")
    sets = [READERS["csv"](ratings)]
    raters: list[Rater] = [
        CriticRater(Scorer.from_pretrained(device=options.device or "cpu"), name="embedded"),
        CriticRater(Scorer(tiny_backbone()), name="tiny random, zero-shot"),
    ]
    config = EvaluationConfig(num_resamples=50, num_splits=3, test_share=0.4, shuffle_images=12)
    out = options.out or temporary / "report"
    note = "Smoke run: the opinions are computed, not asked. These numbers mean nothing."
    summary = evaluate(sets, raters, config, out, note=note, stop=stop, progress=not options.quiet)
    if options.out is None:
        summary["report"] = None  # it lay in a temporary folder
    return summary


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _parser() -> argparse.ArgumentParser:
    default = EvaluationConfig()
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description="Measures a critic against human opinions, beside the bare model and metrics "
        "of others.",
        epilog="A csv of one's own (--set csv=FILE) has a header and a row for each image: column "
        "path (relative to the csv), and quality or alignment or both, higher is better (mos is "
        "taken for quality where neither is there); optional prompt, generator, group, split. "
        "Layouts of the benchmarks and the meaning of each number: docs/evaluation.md.",
    )
    add = parser.add_argument
    add("--set", action="append", default=[], metavar="NAME=PATH",
        help=f"a benchmark and where it lies; NAME is one of {', '.join(READERS)}; may be given "
        "several times")  # fmt: skip
    add("--checkpoint", help="directory or hub id of the critic; without it the embedded one")
    add("--out", type=Path, help="folder of the report and of the cached scores")
    add("--zero-shot", metavar="MODEL", help="bare model to ask (hub id or directory)")
    add(
        "--describe",
        action="store_true",
        help="score nothing: print what the sets hold, what is missing, and what oracles reach",
    )
    add("--no-zero-shot", action="store_true", help="leave that baseline out")
    add("--pyiqa", nargs="+", default=[], metavar="METRIC",
        help="no-reference metrics of pyiqa by name, e.g. niqe clipiqa musiq")  # fmt: skip
    add("--split", help="only this split of the benchmark: train, val or test")
    add("--max-images", type=int, help="at most about so many of each set, in whole prompts")
    add("--resamples", type=int, default=default.num_resamples, help="default %(default)s")
    add("--shuffle-images", type=int, default=default.shuffle_images,
        help="images scored again with another image's prompt, 0 = none (default %(default)s)",
        )  # fmt: skip
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    add("--dtype", choices=("float32", "bfloat16", "float16"))
    add("--seed", type=int, default=default.seed)
    add("--quiet", action="store_true", help="no progress bars, only warnings")
    add("--smoke", action="store_true", help="every step on pictures of its own, in seconds")
    return parser


if __name__ == "__main__":
    sys.exit(main())
