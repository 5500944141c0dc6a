"""IP-IQA, the second system: a scorer that reads the prompt, trained on people's ratings.

From "Bringing Textual Prompt to AI-Generated Image Quality Assessment" (Qu, Li, Gao). Names are
loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module

_MODULES = {
    "CrossAttention": ".fusion",
    "Explanation": ".explaining",
    "IPIQA": ".scorer",
    "IPIQAConfig": ".config",
    "IPIQAModel": ".model",
    "PromptTokenizer": ".tokens",
    "PromptTokens": ".tokens",
    "RatingScale": ".scale",
    "ResNetConfig": ".config",
    "TextConfig": ".config",
    "ViTConfig": ".config",
    "collapse_check": ".losses",
    "explain": ".explaining",
    "image2prompt_loss": ".losses",
    "load_clip": ".clip_weights",
    "rating_loss": ".losses",
    "start_pooling": ".pooling_start",
    "to_model_pixels": ".preprocess",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    """A public name, imported at its first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
