"""Where the cross-modality pooling starts: with CLIP's own values, which know words and things.

CLIP's image vector is a mean of values of the cells, carried into the space of texts: with the
cell x, CLIP's value projection V and its output projection O,

    image vector = O sum_i a_i V x_i,   so   t . O V x

is how much of the text t is in one cell (Zhou, Loy, Dai: "Extract Free Dense Labels from CLIP",
MaskCLIP). The pooling starts as exactly that, head by head: H heads of d channels, s a number,

    key = value = V x,   query = s sqrt(d) O^T t,   out = O v,   positions as CLIP's

so that its logits of head h are s t . O_h V_h x, whose sum over the heads is s times the above (of
vectors as they are, where MaskCLIP takes cosines; each head has a softmax of its own). A word's map
then points at what the word names before a rating was seen. With random projections, as
in the released code, the sign of query times key is a matter of chance, and ratings do not settle
it (docs/decisions/0010-the-pooling-starts-from-clip.md).

Where V and O are: of a ResNet, in its attention pooling. Of a ViT, in its last layer's attention,
whose output goes through the last norm, of which all but the division by the deviation is taken
(subtracting the mean of the C channels, and the gains g), and the projection P:
O = P g (I - 11'/C) W_out.

s makes the softmax neither flat nor one cell: over the cells of a few made-up images, for a few
words, the logits of a head have the standard deviation `SHARPNESS` on average.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ConfigError
from .config import ResNetConfig
from .model import IPIQAModel

__all__ = ["SHARPNESS", "clip_values", "start_pooling"]

#: Standard deviation of a head's logits over the cells of an image, at the start.
SHARPNESS = 1.0
_NUM_IMAGES = 8
_NUM_WORDS = 64
_NUM_DISCS = 60


class ClipValues(NamedTuple):
    """CLIP's way from a cell of the map [C] to the space of texts [E]: ``O (V x + b) + c``.

    Attributes:
        value: V [C,C]. value_bias: b [C]. out: O [E,C]. out_bias: c [E].
        position: [N,C], what CLIP's pooling adds to the cells; None where they have it already.
    """

    value: Tensor
    value_bias: Tensor
    out: Tensor
    out_bias: Tensor
    position: Tensor | None


def clip_values(model: IPIQAModel) -> ClipValues:
    """The value path of the visual tower of ``model``."""
    tower, visual = model.visual, model.config.visual
    if isinstance(visual, ResNetConfig) or visual.pooling == "attention":
        pool = tower.resnet.attnpool if isinstance(visual, ResNetConfig) else tower.attnpool
        return ClipValues(
            pool.v_proj.weight,
            pool.v_proj.bias,
            pool.c_proj.weight,
            pool.c_proj.bias,
            pool.positional_embedding,
        )
    attention = tower.vit.vision_model.encoder.layers[-1].self_attn
    norm, project = tower.vit.vision_model.post_layernorm, tower.vit.visual_projection.weight
    weight, bias = attention.out_proj.weight, attention.out_proj.bias
    gained = project * norm.weight
    out = gained @ (weight - weight.mean(dim=0))
    out_bias = gained @ (bias - bias.mean()) + project @ norm.bias
    return ClipValues(attention.v_proj.weight, attention.v_proj.bias, out, out_bias, None)


@torch.no_grad()
def start_pooling(model: IPIQAModel, *, sharpness: float = SHARPNESS) -> float:
    """Gives the pooling of ``model`` the start that its config names; returns s, or 0 for "random".

    For "clip" all of the pooling is set from the towers as they are now, whatever it has learnt, so
    call it before training alone, and again where towers are replaced. For "random" nothing is
    done, nor for a model without the pooling, nor where it refuses.

    Raises:
        ConfigError: towers without values, or without any difference between cells.
    """
    if not model.config.fusion or model.config.pooling_start == "random":
        return 0.0
    values, pool = clip_values(model), model.cross
    before = {name: tensor.clone() for name, tensor in pool.state_dict().items()}
    pool.position.zero_() if values.position is None else pool.position.copy_(values.position)
    for layer in (pool.key, pool.value):
        layer.weight.copy_(values.value)
        layer.bias.copy_(values.value_bias)
    pool.out.weight.copy_(values.out)
    pool.out.bias.copy_(values.out_bias)
    head_dim = model.config.inner_dim // pool.num_heads
    pool.query.weight.copy_(head_dim**0.5 * values.out.T)
    pool.query.bias.zero_()
    found = _spread(model)
    if not 0 < found < float("inf"):
        pool.load_state_dict(before)
        raise ConfigError(
            "pooling_start: expected towers in which cells differ, found a tower whose cells are "
            f"alike (spread {found:g}): load CLIP's weights, or start 'random'"
        )
    pool.query.weight.mul_(sharpness / found)
    return sharpness / found


def _spread(model: IPIQAModel) -> float:
    """Deviation of logits over the cells, mean over heads, made-up images and words."""
    pool, was_training = model.cross, model.training
    model.eval()
    device = pool.query.weight.device
    cells = model.visual(probe_images(model.config.image_size_px).to(device)).map
    cells = cells.flatten(2).transpose(1, 2) + pool.position[1:]
    key = pool.key(cells).unflatten(-1, (pool.num_heads, -1))
    query = pool.query(model.text(_probe_words(model).to(device)))
    query = query.unflatten(-1, (pool.num_heads, -1)) * key.shape[-1] ** -0.5
    model.train(was_training)
    return float(torch.einsum("mnhd,khd->mkhn", key, query).std(dim=-1).mean())


def probe_images(size_px: int) -> Tensor:
    """Made-up images float32 [8,3,S,S] in 0..1: discs of all sizes over one another.

    Such "dead leaves" have edges and areas as photographs have them. The same on every machine.
    """
    generator = torch.Generator().manual_seed(0)
    at = (torch.arange(size_px) + 0.5) / size_px
    images = torch.rand(_NUM_IMAGES, 3, 1, 1, generator=generator).repeat(1, 1, size_px, size_px)
    for image in images:
        for x, y, size, *colour in torch.rand(_NUM_DISCS, 6, generator=generator).tolist():
            radius = 0.03 * 10**size  # 0.03 to 0.3 of the side
            inside = (at[None] - x) ** 2 + (at[:, None] - y) ** 2 < radius**2
            image[:, inside] = torch.tensor(colour)[:, None]
    return images


def _probe_words(model: IPIQAModel) -> Tensor:
    """int64 [K,3]: one token of the vocabulary between SOT and EOT, evenly spaced over it."""
    text = model.config.text
    ids = torch.linspace(0, text.vocab_size - 1, _NUM_WORDS + 2).long()[1:-1]
    ids = ids[(ids != text.sot_id) & (ids != text.eot_id)]
    ends = torch.full_like(ids, text.sot_id), torch.full_like(ids, text.eot_id)
    return torch.stack([ends[0], ids, ends[1]], dim=1)
