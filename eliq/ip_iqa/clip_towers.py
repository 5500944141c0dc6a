"""CLIP's two towers as IP-IQA uses them: a spatial map with one vector, and a text vector.

The text transformer and the ViT are transformers' own; the ResNet is in resnet.py.

Shapes: B rows, E = embed_dim, C channels of a map of h x w cells, T tokens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import PromptError
from .config import IPIQAConfig, ResNetConfig, TextConfig, ViTConfig
from .qa_token import QAEmbedding
from .resnet import AttentionPooling, ClipResNet

__all__ = ["TextTower", "Visual", "VisualTower"]


class Visual(NamedTuple):
    """What the visual tower gives: ``map`` [B,C,h,w] and ``embedding`` [B,E] (not normalised)."""

    map: Tensor
    embedding: Tensor


class VisualTower(nn.Module):
    """Pixels in 0..1 to the spatial map and CLIP's image vector.

    Normalisation is inside, so that a checkpoint cannot be used with the wrong one.
    """

    def __init__(self, config: IPIQAConfig) -> None:
        super().__init__()
        self.config = config
        self.set_normalisation()
        if isinstance(config.visual, ResNetConfig):
            self.resnet = ClipResNet(config.visual, embed_dim=config.embed_dim, grid=config.grid)
        else:
            visual = config.visual
            self.vit = _vit(visual, config.embed_dim, config.image_size_px)
            if visual.pooling == "attention":
                self.vit.visual_projection = nn.Identity()  # the pooling has its own
                self.attnpool = AttentionPooling(
                    config.grid, visual.hidden_size, visual.num_heads, config.embed_dim
                )

    def set_normalisation(self) -> None:
        """Mean and deviation of CLIP's pixels, as config says them: no state_dict holds them."""
        for name in ("mean", "std"):
            values = torch.tensor(getattr(self.config, name), dtype=torch.float32, device="cpu")
            self.register_buffer(name, values.view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Visual:
        """``images`` float32 [B,3,S,S] in 0..1, S = config.image_size_px."""
        pixels = (images - self.mean) / self.std
        visual = self.config.visual
        if isinstance(visual, ResNetConfig):
            feature_map = self.resnet(pixels)
            return Visual(feature_map, self.resnet.attnpool(feature_map))
        # transformers' last_hidden_state is that of the last layer, ahead of the last norm.
        last = visual.map_after == visual.num_layers
        out = self.vit(pixel_values=pixels, output_hidden_states=not last)
        hidden = out.last_hidden_state if last else out.hidden_states[visual.map_after]
        patches = hidden[:, 1:]
        if visual.map_norm == "next":
            patches = self.vit.vision_model.encoder.layers[visual.map_after].layer_norm1(patches)
        elif visual.map_norm == "last":
            patches = self.vit.vision_model.post_layernorm(patches)
        grid = self.config.grid
        feature_map = patches.transpose(1, 2).unflatten(2, (grid, grid))
        if visual.pooling == "attention":
            return Visual(feature_map, self.attnpool(feature_map))
        return Visual(feature_map, out.image_embeds)


class TextTower(nn.Module):
    """Frozen text transformer; the vector of EOT after the last norm, times the projection.

    Only the [QA] vector requires a gradient. The tower stays in eval mode.
    """

    def __init__(self, config: TextConfig, *, embed_dim: int, qa_token: bool) -> None:
        super().__init__()
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection

        self.config = config
        self.clip = CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=config.vocab_size,
                hidden_size=config.width,
                intermediate_size=config.mlp_dim,
                num_hidden_layers=config.num_layers,
                num_attention_heads=config.num_heads,
                max_position_embeddings=config.context_length,
                hidden_act=config.activation,
                projection_dim=embed_dim,
                bos_token_id=config.sot_id,
                eos_token_id=config.eot_id,
                pad_token_id=config.pad_id,
            )
        )
        self.clip.requires_grad_(False)
        if qa_token:
            self._add_qa_token()
        self.train(self.training)

    def _add_qa_token(self) -> None:
        embeddings = self.clip.text_model.embeddings
        rows = embeddings.token_embedding.weight
        table = QAEmbedding(*rows.shape)
        table.weight = nn.Parameter(rows.detach(), requires_grad=False)
        embeddings.token_embedding = table

    def train(self, mode: bool = True) -> TextTower:
        """The frozen transformer is never in training mode."""
        super().train(mode)
        self.clip.eval()
        return self

    def forward(self, tokens: Tensor, *, with_qa: bool = True) -> Tensor:
        """Text vectors [B,E], not normalised.

        Args:
            tokens: int64 [B,T]: SOT, words, EOT, padding of any length; what follows EOT changes
                nothing, since attention is causal.
            with_qa: False = CLIP's own vector of the prompt, without the [QA] token.

        Raises:
            PromptError: a row without EOT, or more tokens than the positions of the tower.
        """
        table = self.clip.text_model.embeddings.token_embedding
        has_qa = with_qa and isinstance(table, QAEmbedding)
        self._check(tokens, has_qa)
        ids = table.insert(tokens) if has_qa else tokens
        hidden = self.clip.text_model(input_ids=ids).last_hidden_state
        ends = (ids == self.config.eot_id).int().argmax(dim=1)  # the first of each row
        rows = torch.arange(len(tokens), device=tokens.device)
        return self.clip.text_projection(hidden[rows, ends])

    def _check(self, tokens: Tensor, has_qa: bool) -> None:
        if tokens.ndim != 2 or tokens.dtype != torch.int64:
            raise PromptError(
                f"tokens: expected int64 [B,T], found {str(tokens.dtype).removeprefix('torch.')} "
                f"{list(tokens.shape)}: make them with PromptTokenizer"
            )
        room = self.config.context_length - int(has_qa)
        if tokens.shape[1] > room:
            raise PromptError(
                f"tokens: expected at most {room} in a row, found {tokens.shape[1]}: "
                "make them with PromptTokenizer, which cuts"
            )
        if not bool((tokens == self.config.eot_id).any(dim=1).all()):
            raise PromptError(
                f"tokens: expected the end token {self.config.eot_id} in every row, found a row "
                "without it: make them with PromptTokenizer"
            )


def _vit(config: ViTConfig, embed_dim: int, image_size_px: int) -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=config.hidden_size,
            intermediate_size=config.mlp_dim,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            image_size=image_size_px,
            patch_size=config.patch_size,
            hidden_act=config.activation,
            projection_dim=embed_dim,
        )
    )
