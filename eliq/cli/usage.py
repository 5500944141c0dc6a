"""How the commands' usage lines are written: ``SOURCE``, not ``{SOURCE}``."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

__all__ = ["PlainCommand"]


class PlainCommand(TyperCommand):
    """A command whose usage line names what it needs bare, and brackets once what may be left."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        pieces = super().collect_usage_pieces(ctx)
        plain = [re.sub(r"[{}]", "", piece).replace("......", "...") for piece in pieces]
        return [re.sub(r"^\[+(.*?)(\.\.\.)?\]+(\.\.\.)?$", _bracketed, piece) for piece in plain]


def _bracketed(match: re.Match[str]) -> str:
    return f"[{match[1]}{match[2] or match[3] or ''}]"
