"""Someone who is told of alerts: a webhook that takes everything, as cheaply as can be, and notes when it came."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import datetime
from typing import NamedTuple

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Told(NamedTuple):
    """One notice."""

    rule: str
    state: str
    alert: str
    at: float
    """When it fired, in Unix time."""
    received_at: float

    @property
    def latency(self) -> float:
        return self.received_at - self.at


class Receiver:
    """Listens in a thread of its own."""

    def __init__(self) -> None:
        self.bodies: list[tuple[float, bytes]] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        ready.wait()

    def told(self) -> list[Told]:
        """What has come."""
        return [told for received_at, body in list(self.bodies) for told in _read(received_at, body)]

    def _run(self, ready: threading.Event) -> None:
        listening = self._loop.create_server(lambda: _Connection(self.bodies), "127.0.0.1", 0)
        server = self._loop.run_until_complete(listening)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()


class _Connection(asyncio.Protocol):
    def __init__(self, bodies: list[tuple[float, bytes]]) -> None:
        self._bodies = bodies
        self._data = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while True:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            length = _length(head)
            if not found or len(rest) < length:
                return
            self._bodies.append((time.time(), rest[:length]))
            self._data = rest[length:]
            self._transport.write(_ANSWER)


def _length(head: bytes) -> int:
    _, _, after = head.lower().partition(b"content-length:")
    return int(after.split(b"\r\n", 1)[0] or 0)


def _read(received_at: float, body: bytes) -> list[Told]:
    """What a webhook or Alertmanager was told in one request."""
    found = json.loads(body)
    if isinstance(found, list):
        return [
            Told(
                each["labels"]["alertname"],
                "firing",
                each["labels"]["alert"],
                _instant(each["startsAt"]),
                received_at,
            )
            for each in found
        ]
    alert = found["alert"]
    return [Told(alert["rule"], alert["state"], alert["alert"], _instant(alert["at"]), received_at)]


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
