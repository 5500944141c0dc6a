"""CLIP's modified ResNet in plain torch, with the tensor names of OpenAI's published weights.

transformers has no ResNet CLIP. open_clip has one, but cannot be imported without a torchvision
build for the very torch that is installed, so scoring does not depend on it
(docs/decisions/0008-ip-iqa-towers.md); weights in its layout load without a change of names.

What differs from an ordinary ResNet-50 (Radford et al. 2021, section 2.4): a stem of three
convolutions with an average pool, strides made by average pools ahead of a convolution, and an
attention pooling in place of the global average.

Shapes: B images of side S; the map is [B, C, S/32, S/32], C = 32 * width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import ResNetConfig

__all__ = ["AttentionPooling", "ClipResNet"]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around an identity; a stride is an average pool."""

    expansion = 4

    def __init__(self, in_dim: int, dim: int, stride: int) -> None:
        super().__init__()
        out_dim = dim * self.expansion
        self.conv1 = nn.Conv2d(in_dim, dim, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(dim)
        self.conv3 = nn.Conv2d(dim, out_dim, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_dim)
        self.stride = stride
        self.downsample: nn.ModuleDict | None = None
        if stride > 1 or in_dim != out_dim:
            # Named "0" and "1" in the published weights; the pool before them has no weights.
            self.downsample = nn.ModuleDict(
                {"0": nn.Conv2d(in_dim, out_dim, 1, bias=False), "1": nn.BatchNorm2d(out_dim)}
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self._pooled(y)))
        if self.downsample is not None:
            x = self.downsample["1"](self.downsample["0"](self._pooled(x)))
        return F.relu(x + y)

    def _pooled(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.stride) if self.stride > 1 else x


class AttentionPooling(nn.Module):
    """CLIP's pooling: the mean of the map asks the map, [B,C,h,w] -> [B,out_dim]."""

    def __init__(self, grid: int, dim: int, num_heads: int, out_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.positional_embedding = nn.Parameter(torch.randn(grid * grid + 1, dim) * dim**-0.5)
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.c_proj = nn.Linear(dim, out_dim)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=dim**-0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, feature_map: Tensor) -> Tensor:
        tokens = feature_map.flatten(2).transpose(1, 2)  # [B,hw,C]
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        tokens = tokens + self.positional_embedding
        # Contiguous: torch multiplies a strided row otherwise when its weights require a gradient,
        # and a model that was just trained would differ in the last bits from the one loaded.
        query = self._heads(self.q_proj(tokens[:, :1].contiguous()))
        key, value = self._heads(self.k_proj(tokens)), self._heads(self.v_proj(tokens))
        pooled = F.scaled_dot_product_attention(query, key, value)  # [B,heads,1,C/heads]
        return self.c_proj(pooled.transpose(1, 2).flatten(1))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class ClipResNet(nn.Module):
    """Normalised pixels [B,3,S,S] to the map [B,C,S/32,S/32]; ``attnpool`` makes one vector of it.

    Args:
        config: sizes. embed_dim: of the shared space. grid: S / 32.
    """

    def __init__(self, config: ResNetConfig, *, embed_dim: int, grid: int) -> None:
        super().__init__()
        width = config.width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self._in_dim = width
        self.layer1 = self._stage(width, config.layers[0], stride=1)
        self.layer2 = self._stage(2 * width, config.layers[1], stride=2)
        self.layer3 = self._stage(4 * width, config.layers[2], stride=2)
        self.layer4 = self._stage(8 * width, config.layers[3], stride=2)
        self.attnpool = AttentionPooling(grid, config.map_dim, config.num_heads, embed_dim)

    def _stage(self, dim: int, num_blocks: int, *, stride: int) -> nn.Sequential:
        blocks = [Bottleneck(self._in_dim, dim, stride)]
        self._in_dim = dim * Bottleneck.expansion
        blocks += [Bottleneck(self._in_dim, dim, 1) for _ in range(num_blocks - 1)]
        return nn.Sequential(*blocks)

    def forward(self, pixels: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(pixels)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.avg_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))
