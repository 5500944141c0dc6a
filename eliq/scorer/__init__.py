"""The scorer: images and prompts in, two scores an image out."""

from .scorer import Scorer

__all__ = ["Scorer"]
