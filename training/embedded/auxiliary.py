"""Helpers of the pretraining that the shipped critic does not keep, and the losses of a batch.

From scratch, a low/high answer is too thin a signal to learn what a fox is. Linear heads give a
denser one while the backbone is young: what each 32 px cell of the image shows, read from the
vision tower, where each named thing is, read from the nouns of a caption, and which distortion of
which severity an image has, read from the answer states. All come from the renderer, none from
people, and all are thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eliq.backbone import Backbone
from eliq.losses import instruction_tuning_loss, ladder_ranking_loss
from eliq.packing import PackedRows

from ..precision import bf16_autocast
from .backgrounds import BACKGROUNDS
from .batches import THINGS, TRAINED_DISTORTIONS
from .nouns import COLOURS

__all__ = ["DEFAULT_WEIGHTS", "Auxiliary", "LossWeights", "batch_losses"]


@dataclass(frozen=True)
class LossWeights:
    """How much each helper of the low/high answers counts; the defaults train the shipped critic.

    Attributes:
        order: ranking within ladders and across images, and what damage of one aspect may do to
            the other.
        damage: which distortion of which severity, from the answer states.
        caption, grounding, place: the prompt's words, what each cell shows, where a noun lies.
    """

    order: float = 1.0
    damage: float = 0.3
    caption: float = 0.5
    grounding: float = 1.0
    place: float = 3.0


DEFAULT_WEIGHTS = LossWeights()


class Auxiliary(nn.Module):
    """The linear heads. ``vision_width`` and ``text_width`` are the model's hidden sizes."""

    def __init__(self, vision_width: int, text_width: int) -> None:
        super().__init__()
        self.sizes = (len(THINGS), len(COLOURS), 1)
        self.cells = nn.Linear(vision_width, sum(self.sizes))
        self.background = nn.Linear(vision_width, len(BACKGROUNDS))
        self.distortion = nn.Linear(text_width, len(TRAINED_DISTORTIONS) + 1)
        self.severity = nn.Linear(text_width, 1)
        self.place = nn.Linear(text_width, 2)

    def grounding_loss(self, cells: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Cross-entropy of what the cells [B*C, width] show."""
        things, colours, centres = self.cells(cells).split(self.sizes, dim=-1)
        background = self.background(cells.view(len(batch["background"]), -1, cells.shape[-1]))
        return (
            _present(things, batch["things"], 20.0)
            + _present(colours, batch["colours"], 5.0)
            + _present(centres, batch["centres"], 3.0)
            + 0.5
            * F.cross_entropy(
                background.flatten(0, 1), batch["background"].repeat_interleave(background.shape[1])
            )
        )

    def place_loss(self, states: Tensor, places: Tensor) -> Tensor:
        """Where a named thing is, from the states of nouns [N, width]; `places` [N, 2] in 0..1.

        "left of" can be judged only by a model whose nouns know where they are.
        """
        return F.smooth_l1_loss(self.place(states), places - 0.5, beta=0.1)

    def distortion_loss(self, states: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Kind and severity of the damage, from the primary answer states [B, width]."""
        kind = F.cross_entropy(self.distortion(states), batch["distortion"])
        severity = self.severity(states).squeeze(-1) - batch["severity"].float() / 5
        return kind + 2 * severity.square().mean()


def _present(logits: Tensor, target: Tensor, weight: float) -> Tensor:
    """Binary cross-entropy summed over classes; the few present ones count ``weight`` times."""
    loss = F.binary_cross_entropy_with_logits(
        logits, target, reduction="none", pos_weight=logits.new_tensor(weight)
    )
    return loss.sum(-1).mean() / 16


def batch_losses(
    backbone: Backbone,
    auxiliary: Auxiliary,
    batch: dict,
    weights: LossWeights = DEFAULT_WEIGHTS,
) -> tuple[Tensor, dict[str, float]]:
    """Loss of one batch of :class:`.batches.BatchMaker`, and figures for the log."""
    seen: dict[str, Tensor] = {}
    hook = backbone.model.model.visual.merger.register_forward_hook(
        lambda module, args, output: seen.__setitem__("cells", output)
    )
    try:
        rows = PackedRows(**{name: batch[name] for name in PackedRows.__dataclass_fields__})
        with bf16_autocast():
            hidden = backbone.hidden_states(rows, batch["pixel_values"], batch["grid_thw"])
    finally:
        hook.remove()
    states = backbone.read(hidden, rows).float()
    if batch["kind"] == "alignment":
        cells = seen["cells"].float()
        return _alignment_losses(backbone, auxiliary, batch, hidden, states, cells, weights)
    return _ladder_losses(backbone, auxiliary, batch, states, weights)


def _labels(backbone: Backbone, high: Tensor) -> Tensor:
    """Answer ids of P(high) targets: 1 high, 0 low, below 0 unsupervised."""
    ids = torch.where(high > 0.5, backbone.layout.high_id, backbone.layout.low_id)
    return torch.where(high < 0, -100, ids)


def _alignment_losses(backbone, auxiliary, batch, hidden, states, cells, weights):
    labels = batch["labels"]  # [B,K]
    states = states[:, : labels.shape[1]]
    margins = backbone.margins(states)
    known = labels >= 0
    # One prompt of a row is true and several are wrong: both sides weigh the same.
    pair = F.softplus(torch.where(labels > 0.5, -margins, margins))
    weight = torch.where(labels > 0.5, (known.sum(1, keepdim=True) - 1).float(), 1.0) * known
    binary = (pair * weight).sum() / weight.sum()
    listwise = F.cross_entropy(margins.masked_fill(~known, -1e4), labels.argmax(1))
    row, position, target = batch["caption"]
    with bf16_autocast():
        logits = backbone.label_logits(hidden[row, position])
    caption = F.cross_entropy(logits.float(), target)
    grounding = auxiliary.grounding_loss(cells, batch)
    named = hidden[batch["named"][0], batch["named"][1]].float()
    place = auxiliary.place_loss(named, batch["places"])
    loss = binary + listwise + weights.caption * caption
    loss = loss + weights.grounding * grounding + weights.place * place
    true = margins.gather(1, labels.argmax(1, keepdim=True))
    right = ((true > margins) & (labels == 0)).sum() / (labels == 0).sum()
    return loss, {
        "alignment_loss": float(binary.detach()),
        "caption_loss": float(caption.detach()),
        "grounding_loss": float(grounding.detach()),
        "place_loss": float(place.detach()),
        "swap_accuracy": float(right.detach()),
    }


def across_images_loss(verdicts: Tensor, severity: Tensor, distortion: Tensor) -> Tensor:
    """Ranking loss over pairs of versions, of whatever images, two severities or more apart.

    A ladder orders the versions of one image; this one asks that a severity of one distortion mean
    about the same in every image, and that an undamaged image stand above damaged ones of others.
    Two distortions are never compared: how much blur equals how much noise is an opinion.

    Args:
        verdicts: float [B]. severity: integer [B], 0 undamaged. distortion: integer [B], which
            one; of no account where the severity is 0.
    """
    apart = severity[None, :] - severity[:, None]  # the row is the better one
    comparable = (distortion[None, :] == distortion[:, None]) | (severity == 0)[:, None]
    pairs = (apart >= 2) & comparable
    wanted = 0.4 * apart.to(verdicts.dtype)
    loss = F.softplus(wanted - (verdicts[:, None] - verdicts[None, :]))
    return (loss * pairs).sum() / pairs.sum().clamp(min=1)


def _ladder_losses(backbone, auxiliary, batch, states, weights):
    primary, severity = batch["primary"], batch["severity"]
    index = torch.arange(len(primary))
    margins = backbone.margins(states)  # [B,Q], below them the twins'
    twins = margins[len(primary) :, :2]
    same = F.smooth_l1_loss(twins, margins[batch["twin_of"], :2], beta=0.5)
    margins, states = margins[: len(primary)], states[: len(primary)]
    own = margins[index, primary]
    other = margins[index, 1 - primary]
    starts = (severity == 0).nonzero().squeeze(1)
    steps = int(len(severity) / len(starts)) - 1
    # Severity 1 is just noticeable: "low" is a weaker claim there.
    certainty = torch.tensor([1.0, 0.4, 0.7, 1.0, 1.0, 1.0])[severity]
    answers = backbone.label_logits(states[index, primary])
    labels = _labels(backbone, (severity == 0).float())
    answer = F.cross_entropy(answers, labels, reduction="none")
    weight = certainty * torch.where(severity == 0, float(steps), 1.0)
    binary = (answer * weight).sum() / weight.sum()
    other_answer = instruction_tuning_loss(
        backbone.label_logits(states[starts, 1 - primary[starts]]),
        labels[starts],
    )
    chain = own.view(-1, steps + 1)
    rank = ladder_ranking_loss(chain[:, 0], chain[:, 1:], margin_step=0.7, margin_total=2.5)
    # Damage never makes the other aspect better, and technical damage makes beauty a little worse.
    beside = other.view(-1, steps + 1)
    rise = torch.clamp(beside[:, 1:] - beside[:, :-1], min=0).mean()
    technical = (primary.view(-1, steps + 1)[:, 0] == 0).nonzero().squeeze(1)
    if len(technical):
        spoilt = beside[technical]
        rise = rise + 0.5 * ladder_ranking_loss(
            spoilt[:, 0], spoilt[:, 1:], margin_step=0.2, margin_total=0.8
        )
    damage = auxiliary.distortion_loss(states[index, primary], batch)
    # What the head is held to: the mean of both margins, which any damage lowers.
    both = margins[:, :2].mean(1)
    visual = both.view(-1, steps + 1)
    rank = rank + ladder_ranking_loss(
        visual[:, 0], visual[:, 1:], margin_step=0.5, margin_total=2.0
    )
    across = across_images_loss(both, severity, batch["distortion"])
    loss = binary + 0.3 * other_answer + weights.order * rank + weights.order * rise
    loss = loss + weights.damage * damage + weights.order * across + 0.7 * same
    figures = {
        "instruction_loss": float(binary.detach()),
        "ladder_loss": float(rank.detach()),
        "across_loss": float(across.detach()),
        "twin_loss": float(same.detach()),
        "pair_accuracy": float((chain[:, :-1] > chain[:, 1:]).float().mean()),
        "visual_accuracy": float((visual[:, :-1] > visual[:, 1:]).float().mean()),
    }
    prompted = batch["has_prompt"]
    if bool(prompted.any()):
        right, wrong = margins[prompted, 2], margins[prompted, 3]
        loss = loss + F.softplus(-right).mean() + F.softplus(wrong).mean()
        loss = loss + F.softplus(wrong - right).mean()
        figures["ladder_swap_accuracy"] = float((right > wrong).float().mean())
    return loss, figures
