"""What the server tells a page while it runs: its web socket, read with the standard library."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Page"]

_TEXT, _CLOSE = 1, 8


class Page:
    """Listens as a browser's page does; `messages` holds (type, data) of all that came.

    A context manager. Prompts queued with its `client_id` report to it.
    """

    def __init__(self, url: str, client_id: str = "tests") -> None:
        self.client_id = client_id
        self.messages: list[tuple[str, dict[str, Any]]] = []
        place = urlsplit(url)
        self._socket = socket.create_connection((place.hostname, place.port), timeout=300)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /ws?clientId={client_id} HTTP/1.1\r\nHost: {place.netloc}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self._stream = self._socket.makefile("rb")
        status = self._stream.readline()
        if b"101" not in status:
            raise OSError(f"expected a web socket, found {status!r}")
        while self._stream.readline().strip():
            pass

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    def read_until(self, is_last: Callable[[str, dict[str, Any]], bool]) -> dict[str, Any]:
        """Take messages in until one is the last; gives its data."""
        while True:
            kind, body = self._frame()
            if kind == _CLOSE:
                raise OSError("the server has closed the web socket")
            if kind == _TEXT:
                message = json.loads(body)
                self.messages.append((message["type"], message["data"]))
                if is_last(*self.messages[-1]):
                    return self.messages[-1][1]

    def read_to_the_end(self, prompt_id: str) -> None:
        """Until nothing of the prompt runs any more."""
        ends = ("execution_success", "execution_error", "execution_interrupted")
        self.read_until(lambda kind, data: kind in ends and data["prompt_id"] == prompt_id)

    def nodes_shown(self) -> set[str]:
        """Ids of the nodes that the page was told to draw something on."""
        shown = set()
        for kind, data in self.messages:
            # Not "progress": ComfyUI sends that for older pages, without the node to draw it on.
            if kind in ("executing", "executed") and data.get("node") is not None:
                shown.add(data.get("display_node") or data["node"])
            if kind == "progress_state":
                shown |= {state["display_node_id"] for state in data["nodes"].values()}
        return shown

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._stream.read(2)
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(self._stream.read(2 if length == 126 else 8), "big")
        return first & 0x0F, self._stream.read(length)
