"""CLIP's weights in the towers of IP-IQA: both published layouts, held against their libraries."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

from eliq.errors import BackboneError
from eliq.ip_iqa import PromptTokenizer, load_clip
from training.tiny_ip_iqa import tiny_config, tiny_model, tiny_tokenizer

PROMPTS = ["a red fox", "two kites on the sand"]


def images(num: int = 2, size: int = 64) -> torch.Tensor:
    return torch.rand(num, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def transformers_dir(tmp_path):
    """A random CLIP of transformers at 32 px with patches of 8."""
    torch.manual_seed(0)
    tower = {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {**tower, "vocab_size": 258, "hidden_size": 32, "bos_token_id": 256, "eos_token_id": 257}
    vision = {**tower, "hidden_size": 48, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    model = CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    return tmp_path, model


@pytest.fixture
def open_clip_dir(tmp_path):
    """The towers of a tiny model in open_clip's layout, as timm/resnet50_clip.openai has it."""
    text = replace(tiny_config().text, mlp_dim=128)  # four times the width, as in every CLIP
    model = tiny_model(tiny_config(qa_token=False, text=text))
    write_open_clip(tmp_path, model)
    return tmp_path, model


def write_open_clip(folder, model) -> dict:
    """Our names back to open_clip's."""
    state, prefix = {}, "text.clip.text_model."
    own = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    names = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc"}
    names |= {"mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj"}
    for name, tensor in own.items():
        if name.startswith("visual.resnet."):
            state["visual." + name.removeprefix("visual.resnet.")] = tensor
        for ours, theirs in names.items():
            if f".{ours}." in name and name.startswith(prefix):
                number, _, rest = name.removeprefix(f"{prefix}encoder.layers.").partition(".")
                state[f"transformer.resblocks.{number}.{rest.replace(ours, theirs)}"] = tensor
    for number in range(model.config.text.num_layers):
        for kind in ("weight", "bias"):
            parts = [
                own[f"{prefix}encoder.layers.{number}.self_attn.{letter}_proj.{kind}"]
                for letter in "qkv"
            ]
            state[f"transformer.resblocks.{number}.attn.in_proj_{kind}"] = torch.cat(parts)
    state["token_embedding.weight"] = own[f"{prefix}embeddings.token_embedding.weight"]
    state["positional_embedding"] = own[f"{prefix}embeddings.position_embedding.weight"]
    for kind in ("weight", "bias"):
        state[f"ln_final.{kind}"] = own[f"{prefix}final_layer_norm.{kind}"]
    state["text_projection"] = own["text.clip.text_projection.weight"].T.contiguous()
    state["logit_scale"] = torch.tensor(2.0)
    save_file(state, folder / "open_clip_model.safetensors")
    text, visual = model.config.text, model.config.visual
    settings = {
        "embed_dim": model.config.embed_dim,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": list(visual.layers), "width": visual.width},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": text.vocab_size,
            "width": text.width,
            "heads": text.num_heads,
            "layers": text.num_layers,
        },
    }
    data = {"model_cfg": settings, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3]}}
    (folder / "open_clip_config.json").write_text(json.dumps(data))
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return settings


def test_a_vit_of_transformers_gives_the_vectors_of_transformers(transformers_dir):
    folder, theirs = transformers_dir
    start = load_clip(folder, image_size_px=32, head_dim=16, qa_token=False)
    assert not start.model.training and start.model.config.max_prompt_tokens == 75
    tokens = PromptTokenizer(start.tokenizer, start.model.config)(PROMPTS).ids
    pixels = images(size=32)
    visual = start.model.visual
    normal = (pixels - visual.mean) / visual.std
    with torch.no_grad():
        seen = theirs.visual_projection(theirs.vision_model(pixel_values=normal).pooler_output)
        read = theirs.text_model(input_ids=tokens).last_hidden_state
        ends = (tokens == 257).int().argmax(1)
        read = theirs.text_projection(read[torch.arange(2), ends])
        assert torch.allclose(start.model.image_embedding(pixels), seen, atol=1e-5)
        assert torch.allclose(start.model.prompt_embedding(tokens), read, atol=1e-5)
    larger = load_clip(folder, image_size_px=64, head_dim=16, map_layer=1)
    assert larger.model.config.grid == 8 and larger.model.config.visual.map_layer == 1
    assert larger.model(images(), tokens).shape == (2, 2)


def test_a_resnet_in_open_clips_layout_comes_back_as_it_was(open_clip_dir):
    folder, model = open_clip_dir
    start = load_clip(folder, image_size_px=64, qa_token=False, head_dim=16)
    config = start.model.config
    assert config.visual.layers == (1, 1, 1, 1) and config.visual.num_heads == 2
    assert config.text.eot_id == 257 and config.mean == (0.5, 0.4, 0.3)
    ours, theirs = start.model.state_dict(), model.state_dict()
    towers = [name for name in theirs if name.startswith(("visual.", "text."))]
    assert towers and all(torch.equal(ours[name], theirs[name]) for name in towers)
    larger = load_clip(folder, image_size_px=96, head_dim=16)
    assert larger.model(images(size=96), torch.tensor([[256, 5, 257]] * 2)).shape == (2, 2)


def test_counters_of_batches_may_be_left_out(open_clip_dir):
    folder, model = open_clip_dir
    path = folder / "open_clip_model.safetensors"
    state = {n: t for n, t in load_file(path).items() if not n.endswith("num_batches_tracked")}
    save_file(state, path)
    loaded = load_clip(folder, image_size_px=64).model
    assert loaded.config.pooling_start == "clip", "the pooling of loaded weights starts from them"
    assert torch.equal(loaded.cross.key.weight, loaded.visual.resnet.attnpool.v_proj.weight)
    random = load_clip(folder, image_size_px=64, pooling_start="random").model
    assert not torch.equal(random.cross.key.weight, random.visual.resnet.attnpool.v_proj.weight)
    weights = loaded.visual.state_dict()
    own = model.visual.state_dict()
    assert all(torch.equal(weights[n], own[n]) for n in own if "num_batches" not in n)
    del state["visual.bn1.running_mean"]
    save_file(state, path)
    with pytest.raises(BackboneError, match="1 missing"):
        load_clip(folder, image_size_px=64)


def test_the_same_seed_makes_the_same_start(open_clip_dir):
    folder, _ = open_clip_dir
    first, second = (load_clip(folder, image_size_px=64).model.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_weights_that_do_not_belong_are_refused_by_name(open_clip_dir, tmp_path):
    folder, _ = open_clip_dir
    path = folder / "open_clip_model.safetensors"
    state = load_file(path)
    save_file({**state, "visual.extra": torch.zeros(1)}, path)
    with pytest.raises(BackboneError, match="extra"):
        load_clip(folder, image_size_px=64)
    del state["visual.conv1.weight"]
    save_file(state, path)
    with pytest.raises(BackboneError, match="1 missing"):
        load_clip(folder, image_size_px=64)
    path.write_bytes(b"no weights")
    with pytest.raises(BackboneError, match="safetensors"):
        load_clip(folder, image_size_px=64)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BackboneError, match="neither"):
        load_clip(tmp_path / "empty")
    with pytest.raises(BackboneError, match=r"NAME:TAG|eliq\[ip-iqa\]"):
        load_clip("open_clip:RN50")


def test_open_clip_itself_agrees():
    """The same random weights in open_clip's own ResNet and text transformer."""
    try:
        import open_clip
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision of another torch
        pytest.skip(f"open_clip cannot be imported here: {str(error)[:60]}")
    settings = {"embed_dim": 64, "quick_gelu": True}
    vision = {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "head_width": 64}
    text = {"context_length": 77, "vocab_size": 258, "width": 32, "heads": 4, "layers": 2}
    torch.manual_seed(0)
    theirs = open_clip.model.CLIP(**settings, vision_cfg=vision, text_cfg=text).eval()
    with torch.no_grad():
        for name, tensor in theirs.visual.named_buffers():  # as if it had been trained
            if "running" in name:
                tensor.uniform_(0.5, 1.5)
        for name, tensor in theirs.named_parameters():
            if "bn3.weight" in name:
                tensor.uniform_(0.5, 1.5)
    from eliq.ip_iqa import IPIQAModel
    from eliq.ip_iqa.clip_layouts import from_open_clip, open_clip_settings

    parts = open_clip_settings({**settings, "vision_cfg": vision, "text_cfg": text}, {})
    config = tiny_config(**parts, qa_token=False)
    ours = IPIQAModel(config).eval()
    ours.load_state_dict({**ours.state_dict(), **from_open_clip(theirs.state_dict())}, strict=True)
    tokens = PromptTokenizer(tiny_tokenizer(), config)(PROMPTS).ids
    padded = torch.zeros(2, 77, dtype=torch.int64)
    padded[:, : tokens.shape[1]] = tokens
    pixels = images()
    with torch.no_grad():
        seen = theirs.encode_image((pixels - ours.visual.mean) / ours.visual.std)
        read = theirs.encode_text(padded)
        assert torch.allclose(ours.image_embedding(pixels), seen, atol=1e-5, rtol=1e-4)
        assert torch.allclose(ours.prompt_embedding(tokens), read, atol=1e-5, rtol=1e-4)
