"""Entry of the ComfyUI node pack: this clone, placed in custom_nodes/, is the pack.

Nothing is imported at the top: tools that read the folder as a package, such as pytest, come by
here without ComfyUI.
"""

WEB_DIRECTORY = "./eliq_nodes/web"  # the help pages of the nodes


async def comfy_entrypoint():
    """What ComfyUI asks of a pack: its `ComfyExtension`."""
    from .eliq_nodes.extension import EliqExtension

    return EliqExtension()
