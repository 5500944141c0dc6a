"""What a run leaves behind: tables that add up, and files that other tools read."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

pytest.importorskip("pyarrow")
import pyarrow.parquet as pq

from eliq.bulk import ImageReader, finish_run, images_again, read_image_bytes
from eliq.bulk.columns import COLUMN_NAMES
from eliq.bulk.metadata import MetadataLines
from eliq.bulk.score_stats import ScoreStats
from eliq.bulk.tar_reader import iterate_members
from eliq.errors import BulkError
from tests.bulk_sets import picture_bytes, rows_of, run_inline, write_folder, write_tar


@pytest.fixture(scope="module")
def out(tiny_scorer, tmp_path_factory):
    base = tmp_path_factory.mktemp("results")
    folder = write_folder(base / "images", 11)
    (folder / "=SUM(A1).png").write_bytes(b"no image")
    (folder / "00003.png").write_bytes(picture_bytes(3)[:200])
    run_inline(tiny_scorer, folder, base / "out", part_size=4)
    return base / "out"


def test_the_table_is_all_parts_in_order(out):
    table = pq.read_table(out / "scores.parquet")
    assert tuple(table.column_names) == COLUMN_NAMES
    assert table.drop_columns(["ms"]).to_pylist() == rows_of(out)


def test_the_summary_adds_up(out):
    summary = json.loads((out / "summary.json").read_text())
    rows = rows_of(out)
    scored = [row["visual_quality"] for row in rows if row["visual_quality"] is not None]
    stats = summary["visual_quality"]
    assert summary["num_images"] == 12 == summary["num_scored"] + summary["num_failed"]
    assert summary["errors"] == {"not_an_image": 1, "damaged_image": 1}
    assert stats["count"] == 10 and sum(stats["histogram"]) == 10
    assert stats["mean"] == pytest.approx(np.mean(scored), abs=1e-6)
    assert stats["std"] == pytest.approx(np.std(scored), abs=1e-6)
    assert stats["p50"] == pytest.approx(sorted(scored)[4], abs=1e-3)
    assert summary["alignment"]["count"] == sum(row["alignment"] is not None for row in rows)
    assert summary["run"]["dtype"] == "float32" and summary["num_pending_units"] == 0


def test_errors_are_rows_that_a_spreadsheet_takes_for_text(out):
    with open(out / "errors.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["00003.png", "'=SUM(A1).png"]
    assert [row["error_class"] for row in rows] == ["damaged_image", "not_an_image"]


def test_metadata_name_files_from_where_they_lie(out):
    lines = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert len(lines) == 10
    assert all((out / line["file_name"]).is_file() for line in lines)
    assert lines[0]["prompt"] == "picture 0" and 0 < lines[0]["visual_quality"] < 1


def test_datasets_loads_the_metadata(out, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "json", data_files=str(out / "metadata.jsonl"), split="train", cache_dir=str(tmp_path)
    )
    assert len(loaded) == 10 and loaded[0]["prompt"] == "picture 0"


def test_datasets_loads_the_metadata_of_many_images(tiny_scorer, tmp_path, monkeypatch):
    """It tells types from the beginning: there no image has a prompt, and none a flag."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    datasets = pytest.importorskip("datasets")
    waiting, path = io.BytesIO(), tmp_path / "metadata.jsonl"
    lines = MetadataLines(waiting)
    rows = [{"prompt": None, "visual_quality": 0.5, "alignment": None, "flags": []}] * 60
    rows += [{"prompt": "a fox", "visual_quality": 0.5, "alignment": 0.25, "flags": ["a", "b"]}] * 9
    for number, row in enumerate(rows):
        lines.add(f"{number}.png", row)
    with open(path, "wb") as file:
        lines.write_to(file)
    loaded = datasets.load_dataset(
        "json", data_files=str(path), split="train", cache_dir=str(tmp_path), chunksize=2000
    )
    assert len(loaded) == 69 and sorted(loaded["file_name"]) == sorted(
        f"{n}.png" for n in range(69)
    )
    assert loaded[0]["file_name"] == "60.png" and loaded[0]["alignment"] == 0.25
    assert [row["flags"] for row in loaded].count("a b") == 9


def test_views_can_be_made_again(out):
    before = {name: (out / name).read_bytes() for name in ("summary.json", "metadata.jsonl")}
    for name in (*before, "scores.parquet"):
        (out / name).unlink()
    finish_run(out)
    assert {name: (out / name).read_bytes() for name in before} == before


def test_an_image_is_found_again_in_a_folder_and_in_a_tar(tiny_scorer, out, tmp_path):
    row = rows_of(out)[0]
    assert read_image_bytes(row)[:4] == b"\x89PNG"
    data = picture_bytes(5)
    write_tar(tmp_path / "a.tar", {"x.png": picture_bytes(4), "deep/y.png": data})
    run_inline(tiny_scorer, tmp_path / "a.tar", tmp_path / "out")
    assert read_image_bytes(rows_of(tmp_path / "out")[1]) == data


def test_the_headers_of_a_tar_are_read_once_for_all_of_its_images(tmp_path, monkeypatch):
    names = [f"{number}.png" for number in range(20)]
    paths = [tmp_path / "a.tar", tmp_path / "b.tar"]
    for path in paths:
        write_tar(path, {name: f"{path.name}/{name}".encode() for name in names})
    num_read = 0

    def counting(path):
        nonlocal num_read
        for member in iterate_members(path):
            num_read += 1
            yield member

    monkeypatch.setattr(images_again, "iterate_members", counting)
    reader = ImageReader()
    for path in paths:
        for name in [*names[:15], names[3]]:  # and one that was passed
            row = {"path": str(path), "member": name}
            assert reader.read(row) == f"{path.name}/{name}".encode()
        assert num_read == 15 * (1 + paths.index(path))
    with pytest.raises(BulkError, match=r"expected a member 99\.png"):
        reader.read({"path": str(paths[1]), "member": "99.png"})
    assert reader.read({"path": str(paths[1]), "member": "19.png"}) == b"b.tar/19.png"


def test_what_lies_before_the_damage_of_a_tar_is_found(tmp_path):
    path = write_tar(tmp_path / "a.tar", {name: b"x" * 2000 for name in ("a", "b", "c")})
    path.write_bytes(path.read_bytes()[:5200])  # in c
    reader = ImageReader()
    for _ in range(2):
        with pytest.raises(BulkError, match="a.tar.*cut short"):
            reader.read({"path": str(path), "member": "c"})
        assert reader.read({"path": str(path), "member": "b"}) == b"x" * 2000
    path.unlink()
    with pytest.raises(BulkError, match="no such file"):
        reader.read({"path": str(path), "member": "a"})


def test_quantiles_of_many_numbers_in_little_memory():
    stats = ScoreStats()
    values = np.random.default_rng(0).beta(2, 5, 5000)
    for value in values:
        stats.add(float(value))
    facts = stats.to_json()
    for share, name in ((5, "p05"), (50, "p50"), (95, "p95")):
        assert facts[name] == pytest.approx(np.percentile(values, share), abs=2e-3)
    assert facts["histogram"] == np.histogram(values, bins=20, range=(0, 1))[0].tolist()
