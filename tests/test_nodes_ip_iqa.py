"""ELIQ Load Critic finds an IP-IQA model in models/eliq, and batches of it are costed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from eliq import Scorer
from eliq.ip_iqa import IPIQAConfig
from tests.comfy_pack import pack_module
from tests.tiny_ip_iqa_doors import tiny_ip_iqa
from training.tiny_ip_iqa import tiny_vit

source = pack_module("critic_source")
kinds = pack_module("model_kinds")
batch_cost = pack_module("batch_cost")


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory) -> Path:
    return tiny_ip_iqa().save_pretrained(tmp_path_factory.mktemp("ip_iqa") / "rated")


@pytest.fixture
def root(model_dir, tiny_checkpoint_dir, tmp_path) -> Path:
    shutil.copytree(model_dir, tmp_path / "rated")
    shutil.copytree(tiny_checkpoint_dir, tmp_path / "critic")
    return tmp_path


def test_a_folder_says_itself_which_system_it_is(root):
    found = source.locate("rated", mode="trained", roots=[root])
    assert found.is_ip_iqa and found.folder == root / "rated" and not found.is_zero_shot
    assert source.weight_bytes(found) > 0
    assert not source.locate("critic", mode="trained", roots=[root]).is_ip_iqa
    assert not source.locate("embedded", mode="trained", roots=[root]).is_ip_iqa


def test_it_is_no_model_to_ask_without_training(root):
    with pytest.raises(Exception, match="set mode to 'trained'"):
        source.locate("rated", mode="zero-shot", roots=[root])


def test_a_spoiled_config_is_refused_before_weights_are_looked_at(root):
    path = root / "rated" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"auto_map": "x"}))
    with pytest.raises(Exception, match="auto_map"):
        source.locate("rated", mode="trained", roots=[root])


def test_a_download_is_whole_when_its_weights_are_there(root):
    assert kinds.is_whole(root / "rated", kinds.CRITIC)
    (root / "rated" / "model.safetensors").unlink()
    assert not kinds.is_whole(root / "rated", kinds.CRITIC)


def test_every_image_costs_the_same_square():
    cost = batch_cost.cost_of(tiny_ip_iqa())
    assert cost.num_cells([(30, 4000), (64, 64)]) == 4 == cost.num_cells([])  # 64 px, stride 32
    assert cost.cell_px * 4 == 64 * 64
    assert 0 < cost.bytes_of(4) < cost.bytes_of(8) == 2 * cost.bytes_of(4)
    assert list(cost.weights) == ["model"]
    cost.probe()


def test_a_critic_is_costed_as_before(tiny_checkpoint_dir):
    scorer = Scorer.from_pretrained(tiny_checkpoint_dir)  # its head is cut: no other test's
    cost = batch_cost.cost_of(scorer)
    assert list(cost.weights) == ["backbone", "head"]
    assert cost.num_cells([(64, 96)]) == scorer.backbone.num_tokens(64, 96)


@pytest.mark.parametrize("changes", [{}, {"visual": tiny_vit()}])
def test_the_estimate_covers_what_one_pass_holds(changes):
    """The largest sum of two tensors of neighbouring modules is a lower bound of what is held."""
    scorer = tiny_ip_iqa(**changes)
    sizes = []

    def keep(module, inputs, output):
        tensors = [t for t in (*inputs, output) if isinstance(t, torch.Tensor)]
        sizes.append(sum(t.numel() * t.element_size() for t in tensors))

    for module in scorer.model.modules():
        module.register_forward_hook(keep)
    scorer.score(torch.rand(3, 3, 64, 64), "a fox")
    cost = batch_cost.cost_of(scorer)
    assert max(sizes) < cost.bytes_of(3 * cost.num_cells([(64, 64)])) < 100 * max(sizes)


def test_the_published_model_takes_about_a_hundred_megabytes_an_image():
    class Published:
        model = type("Model", (torch.nn.Module,), {})()

    Published.model.config = IPIQAConfig.rn50()
    cost = batch_cost.cost_of(Published)
    assert 60e6 < cost.bytes_of(cost.num_cells([(512, 512)])) < 250e6
