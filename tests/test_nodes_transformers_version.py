"""An installation of ComfyUI whose transformers is too old for any critic."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from tests.comfy_pack import pack_module

version = pack_module("transformers_version")


def test_the_transformers_of_the_tests_will_do():
    version.check_transformers()


def test_an_older_one_is_named_in_one_line_with_what_to_do(monkeypatch):
    old = ModuleType("transformers")
    old.__version__ = "4.50.3"
    monkeypatch.setitem(sys.modules, "transformers", old)
    with pytest.raises(version.BackboneError) as refused:
        version.check_transformers()
    message = str(refused.value)
    assert "4.57" in message and "4.50.3" in message and "requirements.txt" in message
    assert len(message.splitlines()) == 1
