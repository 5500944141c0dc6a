"""Where an IP-IQA model looks in an image for the words of its prompt (Figure 3 of the paper).

The pooling has one query, the vector of a whole text. So the map of a word is the pooling's answer
to that word as a text of its own, and beside the words stands what scoring itself asked: the whole
prompt. A map says where information was taken from; it is no proof that the object is there, nor
how the score came about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..errors import ConfigError, ImageError, PromptError
from ..images import LoadedImage, describe_source, load_image
from ..prompts import clean_prompt
from .explain_picture import WHOLE_PROMPT, WordMap
from .pixels import model_pixels
from .scorer import IPIQA
from .words import PromptWord, find_words, prompt_words

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Maps of one image and prompt.

    Attributes:
        image: RGB, as it was scored before resizing.
        prompt: cleaned.
        whole: the map of the whole prompt, which is the one that scoring uses.
        words: the maps of words, in the order asked for, or that of the prompt.
        unread: words of the prompt beyond what the model reads.
        visual_quality, alignment: the image's scores, 0..1; None = the model has no such output.
    """

    image: Image.Image
    prompt: str
    whole: WordMap
    words: tuple[WordMap, ...]
    unread: tuple[str, ...]
    visual_quality: float | None
    alignment: float | None


def explain(
    scorer: IPIQA, image: Any, prompt: str, *, words: str | Sequence[str] | None = None
) -> Explanation:
    """Attention maps of an image for its prompt and for words of it.

    Args:
        image: path, PIL image or float tensor [3,H,W] in [0,1].
        words: words of the prompt, or several that follow one another, in a list, or a text that
            is one of them; None = all words.

    Raises:
        ConfigError: a model without the cross-modality pooling.
        ImageError: an image that cannot be read.
        PromptError: no prompt, a word that does not stand in it, or one that is not read.
    """
    check_can_explain(scorer)
    text = clean_prompt(prompt).text
    if not text:
        raise PromptError("expected a prompt to explain, found none: give the image's prompt")
    chosen, unread = _chosen_words(scorer, text, [words] if isinstance(words, str) else words)
    loaded = load_image(image)
    if loaded.stored is None:
        raise ImageError(f"{describe_source(image)}: {loaded.error}")
    whole, *maps = _maps(scorer, loaded, [PromptWord(WHOLE_PROMPT, 0, len(text)), *chosen], text)
    row = scorer.score_loaded([loaded], [prompt], bar=_NoBar())[0]
    return Explanation(
        _picture(loaded),
        text,
        whole,
        tuple(maps),
        unread,
        row["visual_quality"],
        row["alignment"],
    )


def check_can_explain(scorer: Any) -> None:
    """Refuse what has no cross-modality pooling.

    Raises:
        ConfigError: a scorer of another kind, or a model without it.
    """
    if not isinstance(scorer, IPIQA):
        raise ConfigError(
            f"expected an IP-IQA model, found {type(scorer).__name__}: attention maps come from "
            "its cross-modality pooling, which a label-free critic does not have"
        )
    if not scorer.model.config.fusion:
        raise ConfigError(
            f"expected a model with the cross-modality pooling, found one without in "
            f"{Path(scorer.source).name if scorer.source else 'memory'}: train it with fusion"
        )


def _chosen_words(
    scorer: IPIQA, text: str, words: Sequence[str] | None
) -> tuple[list[PromptWord], tuple[str, ...]]:
    """The words to map, and those of the prompt that the model does not read."""

    def is_read(word: PromptWord) -> bool:
        return not scorer.encoder([text[: word.end]]).truncated[0]

    if words is None:
        known = prompt_words(text)
        read = [word for word in known if is_read(word)]
        return read, tuple(word.text for word in known[len(read) :])
    chosen = [find_words(text, word) for word in words]
    for word in chosen:
        if not is_read(word):
            raise PromptError(
                f"expected a word that the model reads, found {word.text[:80]!r}, which stands "
                f"beyond its {scorer.model.config.max_prompt_tokens} tokens: shorten the prompt"
            )
    return chosen, ()


@torch.inference_mode()
def _maps(scorer: IPIQA, loaded: LoadedImage, words: list[PromptWord], text: str) -> list[WordMap]:
    model = scorer.model
    pixels = model_pixels([loaded.stored], model.config.image_size_px, scorer.device)
    queries = [text[word.start : word.end] for word in words]
    with torch.autocast(scorer.device.type, enabled=False):
        # The image goes through its tower once, whatever the number of words.
        feature_map = model.visual(pixels).map.expand(len(words), -1, -1, -1)
        vectors = model.text(scorer.encoder(queries).ids.to(scorer.device))
        found = model.cross.attention(feature_map, vectors)
    cells = (found.map * found.map[0].numel()).float().cpu()
    shares = found.global_share.float().cpu().tolist()
    return [
        WordMap(word.text, word.start, word.end, one, share)
        for word, one, share in zip(words, cells, shares, strict=True)
    ]


def _picture(loaded: LoadedImage) -> Image.Image:
    stored = loaded.stored
    if stored.dtype != torch.uint8:
        stored = (stored.clamp(0, 1) * 255).round().byte()
    return Image.fromarray(stored.permute(1, 2, 0).contiguous().cpu().numpy())


class _NoBar:
    def update(self, count: int) -> None:
        pass
