"""The loss of one step of stage 2: Eqs. 18-20 on tuples, plus the ladders."""

from __future__ import annotations

import torch
from torch import Tensor

from eliq.head import ScoringHead
from eliq.losses import ladder_ranking_loss, overall_loss

from .embedding_cache import PROMPTS, EmbeddingCache
from .lean_scores import lean_alignment, lean_fusion, lean_visual
from .order import shuffled_index
from .ranking import ranking_losses
from .stage2_config import Stage2Config

__all__ = ["margin_distillation_loss", "stage2_loss"]


def stage2_loss(
    head: ScoringHead,
    cache: EmbeddingCache,
    config: Stage2Config,
    step: int,
    generator: torch.Generator,
    device: str | torch.device,
) -> tuple[Tensor, dict[str, float]]:
    """Eqs. 18-20 plus the ladder loss on the rows of one step."""

    def rows(number: int, wanted: int, stream: int) -> Tensor:
        wanted = min(number, wanted)
        places = range(step * wanted, (step + 1) * wanted)
        return torch.tensor(
            [shuffled_index(p, number, seed=config.seed, stream=stream) for p in places],
            dtype=torch.int64,
        )

    tuples = rows(len(cache.tuple_ids), config.batch_tuples, 0)
    ladders = rows(len(cache.ladder_ids), config.batch_ladders, 1)
    visual, alignment, near = _tuple_losses(head, cache, config, tuples, generator, device)
    ladder, near_ladder = _ladder_loss(head, cache, config, ladders, generator, device)
    loss = overall_loss(visual, alignment) + config.ladder_weight * ladder
    values = {
        "visual_loss": float(visual.detach()),
        "alignment_loss": float(alignment.detach()),
        "ladder_loss": float(ladder.detach()),
    }
    if config.margin_weight:
        loss = loss + config.margin_weight * (near + near_ladder)
        values["margin_loss"] = float((near + near_ladder).detach())
    return loss, values


def margin_distillation_loss(
    scores: Tensor, margins: Tensor, reference: Tensor, *, scale: float = 2.0
) -> Tensor:
    """How far s_vis is from the backbone's own verdict, in units of `scale`, squared and averaged.

    The verdict is the mean of the technical and the aesthetic margin, logit(high) - logit(low),
    standardised by that of all training images and spread to `scale`. A head sees a thousandth of
    the images that the backbone has seen; held to its verdict, which is linear in the embeddings,
    it does not bend where it has no data. Not in the paper.

    Args:
        scores: s_vis of any shape; NaN counts nothing (padding). margins: that shape and a last
            side of at least 2, technical and aesthetic first. reference: margins of the training
            set [..., >=2].
    """
    known = reference[..., :2].mean(-1)
    target = scale * (margins[..., :2].mean(-1) - known.mean()) / known.std().clamp(min=1e-6)
    valid = ~torch.isnan(scores)
    return ((scores[valid] - target[valid]) / scale).square().mean()


def _tuple_losses(
    head: ScoringHead,
    cache: EmbeddingCache,
    config: Stage2Config,
    places: Tensor,
    generator: torch.Generator | None,
    device: str | torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """L_vis (18), L_ali (19) and the distance of s_vis from the margins."""
    n = len(places)
    technical = cache.tuple_technical[places].to(device)  # [n,3,h]
    aesthetic = cache.tuple_aesthetic[places].to(device)
    alignment = cache.tuple_alignment[places].to(device)  # [n,3,3,h]
    chosen = _choose(config, (n, 3), generator).to(device)
    z_vis = lean_fusion(head, technical, aesthetic)
    visual = lean_visual(head, z_vis, _take(alignment, chosen))
    # (I+, p) and (I+, p-ali) for Eq. 19, whatever prompts the visual pairs drew.
    scores = lean_alignment(head, z_vis[:, :1].expand(-1, 2, -1), alignment[:, 0, :2])
    supervised = cache.tuple_supervised
    supervised = None if supervised is None else supervised[places].to(device)
    ranked = ranking_losses(visual, scores, supervised, margin=config.margin)
    if not config.margin_weight:
        return *ranked, torch.zeros((), device=device)
    margins = cache.tuple_margins[places].to(device)
    return *ranked, margin_distillation_loss(visual, margins, cache.tuple_margins.to(device))


def _ladder_loss(
    head: ScoringHead,
    cache: EmbeddingCache,
    config: Stage2Config,
    places: Tensor,
    generator: torch.Generator | None,
    device: str | torch.device,
) -> tuple[Tensor, Tensor]:
    """The ladders' ranking loss, and the distance of their s_vis from the margins."""
    nothing = torch.zeros((), device=device)
    if not len(places) or not config.ladder_weight:
        return nothing, nothing
    technical = cache.ladder_technical[places].to(device)  # [m,S+1,h]
    aesthetic = cache.ladder_aesthetic[places].to(device)
    alignment = cache.ladder_alignment[places].to(device)
    valid = cache.ladder_valid[places].to(device)
    # Padding is zeros, not NaN: NaN inputs would reach the weights' gradients. The prompt is drawn
    # once a ladder, since within one it is the image alone that changes.
    chosen = _choose(config, (len(places), 1), generator).expand(-1, valid.shape[1]).to(device)
    z_vis = lean_fusion(head, technical, aesthetic)
    scores = lean_visual(head, z_vis, _take(alignment, chosen))
    scores = torch.where(valid, scores, torch.nan)
    ranked = ladder_ranking_loss(
        scores[:, 0],
        scores[:, 1:],
        margin_step=config.ladder_margin_step,
        margin_total=config.ladder_margin_total,
    )
    if not config.margin_weight:
        return ranked, nothing
    margins = cache.ladder_margins[places].to(device)
    return ranked, margin_distillation_loss(scores, margins, cache.tuple_margins.to(device))


def _choose(
    config: Stage2Config, shape: tuple[int, ...], generator: torch.Generator | None
) -> Tensor:
    allowed = torch.tensor([PROMPTS.index(name) for name in config.visual_prompts])
    return allowed[torch.randint(len(allowed), shape, generator=generator)]


def _take(alignment: Tensor, chosen: Tensor) -> Tensor:
    """z_ali [B,I,3,h] with the chosen prompt [B,I] -> [B,I,h]."""
    index = chosen[:, :, None, None].expand(-1, -1, 1, alignment.shape[-1])
    return alignment.gather(2, index).squeeze(2)
