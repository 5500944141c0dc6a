"""Journals: whole lines survive a kill, torn ones do not, and a failed write leaves no trace."""

from __future__ import annotations

import json
import os

import pytest

from eliq.errors import TrainingError
from training.journal import Journal, read_journal, write_atomically, write_lines

ROWS = [{"a": 1}, {"text": "line\nbreak \u2028 \r \U0001f98a"}, {"surrogate": "\udc80"}, {}]


def test_rows_come_back(tmp_path):
    path = tmp_path / "deep" / "rows.jsonl"
    assert read_journal(path) == []
    with Journal(path) as journal:
        for row in ROWS:
            journal.append(row)
        assert journal.rows == ROWS
    assert read_journal(path) == ROWS
    with Journal(path) as journal:
        assert journal.rows == ROWS
    write_lines(tmp_path / "same.jsonl", ROWS)
    assert (tmp_path / "same.jsonl").read_bytes() == path.read_bytes()


def test_cut_at_every_byte_it_goes_on_from_the_last_whole_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_lines(path, ROWS)
    content = path.read_bytes()
    ends = [i for i, byte in enumerate(content, start=1) if byte == ord("\n")]
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        whole = sum(end <= size for end in ends)
        assert read_journal(path) == ROWS[:whole]
        with Journal(path) as journal:
            assert journal.rows == ROWS[:whole]
            journal.append({"next": size})
        assert read_journal(path) == [*ROWS[:whole], {"next": size}]


@pytest.mark.parametrize("line", [b"{", b"[1]", b"\xff"])
def test_a_damaged_line_in_the_middle_is_named(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"b": 2}\n')
    with pytest.raises(TrainingError, match="line 2"):
        read_journal(path)
    with pytest.raises(TrainingError, match="line 2"):
        Journal(path)


def test_a_disk_that_is_full_leaves_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    with Journal(path) as journal:
        journal.append({"a": 1})

        def refuse(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", refuse)
            with pytest.raises(OSError, match="No space"):
                journal.append({"b": 2})
            with pytest.raises(OSError, match="No space"):
                write_lines(path, [{"other": 1}])
        assert journal.rows == [{"a": 1}] == read_journal(path)
        journal.append({"c": 3})
    assert read_journal(path) == [{"a": 1}, {"c": 3}]
    assert [one.name for one in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_whole_file_is_replaced_at_once(tmp_path):
    path = tmp_path / "file.json"
    write_atomically(path, b"old")
    write_atomically(path, json.dumps({"new": 1}).encode())
    assert json.loads(path.read_bytes()) == {"new": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["file.json"]
