"""Do the scores order the severity of damage in real photographs?

    python benchmarks/photo_ladder.py --json ladder.json --picture ladder.png
    pip install 'eliq[bench]' && pip install --no-deps basicsr     # with BRISQUE and NIQE

Hardware and time: one CPU core, about 3 minutes with the embedded critic.
Expect: the table of eliq/embedded/README.md; aims are a mean within-photo SRCC of .95 and a mean
pooled SRCC of .85 over the thirteen families of the default, four of which (marked *) no shipped
critic was trained on.

Eight photographs (from the wheels of scikit-image and scikit-learn; nothing was trained or
selected on them), each as it is and at severities 1-5 of each family, with the strengths of
`eliq.supervision`, the same for every measure. Two numbers a family, both 1 where the score
falls with every step of severity:

within-photo   SRCC of score and negative severity over the 6 versions of one photograph,
               averaged over photographs, with a 95 % bootstrap interval over photographs
pooled         the same SRCC over all versions of all photographs together: whether a severity
               means the same score in different pictures

A score that is the same for every version orders nothing and counts 0.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import (
    add_common_options,
    environment,
    load_photographs,
    load_scorer,
    markdown_table,
    number,
    run,
    to_tensor,
    write_json,
)
from benchmarks.rivals import load_rivals
from eliq.correlation import bootstrap_interval, srcc
from eliq.errors import ConfigError
from eliq.supervision import DISTORTIONS, SEVERITIES, ladder

FAMILIES = (
    "jpeg", "noise", "blur", "motion", "pixelate", "posterize", "low_contrast", "dark",
    "colour_cast", "salt_pepper", "ringing", "stripes", "misregistration",
)  # fmt: skip
ELIQ_ROWS = ("visual_quality", "technical", "aesthetic")
AIMS = {"within": 0.95, "pooled": 0.85}
SEED = 20250101

Curves = dict[str, dict[str, dict[str, list[float]]]]  # measure -> family -> photograph -> [6]


def main(argv: list[str] | None = None, *, scorer=None) -> dict:
    """Runs the benchmark and returns what `--json` writes. ``scorer`` replaces the loaded one."""
    arguments = _parser().parse_args(argv)
    num_photos = 2 if arguments.smoke else arguments.max_photos
    families = arguments.families or list(FAMILIES[:2] if arguments.smoke else FAMILIES)
    scorer = scorer or load_scorer(arguments.checkpoint, device=arguments.device)
    side_px = 192 if arguments.smoke else 512
    photographs = load_photographs(num_photos, side_px=side_px)
    rivals = load_rivals()
    curves = measure(scorer, rivals, photographs, families)
    result = {
        "benchmark": "photo_ladder",
        "environment": environment(),
        "checkpoint": arguments.checkpoint or "embedded",
        "photographs": {name: list(pixels.shape[:2]) for name, pixels in photographs.items()},
        "severities": [0, *SEVERITIES],
        "notes": {rival.name: rival.note for rival in rivals},
        "scores": curves,
        "summary": summarise(curves),
    }
    report(result, families, missing=[rival.name for rival in rivals if rival.score is None])
    write_json(arguments.json, result)
    if arguments.picture is not None:
        draw(curves, families, arguments.picture)
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_common_options(parser)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--max-photos", type=int, metavar="N", help="only the first N photographs")
    parser.add_argument(
        "--families", nargs="+", metavar="NAME", choices=list(DISTORTIONS),
        help="default: " + " ".join(FAMILIES) + "; any distortion of eliq.supervision",
    )  # fmt: skip
    parser.add_argument("--picture", type=Path, metavar="FILE", help="score against severity, PNG")
    return parser


def measure(scorer, rivals, photographs: dict[str, np.ndarray], families: list[str]) -> Curves:
    """Scores of every measure for every family and photograph, severities 0-5."""
    runs: dict[str, Callable[[np.ndarray], float]] = {
        rival.name: rival.score for rival in rivals if rival.score is not None
    }
    curves: Curves = {name: {family: {} for family in families} for name in (*ELIQ_ROWS, *runs)}
    for done, (photo, pixels) in enumerate(photographs.items(), 1):
        for index, family in enumerate(families):
            # One seed a photograph and family: a ladder keeps its angle and its noise field.
            steps = ladder(pixels, family, rng=SEED + 1000 * done + index)
            versions = [pixels, *(step[0] for step in steps)]
            for name, scores in eliq_scores(scorer, versions).items():
                curves[name][family][photo] = scores
            for name, score in runs.items():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # BRISQUE's solver, on every flat patch
                    curves[name][family][photo] = [score(version) for version in versions]
        print(f"{done}/{len(photographs)} {photo}", file=sys.stderr)
    return curves


def eliq_scores(scorer, versions: list[np.ndarray]) -> dict[str, list[float]]:
    """visual_quality as users see it, and P(high) of the two visual aspects."""
    scores = scorer.score([to_tensor(version) for version in versions], None)
    failed = [error for error in scores.errors if error is not None]
    if failed:
        sys.exit(f"{len(failed)} of {len(versions)} images were not scored: {failed[0]}")
    columns = {"visual_quality": scores.visual_quality, **scores.aspects}
    return {name: [float(value) for value in columns[name]] for name in ELIQ_ROWS}


def ordering(scores: list[float], severities: list[float]) -> float:
    """SRCC of score and negative severity; 0 for a constant score, which orders nothing."""
    finite = np.isfinite(scores)
    if not finite.all():  # NIQE has no value for a picture with fewer than two textured blocks
        scores = [s for s, keep in zip(scores, finite, strict=True) if keep]
        severities = [s for s, keep in zip(severities, finite, strict=True) if keep]
    try:
        return srcc(scores, -np.asarray(severities, dtype=float))
    except ConfigError:
        return 0.0


def summarise(curves: Curves) -> dict:
    """measure -> family -> {within, interval, pooled, photographs}; "mean" over families."""
    severities = [0, *SEVERITIES]
    summary: dict[str, dict] = {}
    for name, by_family in curves.items():
        rows: dict[str, dict] = {}
        for family, by_photo in by_family.items():
            within = {photo: ordering(scores, severities) for photo, scores in by_photo.items()}
            pooled = ordering(sum(by_photo.values(), []), severities * len(by_photo))
            rows[family] = {
                "within": float(np.mean(list(within.values()))),
                "interval": list(bootstrap_interval(np.mean, list(within.values()))),
                "pooled": pooled,
                "photographs": within,
            }
        photos = next(iter(rows.values()))["photographs"]
        per_photo = [np.mean([row["photographs"][p] for row in rows.values()]) for p in photos]
        rows["mean"] = {
            "within": float(np.mean(per_photo)),
            "interval": list(bootstrap_interval(np.mean, per_photo)),
            "pooled": float(np.mean([row["pooled"] for row in rows.values()])),
            "photographs": dict(zip(photos, map(float, per_photo), strict=True)),
        }
        summary[name] = rows
    return summary


def report(result: dict, families: list[str], *, missing: list[str]) -> None:
    summary, columns = result["summary"], [*families, "mean"]
    photographs = list(result["photographs"])
    print(f"{len(photographs)} photographs: {', '.join(photographs)}")
    print(f"checkpoint: {result['checkpoint']}\n")
    header = [f"{name}*" if _never_trained(name) else name for name in columns]
    for key, title in (("within", "Within-photo SRCC"), ("pooled", "Pooled SRCC")):
        rows = [[name, *(number(rows[c][key]) for c in columns)] for name, rows in summary.items()]
        rows += [[name, *["not installed"], *["-"] * len(families)] for name in missing]
        print(f"{title} of score and negative severity\n")
        print(markdown_table([key, *header], rows), end="\n\n")
    visual = summary["visual_quality"]
    rows = [
        [photo, *(number(visual[c]["photographs"][photo]) for c in columns)]
        for photo in photographs
    ]
    print("visual_quality, within each photograph\n")
    print(markdown_table(["photograph", *header], rows), end="\n\n")
    for name, note in result["notes"].items():
        print(f"{name}: {note}")
    groups = {
        "all families": families,
        "trained on": [name for name in families if not _never_trained(name)],
        "never trained on (*)": [name for name in families if _never_trained(name)],
    }
    rows = [
        [f"{key}, {group}", len(members)]
        + [number(np.mean([rows[f][key] for f in members]), 3) for rows in summary.values()]
        for key in AIMS
        for group, members in groups.items()
        if members
    ]
    print()
    print(markdown_table(["mean SRCC", "families", *summary], rows), end="\n\n")
    low, high = visual["mean"]["interval"]
    for key, aim in AIMS.items():
        mean = visual["mean"][key]
        interval = f" [{low:.3f}, {high:.3f}]" if key == "within" else ""
        verdict = "met" if mean >= aim else "not met"
        print(f"mean {key} SRCC of visual_quality: {mean:.3f}{interval} (aim {aim}: {verdict})")


def _never_trained(family: str) -> bool:
    return family in DISTORTIONS and DISTORTIONS[family].held_out


def draw(curves: Curves, families: list[str], path: Path) -> None:
    """Small multiples, a column a family, a row a measure: score against severity."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    size = (1.6 * len(families) + 1, 1.5 * len(curves) + 0.6)
    figure, grid = plt.subplots(
        len(curves), len(families), figsize=size, sharex=True, sharey="row", squeeze=False
    )
    for axis, family in zip(grid[0], families, strict=True):
        axis.set_title(family, fontsize=8)
    for axis in grid[-1]:
        axis.set_xlabel("severity", fontsize=7)
    for row, (name, by_family) in zip(grid, curves.items(), strict=True):
        row[0].set_ylabel(name if name in ELIQ_ROWS else f"-{name}", fontsize=8)
        for axis, family in zip(row, families, strict=True):
            lines = np.array(list(by_family[family].values()), dtype=float)
            axis.plot(lines.T, color="tab:blue", alpha=0.35, linewidth=0.8)
            axis.plot(np.nanmean(lines, axis=0), color="black", linewidth=1.6)
            axis.tick_params(labelsize=6)
    figure.suptitle("Score against severity: a line a photograph, black their mean", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
