"""What stands beside the service, measured in the same minutes: the disk alone, the sockets alone, the decoding alone."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from itertools import count
from pathlib import Path

import msgspec

from bench.decode import Plain
from bench.live.traffic import told
from bench.measure import Taken, timed

_SECONDS = 2.0
_ROW = b"x" * 400
_ACK = b"\x0bMSH|^~\\&|MONITOR|||||20260101||ACK|1|P|2.5.1\rMSA|AA|1\r\x1c\r"


def commits(folder: str) -> Taken:
    """Transactions of one row each into SQLite (WAL, `synchronous = FULL`), one after the other."""
    path = Path(folder) / "base.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, body BLOB)")

    def work() -> int:
        until = time.perf_counter() + _SECONDS
        for number in count(1):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO rows VALUES (NULL, ?)", (_ROW,))
            connection.execute("COMMIT")
            if time.perf_counter() > until:
                return number
        raise AssertionError

    taken, events = timed(work)
    taken.events = events
    connection.close()
    return taken


def decoded(events: int) -> Taken:
    """The typed decode of msgspec over as many lines as the service is sent."""
    lines = list(told(events, "d-", open_journeys=max(1, events // 50)).lines())
    decode = msgspec.json.Decoder(Plain).decode

    def work() -> None:
        for line in lines:
            decode(line)

    taken, _ = timed(work)
    taken.events = events
    return taken


class Echo(asyncio.Protocol):
    """Answers each MLLP frame at once, with an acknowledgment that says the same of all."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ACK * data.count(b"\x1c\r"))


async def echo() -> None:
    """Print the port, and answer for ever."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(echo())
