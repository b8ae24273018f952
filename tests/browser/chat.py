"""A chat that the board announces scores to: as slow, or as much out of order, as a test wants."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(kw_only=True)
class Chat:
    """A running chat: its address, and how it answers from now on."""

    url: str
    seconds: float = 0
    status: int = 200


@contextmanager
def running_chat() -> Iterator[Chat]:
    """Serve a chat on a port that the system picks."""
    chat = Chat(url="")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(chat.seconds)  # slow is what it is for
            self.send_response(chat.status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        chat.url = f"http://127.0.0.1:{server.server_port}/"
        yield chat
        server.shutdown()
