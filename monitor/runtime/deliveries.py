"""The outbox on disk: what is to be told to whom, until it was; in order for each alert, sink and receiver."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from monitor.notify.notice import Delivery, Notice
from monitor.runtime.clock import steady
from monitor.runtime.database import FILE, StoreError, connect, explained, transaction

_PARTING_LOOKS: Final = 20
"""A tenth of a second each: how long the sinks have at the end."""
_notice: Final = msgspec.json.Decoder(Notice).decode


class Deliveries:
    """The sending side of the outbox, which `Batch.deliveries` fills; for any thread.

    Every method may raise `StoreError`. It has a connection of its own; its marks may be lost when the power fails, and then
    something is sent twice.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = steady) -> None:
        """`clock`: seconds since whatever moment; it must not go back. After a restart everything is tried at once."""
        self._path = folder / FILE
        self._clock = clock
        self._alone = threading.Lock()
        with explained("open", self._path):
            self._connection = connect(self._path)
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("UPDATE outbox SET due_at = 0 WHERE due_at IS NOT NULL")

    def due(self, sink: str, limit: int) -> list[Delivery]:
        """Those of a sink whose time has come; of each alert and receiver only the oldest one that waits."""
        with self._alone, explained("read", self._path):
            rows = self._connection.execute(_DUE, (sink, self._now(), limit)).fetchall()
        return [
            Delivery(number, sink, receiver, _notice(body), attempts)
            for number, receiver, body, attempts in rows
        ]

    def delivered(self, ids: Sequence[int]) -> None:
        """They were taken: what waited behind them is due."""
        with self._alone, explained("write to", self._path), transaction(self._connection):
            self._end(ids, "delivered", None)

    def failed(self, ids: Sequence[int], why: str, retry_in_seconds: float | None) -> None:
        """They were not taken; None: they are given up, and what waited behind them is due."""
        with self._alone, explained("write to", self._path), transaction(self._connection):
            self._connection.executemany(
                "UPDATE outbox SET attempts = attempts + 1, why = ? WHERE number = ?",
                [(why, id_) for id_ in ids],
            )
            if retry_in_seconds is None:
                self._end(ids, "failed", why)
                return
            retry_at = self._now() + int(retry_in_seconds * 1_000_000)
            self._connection.executemany(
                "UPDATE outbox SET due_at = ? WHERE number = ? AND state = 'waiting'",
                [(retry_at, id_) for id_ in ids],
            )

    def close(self) -> None:
        """Let go of the connection."""
        with self._alone, explained("close", self._path):
            self._connection.close()

    def _end(self, ids: Sequence[int], state: str, why: str | None) -> None:
        rows = [(state, why, id_) for id_ in ids]
        self._connection.executemany(_END, rows)
        self._connection.executemany(_NEXT, [(id_,) for id_ in ids])

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)


class AsyncDeliveries:
    """The same for an event loop: a `monitor.notify.notice.Outbox`."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    async def due(self, sink: str, limit: int) -> list[Delivery]:
        return await asyncio.to_thread(self._deliveries.due, sink, limit)

    async def delivered(self, ids: Sequence[int]) -> None:
        await asyncio.to_thread(self._deliveries.delivered, ids)

    async def failed(self, ids: Sequence[int], why: str, retry_in_seconds: float | None) -> None:
        await asyncio.to_thread(self._deliveries.failed, ids, why, retry_in_seconds)


async def until_sent(deliveries: Deliveries, sinks: Collection[str]) -> None:
    """Wait a moment, at the end, until nothing is due any more; what is not sent by then is sent at the next start."""
    for _ in range(_PARTING_LOOKS):
        if not await asyncio.to_thread(_is_due, deliveries, sinks):
            return
        await asyncio.sleep(0.1)


def _is_due(deliveries: Deliveries, sinks: Collection[str]) -> bool:
    with suppress(StoreError):  # what waits there is sent at the next start
        return any(deliveries.due(sink, 1) for sink in sinks)
    return False


_DUE: Final = """
    SELECT number, receiver, body, attempts FROM outbox
    WHERE sink = ? AND due_at <= ? ORDER BY due_at, number LIMIT ?"""
_END: Final = """
    UPDATE outbox SET state = ?, why = ?, due_at = NULL WHERE number = ? AND state = 'waiting'"""
_NEXT: Final = """
    UPDATE outbox SET due_at = 0
    WHERE due_at IS NULL AND number = (
        SELECT min(other.number) FROM outbox AS one JOIN outbox AS other USING (alert, sink, receiver)
        WHERE one.number = ? AND other.state = 'waiting')"""
