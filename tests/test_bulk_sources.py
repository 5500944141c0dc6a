"""What a run scores: folders, manifests, imagefolders and tars, each image with its prompt."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
import pyarrow as pa
import pyarrow.parquet as pq

from eliq.bulk import RunConfig, plan_run
from eliq.bulk.config import DEFAULT_PART_SIZE
from eliq.bulk.sources import find_source
from eliq.bulk.tar_reader import iterate_members, read_member
from eliq.errors import BulkError
from tests.bulk_sets import picture_bytes, write_folder, write_tar


def items_of(source, out, **options):
    plan = plan_run(RunConfig(str(source), out, **options))
    subparts = [subpart for unit in plan.units() for subpart in plan.subparts(unit)]
    return [item for subpart in subparts for item in subpart.items]


def test_a_folder_is_listed_by_name_without_hidden_files_and_the_result(tmp_path):
    folder = tmp_path / "images"
    for name in ("b.png", "a/2.jpg", "a/10.jpg", "a.png", ".c.png", ".git/d.png", "out/e.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "notes.md").write_text("no image")
    (folder / "b.txt").write_text("a bee")
    items = items_of(folder, folder / "out")
    assert [item.id for item in items] == ["a/10.jpg", "a/2.jpg", "a.png", "b.png"]
    assert [item.has_sidecar for item in items] == [False, False, False, True]


def test_links_to_folders_are_not_followed(tmp_path):
    folder = write_folder(tmp_path / "images", 2, prompts=False)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    assert len(items_of(folder, tmp_path / "out")) == 2


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_manifest_gives_paths_and_prompts_in_its_order(tmp_path, suffix):
    rows = [("b.png", "a bee"), ("deep/a.png", None), ("b.png", 'a "second", bee')]
    path = tmp_path / f"list{suffix}"
    if suffix == ".csv":
        path.write_text('path,prompt\nb.png,a bee\ndeep/a.png,\nb.png,"a ""second"", bee"\n')
    elif suffix == ".jsonl":
        lines = [json.dumps({"file_name": name, "text": text}) for name, text in rows]
        path.write_text("\n".join(lines) + "\n")
    else:
        names, texts = zip(*rows, strict=True)
        pq.write_table(pa.table({"image_path": names, "caption": texts}), path)
    items = items_of(path, tmp_path / "out")
    assert [item.id for item in items] == ["b.png", "deep/a.png", "b.png#2"]
    assert [item.path for item in items] == [str(tmp_path / name) for name, _ in rows]
    assert [item.prompt for item in items] == [text for _, text in rows]
    assert [item.prompt_source for item in items] == ["manifest", None, "manifest"]


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("list.jsonl", '{"path": "a.png"}\n{"prompt": "x"}\n', "line 2"),
        ("list.csv", "name,prompt\na.png,x\n", "line 2"),
        ("list.jsonl", "[1]\n", "line 1"),
        ("list.parquet", "no table", "Parquet"),
    ],
)
def test_a_manifest_that_is_none_is_refused_before_anything_is_scored(
    tmp_path, name, content, words
):
    (tmp_path / name).write_text(content)
    with pytest.raises(BulkError, match=words):
        items_of(tmp_path / name, tmp_path / "out")


def test_an_imagefolder_brings_its_prompts_along(tmp_path):
    folder = write_folder(tmp_path / "set", 3)
    train = write_folder(folder / "train", 2, prompts=False)
    lines = [
        {"file_name": "00000.png", "text": "one"},
        {"file_name": "train/00001.png", "text": "two"},
    ]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (train / "metadata.csv").write_text("file_name,prompt\n00000.png,three\n")
    found = {item.id: (item.prompt, item.has_sidecar) for item in items_of(folder, tmp_path / "o")}
    assert find_source(RunConfig(str(folder), tmp_path / "o")).kind == "imagefolder"
    assert found["00000.png"] == ("one", False)
    assert found["00002.png"] == (None, True), "what the metadata leave out has its .txt"
    assert found["train/00000.png"] == ("three", False), "the nearest metadata file is its own"
    assert found["train/00001.png"] == (None, False)


def test_prompts_of_a_folder_from_a_file_and_one_prompt_for_all(tmp_path):
    folder = write_folder(tmp_path / "images", 3)
    (tmp_path / "prompts.csv").write_text("path,prompt\nimages/00001.png,the second\n")
    items = items_of(folder, tmp_path / "a", prompts_path=str(tmp_path / "prompts.csv"))
    assert [item.prompt for item in items] == [None, "the second", None]
    assert [item.has_sidecar for item in items] == [True, False, True]
    items = items_of(folder, tmp_path / "b", prompt="all alike")
    assert {(i.prompt, i.prompt_source, i.has_sidecar) for i in items} == {
        ("all alike", "option", False)
    }


def test_sources_that_are_none_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.zip").write_bytes(b"x")
    for source, words in (
        (tmp_path / "nothing", "no such file"),
        (tmp_path / "empty", "no images"),
        (tmp_path / "a.zip", "found another file"),
        (tmp_path / "list.csv", "no such manifest"),
        (tmp_path / "*.tar", "no such tar"),
    ):
        with pytest.raises(BulkError, match=words):
            plan_run(RunConfig(str(source), tmp_path / "out"))


MEMBERS = {
    "a/one.txt": b"the first\n",
    "a/one.png": b"1" * 700,
    "a/two.json": json.dumps({"caption": "the second"}).encode(),
    "a/two.seg.png": b"22",
    "a/two.jpg": b"",
    "three.webp": b"333",
    "three.txt": b"\xff no text",
    "notes.md": b"nothing",
    "l" * 150 + "/" + "n" * 120 + ".png": b"long",
    "\u00e4.png": b"4",
}


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_tar_reader_finds_what_pythons_own_finds(tmp_path, format):
    members = dict(MEMBERS)
    if format == tarfile.USTAR_FORMAT:
        long = next(name for name in members if len(name) > 200)
        members["l" * 150 + "/" + "n" * 90 + ".png"] = members.pop(long)
    path = write_tar(tmp_path / "a.tar", members, format)
    found = {m.name: read_member(path, m.offset, m.size) for m in iterate_members(path)}
    assert found == members


def test_samples_of_a_tar_share_their_prompt(tmp_path):
    path = write_tar(tmp_path / "shard-0.tar", MEMBERS)
    before = path.read_bytes()
    items = items_of(path, tmp_path / "out", part_size=2)
    by_member = {item.member: item for item in items}
    assert by_member["a/one.png"].prompt == "the first"
    assert by_member["a/one.png"].prompt_source == "tar"
    assert by_member["a/two.jpg"].prompt == by_member["a/two.seg.png"].prompt == "the second"
    assert by_member["three.webp"].prompt is None, "a text that is none is no prompt"
    assert {item.shard for item in items} == {"shard-0.tar"}
    assert by_member["three.webp"].id == "shard-0.tar/three.webp"
    assert path.read_bytes() == before
    plan = plan_run(RunConfig(str(path), tmp_path / "out", part_size=2))
    subparts = list(plan.subparts(0))
    assert [len(subpart.items) for subpart in subparts] == [2, 2, 2]
    assert [subpart.is_last for subpart in subparts] == [False, False, True]


def test_links_devices_and_paths_that_climb_are_only_names(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in (("l.png", tarfile.SYMTYPE), ("d.png", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("../../etc/evil.png")
        tar.addfile(info)
    assert [m.name for m in iterate_members(path)] == ["../../etc/evil.png"]
    assert sorted(os.listdir(tmp_path)) == ["a.tar"]


def damaged(data: bytes, kind: str) -> bytes:
    if kind == "cut":
        return data[:1100]
    if kind == "checksum":
        return data[:1024] + b"\x01" + data[1025:]
    if kind == "noise":
        return bytes(range(256)) * 8
    return gzip.compress(data)


@pytest.mark.parametrize(
    "kind, whole, words",
    [
        ("cut", 1, "cut short"),
        ("checksum", 1, "no tar header"),
        ("noise", 0, "no tar header"),
        ("gzip", 0, "gzip: unpack it"),
    ],
)
def test_a_damaged_tar_is_a_row_and_no_end_of_the_run(tmp_path, kind, whole, words):
    good = write_tar(tmp_path / "good.tar", {"x.png": picture_bytes(0)})
    data = write_tar(tmp_path / "a.tar", {"a.png": b"1" * 400, "b.png": b"2" * 400}).read_bytes()
    (tmp_path / "a.tar").write_bytes(damaged(data, kind))
    items = items_of(tmp_path / "*.tar", tmp_path / "out")
    assert [item.member for item in items if item.problem is None][:whole] == ["a.png"][:whole]
    assert len([item for item in items if item.problem is None]) == whole + 1
    (problem,) = [item for item in items if item.problem is not None]
    assert words in problem.problem and problem.id == "a.tar#damaged"
    assert items[-1].path == str(good)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar"])
def test_compressed_tars_alone_are_refused_at_once(tmp_path, name):
    data = write_tar(tmp_path / "plain", {"a.png": picture_bytes(0)}).read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(data))
    with pytest.raises(BulkError, match=f"{name}: expected a plain tar, found gzip: unpack it"):
        items_of(tmp_path / name, tmp_path / "out")
    assert not list((tmp_path / "out").glob("plan*"))


def test_tars_further_down_are_named(tmp_path):
    folder = tmp_path / "set [1]"
    for below in ("x", "y"):
        (folder / below).mkdir(parents=True)
        write_tar(folder / below / "0.tar", {"a.png": picture_bytes(0)})
    with pytest.raises(BulkError, match="no images found in it; 2 tars lie in folders") as said:
        items_of(folder, tmp_path / "out")
    pattern = str(said.value).split('"')[1]
    assert len(items_of(pattern, tmp_path / "other")) == 2


def test_ranges_patterns_and_folders_of_tars(tmp_path):
    for number in range(3):
        write_tar(tmp_path / f"s-{number:03d}.tar", {"a.png": b"x"})
    for source in ("s-{000..002}.tar", "*.tar", ""):
        items = items_of(tmp_path / source, tmp_path / f"out{len(source)}")
        assert [item.id for item in items] == [f"s-{n:03d}.tar/a.png" for n in range(3)]
    with pytest.raises(BulkError, match="s-003"):
        items_of(str(tmp_path / "s-{000..003}.tar"), tmp_path / "other")


def test_tars_of_one_name_in_two_folders_keep_different_ids(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        write_tar(tmp_path / name / "0.tar", {"a.png": b"x"})
    items = items_of(tmp_path / "*" / "0.tar", tmp_path / "out")
    assert [item.id for item in items] == ["x/0.tar/a.png", "y/0.tar/a.png"]


def test_a_limit_takes_the_first_images_of_any_source(tmp_path):
    folder = write_folder(tmp_path / "images", 5, prompts=False)
    assert len(items_of(folder, tmp_path / "a", limit=3)) == 3
    for number in range(3):
        write_tar(tmp_path / f"{number}.tar", {f"{n}.png": b"x" for n in range(4)})
    items = items_of(tmp_path / "*.tar", tmp_path / "b", limit=6, part_size=3)
    assert [item.id for item in items] == [
        *(f"0.tar/{n}.png" for n in range(4)),
        "1.tar/0.png",
        "1.tar/1.png",
    ]


def test_what_is_added_is_planned_behind_what_was_there(tmp_path):
    folder = write_folder(tmp_path / "images", 5, prompts=False)
    out = tmp_path / "out"
    first = [item.id for item in items_of(folder, out, part_size=2)]
    (folder / "00001a.png").write_bytes(b"x")
    (folder / "00003.png").unlink()
    plan = plan_run(RunConfig(str(folder), out, part_size=2))
    again = [i.id for unit in plan.units() for s in plan.subparts(unit) for i in s.items]
    assert again == [*first, "00001a.png"] and plan.num_gone == 1
    assert sorted(path.name for path in out.iterdir()) == ["plan.json", "plan.parquet"]


def test_another_source_in_the_same_directory_is_refused_by_name(tmp_path):
    folder = write_folder(tmp_path / "images", 2)
    items_of(folder, tmp_path / "out")
    (tmp_path / "out/run.json").write_text("{}")  # a critic was loaded
    for options, field in (({"part_size": 7}, "part_size"), ({"prompt": "x"}, "prompt")):
        with pytest.raises(BulkError, match=f"made with {field} .*you asked for {field} "):
            items_of(folder, tmp_path / "out", **options)
    with pytest.raises(BulkError, match="made with source .*you asked for source "):
        items_of(write_folder(tmp_path / "others", 2), tmp_path / "out")


def test_a_plan_that_no_critic_was_loaded_for_claims_nothing(tmp_path):
    folder, out = write_folder(tmp_path / "images", 2), tmp_path / "out"
    items_of(folder, out, part_size=1, prompt="a mistake")
    plan = plan_run(RunConfig(str(write_folder(tmp_path / "others", 3)), out))
    assert plan.source == str(tmp_path / "others") and plan.num_gone == 0
    assert (plan.part_size, plan.num_items) == (DEFAULT_PART_SIZE, 3)
    (out / "parts").mkdir()
    (out / "parts/part-000000-0000.parquet").write_bytes(b"")
    with pytest.raises(BulkError, match="made with source "):
        items_of(folder, out)


def test_who_names_no_part_size_goes_on_with_that_of_the_run(tmp_path):
    folder = write_folder(tmp_path / "images", 5)
    assert plan_run(RunConfig(str(folder), tmp_path / "new")).part_size == DEFAULT_PART_SIZE
    assert plan_run(RunConfig(str(folder), tmp_path / "out", part_size=2)).num_units == 3
    plan = plan_run(RunConfig(str(folder), tmp_path / "out"))
    assert (plan.part_size, plan.num_units) == (2, 3)


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_a_file_name_that_is_no_text_is_kept_to_the_byte(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    name = os.fsencode(folder) + b"/\xff\xfe.png"
    try:
        Path(os.fsdecode(name)).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes only text")
    (item,) = items_of(folder, tmp_path / "out")
    assert os.fsencode(item.path) == name and item.id == "\\udcff\\udcfe.png"
