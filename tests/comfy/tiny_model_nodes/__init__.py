"""A custom node pack for tests only: a diffusion model small enough for a CPU, and its parts."""


async def comfy_entrypoint():
    """What ComfyUI calls; the import waits, so that a test may collect this folder without it."""
    from .nodes_of_tests import TestExtension

    return TestExtension()
