"""Small towers, trained contrastively on rendered scenes, in place of CLIP's weights.

No published CLIP is small enough for a demonstration on one core, and random towers know nothing:
a frozen random text transformer gives vectors in which no word can be told. So the demonstration
first does to small towers what CLIP did to large ones, on pairs of scenes and true prompts.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from eliq.ip_iqa import IPIQAConfig, IPIQAModel, PromptTokenizer, TextConfig, ViTConfig

from .rated_scenes import RatedScenes

__all__ = [
    "SmallClipConfig",
    "contrastive_loss",
    "small_config",
    "small_tokenizer",
    "train_small_clip",
]

log = logging.getLogger("eliq")

_CONTROL = ("<|startoftext|>", "<|endoftext|>")


@dataclass(frozen=True)
class SmallClipConfig:
    """Contrastive pretraining: AdamW with a cosine schedule, symmetric cross entropy."""

    num_epochs: int = 12
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    temperature: float = 0.07
    seed: int = 0


def small_tokenizer(prompts: Iterable[str], *, vocab_size: int = 512) -> Tokenizer:
    """A byte-level BPE in lower case with CLIP's control tokens as its last two ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(_CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(prompts, trainer)
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in _CONTROL])
    return tokenizer


def small_config(tokenizer: Tokenizer, *, image_size_px: int = 96, **changes) -> IPIQAConfig:
    """A model of a third of a million parameters: a map of 6 x 6 cells at 96 px.

    A transformer, because a ResNet's cells are 32 px wide whatever its width, and six of them cost
    four times as much; with the attention pooling of CLIP's ResNets over its cells, so that the
    image vector is a mean of values of the cells, as in the published model.
    """
    settings = {
        "visual": ViTConfig(
            hidden_size=64,
            num_layers=3,
            num_heads=4,
            mlp_dim=128,
            patch_size=16,
            map_layer=-1,
            map_norm="last",
            pooling="attention",
        ),
        "text": TextConfig(
            vocab_size=tokenizer.get_vocab_size(),
            width=64,
            num_layers=2,
            num_heads=4,
            mlp_dim=128,
            sot_id=tokenizer.token_to_id(_CONTROL[0]),
            eot_id=tokenizer.token_to_id(_CONTROL[1]),
        ),
        "embed_dim": 64,
        "image_size_px": image_size_px,
        "cross_dim": 64,
        "cross_heads": 4,
        "head_dim": 128,
        "dropout": 0.1,
    }
    return IPIQAConfig(**{**settings, **changes})


def contrastive_loss(
    images: Tensor, prompts: Tensor, texts: list[str], temperature: float
) -> Tensor:
    """Symmetric cross entropy over a batch; rows with the same text are all right answers."""
    logits = F.normalize(images, dim=1) @ F.normalize(prompts, dim=1).T / temperature
    numbers = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    ids = torch.tensor([numbers[text] for text in texts])
    target = (ids[:, None] == ids[None]).float()
    target = target / target.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train_small_clip(
    model: IPIQAModel,
    encoder: PromptTokenizer,
    scenes: RatedScenes,
    config: SmallClipConfig,
    *,
    progress: bool = True,
) -> list[float]:
    """Trains both towers in place; the text tower is frozen again afterwards.

    Returns the mean loss of each epoch.
    """
    tokens = encoder(scenes.prompts).ids
    clip = [*model.visual.parameters(), *model.text.clip.parameters()]
    model.text.clip.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        clip, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
    )
    per_epoch = len(scenes.prompts) // config.batch_size
    total, step, losses = config.num_epochs * per_epoch, 0, []
    model.train()
    model.visual.to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(config.seed)
    bar = tqdm(total=total, desc="small CLIP", disable=None if progress else True)
    for _ in range(config.num_epochs):
        order = torch.randperm(len(scenes.prompts), generator=generator)
        sums = 0.0
        for batch in order[: per_epoch * config.batch_size].view(per_epoch, -1):
            warm = min(1.0, (step + 1) / (0.05 * total))
            factor = warm * 0.5 * (1 + math.cos(math.pi * step / total))
            for group in optimizer.param_groups:
                group["lr"] = factor * config.learning_rate
            images = scenes.images[batch].float() / 255
            images = images.contiguous(memory_format=torch.channels_last)  # faster on a CPU
            if torch.rand((), generator=generator) < 0.5:
                images = images.flip(3)
            ids = tokens[batch]
            ids = ids[:, : int((ids == model.config.text.eot_id).int().argmax(1).max()) + 1]
            loss = contrastive_loss(
                model.image_embedding(images),
                model.prompt_embedding(ids),
                [scenes.prompts[i] for i in batch.tolist()],
                config.temperature,
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(clip, 1.0)
            optimizer.step()
            sums += float(loss.detach())
            step += 1
            bar.update(1)
        losses.append(sums / per_epoch)
        log.info("small CLIP, epoch %d: loss %.3f", len(losses), losses[-1])
        bar.set_postfix(loss=f"{losses[-1]:.3f}")
    bar.close()
    model.text.clip.requires_grad_(False)
    if model.config.qa_token:
        model.text.clip.get_input_embeddings().qa.requires_grad_(True)
    model.eval()
    return losses
