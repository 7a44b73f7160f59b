"""What a notifier keeps in its data directory: the alerts of its partitions, and what is to be delivered of them.

All of it but acknowledgments and the audit log can be had again from Kafka. So it begins empty at each start; of what was
delivered before, it only keeps that it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from monitor.notify.notice import Delivery, Notice
from monitor.runtime.batch import Batch
from monitor.runtime.database import FILE, Connection, StoreError, connect, explained, micros, transaction
from monitor.runtime.share import Change
from monitor.runtime.store import Store

_OWNER: Final = "kept-for"
_US: Final = "notify"
_LIVE: Final = "rules-digest"
"""What `handoff run` remembers first of all."""

_notice: Final = msgspec.json.Decoder(Notice).decode


class KeptAlerts:
    """The writing side of a notifier's data directory, for one thread. Every method may raise `StoreError`."""

    def __init__(self, folder: Path) -> None:
        """Open it, or make it. It is not that of a `handoff run`, whose alerts it would drop."""
        self._path = folder / FILE
        self._store = Store.open(folder)
        try:
            self._claim(folder)
            with explained("open", self._path):
                self._connection: Connection = connect(self._path)
        except BaseException:
            self._store.close()
            raise

    def _claim(self, folder: Path) -> None:
        if self._store.recall(_OWNER) == _US:
            return
        if self._store.recall(_LIVE) is not None or self._store.clock() is not None:
            text = f"{folder} holds the data of `handoff run`; name another directory with --data"
            raise StoreError("in-use", text)
        self._store.remember(_OWNER, _US)

    def begin(self) -> None:
        """Drop what may have been told by others meanwhile: it is read again."""
        with explained("write to", self._path), transaction(self._connection):
            self._connection.execute("DELETE FROM outbox WHERE state = 'waiting'")
            self._connection.execute("DELETE FROM alerts")

    def write(self, changes: Sequence[Change], clock: datetime) -> list[Delivery]:
        """Keep changes, and put them into the outbox; on return they are on disk.

        Returns those deliveries that are not to be made, for they were made from here before.
        """
        made = [each for change in changes if change.is_old for each in self._made(change)]
        told = {(each.notice.alert, each.notice.sequence, each.sink, each.receiver) for each in made}
        self._store.write(
            Batch(
                clock=clock,
                notices=[change.notice for change in changes],
                deliveries=[
                    (sink, receiver, notice)
                    for notice, routes, _ in changes
                    for sink, receiver in routes
                    if (notice.alert, notice.sequence, sink, receiver) not in told
                ],
            )
        )
        return made

    def _made(self, change: Change) -> Iterator[Delivery]:
        """Deliveries of a change that were made before, or given up."""
        notice = change.notice
        with explained("read", self._path):
            for sink, receiver in change.routes:
                rows = self._connection.execute(_ENDED, (notice.alert, sink, receiver)).fetchall()
                if any(_notice(body).sequence == notice.sequence for (body,) in rows):
                    yield Delivery(0, sink, receiver, notice)

    def drop(self, alerts: Collection[str]) -> None:
        """Others have these now."""
        rows = [(alert,) for alert in alerts]
        with explained("write to", self._path), transaction(self._connection):
            self._connection.executemany("DELETE FROM alerts WHERE alert = ?", rows)
            self._connection.executemany("DELETE FROM outbox WHERE alert = ? AND state = 'waiting'", rows)

    def forget(self, before: datetime) -> None:
        """Delete what ended before an instant, and what was delivered; the audit log stays."""
        with explained("write to", self._path), transaction(self._connection):
            for statement in _FORGET:
                self._connection.execute(statement, {"before": micros(before)})
        self._store.forget(before)

    def close(self) -> None:
        """Leave the directory to others."""
        with closing(self._store), explained("close", self._path):
            self._connection.close()


_ENDED: Final = """
    SELECT body FROM outbox WHERE alert = ? AND sink = ? AND receiver = ? AND state != 'waiting'"""
_FORGET: Final = (
    "DELETE FROM outbox WHERE state != 'waiting' AND queued_at < :before",
    "DELETE FROM alerts WHERE state = 'resolved' AND changed_at < :before",
    "DELETE FROM acknowledgments WHERE at < :before AND alert NOT IN (SELECT alert FROM alerts)",
    "DELETE FROM patients WHERE number NOT IN (SELECT patient FROM alerts WHERE patient IS NOT NULL)",
)
