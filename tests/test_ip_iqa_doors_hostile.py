"""A hostile or damaged IP-IQA checkpoint is refused in one line, before anything is allocated."""

from __future__ import annotations

import json
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from eliq import CheckpointError, EliqError
from eliq.ip_iqa import IPIQA, checkpoint
from tests.tiny_ip_iqa_doors import tiny_ip_iqa


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return tiny_ip_iqa().save_pretrained(tmp_path_factory.mktemp("ip_iqa") / "model")


@pytest.fixture
def model_dir(sound, tmp_path) -> Path:
    """A sound checkpoint, to be spoiled."""
    return Path(shutil.copytree(sound, tmp_path / "model"))


@pytest.fixture
def no_allocation(monkeypatch):
    """Reading a tensor is a failure: a refusal must come before it."""

    def forbidden(*args, **kwargs):
        pytest.fail("tensors were read before the checkpoint was refused")

    monkeypatch.setattr(checkpoint, "read_tensors", forbidden)


def refusal(directory: Path) -> str:
    """The one line with which loading is refused."""
    with pytest.raises(CheckpointError) as error:
        IPIQA.from_pretrained(directory)
    message = str(error.value)
    assert "\n" not in message and len(message) < 600
    return message


def edit_config(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = directory / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def edit_tensors(directory: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = directory / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def nested(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = value

    return change


TEXT = ("model", "text")
VISUAL = ("model", "visual")
BAD_CONFIGS = {
    "format": (nested("format", value="other"), "format"),
    "critic": (nested("format", value="eliq-critic"), "eliq.Scorer"),
    "version 3": (nested("format_version", value=3), "update eliq"),
    "version 1 of today": (nested("format_version", value=1), "format 1"),
    "version true": (nested("format_version", value=True), "format_version"),
    "model_type": (nested("model_type", value="qwen3_vl"), "model_type"),
    "unknown key": (nested("auto_map", value="x"), "auto_map"),
    "missing key": (lambda c: c.pop("scale"), "scale"),
    "wrong type": (nested("model", value=[]), "model"),
    "unknown model key": (nested("model", "code", value="x"), "code"),
    "missing model key": (lambda c: c["model"].pop("fusion"), "fusion"),
    "unknown start": (nested("model", "pooling_start", value="clap"), "pooling_start"),
    "unknown tower": (nested(*VISUAL, "kind", value="python"), "kind"),
    "tower key": (nested(*VISUAL, "trust_remote_code", value=True), "trust_remote_code"),
    "text key": (nested(*TEXT, "model_name", value="a/b"), "model_name"),
    "activation": (nested(*TEXT, "activation", value="os.system"), "activation"),
    "endless layers": (nested(*TEXT, "num_layers", value=10**9), "num_layers"),
    "endless blocks": (nested(*VISUAL, "layers", value=[10**9, 1, 1, 1]), "layers"),
    "huge width": (nested(*TEXT, "width", value=2**40), "width"),
    "huge tower": (nested(*VISUAL, "width", value=2**40), "width"),
    "huge vocabulary": (nested(*TEXT, "vocab_size", value=2**40), "vocab_size"),
    "huge context": (nested(*TEXT, "context_length", value=2**40), "context_length"),
    "huge image": (nested("model", "image_size_px", value=2**20), "image_size_px"),
    "huge head": (nested("model", "head_dim", value=2**40), "head_dim"),
    "zero heads": (nested(*TEXT, "num_heads", value=0), "num_heads"),
    "text for a size": (nested("model", "embed_dim", value="wide"), "embed_dim"),
    "list for a size": (nested("model", "embed_dim", value=[24]), "embed_dim"),
    "streams": (nested("model", "streams", value="all"), "streams"),
    "outputs": (nested("model", "outputs", value=["beauty"]), "outputs"),
    "outputs type": (nested("model", "outputs", value={"visual_quality": 1}), "outputs"),
    "one output, two scales": (nested("model", "outputs", value=["alignment"]), "scale"),
    "scale key": (nested("scale", "alignment", value={"low": 0, "high": 1, "mid": 2}), "low"),
    "scale order": (nested("scale", "alignment", value={"low": 5, "high": 1}), "low below high"),
    "scale type": (nested("scale", "alignment", value=5), "scale"),
    "scale text": (nested("scale", "alignment", "low", value="0"), "low"),
    "std": (nested("model", "std", value=[1, 1, 0]), "std"),
    "dropout": (nested("model", "dropout", value=2), "dropout"),
    "other width": (nested(*TEXT, "width", value=64), ""),
    "other head": (nested("model", "head_dim", value=64), "head"),
    "another grid": (nested("model", "image_size_px", value=128), "shape"),
    "no QA": (nested("model", "qa_token", value=False), "qa"),
    "no weights": (nested("weight_files", value=[]), "weight_files"),
    "path in weights": (nested("weight_files", value=["../model.safetensors"]), "path"),
    "absolute weights": (nested("weight_files", value=["/etc/passwd"]), "path"),
    "pickled weights": (nested("weight_files", value=["pytorch_model.bin"]), "weight_files"),
    "weights twice": (nested("weight_files", value=["model.safetensors"] * 2), "once"),
    "number for weights": (nested("weight_files", value=[5]), "weight_files"),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_a_bad_config_is_refused(name, model_dir, no_allocation):
    change, word = BAD_CONFIGS[name]
    edit_config(model_dir, change)
    assert word.lower() in refusal(model_dir).lower()


BAD_TENSORS = {
    "missing": (lambda t: t.pop("head.1.bias"), "head.1.bias"),
    "one too many": (lambda t: t.update(extra=torch.zeros(2)), "extra"),
    "shape": (lambda t: t.update({"head.1.bias": torch.zeros(33)}), "head.1.bias"),
    "dtype": (lambda t: t.update({"head.1.bias": t["head.1.bias"].half()}), "F32"),
    "counter": (lambda t: t.update({"x": torch.zeros((), dtype=torch.int64)}), "I64"),
}


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_a_table_that_is_not_ours_is_refused(name, model_dir, no_allocation):
    change, word = BAD_TENSORS[name]
    edit_tensors(model_dir, change)
    assert word in refusal(model_dir)


def test_weights_that_are_not_finite_are_refused(model_dir):
    edit_tensors(model_dir, lambda t: t["head.1.bias"].fill_(torch.inf))
    assert "finite" in refusal(model_dir)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pickle_is_never_opened(name, model_dir, no_allocation):
    (model_dir / name).write_bytes(pickle.dumps(Bomb()))
    refusal(model_dir)
    (model_dir / "pytorch_model.bin").write_bytes(b"x")
    assert "pickle" in refusal(model_dir)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_missing_and_linked_files_are_refused(name, model_dir, tmp_path, no_allocation):
    outside = tmp_path / "outside"
    shutil.move(model_dir / name, outside)
    assert name in refusal(model_dir)
    (model_dir / name).symlink_to(outside)
    assert "leaves" in refusal(model_dir)


def test_a_tokenizer_of_another_model_is_refused(model_dir, no_allocation):
    path = model_dir / "tokenizer.json"
    data = json.loads(path.read_text())
    data["model"]["vocab"]["zz"] = 400
    path.write_text(json.dumps(data))
    assert "token ids" in refusal(model_dir)
    path.write_text('{"version": "1.0"}')
    assert "tokenizer" in refusal(model_dir)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_cut_and_spoiled_files_raise_nothing_of_their_own(name, model_dir):
    """Whatever bytes are cut or changed: loaded, or refused by an error of ours."""
    path = model_dir / name
    whole, rng = path.read_bytes(), random.Random(0)
    for number in range(12):
        spoiled = bytearray(whole[: rng.randrange(len(whole))] if number % 2 else whole)
        for _ in range(4 if spoiled else 0):
            spoiled[rng.randrange(min(len(spoiled), 3000))] = rng.randrange(256)
        path.write_bytes(bytes(spoiled))
        try:
            IPIQA.from_pretrained(model_dir)
        except EliqError:
            continue
