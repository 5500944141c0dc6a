"""Raw scores of cached embeddings by a head, and what they are worth on held-out rows."""

from __future__ import annotations

import torch
from torch import Tensor

from eliq.head import HeadOutput, ScoringHead
from eliq.losses import ladder_ranking_loss, overall_loss

from .embedding_cache import PROMPTS, EmbeddingCache
from .ranking import ranking_losses
from .stage1_validation import by_group
from .stage2_config import Stage2Config

__all__ = ["score_cache", "score_rows", "validate_head"]


def score_rows(
    head: ScoringHead, technical: Tensor, aesthetic: Tensor, alignment: Tensor
) -> HeadOutput:
    """The head on [B,I,h] embeddings -> scores [B,I]."""
    shape = technical.shape[:2]
    out = head(*(z.reshape(-1, z.shape[-1]) for z in (technical, aesthetic, alignment)))
    return HeadOutput(out.visual_quality.view(shape), out.alignment.view(shape))


@torch.no_grad()
def score_cache(
    head: ScoringHead, cache: EmbeddingCache, *, device: str | torch.device = "cpu"
) -> dict[str, Tensor]:
    """Raw scores of all cached rows, float32 on the CPU.

    Returns:
        tuple_visual [N,3,3] and tuple_alignment [N,3,3] (images by prompts), ladder_visual
        [M,S+1] with the own prompt, NaN where a ladder has fewer steps.
    """
    head = head.to(device).eval()

    def scored(kind: str, prompt: int) -> HeadOutput:
        z = [getattr(cache, f"{kind}_{name}").to(device) for name in ("technical", "aesthetic")]
        z_ali = getattr(cache, f"{kind}_alignment")[:, :, prompt].to(device)
        return HeadOutput(*(s.cpu() for s in score_rows(head, *z, z_ali)))

    by_prompt = [scored("tuple", prompt) for prompt in range(len(PROMPTS))]
    ladder = scored("ladder", 0).visual_quality
    return {
        "tuple_visual": torch.stack([s.visual_quality for s in by_prompt], dim=2),
        "tuple_alignment": torch.stack([s.alignment for s in by_prompt], dim=2),
        "ladder_visual": torch.where(cache.ladder_valid, ladder, torch.nan),
    }


@torch.no_grad()
def validate_head(
    head: ScoringHead,
    cache: EmbeddingCache,
    config: Stage2Config,
    *,
    device: str | torch.device = "cpu",
) -> dict[str, float]:
    """Held-out values: pair accuracies 0..1, ladder order, loss, dependence on the prompt.

    technical, aesthetic: s_vis of the positive above the negative's, all with their own prompt;
    alignment: s_ali(I+, p) above s_ali(I+, p-ali); ladder: neighbouring severities in order;
    prompt_shift: mean |s_vis(I+, p) - s_vis(I+, p-ali)| as a share of the standard deviation of
    s_vis over all held-out images. Keys with a slash, such as `alignment/colour`, are the same for
    one kind of negative.
    """
    scores = score_cache(head, cache, device=device)
    visual, alignment = scores["tuple_visual"], scores["tuple_alignment"]
    own = visual[:, :, 0]
    wins = {
        "technical": own[:, 0] > own[:, 1],
        "aesthetic": own[:, 0] > own[:, 2],
        "alignment": alignment[:, 0, 0] > alignment[:, 0, 1],
    }
    values = {name: _share(won) for name, won in wins.items()}
    pairs = alignment[:, 0, :2]
    loss = overall_loss(*ranking_losses(own, pairs, cache.tuple_supervised, margin=config.margin))
    chain = scores["ladder_visual"]
    if len(chain):
        step = chain[:, 1:]
        known = ~torch.isnan(step)
        values["ladder"] = _share((chain[:, :-1] > step)[known])
        if config.ladder_weight:
            loss = loss + config.ladder_weight * ladder_ranking_loss(
                chain[:, 0],
                step,
                margin_step=config.ladder_margin_step,
                margin_total=config.ladder_margin_total,
            )
    spread = own.std().clamp(min=1e-6)
    values["prompt_shift"] = float((visual[:, 0, 0] - visual[:, 0, 1]).abs().mean() / spread)
    values["loss"] = float(loss)
    for place, (name, won) in enumerate(wins.items()):
        groups = [kinds[place] for kinds in cache.tuple_kinds]
        values |= by_group(name, won.float().tolist(), groups)
    return values


def _share(right: Tensor) -> float:
    return float(right.float().mean()) if right.numel() else float("nan")
