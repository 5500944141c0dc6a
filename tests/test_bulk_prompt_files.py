"""Which prompt of a list belongs to which image: by its own path, by all names of the columns."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
import pyarrow as pa
import pyarrow.parquet as pq

from eliq.bulk import RunConfig, plan_run
from eliq.errors import BulkError
from tests.bulk_sets import picture, write_folder
from tests.run_program import eliq

SUFFIXES = (".csv", ".jsonl", ".parquet")
NAMES = [(path, prompt) for path in ("path", "file_name", "image_path")
         for prompt in ("prompt", "text", "caption")]  # fmt: skip


def write_list(path: Path, rows, names=("path", "prompt")) -> Path:
    """Rows (path, prompt) as the suffix of ``path`` says, without commas or quotes in them."""
    if path.suffix == ".csv":
        lines = [",".join(names), *(f"{name},{prompt or ''}" for name, prompt in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    elif path.suffix == ".jsonl":
        lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    else:
        columns = list(zip(*rows, strict=True))
        pq.write_table(pa.table(dict(zip(names, columns, strict=True))), path)
    return path


def prompts_of(source, out, **options):
    """{id: prompt} of what would be scored."""
    plan = plan_run(RunConfig(str(source), out, **options))
    items = [i for unit in plan.units() for part in plan.subparts(unit) for i in part.items]
    return {item.id: item.prompt for item in items}


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "images", 2, prompts=False)


ROWS = [("00000.png", "a fox"), ("00001.png", "a mug")]
EXPECTED = dict(ROWS)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("names", NAMES, ids="-".join)
def test_all_names_of_the_columns_are_understood_in_every_form(tmp_path, folder, suffix, names):
    path = write_list(folder / f"list{suffix}", ROWS, names)
    assert prompts_of(path, tmp_path / "manifest") == EXPECTED
    assert prompts_of(folder, tmp_path / "prompts", prompts_path=str(path)) == EXPECTED
    path.rename(folder / f"metadata{suffix}")
    assert prompts_of(folder, tmp_path / "imagefolder") == EXPECTED


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_links_to_one_file_keep_each_their_own_prompt(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    picture(1).save(tmp_path / "store.png")
    for name in ("a", "b", "c"):
        (images / f"{name}.png").symlink_to(tmp_path / "store.png")
    rows = [("images/a.png", "a fox"), ("images/b.png", "a mug")]
    path = write_list(tmp_path / "p.csv", rows)
    assert prompts_of(images, tmp_path / "out", prompts_path=str(path)) == {
        "a.png": "a fox", "b.png": "a mug", "c.png": None
    }  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_links_are_followed_where_no_row_names_the_path_itself(tmp_path):
    store, images = tmp_path / "store", tmp_path / "images"
    write_folder(store, 4, prompts=False)
    images.mkdir()
    (tmp_path / "other").symlink_to(images, target_is_directory=True)
    for number in range(3):
        (images / f"{number}.png").symlink_to(store / f"0000{number}.png")
    picture(9).save(images / "9.png")
    for number in range(2):
        (tmp_path / f"to-{number}.png").symlink_to(images / "9.png")
    rows = [
        ("other/0.png", "through a folder"),
        ("store/00001.png", "the file that an image leads to"),
        ("to-0.png", "a link to an image"),
    ]
    expected = {f"{number}.png": text for number, (_, text) in zip((0, 1, 9), rows, strict=True)}
    path = str(write_list(tmp_path / "p.jsonl", rows))
    assert prompts_of(images, tmp_path / "a", prompts_path=path) == expected | {"2.png": None}
    write_list(tmp_path / "p.jsonl", [*rows, ("to-1.png", "another text")])
    found = prompts_of(images, tmp_path / "b", prompts_path=path)
    assert found["9.png"] is None, "rows that contradict each other give nothing"


def test_names_with_accents_match_in_either_form(tmp_path):
    composed = "caf\u00e9.png"
    folder = tmp_path / "images"
    folder.mkdir()
    picture(1).save(folder / unicodedata.normalize("NFD", composed))
    path = write_list(tmp_path / "p.csv", [(f"images/{composed}", "a cup")])
    found = prompts_of(folder, tmp_path / "a", prompts_path=str(path))
    assert list(found.values()) == ["a cup"]
    write_list(folder / "metadata.csv", [(composed, "a cup")])
    assert list(prompts_of(folder, tmp_path / "b").values()) == ["a cup"]


@pytest.mark.parametrize("rows", [ROWS, [("images/00000.png", None)]])
@pytest.mark.parametrize("limit", [None, 1, 2])
def test_a_file_that_has_a_prompt_for_no_image_is_refused(tmp_path, folder, rows, limit):
    path = write_list(tmp_path / "p.csv", rows)  # paths in it are relative to it
    with pytest.raises(BulkError, match=f"no prompt for any of the .* found .*{rows[0][0]}"):
        prompts_of(folder, tmp_path / "out", prompts_path=str(path), limit=limit)
    assert not list((tmp_path / "out").glob("plan*"))


def test_images_that_a_file_of_prompts_leaves_out_are_counted(
    tmp_path, folder, tiny_checkpoint_dir
):
    path = write_list(tmp_path / "p.csv", [("images/00001.png", "a mug")])
    plan = plan_run(RunConfig(str(folder), tmp_path / "a", prompts_path=str(path)))
    assert plan.num_without_prompt == 1
    words = ["run", folder, "--out", tmp_path / "b", "--prompts", path, "--dry-run"]
    done = eliq(*words, "--checkpoint", tiny_checkpoint_dir)
    assert (done.returncode, done.stderr) == (0, f"eliq: 1 of 2 images have no prompt in {path}\n")
    assert eliq(*words, "-q", "--checkpoint", tiny_checkpoint_dir).stderr == ""


def test_an_empty_prompt_of_an_imagefolder_is_none(tmp_path):
    folder = write_folder(tmp_path / "images", 1)
    write_list(folder / "metadata.csv", [("00000.png", " ")])
    plan = plan_run(RunConfig(str(folder), tmp_path / "out"))
    (item,) = next(iter(plan.subparts(0))).items
    assert (item.prompt, item.prompt_source, item.has_sidecar) == (None, None, True)


@pytest.mark.parametrize("name", ["p.csv", "images/metadata.csv"])
def test_rows_that_contradict_each_other_are_refused(tmp_path, folder, name):
    prefix = "" if "/" in name else "images/"
    rows = [(f"{prefix}00000.png", "a fox"), (f"{prefix}00001.png", None)]
    path = write_list(tmp_path / name, [*rows, (f"{prefix}../images/00000.png", "a mug")])
    options = {"prompts_path": str(path)} if prefix else {}
    if not prefix:
        write_list(path, [*rows, ("./00000.png", "a mug")])
    with pytest.raises(BulkError, match=f"{name}: two rows give .*00000.png different prompts"):
        prompts_of(folder, tmp_path / "out", **options)
    write_list(path, [*rows, (rows[0][0], "a fox"), (rows[0][0], None), (rows[1][0], "a mug")])
    assert prompts_of(folder, tmp_path / "again", **options) == EXPECTED


def test_metadata_of_an_imagefolder_that_fit_no_image_are_named(tmp_path, folder, caplog):
    write_list(folder / "metadata.csv", [("images/00000.png", "a fox")])
    assert prompts_of(folder, tmp_path / "a") == {"00000.png": None, "00001.png": None}
    (record,) = caplog.records
    assert "metadata.csv: no prompt for any image" in record.getMessage()
    assert "images/00000.png" in record.getMessage()
    caplog.clear()
    write_list(folder / "metadata.csv", [("00001.png", "a fox")])
    assert prompts_of(folder, tmp_path / "b")["00001.png"] == "a fox" and not caplog.records
