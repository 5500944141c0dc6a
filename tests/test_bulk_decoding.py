"""Decoding in processes: in order, to the bit, and never at the cost of another image."""

from __future__ import annotations

import io
import math
import os
import signal
import threading
import time

import pytest
import torch
from PIL import Image

from eliq.bulk.decode_worker import decode_job
from eliq.bulk.decoding import DecodePool
from eliq.bulk.items import Item
from eliq.bulk.resizing import jpeg_thumbnail, resized_bytes
from eliq.bulk.windows import MOST_WINDOW_IMAGES, split_windows, window_px
from eliq.bulk.worker_process import WorkerDied, WorkerProcess
from eliq.images import load_image
from eliq.patches import PatchConfig, prepare_image
from tests.bulk_sets import picture, write_folder, write_tar

PATCHES = PatchConfig(min_pixels=64 * 64, max_pixels=160 * 160)


def pool(num_workers=1, **options):
    options = {"patches": PATCHES, "thumbnails": True, "timeout_s": 60.0} | options
    options = {"most_ahead_bytes": 1 << 24} | options
    return DecodePool([WorkerProcess() for _ in range(num_workers)], **options)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(
    "height, width", [(64, 64), (33, 900), (1500, 1100), (160, 161), (8, 1600), (9, 8), (700, 64)]
)
def test_what_a_worker_resizes_is_what_the_scorer_would_have(height, width, dtype):
    generator = torch.Generator().manual_seed(height)
    image = torch.rand(3, height, width, generator=generator)
    image = (image * 255).round().to(torch.uint8) if dtype == torch.uint8 else image
    sent = resized_bytes(image, PATCHES)
    assert sent.dtype == torch.uint8 and sent.is_contiguous()
    assert torch.equal(prepare_image(sent, PATCHES), prepare_image(image, PATCHES))


def test_without_a_scorers_rule_pictures_keep_their_size():
    image = torch.rand(3, 30, 40)
    assert torch.equal(resized_bytes(image, None), (image * 255).round().to(torch.uint8))


def test_thumbnails_are_small_jpegs_of_the_same_shape():
    data = jpeg_thumbnail(torch.full((3, 500, 1000), 200, dtype=torch.uint8))
    assert data[:2] == b"\xff\xd8" and len(data) < 4000
    for height, width in ((500, 1000), (20, 30), (193, 193), (512, 512), (9000, 8)):
        data = jpeg_thumbnail(torch.zeros(3, height, width, dtype=torch.uint8))
        with Image.open(io.BytesIO(data)) as image:
            size = image.size
        assert min(128, width, height) <= max(size) <= 192 and image.format == "JPEG"
        assert size[0] * height == pytest.approx(size[1] * width, rel=0.2) or min(size) < 8
    assert jpeg_thumbnail(torch.zeros(3, 20, 30, dtype=torch.uint8))[:2] == b"\xff\xd8"


def test_a_pool_gives_back_every_item_in_order_as_the_loader_reads_it(tmp_path):
    folder = write_folder(tmp_path / "images", 6)
    (folder / "00002.png").write_bytes(b"no image")
    tar = write_tar(tmp_path / "a.tar", {"in.png": (folder / "00001.png").read_bytes()})
    offset = tar.read_bytes().index(b"\x89PNG")
    size = (folder / "00001.png").stat().st_size
    items = [Item(p.name, str(p), has_sidecar=True) for p in sorted(folder.glob("*.png"))]
    items.append(Item("in", str(tar), shard="a.tar", member="in.png", offset=offset, size=size))
    items.append(Item("past", str(tar), shard="a.tar", member="x", offset=offset, size=10**6))
    items.append(Item("gone", str(folder / "gone.png")))
    items.append(Item("tar", str(tar), problem="the archive is damaged"))
    with pool(num_workers=2) as workers:
        found = list(workers.stream(iter(items)))
        again = list(workers.stream(iter(items[:1])))
    assert [one.item for one in found] == items and len(again) == 1
    for one in found[:6]:
        loaded = load_image(one.item.path)
        assert one.facts["error"] == loaded.error and one.facts["error_class"] == loaded.error_class
        if loaded.pixels is not None:
            expected = resized_bytes(loaded.stored, PATCHES)
            assert torch.equal(one.pixels, expected) and one.thumbnail[:2] == b"\xff\xd8"
    assert found[0].facts["prompt"] == "picture 0" and found[0].facts["width"] == 48
    assert torch.equal(found[6].pixels, found[1].pixels)
    classes = [one.facts["error_class"] for one in found[7:]]
    assert classes == ["unreadable_file", "missing_file", "damaged_archive"]


def test_a_worker_that_dies_costs_one_row_and_a_slow_image_is_ended(tmp_path, monkeypatch):
    """The process is killed, then stopped, under an image; the others never notice."""
    folder = write_folder(tmp_path / "images", 6, prompts=False)
    items = [Item(path.name, str(path)) for path in sorted(folder.glob("*.png"))]
    stopped, done = set(), set()
    # Only what is stopped here is late: on a busy machine the others may wait for a core.
    monkeypatch.setattr("eliq.bulk.worker_process._PATIENCE", 100)
    monkeypatch.setattr(
        "eliq.bulk.worker_process._cpu_s", lambda pid: None if pid in stopped else 0.0
    )
    workers = pool(timeout_s=1.0)
    process = workers._workers[0]
    send = process.send

    def sabotage(item):
        send(item)
        number = int(item.id[:5])
        if number in (1, 4) and number not in done:
            done.add(number)
            pid = process._process.pid
            stopped.update({pid} if number == 4 else ())
            os.kill(pid, signal.SIGKILL if number == 1 else signal.SIGSTOP)

    process.send = sabotage
    with workers:
        found = list(workers.stream(iter(items)))
    classes = [one.facts["error_class"] for one in found]
    assert [one.item for one in found] == items
    assert classes.count("decoder_crashed") == 1 and classes.count("decode_timeout") == 1
    assert classes.count(None) == 4
    assert process._process.poll() is not None, "nothing is left running"


def test_an_answer_as_the_time_ends_costs_no_other_image(tmp_path, monkeypatch):
    """The process is ended for being late when its answer is there already."""
    folder = write_folder(tmp_path / "images", 4, prompts=False)
    items = [Item(path.name, str(path)) for path in sorted(folder.glob("*.png"))]
    monkeypatch.setattr("eliq.bulk.worker_process._cpu_s", lambda pid: None)
    workers = pool()
    process, ended = workers._workers[0], []
    set_deadline = process._set_deadline

    def late(timeout_s):
        if timeout_s is None and process.is_ready and not ended:
            ended.append(process._process)
            process.kill_if_late(math.inf)
        set_deadline(timeout_s)

    process._set_deadline = late
    with workers:
        found = list(workers.stream(iter(items)))
        assert ended and process._process is not ended[0]
    assert [one.item for one in found] == items
    assert [one.facts["error"] for one in found] == [None] * 4


def test_an_answer_that_makes_no_sense_is_a_crash():
    process = WorkerProcess()
    process.start({"patches": None, "thumbnails": False, "timeout_s": 5}, 300)
    read_end, write_end = os.pipe()
    os.write(write_end, b'{"num_bytes": 12, "num_thumbnail_bytes": 0, "shape": [3, 9, 9]}\n')
    os.close(write_end)
    real, process._process.stdout = process._process.stdout, os.fdopen(read_end, "rb")
    with pytest.raises(WorkerDied):
        process.receive(5)
    real.close()


def test_a_process_that_got_no_core_is_given_time(monkeypatch):
    process = WorkerProcess()
    try:
        spent = [0.0]
        monkeypatch.setattr("eliq.bulk.worker_process._cpu_s", lambda pid: spent[0])
        process._set_deadline(1.0)
        now = time.monotonic()
        process.kill_if_late(now + 2)
        assert process._process.poll() is None, "it has computed nothing yet"
        spent[0] = 0.6
        process.kill_if_late(now + 2)
        assert process._process.wait(300) != 0
    finally:
        process.kill()


def test_what_runs_ahead_is_bounded_in_bytes(tmp_path):
    picture(0, height=160, width=160).save(tmp_path / "a.png")
    items = [Item(str(n), str(tmp_path / "a.png")) for n in range(40)]
    with pool(most_ahead_bytes=4 * 3 * 160 * 160) as workers:
        stream = workers.stream(iter(items))
        next(stream)
        quiet = threading.Event()
        for _ in range(100):  # until nothing moves any more
            before = len(workers._shared.done)
            quiet.wait(0.05)
            if before and len(workers._shared.done) == before:
                break
        assert len(workers._shared.done) <= 4 + 2
        assert sum(1 for _ in stream) == 39


def test_borders_of_windows_follow_from_the_images_alone(tmp_path):
    class One:
        def __init__(self, px):
            self.pixels = None if px is None else torch.zeros(3, 1, px, dtype=torch.uint8)

    sizes = [30, 30, None, 50, 20, None, None, 100, 5]
    cut = lambda sizes: [  # noqa: E731
        [None if one.pixels is None else one.pixels.shape[2] for one in window]
        for window in split_windows(map(One, sizes), full_px=100)
    ]
    assert cut(sizes) == [[30, 30, None, 50], [20, None, None, 100], [5]]
    without = [size for size in sizes if size is not None]
    assert [[s for s in window if s] for window in cut(sizes)] == cut(without)
    assert [len(w) for w in cut([None] * 300)] == [MOST_WINDOW_IMAGES, 300 - MOST_WINDOW_IMAGES]
    assert window_px(1 << 21) == 16 << 21 and window_px(1 << 27) == 1 << 27


def test_header_facts_are_those_of_the_stored_file(tmp_path):
    first = picture(0)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[picture(1), picture(2)])
    first.convert("L").save(tmp_path / "b.jpg")
    job = {"offset": 0, "size": None, "has_sidecar": False, "wants_prompt": True}
    facts = decode_job(job | {"path": str(tmp_path / "a.gif")}, patches=None, thumbnails=False)[0]
    assert (facts["format"], facts["n_frames"], facts["width"]) == ("GIF", 3, 64)
    assert facts["flags"] == ["first_frame_only"]
    facts = decode_job(job | {"path": str(tmp_path / "b.jpg")}, patches=None, thumbnails=False)[0]
    assert (facts["format"], facts["mode"], facts["n_frames"]) == ("JPEG", "L", 1)
