"""What it costs to hand out units on Ray: plain actors against an actor pool of Ray Data.

    pip install "ray[data]"
    python benchmarks/ray_scheduling.py

Hardware and time: one machine, a CPU; a minute. The units only sleep, so that what is over their
sleep is the scheduling: until the first unit is back, and of each one after it. Expect: both hand
out a unit in milliseconds; Ray Data takes many times longer to begin, and processes of its own.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import add_common_options, markdown_table, number, run, write_json
from benchmarks.process_tree import MemoryWatch, descendants


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what `--json` writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_common_options(parser)
    parser.add_argument("--units", type=int, default=20)
    parser.add_argument("--sleep-ms", type=float, default=50.0, help="what a unit takes")
    arguments = parser.parse_args(argv)
    if arguments.smoke:
        arguments.units = 2
    if arguments.units < 2:
        parser.error("--units: expected 2 or more")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    rows = []
    for name, schedule in (("plain actor", plain_actor), ("Ray Data pool", data_pool)):
        ray.init(
            address="local", include_dashboard=False, log_to_driver=False,
            logging_level="ERROR", object_store_memory=100 << 20,
        )  # fmt: skip
        before = len(descendants(os.getpid()))
        with MemoryWatch(os.getpid()) as watch:
            moments_s, most = [time.perf_counter()], 0
            for _ in schedule(ray, arguments.units, arguments.sleep_ms / 1000):
                moments_s.append(time.perf_counter())
                most = max(most, len(descendants(os.getpid())))
            end_s = time.perf_counter()
        first_s, last_s = moments_s[1] - moments_s[0], moments_s[-1] - moments_s[1]
        rows.append(
            {
                "scheduling": name,
                "begin_s": first_s - arguments.sleep_ms / 1000,
                "unit_ms": 1000 * last_s / (arguments.units - 1) - arguments.sleep_ms,
                "end_s": end_s - moments_s[-1],
                "processes": most - before,
                **watch.peaks_mib(),
            }
        )
        ray.shutdown()
    result = {"benchmark": "ray_scheduling", "units": arguments.units, "rows": rows}
    header = (
        "scheduling", "to begin, s", "a unit more, ms", "to end, s", "processes more",
        "peak of all, MiB",
    )  # fmt: skip
    cells = [
        [
            row["scheduling"],
            *(number(row[name]) for name in ("begin_s", "unit_ms", "end_s")),
            row["processes"],
            number(row["peak_tree_mib"], 0),
        ]
        for row in rows
    ]
    print(markdown_table(header, cells))
    write_json(arguments.json, result)
    return result


class Sleeper:
    """A worker whose units only take time."""

    def __init__(self, sleep_s: float) -> None:
        self._sleep_s = sleep_s

    def score(self, unit: int) -> int:
        time.sleep(self._sleep_s)
        return unit

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        self.score(0)
        return {"unit": batch["unit"]}


def plain_actor(ray: Any, num_units: int, sleep_s: float) -> Iterator[int]:
    """Each unit when the one before is back."""
    actor = ray.remote(Sleeper).options(num_cpus=1).remote(sleep_s)
    for unit in range(num_units):
        yield ray.get(actor.score.remote(unit))


def data_pool(ray: Any, num_units: int, sleep_s: float) -> Iterator[int]:
    """A block a unit, so that a killed actor costs one."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    units = [{"unit": unit} for unit in range(num_units)]
    rows = ray.data.from_items(units, override_num_blocks=num_units).map_batches(
        Sleeper,
        fn_constructor_args=(sleep_s,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=1),
        num_cpus=1,
    )
    num_done = 0
    for row in rows.iter_batches(batch_size=1, prefetch_batches=0):
        num_done += 1
        yield int(row["unit"][0])
    if num_done != num_units:
        sys.exit(f"{num_done} of {num_units} units came back")


if __name__ == "__main__":
    run(main)
