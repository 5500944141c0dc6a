"""The scoring head: gated fusion (Eqs. 9-11) and the Quality Query Transformer (Eqs. 12-15).

Shapes: B images, h hidden size of the backbone, d model size of the transformer. The head always
runs in float32: a score must not move when the backbone runs in half precision.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .errors import ConfigError

__all__ = ["GatedFusion", "HeadConfig", "HeadOutput", "QualityQueryTransformer", "ScoringHead"]


@dataclass(frozen=True)
class HeadConfig:
    """Sizes of the head. The paper gives none; these defaults are ours.

    ``mask_visual_query`` False is the paper's form, in which the visual query can attend to z_ali
    through the content token; True hides z_ali from it, so that s_vis cannot depend on the prompt.
    """

    hidden_size: int
    model_dim: int = 512
    num_layers: int = 2
    num_heads: int = 8
    ffn_dim: int = 2048
    mask_visual_query: bool = False

    def __post_init__(self) -> None:
        for name in ("hidden_size", "model_dim", "num_layers", "num_heads", "ffn_dim"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"head.{name} must be a positive whole number, not {value!r}")
        if self.model_dim % self.num_heads:
            raise ConfigError(
                f"head.model_dim ({self.model_dim}) must be a multiple of head.num_heads "
                f"({self.num_heads})"
            )
        if not isinstance(self.mask_visual_query, bool):
            raise ConfigError("head.mask_visual_query must be true or false")

    def to_json(self) -> dict:
        """Plain JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> HeadConfig:
        """Inverse of :meth:`to_json`; unknown keys raise ConfigError."""
        known = set(cls.__dataclass_fields__)
        if not isinstance(data, dict) or set(data) - known or "hidden_size" not in data:
            raise ConfigError(
                f"head must be a table with hidden_size and keys among {sorted(known)}"
            )
        return cls(**data)


class HeadOutput(NamedTuple):
    """Raw scores, float32 [B], unbounded, higher is better."""

    visual_quality: Tensor
    alignment: Tensor


class GatedFusion(nn.Module):
    """Eqs. 9-11: z_vis = phi([z_tec * g_tec ; z_aes * g_aes]), [B,h], [B,h] -> [B,h]."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.gate_technical = nn.Linear(2 * hidden_size, hidden_size)
        self.gate_aesthetic = nn.Linear(2 * hidden_size, hidden_size)
        self.mlp = nn.Sequential(
            nn.Linear(2 * hidden_size, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size)
        )

    def forward(self, technical: Tensor, aesthetic: Tensor) -> Tensor:
        both = torch.cat([technical, aesthetic], dim=-1)
        gated_technical = technical * torch.sigmoid(self.gate_technical(both))
        gated_aesthetic = aesthetic * torch.sigmoid(self.gate_aesthetic(both))
        return self.mlp(torch.cat([gated_technical, gated_aesthetic], dim=-1))


class QualityQueryTransformer(nn.Module):
    """Eqs. 13-15: two learned queries beside one content token, [B,2h] -> two scores [B]."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        width, d = 2 * config.hidden_size, config.model_dim
        self.query_visual = nn.Parameter(torch.randn(width) * 0.02)
        self.query_alignment = nn.Parameter(torch.randn(width) * 0.02)
        self.project = nn.Linear(width, d, bias=False)
        self.position = nn.Parameter(torch.randn(3, d) * 0.02)
        layer = nn.TransformerEncoderLayer(
            d,
            config.num_heads,
            dim_feedforward=config.ffn_dim,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(
            layer, config.num_layers, norm=nn.LayerNorm(d), enable_nested_tensor=False
        )
        self.score_visual = nn.Sequential(nn.Linear(d, d), nn.GELU(), nn.Linear(d, 1))
        self.score_alignment = nn.Sequential(nn.Linear(d, d), nn.GELU(), nn.Linear(d, 1))

    def forward(self, content: Tensor) -> Tensor:
        """Encoded tokens [B,3,d] of [content, visual query, alignment query] (Eqs. 13, 14)."""
        batch = content.shape[0]
        queries = torch.stack([self.query_visual, self.query_alignment])
        tokens = torch.cat([content[:, None], queries.expand(batch, -1, -1)], dim=1)  # [B,3,2h]
        return self.encoder(self.project(tokens) + self.position)


class ScoringHead(nn.Module):
    """Frozen embeddings of the three questions to the two raw scores (Eqs. 9-15)."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        # Not in the paper: backbones differ in scale and have outlier channels.
        self.norm = nn.LayerNorm(config.hidden_size, elementwise_affine=False)
        self.fusion = GatedFusion(config.hidden_size)
        self.qqt = QualityQueryTransformer(config)

    def forward(self, technical: Tensor, aesthetic: Tensor, alignment: Tensor) -> HeadOutput:
        """Score embeddings z_tec, z_aes, z_ali [B,h] of any float dtype; raw scores float32 [B]."""
        with torch.autocast(technical.device.type, enabled=False):
            return self._score(technical.float(), aesthetic.float(), alignment.float())

    def encode(
        self, technical: Tensor, aesthetic: Tensor, alignment: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the two scores are read from (Eq. 14): the encoded visual and alignment queries.

        Args: as :meth:`forward`. Returns two float32 [B,d]; `qqt.score_visual` of the first and
        `qqt.score_alignment` of the second are the raw scores (Eq. 15).
        """
        with torch.autocast(technical.device.type, enabled=False):
            return self._encode(technical.float(), aesthetic.float(), alignment.float())

    def _encode(
        self, technical: Tensor, aesthetic: Tensor, alignment: Tensor
    ) -> tuple[Tensor, Tensor]:
        z_tec, z_aes, z_ali = self.norm(technical), self.norm(aesthetic), self.norm(alignment)
        z_vis = self.fusion(z_tec, z_aes)
        encoded = self.qqt(torch.cat([z_vis, z_ali], dim=-1))  # Eq. 12
        encoded_visual = encoded
        if self.config.mask_visual_query:
            encoded_visual = self.qqt(torch.cat([z_vis, torch.zeros_like(z_ali)], dim=-1))
        return encoded_visual[:, 1], encoded[:, 2]

    def _score(self, technical: Tensor, aesthetic: Tensor, alignment: Tensor) -> HeadOutput:
        visual, ali = self._encode(technical, aesthetic, alignment)
        return HeadOutput(
            self.qqt.score_visual(visual).squeeze(-1), self.qqt.score_alignment(ali).squeeze(-1)
        )
