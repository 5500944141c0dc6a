"""Prompts that a file brings along: of a bounded length, counted as memory, flagged where cut."""

from __future__ import annotations

import json
import threading

import pytest

pytest.importorskip("pyarrow")
from eliq.bulk.decode_worker import decode_job
from eliq.bulk.decoding import DecodePool
from eliq.bulk.items import Item
from eliq.bulk.prompt_texts import MOST_PROMPT_BYTES, MOST_PROMPT_CHARS, bounded_prompt
from eliq.bulk.worker_process import WorkerProcess
from tests.bulk_sets import (
    picture,
    picture_bytes,
    png_with_text,
    rows_of,
    run_inline,
    write_folder,
    write_tar,
)

FOX = "\U0001f98a"  # 12 bytes in JSON's escapes, the most that a character takes


def facts_of(path, *, has_sidecar=False):
    job = {"path": str(path), "offset": 0, "size": None, "has_sidecar": has_sidecar}
    return decode_job(job | {"wants_prompt": True}, patches=None, thumbnails=False)[0]


def test_a_long_text_is_cut_and_flagged(tmp_path):
    assert bounded_prompt("x" * MOST_PROMPT_CHARS) == ("x" * MOST_PROMPT_CHARS, ())
    text, flags = bounded_prompt("\udcff" * MOST_PROMPT_CHARS)  # six characters each, when stored
    assert len(text) == MOST_PROMPT_CHARS and flags == ("prompt_truncated",)
    long = "a fox " * 200_000
    path = png_with_text(tmp_path / "a.png", parameters=f"{long}\nSteps: 20, Sampler: Euler")
    facts = facts_of(path)
    assert (len(facts["prompt"]), facts["prompt_source"]) == (MOST_PROMPT_CHARS, "png_a1111")
    assert facts["flags"] == ["prompt_truncated"]
    (tmp_path / "a.txt").write_text("a mug")
    facts = facts_of(path, has_sidecar=True)
    assert (facts["prompt"], facts["flags"]) == ("a mug", []), "the text that was cut is not used"
    (tmp_path / "a.txt").write_text(long)
    facts = facts_of(path, has_sidecar=True)
    assert (len(facts["prompt"]), facts["flags"]) == (MOST_PROMPT_CHARS, ["prompt_truncated"])


def pool(**options):
    options = {"patches": None, "thumbnails": False, "timeout_s": 60.0} | options
    return DecodePool([WorkerProcess()], **options)


def test_the_longest_texts_come_through_and_are_counted(tmp_path):
    """They take no decoder down, and what runs ahead is bounded by them too."""
    picture(0, height=32, width=32).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(FOX * MOST_PROMPT_BYTES)
    items = [Item(str(n), str(tmp_path / "a.png"), has_sidecar=True) for n in range(20)]
    with pool(most_ahead_bytes=3 * 4 * MOST_PROMPT_CHARS) as workers:
        stream = workers.stream(iter(items))
        first = next(stream)
        quiet = threading.Event()
        for _ in range(100):  # until nothing moves any more
            before = len(workers._shared.done)
            quiet.wait(0.05)
            if before and len(workers._shared.done) == before:
                break
        assert len(workers._shared.done) <= 3 + 2
        assert sum(1 for _ in stream) == 19
    assert first.facts["error"] is None and first.facts["prompt"] == FOX * MOST_PROMPT_CHARS


def test_a_prompt_that_was_cut_is_flagged_once_in_every_source(tiny_scorer, tmp_path):
    long = "a fox " * 20_000
    folder = write_folder(tmp_path / "images", 1, prompts=False)
    (folder / "00000.txt").write_text(long)
    (tmp_path / "p.csv").write_text(f"path,prompt\nimages/00000.png,{long}\n")
    members = {"a.txt": long.encode(), "a.png": picture_bytes(1)}
    write_tar(tmp_path / "a.tar", members | {"b.json": json.dumps({"text": long}).encode(),
                                             "b.png": picture_bytes(2)})  # fmt: skip
    for source in (folder, tmp_path / "p.csv", tmp_path / "a.tar"):
        run_inline(tiny_scorer, source, tmp_path / f"out-{source.name}")
        for row in rows_of(tmp_path / f"out-{source.name}"):
            assert len(row["prompt"]) == MOST_PROMPT_CHARS
            assert row["flags"] == ["prompt_truncated"], source.name


def test_texts_of_a_tar_that_are_none_are_flagged(tiny_scorer, tmp_path):
    members = {
        "a.txt": b"\xff\xfe no", "a.png": picture_bytes(1),
        "b.json": b"{", "b.png": picture_bytes(2),
        "c.txt": b"\xff", "c.json": b'{"text": "a fox"}', "c.png": picture_bytes(3),
        "d.txt": b"a fox", "d.png": picture_bytes(4),
        "e.json": b'{"width": 64}', "e.png": picture_bytes(5),
        "f.txt": b"a fox " * 200_000, "f.png": picture_bytes(6),
    }  # fmt: skip
    run_inline(tiny_scorer, write_tar(tmp_path / "a.tar", members), tmp_path / "out")
    found = {row["member"][0]: (row["prompt"], row["flags"]) for row in rows_of(tmp_path / "out")}
    assert found.pop("f")[1] == ["prompt_truncated"], "a file over the limit: its beginning"
    assert found == {
        "a": (None, ["no_prompt", "prompt_unreadable"]),
        "b": (None, ["no_prompt", "prompt_unreadable"]),
        "c": ("a fox", ["prompt_unreadable"]),
        "d": ("a fox", []),
        "e": (None, ["no_prompt"]),
    }
