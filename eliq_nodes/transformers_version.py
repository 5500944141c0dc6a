"""Whether ComfyUI's transformers knows the critic's model. Nothing of ComfyUI."""

from __future__ import annotations

from ..eliq.errors import BackboneError

__all__ = ["check_transformers"]


def check_transformers() -> None:
    """ComfyUI asks for transformers 4.50.3; Qwen3-VL, which every critic is, came with 4.57.

    Raises:
        BackboneError: an older one is installed.
    """
    import transformers

    if not hasattr(transformers, "Qwen3VLConfig"):
        raise BackboneError(
            "expected transformers 4.57 or later, where Qwen3-VL appears, found "
            f"{transformers.__version__}: install this pack's requirements.txt into ComfyUI's "
            "Python, by hand or with ComfyUI-Manager, and start ComfyUI again"
        )
