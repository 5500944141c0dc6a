"""A run over many images: whole parts, the same bits whatever stopped it, nothing mixed."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch

pytest.importorskip("pyarrow")
import pyarrow as pa
import pyarrow.parquet as pq

from eliq import Scorer
from eliq.bulk import RunConfig, UnitScorer, claim_out_dir, iterate_thumbnails, plan_run
from eliq.bulk.fingerprint import RunFingerprint
from eliq.bulk.old_run import clear_out_dir
from eliq.bulk.parts import part_facts
from eliq.bulk.windows import window_px
from eliq.errors import BulkError
from tests.bulk_sets import (
    InlinePool,
    picture,
    picture_bytes,
    rows_of,
    run_inline,
    write_folder,
    write_tar,
)
from tests.rounding import SCORE_ROUNDING
from tests.test_full_disk import files_no_larger_than


@pytest.fixture
def small_batches(tiny_scorer, monkeypatch):
    """The tiny critic, with two images a batch and about four a window."""
    monkeypatch.setattr(tiny_scorer, "max_batch_px", 2 * 64 * 64)
    monkeypatch.setattr("eliq.bulk.engine.window_px", lambda batch_px: 2 * batch_px)
    return tiny_scorer


@pytest.fixture
def folder(tmp_path):
    folder = write_folder(tmp_path / "images", 23)
    (folder / "00004.png").write_bytes(b"no image")
    return folder


def config_of(folder, out, **options):
    return RunConfig(str(folder), out, part_size=8, **options)


def test_rows_are_what_the_scorer_says_of_the_files(tiny_scorer, folder, tmp_path):
    summary = run_inline(tiny_scorer, folder, tmp_path / "out", part_size=8)
    rows = rows_of(tmp_path / "out", timing=True)
    paths = sorted(str(path) for path in folder.glob("*.png"))
    assert [row["path"] for row in rows] == paths
    prompts = [None if n % 2 else f"picture {n}" for n in range(23)]
    scores = tiny_scorer.score(paths, prompts)
    for number, (row, expected) in enumerate(zip(rows, scores.to_rows(), strict=True)):
        assert row["status"] == expected["status"], row
        assert row["error_class"] == expected["error_class"]
        assert set(row["flags"]) == set(expected["flags"]) or number == 4
        for name in ("visual_quality", "alignment"):
            assert (row[name] is None) == (expected[name] is None), "null, never 0 or NaN"
            if row[name] is not None:
                assert row[name] == pytest.approx(expected[name], abs=SCORE_ROUNDING)
                assert row[f"raw_{name}"] == pytest.approx(
                    expected["raw"][name], abs=SCORE_ROUNDING
                )
        if expected["aspects"]["technical"] is not None:
            assert row["aspect_technical"] == pytest.approx(
                expected["aspects"]["technical"], abs=SCORE_ROUNDING
            )
        if number != 4:
            assert row["prompt"] == prompts[number] and row["ms"] > 0 and row["format"] == "PNG"
    assert rows[4]["error_class"] == "not_an_image" and rows[4]["width"] is None
    assert summary["num_images"] == 23 and summary["num_failed"] == 1
    assert summary["errors"] == {"not_an_image": 1}
    assert {row["dtype"] for row in rows} == {"float32"} and len(
        {r["head_sha256"] for r in rows}
    ) == 1
    thumbnails = [one for _, part in iterate_thumbnails(tmp_path / "out") for one in part]
    assert [one is None for one in thumbnails] == [row["status"] != "ok" for row in rows]


def noting(opened):
    return lambda item: opened.append(item.id)


class Stop(Exception):
    """Stands for Ctrl-C, or the end of the machine."""


def test_stopped_anywhere_it_ends_with_the_same_bits(small_batches, folder, tmp_path):
    """With what is kept of the part under way, and, after a kill, without."""
    run_inline(small_batches, folder, tmp_path / "whole", part_size=8)
    expected = rows_of(tmp_path / "whole")
    for moment in (0, 3, 6, 11, 16, 22):
        out = tmp_path / f"stopped-{moment}"

        def stop(item, name=f"{moment:05d}.png"):
            if item.id == name:
                raise Stop

        with pytest.raises(Stop):
            run_inline(small_batches, folder, out, before=stop, part_size=8)
        parts = sorted(path.name for path in (out / "parts").glob("*")) if moment >= 8 else []
        assert len(parts) == moment // 8
        if moment % 2:
            shutil.rmtree(out / "unfinished", ignore_errors=True)
        opened = []
        run_inline(small_batches, folder, out, before=noting(opened), part_size=8)
        assert rows_of(out) == expected
        assert all(name >= f"{moment // 8 * 8:05d}.png" for name in opened), "done stays done"
        assert not list((out / "unfinished").glob("*")), "nothing is left over"


def test_what_an_interruption_keeps_is_not_scored_again(small_batches, folder, tmp_path):
    def stop(item):
        if item.id == "00007.png":
            raise Stop

    with pytest.raises(Stop):
        run_inline(small_batches, folder, tmp_path / "out", before=stop, part_size=8)
    opened = []
    run_inline(small_batches, folder, tmp_path / "out", before=noting(opened), part_size=8)
    assert 0 < len([name for name in opened if name < "00008.png"]) < 8


def test_a_run_that_is_done_opens_no_image_and_changes_no_part(tiny_scorer, folder, tmp_path):
    out = tmp_path / "out"
    run_inline(tiny_scorer, folder, out, part_size=8)
    before = {p.name: p.stat().st_mtime_ns for p in (out / "parts").iterdir()}

    def stop(item):
        raise Stop

    summary = run_inline(tiny_scorer, folder, out, before=stop, part_size=8)
    assert {p.name: p.stat().st_mtime_ns for p in (out / "parts").iterdir()} == before
    assert summary["num_images"] == 23


def test_failed_rows_are_retried_and_the_others_stay_to_the_bit(tiny_scorer, folder, tmp_path):
    out = tmp_path / "out"
    run_inline(tiny_scorer, folder, out, part_size=8)
    before = rows_of(out)
    picture(4).save(folder / "00004.png")
    opened = []
    summary = run_inline(
        tiny_scorer, folder, out, before=noting(opened), part_size=8,
        retry_failed=True,
    )  # fmt: skip
    after = rows_of(out)
    assert opened == ["00004.png"] and summary["num_failed"] == 0
    assert after[4]["status"] == "ok" and after[4]["visual_quality"] is not None
    assert after[:4] + after[5:] == before[:4] + before[5:]
    assert list(iterate_thumbnails(out))[0][1][4][:2] == b"\xff\xd8"


def test_what_changed_in_the_source_is_scored_again_and_nothing_else(tiny_scorer, tmp_path):
    write_folder(tmp_path / "images", 6, prompts=False)
    listing = tmp_path / "list.csv"

    def write(*rows):
        listing.write_text("path,prompt\n" + "".join(f"images/{n:05d}.png,{p}\n" for n, p in rows))

    def run(out):
        opened = []
        run_inline(tiny_scorer, listing, out, before=noting(opened), part_size=2)
        return [int(name[-9:-4]) for name in opened]

    out = tmp_path / "out"
    write((0, "a"), (1, "b"), (2, "c"))
    assert run(out) == [0, 1, 2]
    write((0, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "e"))
    assert run(out) == [2, 3, 4], "the part that was full stays"
    write((0, "a"), (1, "another"), (2, "c"), (3, "d"), (4, "e"))
    assert run(out) == [0, 1], "a prompt that changed"
    run(tmp_path / "fresh")
    assert rows_of(out) == rows_of(tmp_path / "fresh")


def test_tars_are_scored_where_they_lie_and_resumed(small_batches, tmp_path):
    for number in range(3):
        members = {}
        for index in range(5):
            members[f"{index}.png"] = picture_bytes(10 * number + index)
            members[f"{index}.txt"] = b"a picture"
        write_tar(tmp_path / f"{number}.tar", members)
    (tmp_path / "1.tar").write_bytes((tmp_path / "1.tar").read_bytes()[:3000])
    run_inline(small_batches, tmp_path / "*.tar", tmp_path / "whole", part_size=2)
    rows = rows_of(tmp_path / "whole")
    assert [row["shard"] for row in rows].count("0.tar") == 5
    assert [row["error_class"] for row in rows if row["status"] != "ok"] == ["damaged_archive"]
    assert {row["prompt"] for row in rows if row["status"] == "ok"} == {"a picture"}
    assert part_facts(tmp_path / "whole", "part-000000-0002").is_last

    def stop(item):
        if item.id == "2.tar/3.png":
            raise Stop

    with pytest.raises(Stop):
        run_inline(small_batches, tmp_path / "*.tar", tmp_path / "out", before=stop, part_size=2)
    opened = []
    run_inline(small_batches, tmp_path / "*.tar", tmp_path / "out",
               before=noting(opened), part_size=2)  # fmt: skip
    assert opened[0].startswith("2.tar/") and rows_of(tmp_path / "out") == rows
    # A tar that was packed anew is scored anew, the others stay.
    write_tar(tmp_path / "1.tar", {"x.png": picture_bytes(99)})
    opened.clear()
    run_inline(small_batches, tmp_path / "*.tar", tmp_path / "out",
               before=noting(opened), part_size=2)  # fmt: skip
    assert opened == ["1.tar/x.png"] and len(rows_of(tmp_path / "out")) == 11


def test_a_source_without_a_single_good_image_is_a_run_like_any_other(tiny_scorer, tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(3):
        (tmp_path / "images" / f"{number}.png").write_bytes(b"x")
    summary = run_inline(tiny_scorer, tmp_path / "images", tmp_path / "out")
    assert (summary["num_images"], summary["num_scored"]) == (3, 0)
    assert summary["visual_quality"] == {
        "count": 0, "mean": None, "std": None, "min": None, "max": None
    }  # fmt: skip
    write_tar(tmp_path / "empty.tar", {"notes.txt": b"x"})
    assert run_inline(tiny_scorer, tmp_path / "empty.tar", tmp_path / "o2")["num_images"] == 0


@pytest.mark.parametrize(
    "field", sorted({*RunFingerprint.__dataclass_fields__} - {"model_id", "revision"})
)
def test_another_critic_is_refused_and_the_field_named(tiny_scorer, folder, tmp_path, field):
    out = tmp_path / "out"
    plan_run(config_of(folder, out))
    facts = RunFingerprint.of(tiny_scorer)
    other = {**vars(facts), field: "of another one"}
    (out / "run.json").write_text(json.dumps({"fingerprint": other}))
    with pytest.raises(
        BulkError, match=f"was made with {field} of another one; you asked for {field} "
    ):
        UnitScorer(config_of(folder, out), scorer=tiny_scorer, pool=InlinePool(None))
    assert not (out / "parts").exists()


def test_fingerprints_tell_heads_types_and_questions_apart(tiny_scorer, tiny_checkpoint_dir):
    same = Scorer.from_pretrained(tiny_checkpoint_dir, device="cpu")
    assert RunFingerprint.of(same) == RunFingerprint.of(tiny_scorer)
    half = Scorer.from_pretrained(tiny_checkpoint_dir, device="cpu", dtype="bfloat16")
    assert RunFingerprint.of(half).dtype == "bfloat16"
    with torch.no_grad():
        next(same.head.parameters()).add_(1)
    assert RunFingerprint.of(same).head_sha256 != RunFingerprint.of(tiny_scorer).head_sha256


def test_too_many_failures_end_the_run_and_what_is_scored_stays(small_batches, folder, tmp_path):
    for number in (12, 13):
        (folder / f"{number:05d}.png").write_bytes(b"no image")
    with pytest.raises(BulkError, match=r"3 images failed, more than --max-errors 2.*00013.png"):
        run_inline(small_batches, folder, tmp_path / "out", part_size=8, max_errors=2)
    assert len(list((tmp_path / "out/parts").glob("*.parquet"))) == 1
    summary = run_inline(small_batches, folder, tmp_path / "out", part_size=8, max_errors=3)
    assert summary["num_failed"] == 3
    run_inline(small_batches, folder, tmp_path / "whole", part_size=8)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")


def test_failures_of_parts_before_count_too(small_batches, folder, tmp_path):
    """They end a run in a part that has none of its own, in words and not in a traceback."""
    run_inline(small_batches, folder, tmp_path / "out", part_size=8, limit=8)
    with pytest.raises(BulkError, match=r"stopped: 1 image failed, more than --max-errors 0$"):
        run_inline(small_batches, folder, tmp_path / "out", part_size=8, max_errors=0)


@pytest.mark.parametrize("thumbnails", [True, False])
def test_stopped_twice_in_one_part_it_ends_with_the_same_bits(
    small_batches, folder, tmp_path, monkeypatch, thumbnails
):
    """What is kept the second time is all of what was kept the first time, and more."""
    options = {"part_size": 23, "thumbnails": thumbnails}
    run_inline(small_batches, folder, tmp_path / "whole", **options)
    kept, out = [], tmp_path / "out"
    for moment in (8, 13, 19):

        def stop(item, name=f"{moment:05d}.png"):
            if item.id == name:
                raise Stop

        with pytest.raises(Stop):
            run_inline(small_batches, folder, out, before=stop, **options)
        kept.append(pq.read_table(out / "unfinished/part-000000-0000.parquet").num_rows)
    assert kept[0] < kept[1] < kept[2] <= 19
    run_inline(small_batches, folder, out, **options)
    assert rows_of(out) == rows_of(tmp_path / "whole")


def test_failed_rows_of_a_part_under_way_are_retried_too(small_batches, folder, tmp_path):
    def stop(item):
        if item.id == "00022.png":
            raise Stop

    out = tmp_path / "out"
    with pytest.raises(Stop):
        run_inline(small_batches, folder, out, before=stop, part_size=23)
    picture(4).save(folder / "00004.png")
    summary = run_inline(small_batches, folder, out, part_size=23, retry_failed=True)
    assert summary["num_failed"] == 0
    run_inline(small_batches, folder, tmp_path / "whole", part_size=23)
    assert rows_of(out) == rows_of(tmp_path / "whole")


def test_thumbnails_are_those_of_the_rows_or_none(tiny_scorer, tmp_path):
    """Of a part that was replaced without them, and of one whose replacement a kill stopped."""
    folder, out = write_folder(tmp_path / "images", 2, prompts=False), tmp_path / "out"
    run_inline(tiny_scorer, folder, out, part_size=4)
    assert [len(part) for _, part in iterate_thumbnails(out)] == [2]
    write_folder(folder, 6, prompts=False)
    run_inline(tiny_scorer, folder, out, part_size=4, thumbnails=False)
    assert [part for _, part in iterate_thumbnails(out)] == [[None] * 4, [None] * 2]
    ids = ["00000.png"]
    torn = pa.table({"id": ids, "thumbnail": [b"of another row"]})
    for name, write in (("torn", lambda path: pq.write_table(torn, path)),
                        ("damaged", lambda path: path.write_bytes(b"PAR1"))):  # fmt: skip
        write(out / "thumbnails/part-000000-0000.parquet")
        assert [part for _, part in iterate_thumbnails(out)] == [[None] * 4, [None] * 2], name


def test_progress_counts_what_was_there_and_what_is_new(small_batches, folder, tmp_path):
    out = tmp_path / "out"
    config = config_of(folder, out)
    plan = plan_run(config)
    seen = []
    with UnitScorer(
        config, plan, scorer=small_batches, pool=InlinePool(small_batches.backbone.patches)
    ) as units:
        units.score_unit(0, seen.append)
    assert (seen[-1].num_done, seen[-1].num_failed, seen[-1].num_new) == (8, 1, 8)
    with UnitScorer(
        config, plan, scorer=small_batches, pool=InlinePool(small_batches.backbone.patches)
    ) as units:
        done = list(units.score_units(plan.units(), seen.append))
    assert (seen[-1].num_done, seen[-1].num_failed, seen[-1].num_new) == (23, 1, 15)
    assert [one.name for one in done] == ["part-000001-0000", "part-000002-0000"]
    assert [one.num_done for one in seen[:9]] == sorted(one.num_done for one in seen[:9])


def test_a_full_disk_leaves_the_parts_before_it(tiny_scorer, folder, tmp_path):
    out = tmp_path / "out"
    config = config_of(folder, out, thumbnails=False)
    plan = plan_run(config)
    with UnitScorer(
        config, plan, scorer=tiny_scorer, pool=InlinePool(tiny_scorer.backbone.patches)
    ) as units:
        units.score_unit(0)
        good = (out / "parts/part-000000-0000.parquet").read_bytes()
        with (
            files_no_larger_than(2000),
            pytest.raises(BulkError, match="cannot write .*same command"),
        ):
            units.score_unit(1)
    assert sorted(p.name for p in (out / "parts").iterdir()) == ["part-000000-0000.parquet"]
    assert (out / "parts/part-000000-0000.parquet").read_bytes() == good
    run_inline(tiny_scorer, folder, out, part_size=8, thumbnails=False)
    run_inline(tiny_scorer, folder, tmp_path / "whole", part_size=8)
    assert rows_of(out) == rows_of(tmp_path / "whole")


def test_a_part_that_the_disk_damaged_is_made_again(tiny_scorer, folder, tmp_path):
    out = tmp_path / "out"
    run_inline(tiny_scorer, folder, out, part_size=8)
    expected = rows_of(out)
    part = out / "parts/part-000001-0000.parquet"
    part.write_bytes(part.read_bytes()[:500])
    run_inline(tiny_scorer, folder, out, part_size=8)
    assert rows_of(out) == expected


def test_the_directory_is_taken_by_one_run_and_holds_nothing_else(folder, tmp_path):
    config = config_of(folder, tmp_path / "out")
    with claim_out_dir(config) as out:
        plan_run(config)
        (out / "parts").mkdir()
        torn = out / "parts" / ".part-000000-0000.parquet.abc.partial"
        torn.write_bytes(b"torn")
        with pytest.raises(BulkError, match="another eliq run"), claim_out_dir(config):
            pass
        assert torn.exists()
    with claim_out_dir(config):
        assert not torn.exists(), "what a kill left is removed"
    (tmp_path / "out" / "mine.txt").write_text("kept")
    clear_out_dir(tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == [".lock", "mine.txt"]
    with pytest.raises(BulkError, match="found mine.txt"), claim_out_dir(config):
        pass


def test_windows_are_bounded_whatever_the_batch():
    assert max(window_px(px) for px in (1, 1 << 16, 1 << 21, 1 << 24)) <= 64_000_000
