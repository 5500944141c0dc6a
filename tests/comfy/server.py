"""A real ComfyUI in a process of its own, with a folder of its own, asked over HTTP.

What it may not do is written down while it runs: a pack placed before the others (`watch_pack`)
refuses every connection to another machine and notes it, and notes each file opened for writing.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ComfyServer", "Refused", "Run", "copy_pack", "node"]

ROOT = Path(__file__).resolve().parents[2]
_WATCH = Path(__file__).with_name("watch_pack")
_TEST_NODES = Path(__file__).with_name("tiny_model_nodes")
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the server is local
# The pack must be found without a path, and stay off the network without being told to: a proxy of
# this machine would hide from the watch where a connection leads.
_NOT_HANDED_ON = (
    "PYTHONPATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY",
    "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy",
)  # fmt: skip
_NOT_HANGING_S = 600  # a bound, no expectation: a test that needs it has failed


class Refused(Exception):
    """The server did not take the prompt; holds its answer."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(json.dumps(answer)[:2000])
        self.answer = answer

    def details(self) -> str:
        """Everything it says about the inputs, in one text."""
        return json.dumps(self.answer, ensure_ascii=False)


@dataclass(frozen=True)
class Run:
    """What /history says of one prompt.

    Attributes:
        status: "success" or "error".
        outputs: node id -> what was drawn on that node; what nodes that it expanded into gave
            is drawn on it, the last of them last.
        cached: ids of the nodes that were not run again.
        error: message of the exception, "" = none.
        error_node: type of the node that raised it.
        was_interrupted: whether it was stopped by the user.
    """

    status: str
    outputs: dict[str, Any]
    cached: frozenset[str] = frozenset()
    error: str = ""
    error_node: str = ""
    was_interrupted: bool = False

    def text(self, node_id: str) -> list[str]:
        return list(self.outputs[node_id]["text"])


@dataclass
class ComfyServer:
    """Starts with `start`, must end with `stop`."""

    comfyui: Path
    python: str
    base: Path
    process: subprocess.Popen | None = None
    url: str = ""
    extra_args: tuple[str, ...] = field(default=())

    def start(self, *packs: Path) -> None:
        """Run ComfyUI on a free port, with these packs linked, and wait until it answers."""
        for name in ("custom_nodes", "input", "models", "output", "temp", "user"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        for pack in (_WATCH, _TEST_NODES, *packs):
            link = self.base / "custom_nodes" / pack.name
            if not link.exists():
                link.symlink_to(pack, target_is_directory=True)
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [self.python, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port)]
        command += ["--base-directory", str(self.base), "--disable-auto-launch"]
        command += ["--database-url", f"sqlite:///{self.base / 'user' / 'comfyui.db'}"]
        # The default cache lets go of results when memory is short: another test each time.
        command += ["--disable-api-nodes", "--cache-classic", *self.extra_args]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        environment |= {"NO_PROXY": "127.0.0.1", "ELIQ_TEST_WATCH": str(self.base / "watched.txt")}
        for name in _NOT_HANDED_ON:
            environment.pop(name, None)
        with open(self.base / "log.txt", "w") as log:
            self.process = subprocess.Popen(
                command, cwd=self.comfyui, stdout=log, stderr=log, env=environment
            )
        end = time.monotonic() + _NOT_HANGING_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"ComfyUI ended at once:\n{self.log()[-3000:]}")
            try:
                self.get("/system_stats")
                return
            except OSError:
                time.sleep(0.3)
        raise RuntimeError(f"ComfyUI does not answer:\n{self.log()[-3000:]}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def log(self) -> str:
        return (self.base / "log.txt").read_text(errors="replace")

    def watched(self, what: str) -> list[str]:
        """What the watching pack noted: "connect" -> addresses, "write" -> paths."""
        noted = self.base / "watched.txt"
        lines = noted.read_text(errors="replace").splitlines() if noted.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{what} ")]

    def get(self, path: str) -> Any:
        """JSON where the answer is JSON, else text."""
        with _OPENER.open(self.url + path, timeout=_NOT_HANGING_S) as answer:
            body = answer.read().decode()
            return json.loads(body) if "json" in answer.headers["Content-Type"] else body

    def send(self, path: str, data: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(data).encode(), {"Content-Type": "application/json"}
        )
        try:
            with _OPENER.open(request, timeout=_NOT_HANGING_S) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise Refused(json.loads(error.read())) from None

    def queue(self, prompt: dict[str, Any], client_id: str = "nobody") -> str:
        """Post a prompt; gives its id.

        Raises:
            Refused: validation failed, be it of a part of the graph.
        """
        answer = self.send("/prompt", {"prompt": prompt, "client_id": client_id})
        if answer["node_errors"]:
            raise Refused(answer)
        return answer["prompt_id"]

    def wait(self, prompt_id: str) -> Run:
        """The prompt's history, once it has ended."""
        end = time.monotonic() + _NOT_HANGING_S
        while time.monotonic() < end:
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry and entry["status"].get("completed") is not None:
                return _read_history(entry)
            if self.process.poll() is not None:
                raise RuntimeError(f"ComfyUI died:\n{self.log()[-3000:]}")
            time.sleep(0.05)
        raise RuntimeError(f"no end of prompt {prompt_id}:\n{self.log()[-3000:]}")

    def run(self, prompt: dict[str, Any]) -> Run:
        return self.wait(self.queue(prompt))

    def resident_kib(self) -> int:
        """Memory that the server's process holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """One node of a prompt; a link is ["id", output]."""
    return {"class_type": class_type, "inputs": inputs}


def copy_pack(folder: Path) -> Path:
    """A copy of what an installation from the registry ships: tracked, and not in .comfyignore.

    Files that are new and not yet tracked go along, or a test could not run before a commit. An
    unpacked source package, without git, is linked as it is.
    """
    if not (ROOT / ".git").exists():
        folder.symlink_to(ROOT, target_is_directory=True)
        return folder
    listed = _git("ls-files", "--cached", "--others", "--exclude-standard")
    left_out = set(_git("ls-files", "-c", "-o", "-i", "--exclude-from=.comfyignore"))
    for name in listed:
        if name not in left_out and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(
        ["git", *arguments, "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in done.stdout.split("\0") if name]


def _read_history(entry: dict[str, Any]) -> Run:
    messages = entry["status"]["messages"]
    told = {kind: content for kind, content in messages}
    error = told.get("execution_error", {})
    display = {name: where["display_node"] for name, where in entry.get("meta", {}).items()}
    return Run(
        entry["status"]["status_str"],
        {display.get(name, name): given for name, given in entry["outputs"].items()},
        frozenset(told.get("execution_cached", {}).get("nodes", ())),
        error.get("exception_message", ""),
        error.get("node_type", ""),
        "execution_interrupted" in told,
    )


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
