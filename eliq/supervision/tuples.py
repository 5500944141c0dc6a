"""Builds a supervision set: tuples of Eq. 1 and severity ladders from a folder with prompts.

    OUT/supervision.json   what the set is made of; a second run must be of the same
    OUT/manifest.jsonl     one tuple a line (`rows.TupleRow`)
    OUT/ladders.jsonl      one ladder a line (`rows.LadderRow`)
    OUT/images/..          positives and negatives, same size and codec within a row

A run that was killed goes on where it stopped and ends with the same bytes as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from tqdm import tqdm

from ..errors import ConfigError, SupervisionError
from .config import SupervisionConfig
from .making import PARTIAL_SUFFIX, Job, Skipped, run_job
from .manifest import LADDERS_NAME, MANIFEST_NAME, ManifestWriter
from .negatives import negative_prompt
from .pool import Pool
from .prompt_swaps import swap_vocabulary
from .rows import LadderRow, TupleRow
from .sources import Source, read_sources

__all__ = ["BuildReport", "build_supervision"]

_SETTINGS_NAME = "supervision.json"
# 2: wrong prompts say nothing that no true prompt of the set says.
_FORMAT = {"format": "eliq-supervision", "format_version": 2}
_log = logging.getLogger("eliq")


@dataclass
class BuildReport:
    """What a build made and what it left out.

    Attributes:
        num_tuples, num_ladders: rows in the set now.
        num_resumed: how many of them an earlier run had made.
        skipped: every image without a prompt and every row that could not be made, and why.
    """

    num_tuples: int = 0
    num_ladders: int = 0
    num_resumed: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Counts, with the skipped rows counted by reason."""
        return {
            "num_tuples": self.num_tuples,
            "num_ladders": self.num_ladders,
            "num_resumed": self.num_resumed,
            "num_skipped": len(self.skipped),
            "skipped": dict(sorted(Counter(s.reason for s in self.skipped).items())),
        }


def build_supervision(
    images_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    config: SupervisionConfig | None = None,
    *,
    prompts_path: str | os.PathLike | None = None,
    generated: str | os.PathLike | None = None,
    num_workers: int = 0,
) -> BuildReport:
    """Makes (or goes on making) a supervision set from a folder of images with prompts.

    Pictures that cannot be read, that are of one colour or that have no prompt are left out,
    counted and named. Every row depends only on the seed, its picture and the prompts of the set.

    Args:
        images_dir: the positives; see `read_sources` for where their prompts may be.
        out_dir: made where it does not exist.
        prompts_path: a list of prompts outside `images_dir`.
        generated: folder of negatives that `training.make_negatives` made of these positives. They
            take the place of distortions; prompt variants among them become positives of their own,
            each with the other's prompt as its wrong one.
        num_workers: processes that make rows; 0 makes them in this one. Above 0 a script needs the
            usual `if __name__ == "__main__":`.

    Raises:
        SupervisionError: no usable source, or `out_dir` holds a set made of something else.
        ConfigError: fewer than 0 workers.
    """
    if num_workers < 0:
        raise ConfigError(f"num_workers: expected 0 or more, found {num_workers}")
    config = config or SupervisionConfig()
    out_dir = Path(out_dir)
    sources = read_sources(images_dir, prompts_path)
    with_prompt = [source for source in sources if source.prompt]
    report = BuildReport(
        skipped=[Skipped(s.name, "no_prompt", "no prompt") for s in sources if not s.prompt]
    )
    if not with_prompt:
        raise SupervisionError(
            f"{images_dir}: {len(sources)} images and not one prompt; write prompts.jsonl with "
            'lines like {"path": "a.png", "prompt": "a red fox"}, or a .txt beside each image'
        )
    pool = Pool.of(with_prompt, generated)
    out_dir.mkdir(parents=True, exist_ok=True)
    _claim(out_dir, config, with_prompt, pool)
    run = partial(run_job, out_dir=str(out_dir), config=config)
    for name, row_type, num_rows in (
        (MANIFEST_NAME, TupleRow, config.num_tuples),
        (LADDERS_NAME, LadderRow, config.num_ladders),
    ):
        writer = ManifestWriter(out_dir / name, row_type)
        try:
            kind = "tuples" if row_type is TupleRow else "ladders"
            jobs = _jobs(kind, num_rows, with_prompt, pool, config, writer.ids, report)
            report.num_resumed += len(writer.ids)
            # disable=None: no bar where stderr is no terminal.
            bar = tqdm(total=num_rows, initial=len(writer.ids), desc=kind, disable=None)
            for made in _in_order(run, jobs, num_workers):
                if isinstance(made, Skipped):
                    report.skipped.append(made)
                else:
                    writer.append(made)
                bar.update()
            bar.close()
        finally:
            writer.close()
        if row_type is TupleRow:
            report.num_tuples = len(writer.ids)
        else:
            report.num_ladders = len(writer.ids)
    for skipped in report.skipped:
        _log.info("skipped %s: %s", skipped.source, skipped.message)
    return report


def _jobs(
    kind: str,
    num_rows: int,
    sources: list[Source],
    pool: Pool,
    config: SupervisionConfig,
    done: set[str],
    report: BuildReport,
) -> Iterator[Job]:
    """The jobs of a set that are not done, in an order that only the seed decides."""
    if kind == "tuples":
        sources = sources + pool.variants
    prompts = sorted({source.prompt for source in sources})
    vocabulary = swap_vocabulary(prompts)
    order = sorted(sources, key=lambda source: _digest(config.seed, kind, source.name))
    finished = frozenset(done)
    for index in range(num_rows):
        source, replica = order[index % len(order)], index // len(order)
        digest = _digest(config.seed, kind, source.name, replica)
        row_id, seed = digest[:16], int(digest[16:31], 16)
        if row_id in finished:
            continue
        if kind == "ladders":
            yield Job(row_id, seed, source)
            continue
        # A stream of its own: the pictures of a tuple do not depend on the words of the set.
        rng = np.random.default_rng([seed, 1])
        wrong = negative_prompt(
            source.prompt,
            prompts,
            rng,
            config,
            prefer=vocabulary,
            variants=pool.partners.get(source.name, ()),
        )
        if wrong is None:
            message = "no swap applies and no other prompt"
            report.skipped.append(Skipped(source.name, "no_negative_prompt", message))
            continue
        negatives, group = pool.negatives.get(source.name, ()), pool.groups.get(source.name, "")
        yield Job(row_id, seed, source, *wrong, generated=negatives, prompt_group=group)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _in_order(function: Callable, jobs: Iterable[Job], num_workers: int) -> Iterator:
    """Results in the order of the jobs; with workers, a bounded number of jobs is under way."""
    if num_workers == 0:
        yield from map(function, jobs)
        return
    # spawn: a forked copy of a process in which torch has started threads may hang.
    context = get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, initializer=_end_with_parent) as pool:
        waiting: deque = deque()
        for job in jobs:
            waiting.append(pool.submit(function, job))
            if len(waiting) >= 8 * num_workers:
                yield _result(waiting)
        while waiting:
            yield _result(waiting)


def _end_with_parent() -> None:
    """In a worker: ends it when the building process is gone, since a killed one cannot say so."""

    def wait() -> None:
        parent_process().join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _result(waiting: deque) -> Any:
    try:
        return waiting.popleft().result()
    except BrokenProcessPool:
        raise SupervisionError(
            "a worker was killed, perhaps for memory: take fewer workers; the same run goes on "
            "where it stopped"
        ) from None


def _claim(out_dir: Path, config: SupervisionConfig, sources: list[Source], pool: Pool) -> None:
    """Says in the folder what its set is made of, or checks that this run is of the same.

    The numbers of rows may differ: a set may grow.
    """
    # What decides nothing without generated negatives is no part of a set without them.
    free = ("num_tuples", "num_ladders")
    free += () if pool.sha256 else ("generated_share", "variant_share")
    settings = {key: value for key, value in config.to_json().items() if key not in free}
    pairs = [(source.name, source.prompt) for source in sources]
    ours = _FORMAT | {"config": settings, "sources_sha256": _digest(pairs)}
    if pool.sha256:
        ours["generated_sha256"] = pool.sha256
    path = out_dir / _SETTINGS_NAME
    if path.exists():
        try:
            theirs = json.loads(path.read_bytes())
        except ValueError:
            raise SupervisionError(f"{path}: damaged; give another folder") from None
        if theirs != ours:
            raise SupervisionError(
                f"{out_dir} holds a set made of {_differing(theirs, ours)}; "
                "give another folder, or the settings and sources of that set"
            )
    else:
        partial_path = path.with_name(path.name + PARTIAL_SUFFIX)
        partial_path.write_text(json.dumps(ours, indent=2) + "\n", encoding="utf-8")
        os.replace(partial_path, path)
    for left_over in (out_dir / "images").glob(f"*/.*{PARTIAL_SUFFIX}"):
        left_over.unlink(missing_ok=True)


def _differing(theirs: Any, ours: dict) -> str:
    """In words, what a set in a folder differs in."""
    if not isinstance(theirs, dict) or any(theirs.get(k) != v for k, v in _FORMAT.items()):
        return "another format"
    found = theirs.get("config")
    found = found if isinstance(found, dict) else {}
    other = [
        f"{key} {found.get(key)!r}" for key, v in ours["config"].items() if found.get(key) != v
    ]
    if not other and theirs.get("generated_sha256") != ours.get("generated_sha256"):
        return "other generated negatives"
    return ", ".join(other) or "other images or prompts"
