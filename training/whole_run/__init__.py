"""All of it by one command and one config: prompts, images, set, critic, evaluation."""

from __future__ import annotations

from .config import BackboneChoice, EvaluationChoice, RunConfig
from .steps import run_all

__all__ = ["BackboneChoice", "EvaluationChoice", "RunConfig", "run_all"]
