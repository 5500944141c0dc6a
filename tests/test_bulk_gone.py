"""Images that the source no longer has: their rows and pictures stay, whatever else changes."""

from __future__ import annotations

import pytest

pytest.importorskip("pyarrow")

import pyarrow.parquet as pq

from eliq.bulk import RunConfig, iterate_thumbnails, plan_run
from tests.bulk_sets import picture, rows_of, run_inline, write_folder
from tests.test_bulk_going_on import opened_by


def by_id(out):
    return {row["id"]: row for row in rows_of(out)}


def pictures_of(out):
    thumbnails = [one for _, part in iterate_thumbnails(out) for one in part]
    return dict(zip([row["id"] for row in rows_of(out)], thumbnails, strict=True))


def test_a_part_that_grows_keeps_the_rows_of_what_is_gone(tiny_scorer, tmp_path):
    folder, out = write_folder(tmp_path / "images", 5, prompts=False), tmp_path / "out"
    run_inline(tiny_scorer, folder, out)
    before, shown = by_id(out), pictures_of(out)
    (folder / "00001.png").unlink()
    picture(9).save(folder / "x.png")
    opened = []
    summary = run_inline(tiny_scorer, folder, out, before=lambda item: opened.append(item.id))
    assert summary["num_failed"] == 0 and summary["num_gone_from_source"] == 1
    assert opened == ["00000.png", "00002.png", "00003.png", "00004.png", "x.png"]
    after = by_id(out)
    assert list(after) == [*before, "x.png"] and after["00001.png"] == before["00001.png"]
    assert pictures_of(out)["00001.png"] == shown["00001.png"] is not None
    picture(1, height=48, width=64).save(folder / "00001.png")  # it comes again: one of the set
    assert opened_by(tiny_scorer, folder, out) == []
    assert not any(
        item.is_gone for item in next(plan_run(RunConfig(folder, out)).subparts(0)).items
    )


def test_a_prompt_that_changes_beside_what_is_gone(tiny_scorer, tmp_path):
    write_folder(tmp_path / "images", 4, prompts=False)
    listing, out = tmp_path / "list.csv", tmp_path / "out"

    def write(*rows):
        listing.write_text("path,prompt\n" + "".join(f"images/{n:05d}.png,{p}\n" for n, p in rows))

    write((0, "a"), (1, "b"), (2, "c"), (3, "d"))
    run_inline(tiny_scorer, listing, out, part_size=2)
    before = rows_of(out)
    write((1, "another"), (2, "c"), (3, "d"))
    assert opened_by(tiny_scorer, listing, out, part_size=2) == ["images/00001.png"]
    after = rows_of(out)
    assert after[0] == before[0] and after[2:] == before[2:]
    assert after[1]["prompt"] == "another"


def test_stopped_while_such_a_part_is_scored_again_it_ends_with_the_same_bits(
    tiny_scorer, tmp_path, monkeypatch
):
    monkeypatch.setattr(tiny_scorer, "max_batch_px", 2 * 64 * 64)
    monkeypatch.setattr("eliq.bulk.engine.window_px", lambda batch_px: 2 * batch_px)
    folder = write_folder(tmp_path / "images", 12, prompts=False)
    outs = tmp_path / "whole", tmp_path / "stopped"
    for out in outs:
        run_inline(tiny_scorer, folder, out)
    for number in (0, 5):
        (folder / f"{number:05d}.png").unlink()
    picture(9).save(folder / "x.png")
    run_inline(tiny_scorer, folder, outs[0])

    def stop(item):
        if item.id == "00009.png":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_inline(tiny_scorer, folder, outs[1], before=stop)
    opened = opened_by(tiny_scorer, folder, outs[1])
    assert opened[-1] == "x.png" and len(opened) < 9, "what was scored is kept"
    assert rows_of(outs[1]) == rows_of(outs[0])
    assert pictures_of(outs[1]) == pictures_of(outs[0])


def test_what_failed_and_is_gone_is_not_tried_again(tiny_scorer, tmp_path):
    folder, out = write_folder(tmp_path / "images", 3, prompts=False), tmp_path / "out"
    for number in (0, 1):
        (folder / f"{number:05d}.png").write_bytes(b"no image")
    run_inline(tiny_scorer, folder, out)
    before = by_id(out)
    (folder / "00000.png").unlink()
    assert opened_by(tiny_scorer, folder, out, retry_failed=True) == ["00001.png"]
    (folder / "00001.png").unlink()
    assert opened_by(tiny_scorer, folder, out, retry_failed=True) == []
    assert by_id(out) == before


def test_a_plan_of_an_earlier_version_is_read(tiny_scorer, tmp_path):
    """It has no column that says what is gone."""
    folder, out = write_folder(tmp_path / "images", 3, prompts=False), tmp_path / "out"
    run_inline(tiny_scorer, folder, out, part_size=2)
    table = pq.read_table(out / "plan.parquet").drop_columns(["is_gone"])
    pq.write_table(table, out / "plan.parquet", row_group_size=2)
    before = rows_of(out)
    assert opened_by(tiny_scorer, folder, out, part_size=2) == []
    pq.write_table(table, out / "plan.parquet", row_group_size=2)
    (folder / "00002.png").unlink()
    picture(9).save(folder / "x.png")
    assert opened_by(tiny_scorer, folder, out, part_size=2) == ["x.png"]
    assert rows_of(out)[:3] == before
