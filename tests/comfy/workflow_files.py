"""An example workflow, as the page saves it, turned into the prompt that the page would post."""

from __future__ import annotations

from typing import Any

__all__ = ["to_prompt", "with_tiny_model"]

_DRAWN_ONLY = ("MarkdownNote", "Note")
_VALUES_WITH_A_WIDGET = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def to_prompt(workflow: dict[str, Any], object_info: dict[str, Any]) -> dict[str, Any]:
    """Prompt by node ids; what the saved widgets say by position gets its name.

    Raises:
        KeyError: a node that is not installed.
        ValueError: not as many values as the node has widgets: saved by another version of it.
    """
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    return {
        str(saved["id"]): {
            "class_type": saved["type"],
            "inputs": {
                **_typed(saved, object_info[saved["type"]]),
                **{
                    one["name"]: links[one["link"]]
                    for one in saved["inputs"]
                    if one.get("link") is not None
                },
            },
        }
        for saved in workflow["nodes"]
        if saved["type"] not in _DRAWN_ONLY
    }


def with_tiny_model(prompt: dict[str, Any], *, steps: int = 3, size: int = 64) -> dict[str, Any]:
    """The same prompt with a diffusion model of random weights in place of the user's."""
    changed = {}
    for name, one in prompt.items():
        kind, inputs = one["class_type"], dict(one["inputs"])
        if kind == "CheckpointLoaderSimple":
            kind, inputs = "ELIQTestTinyModel", {"weights": 0}
        if kind == "CLIPTextEncode":
            kind, inputs = "ELIQTestTextEncode", {"text": inputs["text"]}
        if kind == "KSampler":
            inputs["steps"] = steps
        if kind == "EmptyLatentImage":
            inputs |= {"width": size, "height": size}
        changed[name] = {"class_type": kind, "inputs": inputs}
    vae_of = {"ELIQTestTinyModel": {0: 0, 2: 1}}  # model, clip, vae -> model, vae
    for one in changed.values():
        for key, value in one["inputs"].items():
            if isinstance(value, list) and value[0] in changed:
                outputs = vae_of.get(changed[value[0]]["class_type"], {})
                one["inputs"][key] = [value[0], outputs.get(value[1], value[1])]
    return changed


def _typed(saved: dict[str, Any], declared: dict[str, Any]) -> dict[str, Any]:
    names = []
    for group in ("required", "optional"):
        for name, (kind, *options) in declared["input"].get(group, {}).items():
            is_widget = isinstance(kind, list) or kind in _VALUES_WITH_A_WIDGET
            if is_widget and not (options and options[0].get("forceInput")):
                names.append(name)
                if options and options[0].get("control_after_generate"):
                    names.append(None)  # a second value, of the page's own
    values = saved.get("widgets_values", [])
    if len(values) != len(names):
        raise ValueError(f"{saved['type']}: expected values of {names}, found {values}")
    return {name: value for name, value in zip(names, values, strict=True) if name}
