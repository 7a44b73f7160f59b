"""What people do: acknowledge alerts, read what is about patients, ask for rejects to be tried again."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from monitor.runtime.database import FILE, check_version, connect, explained, micros, storable, transaction


class Ledger:
    """Written on a connection of its own, in the service or beside it; for any thread. Every method may raise `StoreError`."""

    def __init__(self, folder: Path) -> None:
        """Of a data directory that exists."""
        self._path = folder / FILE
        self._alone = threading.Lock()
        with explained("open", self._path):
            self._connection = connect(self._path)
            check_version(self._connection, self._path)

    def acknowledge(self, alert: str, who: str, reason: str, at: datetime) -> bool:
        """Mark an alert as seen by someone; false when there is no such alert."""
        known = "SELECT 1 FROM alerts WHERE alert = ?"
        mark = "INSERT INTO acknowledgments (alert, who, reason, at) VALUES (?, ?, ?, ?)"
        with self._alone, explained("write to", self._path), transaction(self._connection):
            if self._connection.execute(known, (storable(alert),)).fetchone() is None:
                return False
            self._connection.execute(mark, (alert, storable(who), storable(reason), micros(at)))
        return True

    def audit(self, at: datetime, who: str, role: str, action: str, what: str) -> None:
        """Note who did or saw what. Lines are only ever added."""
        line = "INSERT INTO audit (at, who, role, action, what) VALUES (?, ?, ?, ?, ?)"
        with self._alone, explained("write to", self._path):
            self._connection.execute(line, tuple(map(storable, (micros(at), who, role, action, what))))

    def ask_retry(self, ids: Iterable[int]) -> list[int]:
        """Ask for rejects to be tried again; returns those that there are, and that have not been taken meanwhile."""
        asked = []
        with self._alone, explained("write to", self._path), transaction(self._connection):
            for id_ in ids:
                found = self._connection.execute(f"{_ASK} AND number = ?", (id_,)).rowcount
                asked += [id_] * found
        return asked

    def ask_retry_of(self, reason: str | None) -> int:
        """Ask for all that were rejected for a reason to be tried again; returns how many.

        None: for any reason, but for those that their sender was not allowed to send.
        """
        with self._alone, explained("write to", self._path):
            if reason is None:
                return self._connection.execute(f"{_ASK} AND reason != ?", (_FORBIDDEN,)).rowcount
            return self._connection.execute(f"{_ASK} AND reason = ?", (storable(reason),)).rowcount

    def close(self) -> None:
        """Let go of the connection."""
        with self._alone, explained("close", self._path):
            self._connection.close()


_FORBIDDEN = "wrong-source"
_ASK = "UPDATE rejects SET state = 'asked' WHERE state IN ('kept', 'asked')"
