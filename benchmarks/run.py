"""What `eliq run` costs beside the scorer alone: images a second, memory, plain against Ray.

    python benchmarks/run.py
    python benchmarks/run.py --counts 1000 20000 --engines local ray

Hardware and time: two CPU cores, Linux; about 10 minutes with the defaults, an hour with 20,000
images. Expect: at least 90 % of the rate of the scorer alone with as many workers as `eliq run`
takes by itself (two on two cores), others are shown beside it; of each engine a peak of memory at
the most images at most 10 % above that at the fewest. It ends with 1 where one of these is missed;
with `--smoke` nothing is judged.

Rate: pictures of photographs as files are scored as the command does it, with `UnitScorer` (read,
decoded ahead, resized, thumbnails, scores, part files synced to the disk), in turns with
`Scorer.score` on the same pictures as tensors in memory, in one process with the same threads. The
first part warms up and counts nothing; the decoding before the first score counts, that of the
parts after it runs beside the model. Memory and engines: the command itself, in a process of its
own, on small pictures; resident memory of the process and all it starts, added up, so that what
they share counts more than once.

A rate needs a machine that does nothing else: a turn in which other processes used more than a
tenth of a core is left out where there is a better one, and the column "others" says how much they
used in those that count.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

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
from benchmarks.process_tree import MemoryWatch, OtherLoad

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "a photograph of a red fox beside two blue mugs on a wooden table"
GATE = 0.90
MEMORY_GATE = 1.10  # peak at the most images over that at the fewest
MOST_OTHERS = 0.1  # cores: a turn in which other processes used more says nothing


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what `--json` writes."""
    arguments = _parser().parse_args(argv)
    if arguments.smoke:
        arguments.images, arguments.size, arguments.part = 6, 64, 2
        arguments.workers, arguments.counts, arguments.small = [1], [4, 8], 32
        arguments.turns = 2
    result: dict[str, Any] = {
        "benchmark": "run",
        "environment": environment(),
        "checkpoint": arguments.checkpoint or "embedded",
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "rate" in arguments.parts:
            result["rate"] = measure_rate(arguments, folder)
        if "memory" in arguments.parts:
            result["memory"] = measure_commands(arguments, folder)
    result["missed_gates"] = [] if arguments.smoke else missed_gates(result)
    report(result)
    write_json(arguments.json, result)
    failed = [
        f"eliq run --engine {row['engine']} on {row['images']} images ended with {row['exit_code']}"
        for row in result.get("memory", ())
        if row["exit_code"]
    ]
    if wrong := failed + result["missed_gates"]:
        sys.exit("; ".join(wrong))
    return result


def judged_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the number of workers that a run takes by itself; else all."""
    from eliq.bulk.config import default_workers

    return [row for row in rows if row["workers"] == default_workers()] or list(rows)


def missed_gates(result: dict[str, Any]) -> list[str]:
    """What is not as it should be, a line each."""
    missed = [
        f"{row['workers']} workers: {100 * row['share']:.1f} % of the scorer alone, expected "
        f"{100 * GATE:.0f} %"
        for row in judged_rows(result.get("rate", {}).get("rows", ()))
        if not row["share"] >= GATE
    ]
    for engine, few, many in memory_ratios(result):
        ratio = many["peak_tree_mib"] / few["peak_tree_mib"]
        if ratio > MEMORY_GATE:
            missed.append(
                f"{engine}: the peak at {many['images']} images is {ratio:.2f} times that at "
                f"{few['images']}, expected at most {MEMORY_GATE:.2f}"
            )
    return missed


def memory_ratios(result: dict[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Of each engine that two numbers of images were measured with, the rows of the fewest and of
    the most; where the system tells no memory there are none."""
    found = []
    rows = [row for row in result.get("memory", ()) if not row["exit_code"]]
    for engine in dict.fromkeys(row["engine"] for row in rows):
        own = sorted((r for r in rows if r["engine"] == engine), key=lambda row: row["images"])
        if own[0]["images"] < own[-1]["images"] and own[0]["peak_tree_mib"] > 0:
            found.append((engine, own[0], own[-1]))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_common_options(parser)
    parser.add_argument(
        "--parts", nargs="+", choices=("rate", "memory"), default=["rate", "memory"]
    )
    parser.add_argument("--images", type=int, default=384, help="for the rate (%(default)s)")
    parser.add_argument("--part", type=int, default=128, help="images of a part (%(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="of both, for the rate (%(default)s)")
    parser.add_argument("--size", type=int, default=512, metavar="PX", help="their side")
    parser.add_argument("--format", choices=("png", "jpg", "webp"), default="png")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--counts", nargs="+", type=int, default=[1000], help="for the memory")
    parser.add_argument("--small", type=int, default=64, metavar="PX", help="side, for the memory")
    parser.add_argument("--engines", nargs="+", choices=("local", "ray"), default=["local"])
    return parser


def measure_rate(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Images a second of the scorer alone and of the run, in turns."""
    import torch

    from eliq.bulk import RunConfig, UnitScorer, plan_run

    source = folder / "pictures"
    pictures = write_pictures(source, arguments.images, arguments.size, arguments.format)
    scorer = load_scorer(arguments.checkpoint)
    config = RunConfig(
        os.fspath(source), folder / "out", prompt=PROMPT, checkpoint=arguments.checkpoint,
        device="cpu", part_size=arguments.part,
    )  # fmt: skip
    timed = pictures[arguments.part :]
    seconds: dict[int, list[tuple[float, float, float]]] = {n: [] for n in arguments.workers}
    for turn in range(arguments.turns):
        for num_workers in arguments.workers:
            out_dir = folder / f"out-{num_workers}-{turn}"
            chosen = replace(config, out_dir=out_dir, workers=num_workers)
            plan = plan_run(chosen)
            with UnitScorer(chosen, plan, scorer=scorer) as units:
                warm = scorer.score([to_tensor(one) for one in pictures[: arguments.part]], PROMPT)
                (first,) = units.score_unit(0)  # and nothing after it is decoded ahead
                check_same_scores(warm, out_dir, first.name)
                with OtherLoad() as beside_alone:
                    alone_s = seconds_alone(scorer, timed, arguments.part)
                rest = range(1, plan.num_units)
                with OtherLoad() as beside_run:
                    start_s = time.perf_counter()
                    num_rows = sum(done.num_rows for done in units.score_units(rest))
                    run_s = time.perf_counter() - start_s
                others = max(beside_alone.cores, beside_run.cores)
                seconds[num_workers].append((alone_s, run_s, others))
                if num_rows != len(timed):
                    sys.exit(f"the run scored {num_rows} of {len(timed)} images")
    rows = []
    for num_workers, measured in seconds.items():
        # Others of an unknown number, NaN, are taken for none; with none left all turns are shown.
        turns = [turn for turn in measured if not turn[2] > MOST_OTHERS] or measured
        shares = [alone_s / run_s for alone_s, run_s, _ in turns]
        sum_alone_s, sum_run_s, _ = map(sum, zip(*turns, strict=True))
        rows.append(
            {
                "workers": num_workers,
                "alone_images_s": len(turns) * len(timed) / sum_alone_s,
                "run_images_s": len(turns) * len(timed) / sum_run_s,
                "share": sum_alone_s / sum_run_s,
                "lowest_share": min(shares),
                "highest_share": max(shares),
                "turns": len(shares),
                "turns_left_out": len(measured) - len(shares),
                "other_cores": max(turn[2] for turn in turns),
            }
        )
    return {"size_px": arguments.size, "threads": torch.get_num_threads(), "rows": rows}


def seconds_alone(scorer: Any, pictures: list[np.ndarray], num_at_once: int) -> float:
    """Seconds that `Scorer.score` takes; the making of the float tensors is not counted."""
    total_s = 0.0
    for start in range(0, len(pictures), num_at_once):
        # 8 bits a channel are what decoding gives; a file's float tensor is four times it.
        tensors = [to_tensor(one) for one in pictures[start : start + num_at_once]]
        start_s = time.perf_counter()
        scorer.score(tensors, PROMPT)
        total_s += time.perf_counter() - start_s
    return total_s


def check_same_scores(alone: Any, out_dir: Path, name: str) -> None:
    """The two ways measure the same work: their scores agree but for the batches."""
    import pyarrow.parquet as pq

    column = pq.read_table(out_dir / "parts" / f"{name}.parquet")["visual_quality"].to_numpy()
    worst = float(np.abs(column - alone.visual_quality.numpy()).max())
    if not worst < 1e-4:
        sys.exit(f"the run and the scorer alone disagree by {worst:.2g}")


def measure_commands(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The whole command for each number of images and engine: seconds and peaks of memory."""
    rows = []
    for count in sorted(arguments.counts):
        source = folder / f"small-{count}"
        write_pictures(source, count, arguments.small, "jpg", keep=False)
        for engine in arguments.engines:
            command = [
                sys.executable, "-c", "import sys; from eliq.cli import main; sys.exit(main())",
                "run", os.fspath(source), "--out", os.fspath(folder / f"{engine}-{count}"),
                "--prompt", PROMPT, "--engine", engine, "--no-report", "--quiet",
            ]  # fmt: skip
            if arguments.checkpoint:
                command += ["--checkpoint", arguments.checkpoint]
            start_s = time.perf_counter()
            process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
            with MemoryWatch(process.pid) as watch:
                code = process.wait()
            rows.append(
                {
                    "images": count,
                    "engine": engine,
                    "exit_code": code,
                    "seconds": time.perf_counter() - start_s,
                    **watch.peaks_mib(),
                }
            )
    return rows


def write_pictures(
    folder: Path, count: int, size_px: int, suffix: str, *, keep: bool = True
) -> list[np.ndarray]:
    """Crops of photographs as files, each another one, and the same as uint8 [H,W,3]."""
    from PIL import Image

    folder.mkdir()
    photographs = list(load_photographs().values())
    pictures = []
    for i in range(count):
        whole = photographs[i % len(photographs)]
        turned = np.roll(whole, (17 * i, 31 * i), axis=(0, 1))
        pixels = np.ascontiguousarray(turned[:size_px, :size_px])
        Image.fromarray(pixels).save(folder / f"{i:06d}.{suffix}")
        if keep and suffix != "png":  # what the file holds, not what went in
            with Image.open(folder / f"{i:06d}.{suffix}") as image:
                pixels = np.asarray(image.convert("RGB"))
        if keep:
            pictures.append(pixels)
    return pictures


def report(result: dict[str, Any]) -> None:
    """Tables on stdout, and whether the gates are met."""
    if "rate" in result:
        rate = result["rate"]
        rows = [
            [
                row["workers"],
                number(row["alone_images_s"]),
                number(row["run_images_s"]),
                f"{100 * row['share']:.1f} %",
                f"{100 * row['lowest_share']:.1f} to {100 * row['highest_share']:.1f} %",
                f"{row['turns']} of {row['turns'] + row['turns_left_out']}",
                number(row["other_cores"]),
            ]
            for row in rate["rows"]
        ]
        header = (
            "workers", "scorer alone, images/s", "eliq run, images/s", "share", "by turns", "turns",
            "others, cores",
        )  # fmt: skip
        print(f"{rate['size_px']} px, {rate['threads']} threads of the model")
        print(markdown_table(header, rows))
        judged = judged_rows(rate["rows"])
        met = all(row["share"] >= GATE for row in judged)
        workers = ", ".join(str(row["workers"]) for row in judged)
        print(f"gate {100 * GATE:.0f} %, {workers} workers: {'met' if met else 'MISSED'}\n")
    if "memory" in result:
        rows = [
            [
                row["images"],
                row["engine"],
                f"ended with {row['exit_code']}" if row["exit_code"] else number(row["seconds"], 1),
                number(row["images"] / row["seconds"]) if not row["exit_code"] else "",
                *(number(row[name], 0) for name in ("peak_tree_mib", "peak_main_mib")),
            ]
            for row in result["memory"]
        ]
        header = ("images", "engine", "seconds", "images/s", "peak of all, MiB", "of the run, MiB")
        print(markdown_table(header, rows))
        for engine, few, many in memory_ratios(result):
            ratio = many["peak_tree_mib"] / few["peak_tree_mib"]
            met = "met" if ratio <= MEMORY_GATE else "MISSED"
            print(
                f"{engine}: peak at {many['images']} images over that at {few['images']}: "
                f"{ratio:.2f} (gate {MEMORY_GATE:.2f}: {met})"
            )


if __name__ == "__main__":
    run(main)
