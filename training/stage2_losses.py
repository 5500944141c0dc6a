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
    visual, alignment, near, near_ali = _tuple_losses(
        head, cache, config, tuples, generator, device
    )
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
    if config.alignment_margin_weight:
        loss = loss + config.alignment_margin_weight * near_ali
        values["alignment_margin_loss"] = float(near_ali.detach())
    return loss, values


def margin_distillation_loss(
    scores: Tensor, verdicts: Tensor, reference: Tensor, *, scale: float = 2.0
) -> Tensor:
    """How far scores are from the backbone's own verdicts, in units of `scale`, squared, averaged.

    A verdict is a margin, logit(high) - logit(low), or a mean of margins; it is standardised by
    the verdicts of the training set and spread to `scale`. A head sees a thousandth of the images
    that the backbone has seen; held to its verdicts, which are linear in the embeddings, it does
    not bend where it has no data. Not in the paper.

    Args:
        scores: raw scores of any shape; NaN counts nothing (padding).
        verdicts: of that shape, in logits. reference: those of the training set, of any shape.
    """
    target = scale * (verdicts - reference.mean()) / reference.std().clamp(min=1e-6)
    valid = ~torch.isnan(scores)
    return ((scores[valid] - target[valid]) / scale).square().mean()


def _visual_verdicts(margins: Tensor) -> Tensor:
    """Mean of the technical and the aesthetic margin: [...,5] -> [...]."""
    return margins[..., :2].mean(-1)


def _tuple_losses(
    head: ScoringHead,
    cache: EmbeddingCache,
    config: Stage2Config,
    places: Tensor,
    generator: torch.Generator | None,
    device: str | torch.device,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """L_vis (18), L_ali (19) and the distances of s_vis and of s_ali from the margins."""
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
    near = near_ali = torch.zeros((), device=device)
    margins, known = cache.tuple_margins[places].to(device), cache.tuple_margins.to(device)
    if config.margin_weight:
        near = margin_distillation_loss(visual, _visual_verdicts(margins), _visual_verdicts(known))
    if config.alignment_margin_weight:
        # The damaged images with both prompts too: what damage does to s_ali is held as well.
        damaged = lean_alignment(
            head, z_vis[:, 1:].repeat_interleave(2, dim=1), alignment[:, 1:, :2].flatten(1, 2)
        )
        near_ali = margin_distillation_loss(
            torch.cat([scores, damaged], dim=1),
            margins[..., 2:4].flatten(1),
            known[..., 2:4],
        )
    return *ranked, near, near_ali


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
    margins, known = cache.ladder_margins[places].to(device), cache.tuple_margins.to(device)
    return ranked, margin_distillation_loss(
        scores, _visual_verdicts(margins), _visual_verdicts(known)
    )


def _choose(
    config: Stage2Config, shape: tuple[int, ...], generator: torch.Generator | None
) -> Tensor:
    allowed = torch.tensor([PROMPTS.index(name) for name in config.visual_prompts])
    return allowed[torch.randint(len(allowed), shape, generator=generator)]


def _take(alignment: Tensor, chosen: Tensor) -> Tensor:
    """z_ali [B,I,3,h] with the chosen prompt [B,I] -> [B,I,h]."""
    index = chosen[:, :, None, None].expand(-1, -1, 1, alignment.shape[-1])
    return alignment.gather(2, index).squeeze(2)
