"""What a later command makes of a run that is there: nothing is lost, and nothing mixed."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import torch

from eliq import Scorer
from eliq.bulk import RunConfig, load_plan, plan_items, plan_run, tars
from eliq.bulk.fingerprint import RunFingerprint
from eliq.errors import BulkError
from eliq.keep import Selection, take_away
from tests.bulk_sets import picture, picture_bytes, rows_of, run_inline, write_folder, write_tar


def opened_by(scorer, source, out, **options):
    """The ids of what a run opens."""
    opened = []
    run_inline(scorer, source, out, before=lambda item: opened.append(item.id), **options)
    return opened


def write_tars(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        members = {f"{n}.png": picture_bytes(hash_of(name) + n) for n in range(3)}
        write_tar(folder / f"{name}.tar", members)


def hash_of(name: str) -> int:
    return sum(map(ord, name))


def test_tars_that_come_and_go_cost_no_finished_part(tiny_scorer, tmp_path):
    folder, out = tmp_path / "shards", tmp_path / "out"
    write_tars(folder, "b", "d")
    source = folder / "*.tar"
    assert len(opened_by(tiny_scorer, source, out, part_size=2)) == 6
    before = rows_of(out)
    write_tars(folder, "a", "c")  # between and before the others, by name
    assert {one[:5] for one in opened_by(tiny_scorer, source, out, part_size=2)} == {
        "a.tar", "c.tar"
    }  # fmt: skip
    after = rows_of(out)
    assert after[:6] == before and len(after) == 12
    (folder / "b.tar").rename(tmp_path / "b.tar")
    assert opened_by(tiny_scorer, source, out, part_size=2) == []
    plan = plan_run(RunConfig(str(source), out, part_size=2))
    assert rows_of(out) == after and plan.num_gone == 1 and plan.pending_units() == []
    (tmp_path / "b.tar").rename(folder / "b.tar")
    assert opened_by(tiny_scorer, source, out, part_size=2) == []
    assert plan_run(RunConfig(str(source), out, part_size=2)).num_gone == 0


def test_tars_of_other_folders_keep_different_ids(tiny_scorer, tmp_path):
    source, out = tmp_path / "*" / "0.tar", tmp_path / "out"
    write_tars(tmp_path / "x", "0")
    run_inline(tiny_scorer, source, out)
    write_tars(tmp_path / "y", "0")  # now the folder is part of the name
    run_inline(tiny_scorer, source, out)
    ids = [row["id"] for row in rows_of(out)]
    assert ids[:3] == ["0.tar/0.png", "0.tar/1.png", "0.tar/2.png"]
    assert len(set(ids)) == 6 and ids[3] == "y/0.tar/0.png"


@pytest.mark.parametrize("kind", ["folder", "tars"])
def test_a_limit_below_what_is_planned_takes_nothing_away(tiny_scorer, tmp_path, kind):
    if kind == "folder":
        source = write_folder(tmp_path / "images", 9, prompts=False)
    else:
        write_tars(tmp_path / "shards", "a", "b", "c")
        source = tmp_path / "shards/*.tar"
    out = tmp_path / "out"
    run_inline(tiny_scorer, source, out, part_size=2, limit=4)
    assert len(rows_of(out)) == 4
    run_inline(tiny_scorer, source, out, part_size=2)
    before = rows_of(out)
    assert len(before) == 9
    with pytest.raises(BulkError, match="--limit 4: this run has planned"):
        run_inline(tiny_scorer, source, out, part_size=2, limit=4)
    assert rows_of(out) == before
    assert opened_by(tiny_scorer, source, out, part_size=2, limit=9) == []


def test_the_same_limit_adds_nothing_when_a_file_came_first(tiny_scorer, tmp_path):
    """What is planned stays planned; what lies beyond the limit now is not gone."""
    folder, out = write_folder(tmp_path / "images", 4, prompts=False), tmp_path / "out"
    run_inline(tiny_scorer, folder, out, limit=2)
    picture(9).save(folder / "0.png")
    summary = run_inline(tiny_scorer, folder, out, limit=2)
    assert (summary["num_images"], summary["num_gone_from_source"]) == (2, 0)
    assert opened_by(tiny_scorer, folder, out, limit=3, part_size=1000)[-1] == "0.png"
    assert [row["id"] for row in rows_of(out)] == ["00000.png", "00001.png", "0.png"]
    with pytest.raises(BulkError, match="--limit 2: this run has planned 3 images already"):
        run_inline(tiny_scorer, folder, out, limit=2)
    (folder / "00001.png").unlink()
    summary = run_inline(tiny_scorer, folder, out, limit=2)
    assert (summary["num_images"], summary["num_gone_from_source"]) == (3, 1)


def test_passing_over_what_is_done_opens_the_plan_once_and_no_tar(
    tiny_scorer, tmp_path, monkeypatch
):
    folder, out = write_folder(tmp_path / "images", 8, prompts=False), tmp_path / "out"
    run_inline(tiny_scorer, folder, out, part_size=2)
    opened = []
    real = plan_items._open_items
    monkeypatch.setattr(plan_items, "_open_items", lambda path: opened.append(path) or real(path))
    plan = pickle.loads(pickle.dumps(load_plan(out)))
    for _ in range(3):
        assert plan.pending_units() == []
    assert len(opened) == 1
    write_tars(tmp_path / "shards", "a", "b")
    source, out = tmp_path / "shards/*.tar", tmp_path / "out-of-tars"
    (tmp_path / "shards/b.tar").write_bytes((tmp_path / "shards/b.tar").read_bytes()[:2000])
    run_inline(tiny_scorer, source, out, part_size=2)
    headers = []
    real_members = tars.iterate_members
    monkeypatch.setattr(
        tars, "iterate_members", lambda path: headers.append(Path(path).name) or real_members(path)
    )
    run_inline(tiny_scorer, source, out, part_size=2)
    assert headers == []
    run_inline(tiny_scorer, source, out, part_size=2, retry_failed=True)
    assert set(headers) == {"b.tar"}, "only what has failed rows"


def test_from_another_directory_it_goes_on_and_paths_stay_right(tiny_scorer, tmp_path, monkeypatch):
    write_folder(tmp_path / "images", 3, prompts=False)
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path)
    run_inline(tiny_scorer, "images", Path("out"), part_size=2)
    before = rows_of(Path("out"))
    assert [row["path"] for row in before] == [f"images/0000{n}.png" for n in range(3)]
    picture(9).save(tmp_path / "images/x.png")
    monkeypatch.chdir(tmp_path / "deep")
    source = "../images"
    assert opened_by(tiny_scorer, source, Path("../out"), part_size=2) == ["00002.png", "x.png"]
    rows = rows_of(Path("../out"))
    assert rows[:2] == before[:2] and rows[3]["path"] == str(tmp_path / "images/x.png")
    counts = take_away(Path("../out"), Selection(), tmp_path / "kept", how="copy")
    assert counts.num_taken == 4 and not counts.missing
    lines = (tmp_path / "out/metadata.jsonl").read_text().splitlines()
    names = [json.loads(line)["file_name"] for line in lines]
    assert sorted(names) == [f"../images/{n}.png" for n in ("00000", "00001", "00002", "x")]


def test_prompts_that_came_later_are_scored_with(tiny_scorer, tmp_path):
    """A .txt beside an image, or the metadata of its folder."""
    folder, out = write_folder(tmp_path / "images", 4, prompts=False), tmp_path / "out"
    run_inline(tiny_scorer, folder, out, part_size=2)
    (folder / "00003.txt").write_text("a red fox")
    assert opened_by(tiny_scorer, folder, out, part_size=2) == ["00002.png", "00003.png"]
    assert [row["prompt"] for row in rows_of(out)] == [None, None, None, "a red fox"]
    (folder / "metadata.csv").write_text("file_name,text\n00000.png,a blue mug\n")
    assert opened_by(tiny_scorer, folder, out, part_size=2) == ["00000.png", "00001.png"]
    assert rows_of(out)[0]["prompt"] == "a blue mug"


def test_a_manifest_without_prompts_finds_those_beside_the_images(tiny_scorer, tmp_path):
    write_folder(tmp_path / "images", 3)
    (tmp_path / "list.csv").write_text("path\nimages/00000.png\nimages/00001.png\n")
    run_inline(tiny_scorer, tmp_path / "list.csv", tmp_path / "out")
    found = [(row["prompt"], row["prompt_source"]) for row in rows_of(tmp_path / "out")]
    assert found == [("picture 0", "sidecar"), (None, None)]


def test_ids_are_unique_whatever_files_are_called(tiny_scorer, tmp_path):
    (tmp_path / "list.csv").write_text("path\n" + "a.png#2\na.png\na.png\na.png\na.png#2\n")
    run_inline(tiny_scorer, tmp_path / "list.csv", tmp_path / "out")
    ids = [row["id"] for row in rows_of(tmp_path / "out")]
    assert ids == ["a.png#2", "a.png", "a.png#3", "a.png#4", "a.png#2#2"]


def test_the_result_of_another_run_is_no_source(tiny_scorer, tmp_path):
    folder = write_folder(tmp_path / "images", 2, prompts=False)
    run_inline(tiny_scorer, folder, folder / "scored")
    (folder / "scored/report_files/0").mkdir(parents=True)
    picture(1).save(folder / "scored/report_files/0/1.jpg")
    assert len(opened_by(tiny_scorer, folder, folder / "scored2")) == 2


def test_a_bare_model_is_known_by_its_weights(tiny_scorer):
    """Of a model in a directory the name says nothing: other weights may lie there tomorrow."""

    def bare(source):
        scorer = Scorer(tiny_scorer.backbone, source=source)
        return RunFingerprint.of(scorer).checkpoint_sha256

    weight = next(tiny_scorer.backbone.parameters())
    original = weight.detach().clone()
    exact = f"Qwen/model@{'0' * 40}"
    before, named = bare("models/mine"), bare(exact)
    assert bare("models/mine") == before
    with torch.no_grad():
        weight.view(-1)[0] += 1
    try:
        assert bare("models/mine") != before
        assert bare(exact) == named  # a commit cannot change
    finally:
        with torch.no_grad():
            weight.copy_(original)


def test_a_critic_in_memory_is_known_by_its_weights_and_calibration(tiny_scorer):
    from dataclasses import replace

    def of(calibration):
        scorer = Scorer(tiny_scorer.backbone, tiny_scorer.head, calibration=calibration)
        return RunFingerprint.of(scorer).checkpoint_sha256

    plain = tiny_scorer.calibration
    other = {**plain, "alignment": replace(plain["alignment"], slope=3.25)}
    assert of(plain) == of(dict(plain)) != of(other)
    assert len(of(plain)) == 64 and os.sep not in of(plain)
