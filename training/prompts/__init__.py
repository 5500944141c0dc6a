"""Prompts to generate positives from: taxonomy, the shipped set, checks, more by a local model."""

from __future__ import annotations

from .prompt_set import SHIPPED_PATH, Prompt, read_prompts

__all__ = ["SHIPPED_PATH", "Prompt", "read_prompts"]
