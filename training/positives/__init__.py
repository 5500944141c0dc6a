"""Positives: images of current generators for a list of prompts (section 3.2.2)."""

from __future__ import annotations

from .config import PositivesConfig
from .loading import free_memory, load_pipeline
from .make import PositivesReport, make_positives, read_models, read_positives
from .models import DEFAULT_MODELS, KNOWN_MODELS, ModelSettings, model_settings
from .same_models import check_same_models
from .saving import save_generated, why_unusable
from .seeds import image_seed
from .shards import Shard

__all__ = [
    "DEFAULT_MODELS",
    "KNOWN_MODELS",
    "ModelSettings",
    "PositivesConfig",
    "PositivesReport",
    "Shard",
    "check_same_models",
    "free_memory",
    "image_seed",
    "load_pipeline",
    "make_positives",
    "model_settings",
    "read_models",
    "read_positives",
    "save_generated",
    "why_unusable",
]
