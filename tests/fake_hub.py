"""A hub on this machine: serves folders as model repositories, as far as downloads need it."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["COMMIT", "FakeHub"]

COMMIT = "c" * 40


class FakeHub:
    """Serves ``repositories`` (id -> folder) at ``endpoint`` while it is entered.

    Attributes:
        asked: the paths of every request, in order.
        pause: while it is set, files of weights stop after their first kilobyte.
    """

    def __init__(self, repositories: dict[str, Path]) -> None:
        self.repositories = repositories
        self.asked: list[str] = []
        self.pause = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()

    def is_paused_in(self, path: str) -> bool:
        """Whether a file of this name has been asked for, and waits."""
        is_asked = any(path.split("/")[-1] in asked for asked in self.asked)
        return self.pause.is_set() and path.endswith(".safetensors") and is_asked

    def _handler(hub) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def _answer(self, *, with_body: bool) -> None:
                path = self.path.split("?")[0]
                hub.asked.append(path)
                if path.startswith("/api/models/"):
                    return self._info("/".join(path.split("/")[3:5]), with_body)
                owner, name, _, _, *rest = path.lstrip("/").split("/")
                folder = hub.repositories.get(f"{owner}/{name}")
                file = folder / "/".join(rest) if folder else None
                if file is None or not file.is_file():
                    return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body)
                data = file.read_bytes()
                etag = hashlib.sha256(data).hexdigest()
                return self._send(
                    200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, with_body
                )

            def _info(self, hub_id: str, with_body: bool) -> None:
                folder = hub.repositories.get(hub_id)
                if folder is None:
                    return self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, with_body)
                files = [
                    {"rfilename": path.name, "size": path.stat().st_size}
                    for path in sorted(folder.iterdir())
                ]
                text = json.dumps({"id": hub_id, "sha": COMMIT, "siblings": files}).encode()
                return self._send(200, text, {"Content-Type": "application/json"}, with_body)

            def _send(self, code: int, data: bytes, headers: dict[str, str], body: bool) -> None:
                self.send_response(code)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if not body:
                    return
                self.wfile.write(data[:1000])
                while hub.is_paused_in(self.path):
                    time.sleep(0.01)
                self.wfile.write(data[1000:])

        return Handler
