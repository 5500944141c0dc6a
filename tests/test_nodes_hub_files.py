"""Models of the hub: found where they lie, fetched only when asked, and only what is needed."""

from __future__ import annotations

import pytest

from tests.comfy_pack import pack_module
from tests.fake_hub import COMMIT, FakeHub

hub_files = pack_module("hub_files")
kinds = pack_module("model_kinds")


@pytest.fixture
def hub(tiny_checkpoint_dir, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "llama"}')
    (other / "model.safetensors").write_bytes(b"x" * 5000)
    critic = tmp_path / "critic"
    critic.mkdir()
    for path in tiny_checkpoint_dir.iterdir():
        (critic / path.name).write_bytes(path.read_bytes())
    (critic / "pytorch_model.bin").write_bytes(b"never fetched")
    with FakeHub({"tiny/critic": critic, "tiny/other": other}) as hub:
        yield hub


def fetch(hub, tmp_path, hub_id="tiny/critic", kind=kinds.CRITIC, report=lambda *_: None):
    return hub_files.download(
        hub_id, kind, cache_dir=tmp_path / "cache", on_progress=report, endpoint=hub.endpoint
    )


def test_a_critic_is_fetched_whole_with_progress_and_found_again(hub, tmp_path):
    cache, seen = tmp_path / "cache", []
    assert hub_files.find_cached("tiny/critic", kinds.CRITIC, cache_dir=cache) is None
    folder = fetch(hub, tmp_path, report=lambda done, total: seen.append((done, total)))
    assert folder.name == COMMIT and cache in folder.parents
    assert not (folder / "pytorch_model.bin").exists()
    assert all(0 <= done <= total for done, total in seen) and seen[-1][0] == seen[-1][1] > 0
    assert hub.asked.index(f"/tiny/critic/resolve/{COMMIT}/config.json") < hub.asked.index(
        f"/tiny/critic/resolve/{COMMIT}/model.safetensors"
    )
    asked = len(hub.asked)
    assert hub_files.find_cached("tiny/critic", kinds.CRITIC, cache_dir=cache) == folder
    assert len(hub.asked) == asked, "looking for a model asks no network"

    from eliq import Scorer

    assert Scorer.from_pretrained(folder, device="cpu").fingerprint


def test_a_model_of_another_kind_is_refused_before_its_weights(hub, tmp_path):
    for kind in (kinds.CRITIC, kinds.QWEN_VL):
        with pytest.raises(hub_files.EliqError):
            fetch(hub, tmp_path, "tiny/other", kind)
    assert not any("model.safetensors" in path for path in hub.asked)


def test_what_the_report_raises_stops_the_download_and_the_next_one_goes_on(hub, tmp_path):
    class Interrupt(BaseException):
        pass

    def report(done: int, total: int) -> None:
        if hub.is_paused_in("model.safetensors"):
            raise Interrupt

    hub.pause.set()
    with pytest.raises(Interrupt):
        fetch(hub, tmp_path, report=report)
    hub.pause.clear()
    cache = tmp_path / "cache"
    assert hub_files.find_cached("tiny/critic", kinds.CRITIC, cache_dir=cache) is None
    assert fetch(hub, tmp_path).name == COMMIT


def test_errors_are_one_line_that_says_what_to_do(hub, tmp_path, monkeypatch):
    with pytest.raises(
        hub_files.EliqError, match="the hub has no model tiny/none .*spelling"
    ) as error:
        fetch(hub, tmp_path, "tiny/none")
    assert "\n" not in str(error.value)

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.asked)
    with pytest.raises(
        hub_files.EliqError, match="HF_HUB_OFFLINE .*https://huggingface.co/tiny/critic"
    ):
        fetch(hub, tmp_path)
    assert len(hub.asked) == asked


def test_a_half_fetched_model_is_not_there(hub, tmp_path):
    folder = fetch(hub, tmp_path)
    (folder / "model.safetensors").unlink()
    cache = tmp_path / "cache"
    assert hub_files.find_cached("tiny/critic", kinds.CRITIC, cache_dir=cache) is None
