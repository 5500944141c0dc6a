"""What a user passes on to the pipeline, told apart by prompt and by candidate.

`best_of_n` and `reroll` make one call for some candidates of one prompt. An argument of such a
call is one of four kinds: text and precomputed embeddings belong to a prompt, starting latents to
a candidate, all the rest to the whole run. What is handed to the pipeline is a copy: no tensor of
the user's is changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, DiffusionError, PromptError
from .pipelines import check_call_kwargs, describe_pipeline

__all__ = ["PromptCall", "check_seed", "make_generator", "plan_calls"]

_OURS = {
    "generator": "every candidate has a generator of its own: use seed= and generator_device=",
    "num_images_per_prompt": "use n=, and batch_size= for how many are made at once",
    "output": "images are what is needed here",
    "output_type": "images are made as tensors: use output_type='pil' or 'pt' of this function",
    "return_dict": "leave it out",
    "prompts": "pass the prompt, or a list of prompts, as the second argument",
}
_TEXT_NAME = re.compile(r"(negative_)?prompt(_\d+)?")
_PER_CANDIDATE = ("latents",)


@dataclass(frozen=True)
class PromptCall:
    """How the pipeline is called for the candidates of one prompt.

    Attributes:
        prompt: what the images are scored with; passed on unless there are embeddings.
        passes_prompt: False where ``prompt_embeds`` stands in its place.
        texts: ``negative_prompt``, ``prompt_2`` and their like, one text each.
        embeds: precomputed embeddings and their masks: tensors [1,...], or a list of one tensor.
        rows: ``latents`` [n,...].
        shared: passed on as they are.
    """

    prompt: str
    passes_prompt: bool = True
    texts: dict[str, str] = field(default_factory=dict)
    embeds: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, Tensor] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)

    def for_rows(self, rows: Sequence[int]) -> dict[str, Any]:
        """Arguments for one call that makes the candidates ``rows``; tensors are copies."""
        count = len(rows)
        texts = {**({"prompt": self.prompt} if self.passes_prompt else {}), **self.texts}
        # A list even for negative texts: some pipelines refuse two kinds side by side.
        arguments: dict[str, Any] = {
            name: text if count == 1 else [text] * count for name, text in texts.items()
        }
        for name, value in self.embeds.items():
            if isinstance(value, Tensor):
                arguments[name] = value.repeat(count, *[1] * (value.ndim - 1))
            else:
                arguments[name] = [_copied(value[0]) for _ in range(count)]
        for name, value in self.rows.items():
            arguments[name] = value[list(rows)]  # indexing with a list copies
        for name, value in self.shared.items():
            arguments[name] = _copied(value)
        return arguments


def plan_calls(
    pipe: Any, prompt: str | Sequence[str], num_candidates: int, arguments: Mapping[str, Any]
) -> list[PromptCall]:
    """One `PromptCall` a prompt, from what the user gave for all of them.

    Args:
        prompt: one text, or a list of P texts.
        num_candidates: n, of each prompt.
        arguments: texts and embeddings, one for all prompts or one a prompt; ``latents`` [n,...];
            anything else that the pipeline knows.

    Raises:
        PromptError: a prompt that is no text, or no prompt at all.
        DiffusionError: an argument that the pipeline does not know, that is set here, or of a
            wrong length.
    """
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, (list, tuple)) or not all(isinstance(p, str) for p in prompts):
        raise PromptError(f"prompt: expected a text or a list of texts, found {_kind(prompt)}")
    if not prompts:
        raise PromptError("prompt: expected at least one, found an empty list")
    _check_names(pipe, arguments)
    embeds_given = arguments.get("prompt_embeds") is not None
    plans = [PromptCall(text, passes_prompt=not embeds_given) for text in prompts]
    for name, value in arguments.items():
        if name == "num_images_per_prompt":
            continue  # 1 or None, as checked: what we do anyway
        if name in _PER_CANDIDATE and value is not None:
            _check_rows(name, value, num_candidates)
            for plan in plans:
                plan.rows[name] = value
        elif _is_embeds(name, value):
            _check_embeds(name, value, len(prompts))
            for row, plan in enumerate(plans):
                row = row if len(value) > 1 else 0
                plan.embeds[name] = value[row : row + 1]
        elif _is_text(name, value):
            texts = [value] * len(prompts) if isinstance(value, str) else list(value)
            if len(texts) != len(prompts):
                raise DiffusionError(
                    f"{name}: expected one text, or {len(prompts)} of them, one a prompt, found "
                    f"{len(texts)}"
                )
            for plan, text in zip(plans, texts, strict=True):
                plan.texts[name] = text
        else:
            for plan in plans:
                plan.shared[name] = value
    return plans


def make_generator(seed: int, device: str | torch.device) -> torch.Generator:
    """A fresh generator with this seed.

    Raises:
        ConfigError: a device that has no generators here.
    """
    try:
        return torch.Generator(device).manual_seed(seed)
    except RuntimeError as error:
        first_line = str(error).splitlines()[0]
        raise ConfigError(
            f"generator_device: expected 'cpu' or a device of this machine, found {device!r} "
            f"({first_line})"
        ) from None


def check_seed(seed: Any, num_seeds: int = 1) -> None:
    """Refuse a seed that is no whole number from 0 to 2**63 - 1, or whose followers are not.

    Raises:
        ConfigError: such a seed.
    """
    is_number = isinstance(seed, int) and not isinstance(seed, bool)
    if not is_number or not 0 <= seed <= 2**63 - num_seeds:
        raise ConfigError(f"seed: expected a whole number from 0 to 2**63 - 1, found {seed!r}")


def _check_names(pipe: Any, arguments: Mapping[str, Any]) -> None:
    facts = describe_pipeline(pipe)
    for name, value in arguments.items():
        if name in _OURS and not (name == "num_images_per_prompt" and value in (None, 1)):
            raise DiffusionError(f"{name}: not taken here; {_OURS[name]}")
    check_call_kwargs(pipe, arguments)
    takes_anything = facts.modular or (
        facts.takes_any_kwarg and "prompt" not in facts.call_parameters
    )
    for name in ("prompt", "generator"):
        if name not in facts.call_parameters and not takes_anything:
            raise DiffusionError(
                f"{facts.class_name}: expected a pipeline whose call takes {name}=, found none: a "
                "text-to-image pipeline is needed here"
            )


def _check_rows(name: str, value: Any, num_candidates: int) -> None:
    found = list(value.shape) if isinstance(value, Tensor) else _kind(value)
    if not isinstance(value, Tensor) or value.ndim < 2 or len(value) != num_candidates:
        raise DiffusionError(
            f"{name}: expected a tensor with {num_candidates} rows, one a candidate, found {found}"
        )


def _check_embeds(name: str, value: Any, num_prompts: int) -> None:
    if len(value) not in (1, num_prompts):
        raise DiffusionError(
            f"{name}: expected 1 row, or {num_prompts}, one a prompt, found {len(value)}: "
            "candidates of one prompt share its embeddings"
        )


def _is_text(name: str, value: Any) -> bool:
    if not _TEXT_NAME.fullmatch(name):
        return False  # Lumina's `system_prompt` is one for the whole call
    is_list = isinstance(value, (list, tuple)) and len(value) > 0
    return isinstance(value, str) or (is_list and all(isinstance(text, str) for text in value))


def _is_embeds(name: str, value: Any) -> bool:
    if "prompt" not in name and not name.startswith(("pooled_", "negative_pooled_")):
        return False
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(isinstance(item, Tensor) for item in value)
    return isinstance(value, Tensor) and value.ndim > 0


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if type(value) in (list, tuple):
        return type(value)(_copied(item) for item in value)
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    return value


def _kind(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        kinds = sorted({type(item).__name__ for item in value})
        return f"a {type(value).__name__} of {', '.join(kinds) or 'nothing'}"
    return value.__name__ if isinstance(value, type) else type(value).__name__
