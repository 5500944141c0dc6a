"""The two layouts in which CLIP's weights are published: their settings and their tensor names.

Shapes are left as they are, except that open_clip keeps queries, keys and values of its text
transformer in one matrix, and its text projection transposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import BackboneError
from .config import ResNetConfig, TextConfig, ViTConfig

__all__ = [
    "from_open_clip",
    "from_transformers",
    "open_clip_settings",
    "transformers_settings",
]


def open_clip_settings(data: Mapping[str, Any], means: Mapping[str, Any]) -> dict[str, Any]:
    """Settings from open_clip's model_cfg; its ViTs are to be had in the other layout."""
    try:
        visual, text = data["vision_cfg"], data["text_cfg"]
        layers = visual["layers"]
        if not isinstance(layers, (list, tuple)) or "timm_model_name" in visual:
            raise BackboneError(
                "expected a ResNet in open_clip's layout, found another tower: take the ViT in "
                "transformers' layout (config.json with model_type clip)"
            )
        width = int(visual.get("width", 64))
        heads = int(text.get("heads", 8))
        settings = {
            "visual": ResNetConfig(tuple(layers), width, width * 32 // 64),
            "text": TextConfig(
                vocab_size=int(text.get("vocab_size", 49408)),
                context_length=int(text.get("context_length", 77)),
                width=int(text.get("width", 512)),
                num_layers=int(text.get("layers", 12)),
                num_heads=heads,
                mlp_dim=int(text.get("mlp_ratio", 4) * text.get("width", 512)),
                activation="quick_gelu" if data.get("quick_gelu") else "gelu",
                sot_id=int(text.get("vocab_size", 49408)) - 2,
                eot_id=int(text.get("vocab_size", 49408)) - 1,
            ),
            "embed_dim": int(data["embed_dim"]),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackboneError(
            f"expected a model_cfg of open_clip, found one without {error}: get it again"
        ) from error
    return settings | {n: tuple(means[n]) for n in ("mean", "std") if means.get(n)}


def transformers_settings(data: Mapping[str, Any], map_layer: int, map_norm: str) -> dict[str, Any]:
    """Settings from a config.json of transformers; ``map_layer``, ``map_norm``: see ViTConfig."""
    from transformers import CLIPConfig

    config = CLIPConfig.from_dict(dict(data))
    text, visual = config.text_config, config.vision_config
    return {
        "visual": ViTConfig(
            hidden_size=visual.hidden_size,
            num_layers=visual.num_hidden_layers,
            num_heads=visual.num_attention_heads,
            mlp_dim=visual.intermediate_size,
            patch_size=visual.patch_size,
            activation=visual.hidden_act,
            map_layer=map_layer,
            map_norm=map_norm,
        ),
        "text": TextConfig(
            vocab_size=text.vocab_size,
            context_length=text.max_position_embeddings,
            width=text.hidden_size,
            num_layers=text.num_hidden_layers,
            num_heads=text.num_attention_heads,
            mlp_dim=text.intermediate_size,
            activation=text.hidden_act,
            # Published configs say 0 and 2 here, which CLIP never had: the ids are the last two.
            sot_id=text.vocab_size - 2,
            eot_id=text.vocab_size - 1,
        ),
        "embed_dim": config.projection_dim,
    }


_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def from_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's (and OpenAI's) names to those of our towers; the text tower is transformers'.

    A name that is not known stays as it is, and is refused when the model is filled.
    """
    prefix = "text.clip.text_model."
    named = {
        "token_embedding.weight": f"{prefix}embeddings.token_embedding.weight",
        "positional_embedding": f"{prefix}embeddings.position_embedding.weight",
        "ln_final.weight": f"{prefix}final_layer_norm.weight",
        "ln_final.bias": f"{prefix}final_layer_norm.bias",
    }
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        tensor = tensor.float()
        if name.startswith("visual."):
            out[f"visual.resnet.{name.removeprefix('visual.')}"] = tensor
        elif name in named:
            out[named[name]] = tensor
        elif name == "text_projection":
            out["text.clip.text_projection.weight"] = tensor.T.contiguous()
        elif name.startswith("transformer.resblocks."):
            number, _, rest = name.removeprefix("transformer.resblocks.").partition(".")
            layer = f"{prefix}encoder.layers.{number}."
            part, _, kind = rest.rpartition(".")
            if part == "attn" and kind.startswith("in_proj_"):
                for letter, piece in zip("qkv", tensor.chunk(3), strict=True):
                    key = f"{layer}self_attn.{letter}_proj.{kind.removeprefix('in_proj_')}"
                    out[key] = piece.contiguous()
            elif part in _BLOCK:
                out[f"{layer}{_BLOCK[part]}.{kind}"] = tensor
            else:
                out[name] = tensor
        elif name not in ("logit_scale", "logit_bias", "attn_mask"):
            out[name] = tensor
    return out


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """transformers' names, each under the tower it belongs to."""
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name == "logit_scale" or name.endswith("position_ids"):
            continue
        is_visual = name.startswith(("vision_model.", "visual_projection."))
        out[("visual.vit." if is_visual else "text.clip.") + name] = tensor.float()
    return out
