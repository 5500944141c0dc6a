"""The page put together: markup, style, scripts and data in one file, under a strict policy.

What the page shows comes from files and prompts that nobody vouches for. It is data, never markup:
one block of JSON in which ``<``, ``>`` and ``&`` are escaped, shown by scripts that make text
nodes. The policy allows this file's own style and script by their hashes, pictures from this disk,
and nothing else: no request, no other script, no markup from strings.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["page_pieces"]

_FRONT = Path(__file__).parent / "front"
_SCRIPTS = (
    "data", "state", "histogram", "scatter", "tiles", "grid", "strips", "view", "export",
    "controls", "main",
)  # fmt: skip
_POLICY = (
    "default-src 'none'; img-src 'self' file: data:; style-src {style}; script-src {script}; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
# In a block of script no character ends the block, and none is a line end to old parsers.
_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def page_pieces(title: str, data: dict[str, Any], blocks: Iterable[str]) -> Iterator[str]:
    """The text of the page, piece by piece; ``blocks`` are the thumbnails inside it."""
    style, script = _front()
    policy = _POLICY.format(style=_hash_source(style), script=_hash_source(script))
    parts: dict[str, Iterable[str]] = {
        "TITLE": [escape(title)],
        "POLICY": [escape(policy, quote=False).replace('"', "&quot;")],
        "STYLE": [style],
        "SCRIPT": [script],
        "DATA": [_json_text(data)],
        "THUMBNAILS": blocks,
    }
    for number, piece in enumerate(re.split(r"@@([A-Z]+)@@", _read("report.html"))):
        if number % 2:
            yield from parts[piece]
        else:
            yield piece


@cache
def _front() -> tuple[str, str]:
    """Style and script, exactly as they stand in the page: their hashes are of these texts."""
    scripts = "\n".join(f"// {name}.js\n{_read(f'{name}.js')}" for name in _SCRIPTS)
    return _read("report.css"), f'"use strict";\n(() => {{\n{scripts}\n}})();\n'


def _read(name: str) -> str:
    return (_FRONT / name).read_text(encoding="utf-8")


def _hash_source(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _json_text(data: dict[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Half a surrogate pair, from a name that is no UTF-8, cannot be written as text.
    return text.translate(_ESCAPES).encode("utf-8", "replace").decode("utf-8")
