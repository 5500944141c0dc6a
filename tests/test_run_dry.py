"""``eliq run --dry-run`` refuses what the run itself would refuse."""

from __future__ import annotations

import pytest

pytest.importorskip("pyarrow")
from eliq.bulk.fingerprint import known_fields
from eliq.bulk.old_run import OldRun
from eliq.checkpoint import save_checkpoint
from eliq.cli import main
from tests.bulk_sets import run_inline, write_folder
from tests.run_program import run_options
from tests.tiny import tiny_checkpoint


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "images", 2)


@pytest.fixture
def words(folder, tiny_checkpoint_dir, tmp_path):
    common = run_options(tmp_path / "out", tiny_checkpoint_dir)
    return ["run", str(folder), *map(str, common), "--dry-run"]


def test_another_critic(tiny_scorer, folder, words, tmp_path, capsys, monkeypatch):
    run_inline(tiny_scorer, folder, tmp_path / "out", part_size=2)
    assert main(words) == 0
    assert main([*words, "--dtype", "float32"]) == 0
    other = save_checkpoint(tmp_path / "other", tiny_checkpoint(seed=5))
    another = words.copy()
    another[another.index("--checkpoint") + 1] = str(other)
    for more, said in (
        ([*words, "--dtype", "bfloat16"], "made with dtype float32; you asked for dtype bfloat16"),
        ([*words, "--batch-px", "4096"], "you asked for batch_px 4096"),
        (another, "made with checkpoint_sha256 "),
    ):
        capsys.readouterr()
        assert main(more) == 1
        captured = capsys.readouterr()
        assert said in captured.err and captured.err.count("\n") == 1 and captured.out == ""
        assert main([*more, "--overwrite"]) == 0, "which takes another critic"
    monkeypatch.setattr("eliq.bulk.fingerprint._QUICK_BYTES", 10)
    assert main(another) == 0, "weights that take long to read are not compared"


def test_what_is_known_without_loading_is_what_a_run_writes(
    tiny_scorer, tiny_checkpoint_dir, folder, tmp_path
):
    from eliq.bulk import RunConfig
    from eliq.bulk.fingerprint import RunFingerprint

    config = RunConfig(folder, tmp_path, checkpoint=str(tiny_checkpoint_dir))
    known = known_fields(config)
    assert known.items() <= vars(RunFingerprint.of(tiny_scorer)).items()
    assert {"checkpoint_sha256", "lib_version"} == set(known)


def test_a_directory_of_other_files(folder, words, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    assert main(words) == 1
    assert "expected a new or empty directory for the result, found mine.txt" in (
        capsys.readouterr().err
    )
    words[words.index("--out") + 1] = str(tmp_path / "out/mine.txt")
    assert main(words) == 1
    assert "expected a directory for the result, found a file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["metadata.jsonl", "summary.json", "report.html"])
def test_a_file_that_is_only_called_as_a_result_is_not_overwritten(folder, words, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    assert main(words) == main([word for word in words if word != "--dry-run"]) == 1
    assert [(path.name, path.read_text()) for path in (tmp_path / "out").iterdir()] == [
        (name, "mine")
    ]


def test_an_overwrite_that_was_killed_is_said(tiny_scorer, folder, words, tmp_path, capsys):
    run_inline(tiny_scorer, folder, tmp_path / "out", part_size=2)
    with OldRun(tmp_path / "out"):
        assert main([*words, "--overwrite"]) == 0
    assert "an --overwrite was stopped; a run puts" in capsys.readouterr().err
