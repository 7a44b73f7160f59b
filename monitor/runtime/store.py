"""What the service keeps on disk, and how it is written: one transaction a batch, durable when `write` returns.

One process at a time owns a data directory. Its engine's thread writes through a `Store`; deliveries, acknowledgments
and the audit log have writing connections of their own (`deliveries`, `ledger`); who only looks uses a `Reader`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from monitor.core.event import Event
from monitor.formats.fhir import Visit
from monitor.notify.notice import Notice
from monitor.runtime.batch import Asked, Batch, Folded
from monitor.runtime.checkpoint import Checkpoints
from monitor.runtime.database import (
    FILE,
    Connection,
    Lock,
    Row,
    StoreError,
    connect,
    create,
    explained,
    instant,
    micros,
    migrate,
    storable,
    transaction,
)
from monitor.runtime.retention import forget
from monitor.runtime.writer import CLOCK, Writer, pseudonym

REGISTRY: Final = "registry"
"""The name under which it is remembered in which file the registry stands; empty where none is named."""
_SECRET: Final = "pseudonym-secret"  # noqa: S105 - the name under which it is kept

_event: Final = msgspec.json.Decoder(Event).decode
_visit: Final = msgspec.json.Decoder(Visit).decode
_notice: Final = msgspec.json.Decoder(Notice).decode


class Store:
    """The writing side of a data directory, for one thread. Every method may raise `StoreError`."""

    def __init__(self, folder: Path, lock: Lock, connection: Connection) -> None:
        """Use `open`."""
        self.folder = folder
        self._path = folder / FILE
        self._file = self._path.stat().st_ino
        self._lock = lock
        self._connection = connection
        self._secret = bytes.fromhex(self.recall(_SECRET) or "")
        self._writer = Writer(connection, self._secret)
        self._checkpoints = Checkpoints(self._path)

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open a data directory, or make it; only its owner can read it, and one process at a time can open it."""
        path = folder / FILE
        with explained("open", path):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with ExitStack() as undo:
                lock = Lock(folder)
                undo.callback(lock.release)
                connection = _opened(path)
                undo.callback(connection.close)
                store = cls(folder, lock, connection)
                undo.pop_all()
                return store

    def close(self) -> None:
        """Leave the directory to others; what was written stays."""
        self._checkpoints.close()
        with suppress(StoreError):  # it only tidies up, which the next one to open does as well
            self._all("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        self._lock.release()

    # Writing

    def write(self, batch: Batch) -> None:
        """Write a batch; on return it is on disk. After an error nothing of it is, and it may be tried again."""
        with explained("write to", self._path):
            if self._path.stat().st_ino != self._file:
                raise StoreError(
                    "gone", f"{self._path} has been replaced; stop the service and start it again"
                )
            try:
                with transaction(self._connection):
                    self._writer.write(batch)
            except BaseException:
                self._writer.forget_numbers()
                raise

    # Small things

    def clock(self) -> datetime | None:
        """The engine's clock at the last batch."""
        value = self.recall(CLOCK)
        return None if value is None else instant(int(value))

    def recall(self, name: str) -> str | None:
        """What was last remembered under a name."""
        return self._one("SELECT value FROM remembered WHERE name = ?", name)

    def remember(self, name: str, value: str) -> None:
        """Keep a small fact about the service itself; it is on disk on return."""
        with explained("write to", self._path):
            self._connection.execute("REPLACE INTO remembered VALUES (?, ?)", (name, value))

    def begin_generation(self, names: Mapping[str, str]) -> None:
        """Remember what the rules now are; whatever was folded under others is to be lived again."""
        with explained("write to", self._path), transaction(self._connection):
            self._connection.executemany("REPLACE INTO remembered VALUES (?, ?)", names.items())
            self._connection.execute("DELETE FROM folded")

    def position(self, name: str) -> str | None:
        """How far a reader has come."""
        return self._one("SELECT value FROM positions WHERE name = ?", name)

    def visit(self, source: str, key: str) -> Visit | None:
        """What has been told of an Encounter."""
        rows = self._all("SELECT body FROM visits WHERE source = ? AND key = ?", source, key)
        return _visit(rows[0][0]) if rows else None

    def pseudonym(self, patient: str) -> str:
        """What stands for a patient in URLs and in alerts; of one who is not known yet, what it will be."""
        found = self._one("SELECT pseudonym FROM patients WHERE patient = ?", patient)
        return found or pseudonym(patient, self._secret)

    def _one(self, query: str, value: str) -> str | None:
        rows = self._all(query, value)
        return rows[0][0] if rows else None

    def _all(self, query: str, *values: object) -> list[Row]:
        with explained("read", self._path):
            return self._connection.execute(query, tuple(map(storable, values))).fetchall()

    # At the start

    def facts(self, patient: str, before: datetime | None = None) -> bytes:
        """The facts known under a patient key, in order of arrival, as `Engine.load` takes them: a JSON array of events.

        All of them, or those that arrived before an instant.
        """
        limit = _LAST if before is None else micros(before)
        return b"[" + b",".join([body for (body,) in self._all(_FACTS_BEFORE, patient, limit)]) + b"]"

    def events(self, patients: Iterable[str] | None = None) -> Iterator[Event]:
        """The facts of some patients, or of all, in order of arrival."""
        return events(self._all, patients)

    def folded(self) -> list[Folded]:
        """The journeys that are on disk alone."""
        return [
            Folded(patient, None if due_at is None else instant(due_at), phase, bool(is_over))
            for patient, due_at, phase, is_over in self._all(_FOLDED)
        ]

    def hot(self) -> list[str]:
        """The patients with facts whose journeys belong into memory."""
        return [patient for (patient,) in self._all(_HOT)]

    def patients(self) -> list[str]:
        """All patients with facts."""
        return [patient for (patient,) in self._all(_PATIENTS)]

    def links(self) -> dict[str, list[str]]:
        """Patient keys that any merge named, each with those that were named together with it."""
        links: dict[str, list[str]] = {}
        for patient, other in self._all(_LINKS):
            links.setdefault(patient, []).append(other)
        return links

    def heard(self) -> dict[str, list[tuple[datetime, datetime]]]:
        """When each source was heard: from when to when without a gap that could be silence, in order."""
        return heard(self._all)

    def alerts_known(self) -> Iterator[Notice]:
        """The state of each alert as it was last written."""
        return (_notice(body) for (body,) in self._all("SELECT body FROM alerts ORDER BY number"))

    def receivers_of(self, alert: str) -> list[tuple[str, str]]:
        """Sink and receiver of everyone to whom any change of an alert was ever to be sent."""
        query = "SELECT DISTINCT sink, receiver FROM outbox WHERE alert = ? ORDER BY sink, receiver"
        return [(sink, receiver) for sink, receiver in self._all(query, alert)]

    # Now and then

    def retries(self, limit: int = 100) -> list[Asked]:
        """Rejects that someone wants tried again; what came of it is part of a batch."""
        query = "SELECT number, origin, place, source, content FROM rejects WHERE state = 'asked' ORDER BY number LIMIT ?"
        return [Asked(*row) for row in self._all(query, limit)]

    def forget(self, quiet_since: datetime, limit: int = 100) -> list[str]:
        """Delete journeys that are over and in which nothing was heard since, with all about them; at most about so many.

        Returns the patients; call it again until there are none. Only what `Batch.folded` has as over, with nothing due, is
        deleted, and those whom merges link only together. The audit log stays.
        """
        with explained("write to", self._path), transaction(self._connection):
            forgotten = forget(self._connection, micros(quiet_since), limit)
        self._writer.forget_numbers()
        return forgotten


def events(ask: Callable[..., list[Row]], patients: Iterable[str] | None) -> Iterator[Event]:
    """The facts of some patients, or of all, in order of arrival; a few at a time, so that no transaction lasts."""
    if patients is not None:
        rows = [row for patient in set(patients) for row in ask(_FACTS_OF, patient)]
        yield from (_event(body) for _, body in sorted(rows))
        return
    last = 0
    while rows := ask(_FACTS_AFTER, last):
        yield from (_event(body) for _, body in rows)
        last = rows[-1][0]


def heard(ask: Callable[..., list[Row]]) -> dict[str, list[tuple[datetime, datetime]]]:
    """When each source was heard: from when to when without a gap that could be silence, in order."""
    runs: dict[str, list[tuple[datetime, datetime]]] = {}
    for source, since, until in ask("SELECT source, since, until FROM heard ORDER BY number"):
        runs.setdefault(source, []).append((instant(since), instant(until)))
    return runs


def _opened(path: Path) -> Connection:
    """A connection to a database that is sound and of this version."""
    if not path.exists():
        create(path)
    with suppress(PermissionError):  # a mounted volume may be another user's; the files are ours alone
        path.parent.chmod(0o700)
    log = path.with_name(path.name + "-wal")
    was_cut_off = log.exists() and log.stat().st_size > 0
    connection = connect(path)
    try:
        migrate(connection, path)
        if was_cut_off:
            _check(connection, path)
        row = (_SECRET, secrets.token_hex(32))
        connection.execute("INSERT OR IGNORE INTO remembered VALUES (?, ?)", row)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: Connection, path: Path) -> None:
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise StoreError(
            "corrupt",
            f"cannot use {path}: it is damaged; keep a copy of the directory, and put the last backup in its place",
        )


_FACTS_OF: Final = """
    SELECT number, body FROM facts WHERE patient = (SELECT number FROM patients WHERE patient = ?) ORDER BY number"""
_FACTS_BEFORE: Final = """
    SELECT body FROM facts
    WHERE patient = (SELECT number FROM patients WHERE patient = ?) AND arrived_at < ? ORDER BY number"""
_LAST: Final = (1 << 63) - 1
_FACTS_AFTER: Final = "SELECT number, body FROM facts WHERE number > ? ORDER BY number LIMIT 1000"
_FOLDED: Final = """
    SELECT p.patient, due_at, phase, is_over FROM folded AS f JOIN patients AS p ON p.number = f.patient"""
_HOT: Final = """
    SELECT patient FROM patients AS p
    WHERE NOT EXISTS (SELECT 1 FROM folded WHERE patient = p.number)
        AND EXISTS (SELECT 1 FROM facts WHERE patient = p.number)
    ORDER BY number"""
_PATIENTS: Final = """
    SELECT patient FROM patients AS p WHERE EXISTS (SELECT 1 FROM facts WHERE patient = p.number) ORDER BY number"""
_LINKS: Final = """
    SELECT a.patient, b.patient FROM links AS l
    JOIN patients AS a ON a.number = l.patient JOIN patients AS b ON b.number = l.other"""
