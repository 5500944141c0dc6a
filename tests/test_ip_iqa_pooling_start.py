"""What the cross-modality pooling of IP-IQA starts from: CLIP's own values."""

from __future__ import annotations

import json

import pytest
import torch

from eliq.errors import CheckpointError, ConfigError
from eliq.ip_iqa import IPIQA, IPIQAConfig, PromptTokenizer, RatingScale, start_pooling
from training.tiny_ip_iqa import tiny_config, tiny_model, tiny_tokenizer, tiny_vit

ATTENTION_VIT = {"pooling": "attention", "map_layer": -1, "map_norm": "last"}
TOWERS = [{}, {"visual": tiny_vit()}, {"visual": tiny_vit(**ATTENTION_VIT)}]
NAMES = ["resnet", "vit", "vit with attention pooling"]
WORDS = ["fox", "kite", "dogs"]


def images(num: int = 3) -> torch.Tensor:
    return torch.rand(num, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def model_of(start: str = "clip", **changes):
    """A tiny model; a ViT's gains and biases are not the ones and zeros that new ones are."""
    model = tiny_model(tiny_config(pooling_start=start, **changes))
    if hasattr(model.visual, "vit"):
        generator = torch.Generator().manual_seed(5)
        clip = model.visual.vit.vision_model
        layer = clip.encoder.layers[-1].self_attn
        norm = clip.post_layernorm
        with torch.no_grad():
            for tensor in (norm.weight, norm.bias, layer.out_proj.bias, layer.v_proj.bias):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model


def text_of(model) -> torch.Tensor:
    with torch.no_grad():
        return model.text(PromptTokenizer(tiny_tokenizer(), model.config)(WORDS).ids)


def dense(model, feature_map: torch.Tensor) -> torch.Tensor:
    """CLIP's dense vectors [B,1+hw,E] of the mean and the cells, written out by tower."""
    cells = feature_map.flatten(2).transpose(1, 2)
    cells = torch.cat([cells.mean(dim=1, keepdim=True), cells], dim=1)
    tower = model.visual
    if hasattr(tower, "resnet") or hasattr(tower, "attnpool"):
        pool = tower.resnet.attnpool if hasattr(tower, "resnet") else tower.attnpool
        return pool.c_proj(pool.v_proj(cells + pool.positional_embedding))
    clip = tower.vit.vision_model
    attention = clip.encoder.layers[-1].self_attn
    seen = attention.out_proj(attention.v_proj(cells))
    norm = clip.post_layernorm
    deviation = (seen.var(dim=-1, correction=0, keepdim=True) + norm.eps).sqrt()
    linear = (norm(seen) - norm.bias) * deviation  # the norm, but for its division
    return tower.vit.visual_projection(linear)


@pytest.mark.parametrize("changes", TOWERS, ids=NAMES)
def test_at_the_start_a_word_is_a_softmax_of_clips_dense_similarity(changes):
    """With one head: softmax over mean and cells of s t . O V x, whatever the biases add."""
    model = model_of(cross_heads=1, **changes)
    scale = start_pooling(model)
    with torch.no_grad():
        text, feature_map = text_of(model), model.visual(images()).map
        found = model.cross.attention(feature_map, text).heads[:, 0]
        expected = scale * (dense(model, feature_map) @ text[:, :, None])[..., 0]
    assert found.max() > 1.5 * found.min()
    assert torch.allclose(found, expected.softmax(dim=1), atol=1e-6)


@pytest.mark.parametrize("changes", TOWERS, ids=NAMES)
def test_the_logits_of_the_heads_add_up_to_that_similarity(changes):
    model = model_of(cross_heads=4, **changes)
    scale = start_pooling(model)
    with torch.no_grad():
        text, feature_map = text_of(model), model.visual(images()).map
        logits = model.cross.attention(feature_map, text).heads.log().sum(dim=1)
        expected = scale * (dense(model, feature_map) @ text[:, :, None])[..., 0]
    centred = [x - x.mean(dim=1, keepdim=True) for x in (logits, expected)]
    assert torch.allclose(*centred, atol=1e-4)


@pytest.mark.parametrize("changes", [TOWERS[0], TOWERS[2]], ids=[NAMES[0], NAMES[2]])
def test_asked_for_nothing_it_gives_clips_vector_of_an_even_attention(changes):
    model = model_of(**changes)
    start_pooling(model)
    tower = model.visual
    pool = tower.resnet.attnpool if hasattr(tower, "resnet") else tower.attnpool
    with torch.no_grad():
        seen = tower(images())
        nothing = torch.zeros(3, model.config.embed_dim)
        pool.q_proj.weight.zero_(), pool.q_proj.bias.zero_()
        assert torch.allclose(model.cross(seen.map, nothing), pool(seen.map), atol=1e-5)


def test_it_is_the_same_every_time_and_as_sharp_as_asked():
    model, other = model_of(), model_of()
    first = start_pooling(model)
    assert start_pooling(other) == first and start_pooling(other) == first
    state = other.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in model.state_dict().items())
    assert start_pooling(other, sharpness=2.0) == pytest.approx(2 * first)
    assert torch.allclose(other.cross.query.weight, 2 * model.cross.query.weight)


def test_a_tower_that_is_refused_leaves_the_pooling_as_it_was():
    model = model_of()
    with torch.no_grad():
        model.visual.resnet.attnpool.v_proj.weight.zero_()
    before = {name: t.clone() for name, t in model.cross.state_dict().items()}
    with pytest.raises(ConfigError, match="alike"):
        start_pooling(model)
    assert all(torch.equal(t, before[name]) for name, t in model.cross.state_dict().items())


def test_a_random_start_is_left_alone_and_so_is_a_model_without_the_pooling():
    for model in (model_of("random"), model_of(fusion=False)):
        before = {name: t.clone() for name, t in model.state_dict().items()}
        assert start_pooling(model) == 0.0
        assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_towers_that_have_nothing_to_start_from_are_refused():
    with pytest.raises(ConfigError, match="map_layer -2"):
        tiny_config(pooling_start="clip", visual=tiny_vit(map_layer=1, map_norm="last"))
    with pytest.raises(ConfigError, match="cross_dim"):
        tiny_config(pooling_start="clip", cross_dim=16)
    with pytest.raises(ConfigError, match="pooling_start"):
        tiny_config(pooling_start="CLIP")
    with pytest.raises(ConfigError, match="map_norm"):
        tiny_vit(map_layer=-1)
    assert tiny_config(visual=tiny_vit(map_layer=-1, map_norm="last"), cross_dim=16)
    blind = model_of()
    with torch.no_grad():
        blind.visual.resnet.attnpool.v_proj.weight.zero_()
        blind.visual.resnet.attnpool.positional_embedding.zero_()
    with pytest.raises(ConfigError, match="alike"):
        start_pooling(blind)


@pytest.mark.parametrize("start", ["clip", "random"])
@pytest.mark.parametrize("changes", TOWERS, ids=NAMES)
def test_a_config_says_what_the_pooling_started_from(start, changes, tmp_path):
    config = tiny_config(pooling_start=start, **changes)
    data = json.loads(json.dumps(config.to_json()))
    assert data["pooling_start"] == start and IPIQAConfig.from_json(data) == config
    model = tiny_model(config)
    start_pooling(model)
    scorer = scorer_of(model)
    loaded = IPIQA.from_pretrained(scorer.save_pretrained(tmp_path / "model"), device="cpu")
    assert loaded.model.config == config
    mine, theirs = (s.score(list(images()), WORDS).raw for s in (scorer, loaded))
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def scorer_of(model) -> IPIQA:
    scale = {name: RatingScale(0.0, 5.0) for name in model.config.outputs}
    return IPIQA(model, tiny_tokenizer(), scale=scale)


@pytest.mark.parametrize("norm", ["last", "none", None])
def test_a_checkpoint_of_format_1_scores_as_it_did(norm, tmp_path):
    changes = {} if norm is None else {"visual": tiny_vit(map_layer=-1, map_norm=norm)}
    scorer = scorer_of(model_of("random", **changes))
    directory = scorer.save_pretrained(tmp_path / "model")
    path = directory / "config.json"
    config = json.loads(path.read_text())
    assert config["format_version"] == 2
    del config["model"]["pooling_start"]
    if norm is not None:
        config["model"]["visual"]["map_norm"] = norm == "last"
        del config["model"]["visual"]["pooling"]
    path.write_text(json.dumps(config | {"format_version": 1}))
    loaded = IPIQA.from_pretrained(directory, device="cpu")
    assert loaded.model.config == scorer.model.config
    mine, theirs = (s.score(list(images()), WORDS).raw for s in (scorer, loaded))
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    config["model"]["pooling_start"] = "clip"
    path.write_text(json.dumps(config | {"format_version": 1}))
    with pytest.raises(CheckpointError, match="pooling_start"):
        IPIQA.from_pretrained(directory, device="cpu")
