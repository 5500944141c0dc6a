"""The pack leaves nothing where it has no business: no files, no connections.

Named so that it runs last: it looks at all that the other tests made the server do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.comfy.server import ROOT

pytestmark = pytest.mark.comfy


def test_nothing_reached_for_the_network(server):
    """Through all tests so far, the import of the pack among them."""
    assert not server.watched("connect")


def test_nothing_was_written_outside_of_output_temp_and_models(server):
    folders = [server.base / name for name in ("output", "temp", "models")]
    comfyui_own = [server.base / "user", Path("/dev")]
    outside = {
        path
        for path in map(Path, server.watched("write"))
        if not any(path.is_relative_to(folder) for folder in (*folders, *comfyui_own))
    }
    packs = (server.base / "custom_nodes", ROOT)
    outside = {
        path for path in outside if path.suffix != ".pyc" and "__pycache__" not in path.parts
    }
    assert not {path for path in outside if any(path.is_relative_to(pack) for pack in packs)}
    assert not outside, outside
