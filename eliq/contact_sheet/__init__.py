"""Contact sheets: scored images on one picture or one page, best first."""

from __future__ import annotations

from .entry import SheetEntry
from .sheet import write_contact_sheet

__all__ = ["SheetEntry", "write_contact_sheet"]
