"""IP-IQA: an image and its prompt to one or two scores (Figure 2b of the paper).

    images ── visual tower ──► map ──► CLIP's attention pooling ──────────► g ┐
                                └────► cross-modality attention pooling ──► c ┤─► head ─► scores
    [SOT][QA] prompt [EOT] ── frozen text tower ──► t ──(query)─────┘         ┘

Shapes: B rows, S = config.image_size_px, E = config.embed_dim, K = number of outputs. The model
runs in float32 throughout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import ConfigError, ImageError
from .clip_towers import TextTower, VisualTower
from .config import IPIQAConfig
from .fusion import CrossAttention, CrossModalityAttentionPooling

__all__ = ["IPIQAModel"]


class IPIQAModel(nn.Module):
    """The whole model with random weights; see `clip_weights` for CLIP's own.

    The pooling too is random until `start_pooling` is called, whatever its config says.
    """

    def __init__(self, config: IPIQAConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = VisualTower(config)
        self.text = TextTower(config.text, embed_dim=config.embed_dim, qa_token=config.qa_token)
        if config.fusion:
            self.cross = CrossModalityAttentionPooling(
                grid=config.grid,
                map_dim=config.visual.map_dim,
                text_dim=config.embed_dim,
                inner_dim=config.inner_dim,
                out_dim=config.embed_dim,
                num_heads=config.cross_heads,
            )
        num_vectors = 2 if config.streams == "image_and_prompt" else 1
        self.head = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(num_vectors * config.embed_dim, config.head_dim),
            nn.Tanh(),
            nn.Dropout(config.dropout),
            nn.Linear(config.head_dim, len(config.outputs)),
        )

    @classmethod
    def shell(cls, config: IPIQAConfig) -> IPIQAModel:
        """A model whose parameters and statistics have shapes but no memory.

        ``load_state_dict(tensors, strict=True, assign=True)`` fills it.
        """
        with torch.device("meta"):
            model = cls(config)
        for module in model.modules():  # what no state_dict holds is made anew
            for name, buffer in list(module.named_buffers(recurse=False)):
                if name == "position_ids":
                    setattr(module, name, torch.arange(buffer.shape[-1])[None])
        model.visual.set_normalisation()
        return model

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Raw scores float32 [B,K], higher is better, on the scale of the ratings trained on.

        Args:
            images: float32 [B,3,S,S] in 0..1 (`to_model_pixels`).
            tokens: int64 [B,T] (`PromptTokenizer`); without a prompt: SOT and EOT.

        Raises:
            ImageError, PromptError: tensors of another form.
        """
        return self.head(self.features(images, tokens))

    def features(self, images: Tensor, tokens: Tensor) -> Tensor:
        """What the head reads: float32 [B,2E], or [B,E] with one stream."""
        self._check(images, tokens)
        if self.config.streams == "prompt":
            return self.text(tokens)
        seen = self.visual(images)
        if self.config.streams == "image":
            return seen.embedding
        text = self.text(tokens)
        beside = self.cross(seen.map, text) if self.config.fusion else text
        return torch.cat([seen.embedding, beside], dim=1)

    def attention(self, images: Tensor, tokens: Tensor) -> CrossAttention:
        """Where the cross-modality pooling looks in each image for each row of tokens.

        For a word of the prompt give the tokens of that word alone, as Figure 3 of the paper does
        with "aircraft" and "city".

        Raises:
            ConfigError: the model has no such pooling.
        """
        if not self.config.fusion:
            raise ConfigError(
                "attention maps: expected a model with fusion, found one without: "
                "train one with fusion true"
            )
        self._check(images, tokens)
        return self.cross.attention(self.visual(images).map, self.text(tokens))

    def image_embedding(self, images: Tensor) -> Tensor:
        """CLIP's image vector [B,E], not normalised: what Image2Prompt trains."""
        self._check_images(images)
        return self.visual(images).embedding

    def prompt_embedding(self, tokens: Tensor) -> Tensor:
        """CLIP's own vector of a prompt [B,E], without the [QA] token: Image2Prompt's target."""
        return self.text(tokens, with_qa=False)

    def _check(self, images: Tensor, tokens: Tensor) -> None:
        self._check_images(images)
        if len(images) != len(tokens):
            raise ImageError(
                f"expected as many rows of tokens as images, found {len(tokens)} and {len(images)}"
            )

    def _check_images(self, images: Tensor) -> None:
        size = self.config.image_size_px
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise ImageError(
                f"images: expected [B,3,{size},{size}], found {list(images.shape)}: "
                "use to_model_pixels"
            )
        if images.dtype != torch.float32:
            raise ImageError(
                f"images: expected float32, found {str(images.dtype).removeprefix('torch.')}"
            )
