"""Errors of ELIQ: one base class, whose message is shown to the user as it is.

A message says what was expected, what was found and what to do, in one line.
"""

from __future__ import annotations

__all__ = [
    "BackboneError",
    "BulkError",
    "CheckpointError",
    "ConfigError",
    "DiffusionError",
    "EliqError",
    "EvaluationError",
    "ImageError",
    "PromptError",
    "SupervisionError",
    "TrainingError",
]


class EliqError(Exception):
    """Base of every error that ELIQ raises on purpose."""


class ImageError(EliqError):
    """An image of a wrong type, shape or range."""


class PromptError(EliqError):
    """A prompt of a wrong type, or prompts that do not match the images in number."""


class ConfigError(EliqError):
    """A configuration value outside what it may be."""


class CheckpointError(EliqError):
    """A checkpoint that is missing, damaged, unsafe or of another version."""


class BackboneError(EliqError):
    """A backbone that cannot be loaded, or that fails its probe."""


class SupervisionError(EliqError):
    """A supervision set that cannot be built or read."""


class TrainingError(EliqError):
    """A training run that cannot start or go on."""


class DiffusionError(EliqError):
    """A diffusers pipeline, or an option for one, that ELIQ cannot work with."""


class EvaluationError(EliqError):
    """A benchmark of human opinions that cannot be read or compared with."""


class BulkError(EliqError):
    """A run over many images that cannot start or go on."""
