"""Runs over hostile files: a row each, of a closed class, in bounded memory and time.

`python -m tests.run_hostile --count 10000` is the whole of it.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs eliq[bulk]")
from eliq.bulk import RunConfig, finish_run, iterate_rows, plan_run, run_local
from eliq.bulk.decode_worker import decode_job
from eliq.bulk.decoding import BULK_ERROR_CLASSES
from eliq.bulk.items import storable
from eliq.images import IMAGE_FLAGS
from eliq.prompts import PROMPT_FLAGS
from tests.hostile_files import make_hostile_files
from tests.hostile_images import picture, png_with, save, text_chunk

pytestmark = pytest.mark.skipif(os.name != "posix", reason="makes pipes and links")
_SPARSE = 3 << 30


def job(path: Path, *, has_sidecar: bool = False) -> dict:
    return {
        "path": os.fspath(path),
        "offset": 0,
        "size": None,
        "has_sidecar": has_sidecar,
        "wants_prompt": True,
    }


def decoded(path: Path, **options) -> dict:
    return decode_job(job(path, **options), patches=None, thumbnails=True)[0]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return make_hostile_files(tmp_path_factory.mktemp("hostile") / "set", 260, heavy=False)


def test_the_same_set_twice(tmp_path):
    sets = [make_hostile_files(tmp_path / name, 150, heavy=False) for name in "ab"]
    assert sets[0].names == sets[1].names and len(sets[0].names) == 150
    for name in sets[0].names:
        paths = [os.path.join(os.fsencode(one.folder), name) for one in sets]
        if all(os.path.isfile(path) and not os.path.islink(path) for path in paths):
            with open(paths[0], "rb") as first, open(paths[1], "rb") as second:
                assert first.read() == second.read(), name


def test_a_run_over_hostile_files(hostile, tiny_checkpoint_dir, tmp_path):
    """Every kind of file once, in order: rows = files, and what failed says why on one line."""
    config = RunConfig(
        os.fspath(hostile.folder),
        tmp_path / "out",
        checkpoint=os.fspath(tiny_checkpoint_dir),
        device="cpu",
        workers=1,
        part_size=100,
        item_timeout_s=20.0,
    )
    run_local(config, plan_run(config))
    rows = [row for batch in iterate_rows(config.out_dir) for row in batch.to_pylist()]
    names = {storable(os.fsdecode(name)) for name in hostile.names}
    assert len(rows) == len(hostile.names) and {row["id"] for row in rows} == names
    for row in rows:
        assert row["status"] == ("ok" if row["error"] is None else "failed")
        assert (row["visual_quality"] is None) == (row["status"] == "failed")
        assert set(row["flags"]) <= IMAGE_FLAGS | PROMPT_FLAGS | {"prompt_unreadable"}
        if row["error"] is not None:
            assert row["error_class"] in BULK_ERROR_CLASSES and row["error"].isprintable()
            assert row["error_class"] != "decoder_crashed"
    classes = {row["error_class"] for row in rows}
    expected = {"empty_file", "not_an_image", "damaged_image", "too_many_pixels", "missing_file"}
    assert expected | {"not_a_file", "unreadable_file", "too_small", "float_image"} <= classes
    summary = finish_run(config.out_dir)
    assert summary["num_images"] == len(rows) == summary["num_scored"] + summary["num_failed"]
    lines = (config.out_dir / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    assert len([json.loads(line) for line in lines]) <= len(rows)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "no text"])
def test_a_prompt_that_cannot_be_read_fails_no_image(tmp_path, kind):
    path, sidecar = tmp_path / "a.png", tmp_path / "a.txt"
    path.write_bytes(save(picture(random.Random(0)), "PNG"))
    if kind == "pipe":
        os.mkfifo(sidecar)  # to open it would wait for a writer
    elif kind == "device":
        sidecar.symlink_to("/dev/zero")
    elif kind == "folder":
        sidecar.mkdir()
    else:
        sidecar.write_bytes(b"\xff\xfe\x00")
    facts = decoded(path, has_sidecar=True)
    assert facts["error"] is None and facts["flags"] == ["prompt_unreadable"]
    assert "prompt" not in facts


def test_a_long_prompt_is_cut_between_characters(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(save(picture(random.Random(0)), "PNG"))
    (tmp_path / "a.txt").write_text("x" + "\u00e9" * (1 << 20), encoding="utf-8")
    facts = decoded(path, has_sidecar=True)
    assert facts["prompt_source"] == "sidecar" and set(facts["prompt"]) == {"x", "\u00e9"}
    assert len(facts["prompt"].encode()) <= 1 << 20


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"1": ' + "9" * 200_000 + "}", '{"1": NaN, "2": []}', "\ud800", ""]
)
def test_a_graph_that_is_none_fails_no_image(tmp_path, text):
    path = tmp_path / "a.png"
    path.write_bytes(png_with(random.Random(0), text_chunk("prompt", text)))
    facts = decoded(path)
    assert facts["error"] is None and "prompt" not in facts


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is Linux's")
def test_a_chunk_of_gigabytes_is_not_taken_into_memory(tmp_path):
    from eliq.bulk.decoding import DecodePool
    from eliq.bulk.items import Item
    from eliq.bulk.worker_process import WorkerProcess

    whole = save(picture(random.Random(0)), "PNG")
    at = whole.index(b"IDAT") - 4
    path = tmp_path / "sparse.png"
    with open(path, "wb") as file:
        file.write(whole[:at] + b"\x7f\xff\xff\xfftEXt")
        file.truncate(_SPARSE)
    worker = WorkerProcess()
    options = {"thumbnails": False, "timeout_s": 120.0, "most_ahead_bytes": 1 << 20}
    with DecodePool([worker], patches=None, **options) as pool:
        (found,) = pool.stream(iter([Item("sparse.png", os.fspath(path))]))
        status = Path(f"/proc/{worker._process.pid}/status").read_text()
    assert found.facts["error_class"] == "out_of_memory"
    peak_kib = int(next(x for x in status.splitlines() if x.startswith("VmHWM")).split()[1])
    assert peak_kib < 3 << 20
