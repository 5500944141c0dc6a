"""What a run was made with: one of several processes writes it, all compare, names do not count."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

pytest.importorskip("pyarrow")

from eliq.bulk import fingerprint as module
from eliq.bulk.fingerprint import RunFingerprint, check_fields, check_fingerprint
from eliq.cli import main
from eliq.errors import BulkError
from tests.bulk_sets import write_folder
from tests.run_program import run_options


@pytest.fixture(scope="module")
def mine(tiny_scorer):
    return RunFingerprint.of(tiny_scorer)


def refused(*given):
    raise PermissionError(1, "no links here")


@pytest.mark.parametrize("has_links", [True, False])
def test_who_comes_second_compares_with_who_came_first(tmp_path, mine, monkeypatch, has_links):
    """Both have looked and found no run before either of them writes."""
    if not has_links:
        monkeypatch.setattr("eliq.bulk.atomic.os.link", refused)
    create = module.create_file_atomically

    def while_another_one_writes(path, content):
        facts = {"fingerprint": vars(replace(mine, dtype="bfloat16"))}
        assert create(path, json.dumps(facts).encode())
        return create(path, content)

    monkeypatch.setattr(module, "create_file_atomically", while_another_one_writes)
    with pytest.raises(BulkError, match="made with dtype bfloat16; you asked for dtype float32"):
        check_fingerprint(tmp_path, mine)
    assert os.listdir(tmp_path) == ["run.json"]
    assert json.loads((tmp_path / "run.json").read_bytes())["fingerprint"]["dtype"] == "bfloat16"


def test_a_file_that_is_being_written_is_waited_for_and_a_damaged_one_is_not(
    tmp_path, mine, monkeypatch
):
    path = tmp_path / "run.json"
    path.write_text('{"fingerp')
    whole = json.dumps({"fingerprint": vars(mine)})
    monkeypatch.setattr(module.time, "sleep", lambda s: path.write_text(whole))
    check_fingerprint(tmp_path, mine)
    path.write_text('{"fingerp')
    monkeypatch.setattr(module, "_WRITING_S", 0.0)
    with pytest.raises(BulkError, match="expected the fingerprint of a run, found JSONDecodeErr"):
        check_fingerprint(tmp_path, mine)


def test_the_same_critic_by_another_name_goes_on(tmp_path, mine):
    check_fingerprint(tmp_path, mine)
    check_fingerprint(tmp_path, replace(mine, model_id="../critic/", revision="0" * 40))
    with pytest.raises(BulkError, match=r"made with model_id .* checkpoint_sha256 "):
        check_fingerprint(tmp_path, replace(mine, model_id="a", checkpoint_sha256="0" * 64))
    nameless = replace(mine, checkpoint_sha256=None)
    (tmp_path / "run.json").unlink()
    check_fingerprint(tmp_path, nameless)
    with pytest.raises(BulkError, match=r"made with model_id .*; you asked for model_id b;"):
        check_fingerprint(tmp_path, replace(nameless, model_id="b"))
    check_fields(tmp_path / "no run", {"dtype": "bfloat16"})


def test_another_spelling_of_the_checkpoint(tiny_checkpoint_dir, tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "images", 2)
    common = [*map(str, run_options(tmp_path / "out", tiny_checkpoint_dir)), "-q"]
    assert main(["run", str(folder), *common]) == 0
    monkeypatch.chdir(tiny_checkpoint_dir.parent)
    common[common.index("--checkpoint") + 1] = f"./{tiny_checkpoint_dir.name}/"
    write_folder(folder, 4)
    assert main(["run", str(folder), *common]) == 0
