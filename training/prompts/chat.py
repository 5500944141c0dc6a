"""A local instruction model as a function: a message and a seed in, a reply out.

    chat = TransformersChat("Qwen/Qwen3-4B-Instruct-2507", device="cuda")
    chat("Name a fruit.", seed=0)

Any model of transformers with a chat template does, from the hub or a directory; code that comes
with a model is never run. The only one tried here is a tiny random one, in the tests.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import torch

from eliq.errors import TrainingError

__all__ = ["Chat", "TransformersChat"]

log = logging.getLogger("eliq")


class Chat(Protocol):
    """Anything that answers a message; the same seed gives the same reply."""

    def __call__(self, message: str, *, seed: int) -> str: ...


class TransformersChat:
    """A causal language model of transformers, sampled.

    Args:
        model: hub id or directory.
        revision: commit or tag of a hub id.
        device: None = the GPU where there is one.
        max_new_tokens: of a reply.
        temperature: 0 = the likeliest reply, whatever the seed.

    Raises:
        TrainingError: nothing loads under that name, or it has no chat template.
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        device: str | None = None,
        max_new_tokens: int = 800,
        temperature: float = 0.9,
        top_p: float = 0.95,
    ) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.name = model
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.top_p = top_p
        dtype = torch.float32 if self.device.type == "cpu" else torch.bfloat16
        log.info("loading %s", model)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model, revision=revision)
            self._model: Any = AutoModelForCausalLM.from_pretrained(
                model, revision=revision, dtype=dtype
            )
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()
            raise TrainingError(
                f"{model}: expected an instruction model of transformers as a hub id or directory, "
                f"found none that loads ({reason[0][:200] if reason else type(error).__name__})"
            ) from error
        if not getattr(self._tokenizer, "chat_template", None):
            raise TrainingError(
                f"{model}: expected a model with a chat template, found none: take an instruction "
                "model, not a base model"
            )
        self._model.to(self.device).eval()

    @torch.inference_mode()
    def __call__(self, message: str, *, seed: int) -> str:
        """The reply to one message of a user, without special tokens."""
        text = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True
        )
        inputs = self._tokenizer(text, return_tensors="pt", add_special_tokens=False)
        ids = inputs["input_ids"].to(self.device)
        sampling: dict[str, Any] = {"do_sample": False}
        if self.temperature > 0:
            sampling = {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p}
        devices = [self.device] if self.device.type == "cuda" else []
        # generate() draws from the global generator: it is put back as it was.
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            output = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self.max_new_tokens,
                pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id,
                **sampling,
            )
        return self._tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True).strip()
