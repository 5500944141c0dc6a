"""What the locale files must hold, by what the nodes declare.

English is the nodes' own text, so it is written and not typed, from a running ComfyUI:

    python -m tests.comfy.locale_files http://127.0.0.1:8188
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

__all__ = ["LOCALES", "english", "own_nodes"]

LOCALES = Path(__file__).resolve().parents[2] / "locales"


def own_nodes(object_info: dict[str, Any]) -> dict[str, Any]:
    """The pack's nodes that users see."""
    return {
        name: declared
        for name, declared in sorted(object_info.items())
        if name.startswith("ELIQ")
        and not name.startswith("ELIQTest")
        and not declared.get("dev_only")
    }


def english(object_info: dict[str, Any]) -> dict[str, Any]:
    """nodeDefs.json: names and tooltips of every node, input and output."""
    return {name: _one(declared) for name, declared in own_nodes(object_info).items()}


def _one(declared: dict[str, Any]) -> dict[str, Any]:
    inputs = {**declared["input"].get("required", {}), **declared["input"].get("optional", {})}
    outputs = zip(declared["output_name"], declared["output_tooltips"], strict=True)
    return {
        "display_name": declared["display_name"],
        "description": declared["description"],
        "inputs": {
            name: {"name": name, "tooltip": options["tooltip"]}
            for name, (_, options) in inputs.items()
        },
        "outputs": {
            str(index): {"name": name, "tooltip": tooltip}
            for index, (name, tooltip) in enumerate(outputs)
        },
    }


if __name__ == "__main__":
    with urllib.request.urlopen(f"{sys.argv[1]}/object_info") as answer:
        text = json.dumps(english(json.load(answer)), indent=2, ensure_ascii=False)
    (LOCALES / "en" / "nodeDefs.json").write_text(text + "\n", encoding="utf-8")
