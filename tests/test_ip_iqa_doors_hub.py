"""IP-IQA from the hub: the config first, then the files that it names, and no others."""

from __future__ import annotations

import json
import shutil

import pytest

import eliq
from eliq import CheckpointError
from eliq.ip_iqa import IPIQA
from tests.tiny_ip_iqa_doors import tiny_ip_iqa

COMMIT = "c" * 40
HUB_ID = "tiny/rated"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return tiny_ip_iqa().save_pretrained(tmp_path_factory.mktemp("hub") / "rated")


@pytest.fixture
def hub(published, tmp_path, monkeypatch):
    """A hub that keeps what it was asked for: (revision, patterns) a call."""
    folder = shutil.copytree(published, tmp_path / "published")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"of an earlier version")
    asked = []

    def fetch(hub_id, *, revision, allow_patterns, local_files_only):
        asked.append((revision, set(allow_patterns)))
        snapshot = tmp_path / "cache" / "models--tiny--rated" / "snapshots" / COMMIT
        snapshot.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if any(path.match(pattern) for pattern in allow_patterns):
                shutil.copy(path, snapshot / path.name)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    return folder, asked


FILES = {"config.json", "tokenizer.json", "README.md", "model.safetensors"}


@pytest.mark.parametrize("load", [IPIQA.from_pretrained, eliq.load_scorer])
def test_nothing_is_fetched_that_is_not_named(hub, load):
    _, asked = hub
    loaded = load(HUB_ID, device="cpu")
    assert isinstance(loaded, IPIQA) and loaded.source == HUB_ID
    *first, (revision, patterns) = asked
    assert all(names == {"config.json"} for _, names in first) and len(first) >= 1
    assert (revision, patterns) == (COMMIT, FILES)  # by the commit that was found


def test_a_refused_config_keeps_the_weights_where_they_are(hub):
    folder, asked = hub
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format_version": 9}))
    with pytest.raises(CheckpointError, match="update eliq"):
        IPIQA.from_pretrained(HUB_ID)
    assert [patterns for _, patterns in asked] == [{"config.json"}]


@pytest.mark.parametrize("revision", ["../x", "a b", ""])
def test_a_strange_revision_is_refused(hub, revision):
    with pytest.raises(CheckpointError, match="revision"):
        eliq.load_scorer(HUB_ID, revision=revision)
    assert hub[1] == []
