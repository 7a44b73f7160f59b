"""Moves what is in the log of writes into the database file, beside the engine's thread, which would have to wait for it."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from monitor.runtime.database import Connection, StoreError, connect, explained

_EVERY_SECONDS: Final = 0.5
_LONG: Final = 4_000
"""Pages in the log, of 4 kB, from which on it is to begin anew."""
_SHORT: Final = 1_000
"""Pages not moved yet for which the writers may be made to wait."""


class Checkpoints:
    """A thread that keeps the log of writes of one database short.

    What is written and read meanwhile is not held up, but for a moment when the log begins anew. A reader that stays long makes the log
    grow; it is then moved piece by piece after that reader has gone, without any write waiting for all of it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ending = threading.Event()
        with explained("open", path):
            self._connection = connect(path, busy_seconds=0.05)
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; what is left in the log is moved when the last connection closes."""
        self._ending.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while not self._ending.wait(_EVERY_SECONDS):
            # what fails here, as a full disk, fails the writes as well, and there it is told
            with suppress(StoreError), explained("write to", self._path):
                checkpoint(self._connection)


def checkpoint(connection: Connection) -> None:
    """Move what can be moved; begin the log anew if it is long and little is left."""
    _, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if pages >= _LONG and pages - moved < _SHORT:
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
