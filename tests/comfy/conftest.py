"""A running ComfyUI for the tests marked `comfy`; without one they are skipped.

    ELIQ_COMFYUI_DIR=~/ComfyUI ELIQ_COMFYUI_PYTHON=~/ComfyUI/venv/bin/python pytest -m comfy

Nothing is written to that ComfyUI's folder: each server gets a base folder of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.comfy.server import ROOT, ComfyServer, copy_pack

TINY_CRITIC = "tiny"  # in models/eliq of every server
BROKEN_CRITIC = "broken"  # a config.json that is none
RATED_MODEL = "rated"  # of IP-IQA
BARE_MODEL = "tiny/Qwen3-VL"  # of random weights, as one of the hub is placed by hand


@pytest.fixture(scope="session")
def comfyui_dir() -> Path:
    named = os.environ.get("ELIQ_COMFYUI_DIR")
    if not named:
        pytest.skip("ELIQ_COMFYUI_DIR names no ComfyUI")
    folder = Path(named).expanduser()
    if not (folder / "main.py").is_file():
        pytest.fail(f"ELIQ_COMFYUI_DIR: expected a ComfyUI with main.py, found {folder}")
    return folder


@pytest.fixture(scope="session")
def rated_model_dir(tmp_path_factory) -> Path:
    """A tiny random IP-IQA model on disk."""
    from tests.tiny_ip_iqa_doors import tiny_ip_iqa

    return tiny_ip_iqa().save_pretrained(tmp_path_factory.mktemp("ip_iqa") / RATED_MODEL)


@pytest.fixture(scope="session")
def new_server(comfyui_dir, tiny_checkpoint_dir, rated_model_dir, tmp_path_factory):
    """Starts a server with the pack in a folder of the given name; all are stopped at the end."""
    started = []

    def start(folder_name: str = "ComfyUI-ELIQ", *, extra_args: tuple[str, ...] = ()):
        base = tmp_path_factory.mktemp("comfyui")
        _put_files(base, tiny_checkpoint_dir)
        shutil.copytree(rated_model_dir, base / "models" / "eliq" / RATED_MODEL)
        copy_pack(base / "custom_nodes" / folder_name)
        python = os.environ.get("ELIQ_COMFYUI_PYTHON", sys.executable)
        server = ComfyServer(comfyui_dir, python, base, extra_args=extra_args)
        started.append(server)
        server.start()
        if "IMPORT FAILED" in server.log():
            told = [line for line in server.log().splitlines() if "comfy_entrypoint" in line]
            pytest.exit(f"the pack does not load: {told}", returncode=1)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def server(new_server) -> Iterator[ComfyServer]:
    """The server that most tests share."""
    return new_server()


@pytest.fixture(scope="session")
def clicked_server(new_server) -> ComfyServer:
    """One on which a download is asked for: it alone may be found to have tried the network."""
    return new_server("eliq")


@pytest.fixture(scope="session")
def object_info(server) -> dict:
    """What every node declares."""
    return server.get("/object_info")


def _put_files(base: Path, tiny_checkpoint_dir: Path) -> None:
    """Example images as inputs, and critics to find."""
    (base / "input").mkdir(parents=True)
    for image in (ROOT / "examples" / "images").glob("*.jpg"):
        shutil.copyfile(image, base / "input" / image.name)
    from tests.tiny import tiny_backbone

    critics = base / "models" / "eliq"
    shutil.copytree(tiny_checkpoint_dir, critics / TINY_CRITIC)
    bare = tiny_backbone()
    bare.model.save_pretrained(critics / BARE_MODEL)
    bare.tokenizer.save(str(critics / BARE_MODEL / "tokenizer.json"))
    means = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (critics / BARE_MODEL / "preprocessor_config.json").write_text(json.dumps(means))
    (critics / BROKEN_CRITIC).mkdir()
    (critics / BROKEN_CRITIC / "config.json").write_text('{"format": "something else"}')
