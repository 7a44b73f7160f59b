"""What the service keeps on disk, and how it is written: one transaction a batch, durable when `write` returns.

One process at a time owns a data directory. Its engine's thread writes through a `Store`; deliveries, acknowledgments
and the audit log have writing connections of their own (`outbox`, `ledger`); who only looks uses a `Reader`.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from monitor.core.change import CaseVerdict
from monitor.core.chart import linked_keys
from monitor.core.event import Event
from monitor.formats.fhir import Visit
from monitor.ingest.intake import Origin, Position
from monitor.notify.notice import Notice
from monitor.runtime.database import (
    FILE,
    Connection,
    Lock,
    StoreError,
    connect,
    create,
    explained,
    instant,
    micros,
    micros_or_none,
    migrate,
    transaction,
)

_CLOCK: Final = "clock"
_SECRET: Final = "pseudonym-secret"  # noqa: S105 - the name under which it is kept
_MANY: Final = 50_000
"""Patients whose numbers are kept in memory."""

_encode: Final = msgspec.json.Encoder().encode
_event: Final = msgspec.json.Decoder(Event).decode
_visit: Final = msgspec.json.Decoder(Visit).decode
_notice: Final = msgspec.json.Decoder(Notice).decode


class Kept(msgspec.Struct, kw_only=True):
    """A reject, with the bytes that it was."""

    origin: Origin
    where: str
    source: str
    reason: str
    detail: str
    segment: str | None = None
    field: str | None = None
    content: bytes
    arrived_at: datetime


class Folded(NamedTuple):
    """A journey that is on disk alone."""

    patient: str
    due_at: datetime | None
    """When something in it is due, with no message coming."""
    phase: int
    is_over: bool
    """Whether nothing that the clock brings can change it."""


class Asked(NamedTuple):
    """A reject that someone wants tried again."""

    id: int
    origin: Origin
    where: str
    source: str
    content: bytes


class Batch(msgspec.Struct, kw_only=True):
    """What one transaction writes."""

    clock: datetime
    """The engine's; never below any arrival in it."""
    facts: list[Event] = []
    """With their arrivals, in order. One whose equal copy is there already is passed over. Their patients are hot from then on."""
    heard: dict[str, datetime] = {}
    """When sources were last heard, for messages that leave no fact are signs of life, too."""
    rejects: list[Kept] = []
    visits: list[Visit] = []
    """What has been told of an Encounter: each takes the place of the one before it."""
    positions: list[Position] = []
    verdicts: list[CaseVerdict] = []
    gone: list[str] = []
    """Ids of cases that are no more."""
    notices: list[Notice] = []
    """The present state of alerts; one with an older sequence than that on disk changes nothing."""
    deliveries: list[tuple[str, str, Notice]] = []
    """Sink, receiver, notice: put into the outbox."""
    folded: list[Folded] = []
    """Journeys that are now on disk alone. A patient who is in `hot` or `facts` too is hot."""
    hot: list[str] = []
    """Patients whose journeys are in memory again."""


class Store:
    """The writing side of a data directory, for one thread. Every method may raise `StoreError`."""

    def __init__(self, folder: Path, lock: Lock, connection: Connection) -> None:
        """Use `open`."""
        self.folder = folder
        self._path = folder / FILE
        self._file = self._path.stat().st_ino
        self._lock = lock
        self._connection = connection
        self._numbers: dict[str, int] = {}
        self._secret = bytes.fromhex(self.recall(_SECRET) or "")

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open a data directory, or make it; only its owner can read it, and one process at a time can open it."""
        path = folder / FILE
        with explained("open", path):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = Lock(folder)
            try:
                connection = _opened(path)
            except BaseException:
                lock.release()
                raise
        return cls(folder, lock, connection)

    def close(self) -> None:
        """Leave the directory to others; what was written stays."""
        with explained("close", self._path):
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._connection.close()
            finally:
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
                    self._write(batch)
            except BaseException:
                self._numbers.clear()  # those that were new are not there
                raise

    def _write(self, batch: Batch) -> None:
        run = self._connection.execute
        self._fold(batch)
        if batch.facts:
            self._write_facts(batch.facts)
        if batch.rejects:
            self._connection.executemany(_REJECT, map(_reject_row, batch.rejects))
        for visit in batch.visits:
            patient = self._number(visit.events[0].patient) if visit.events else None
            run("REPLACE INTO visits VALUES (?, ?, ?, ?)", (visit.source, visit.key, patient, _encode(visit)))
        for name, value in batch.positions:
            run("REPLACE INTO positions VALUES (?, ?)", (name, value))
        for source, heard_at in batch.heard.items():
            run("REPLACE INTO sources VALUES (?, ?)", (source, micros(heard_at)))
        if batch.verdicts:
            self._connection.executemany(_VERDICT, map(self._verdict_row, batch.verdicts))
        if batch.gone:
            self._connection.executemany(
                "DELETE FROM verdicts WHERE case_id = ?", [(case_bytes(case),) for case in batch.gone]
            )
        if batch.notices:
            self._connection.executemany(_ALERT, map(self._alert_row, batch.notices))
        for sink, receiver, notice in batch.deliveries:
            key = (notice.alert, sink, receiver)
            waits = run(_WAITS, key).fetchone()
            queued_at = micros(batch.clock)
            run(_DELIVERY, (*key, None if waits else queued_at, queued_at, _encode(notice)))
        run("REPLACE INTO remembered VALUES (?, ?)", (_CLOCK, str(micros(batch.clock))))

    def _fold(self, batch: Batch) -> None:
        if batch.folded:
            rows = (
                (number, micros_or_none(due_at), phase, number, is_over)
                for patient, due_at, phase, is_over in batch.folded
                for number in (self._number(patient),)
            )
            self._connection.executemany(_FOLDED, rows)
        if batch.hot or batch.facts:
            hot = dict.fromkeys([*batch.hot, *(event.patient for event in batch.facts)])
            numbers = [(self._number(patient),) for patient in hot]
            self._connection.executemany("DELETE FROM folded WHERE patient = ?", numbers)

    def _write_facts(self, events: Sequence[Event]) -> None:
        self._connection.executemany(_FACT, map(self._fact_row, events))
        for event in events:
            if event.type == "merge":
                self._link(event)

    def _fact_row(self, event: Event) -> tuple[int, bytes, int, bytes]:
        if event.arrived_at is None:
            raise ValueError("a fact has an `arrived_at`")
        body = _encode(event)
        # No text in JSON can hold these bytes, for a quote in it has a backslash before it; and attributes come last.
        head, _, rest = body.partition(b',"arrived_at":"')
        digest = blake2b(head, digest_size=8)
        digest.update(rest[rest.index(b'"') :])
        return self._number(event.patient), digest.digest(), micros(event.arrived_at), body

    def _link(self, merge: Event) -> None:
        own = self._number(merge.patient)
        for key in linked_keys([merge]) - {merge.patient}:
            other = self._number(key)
            pairs = [(own, other), (other, own)]
            self._connection.executemany("INSERT OR IGNORE INTO links VALUES (?, ?)", pairs)

    def _verdict_row(self, case: CaseVerdict) -> tuple[bytes, int, str, str, int | None, bytes]:
        state = "overdue" if case.overdue else case.verdict
        number, due_at = self._number(case.patient), micros_or_none(case.due_at)
        return case_bytes(case.case), number, case.rule, state, due_at, _encode(case)

    def _alert_row(self, notice: Notice) -> tuple[object, ...]:
        number = self._number(notice.patient) if notice.patient else None
        generation, at, change = notice.sequence
        about = (notice.rule, notice.severity, notice.state, notice.place)
        return (notice.alert, number, *about, generation, micros(at), change, _encode(notice))

    def _number(self, patient: str) -> int:
        """The number that stands for a patient in the tables; a new one is given, with a pseudonym."""
        number = self._numbers.get(patient)
        if number is None:
            if len(self._numbers) >= _MANY:
                self._numbers.clear()
            number = self._numbers[patient] = self._found(patient) or self._added(patient)
        return number

    def _found(self, patient: str) -> int | None:
        row = self._connection.execute("SELECT number FROM patients WHERE patient = ?", (patient,)).fetchone()
        return row and int(row[0])

    def _added(self, patient: str) -> int:
        attempt = 0
        while True:  # until the pseudonym is no one else's
            row = (patient, _pseudonym(patient, self._secret, attempt))
            cursor = self._connection.execute("INSERT OR IGNORE INTO patients VALUES (NULL, ?, ?)", row)
            if cursor.rowcount:
                return cursor.lastrowid or 0
            attempt += 1

    # Small things

    def clock(self) -> datetime | None:
        """The engine's clock at the last batch."""
        value = self.recall(_CLOCK)
        return None if value is None else instant(int(value))

    def recall(self, name: str) -> str | None:
        """What was last remembered under a name."""
        return self._one("SELECT value FROM remembered WHERE name = ?", name)

    def remember(self, name: str, value: str) -> None:
        """Keep a small fact about the service itself; it is on disk on return."""
        with explained("write to", self._path):
            self._connection.execute("REPLACE INTO remembered VALUES (?, ?)", (name, value))

    def position(self, name: str) -> str | None:
        """How far a reader has come."""
        return self._one("SELECT value FROM positions WHERE name = ?", name)

    def visit(self, source: str, key: str) -> Visit | None:
        """What has been told of an Encounter."""
        with explained("read", self._path):
            row = self._connection.execute(
                "SELECT body FROM visits WHERE source = ? AND key = ?", (source, key)
            ).fetchone()
        return None if row is None else _visit(row[0])

    def pseudonym(self, patient: str) -> str:
        """What stands for a patient in URLs and in alerts; of one who is not known yet, what it will be."""
        found = self._one("SELECT pseudonym FROM patients WHERE patient = ?", patient)
        return found or _pseudonym(patient, self._secret)

    def _one(self, query: str, value: str) -> str | None:
        with explained("read", self._path):
            row = self._connection.execute(query, (value,)).fetchone()
        return None if row is None else str(row[0])

    # At the start

    def facts(self, patient: str) -> bytes:
        """The facts known under a patient key, in order of arrival, as `Engine.load` takes them: a JSON array of events."""
        with explained("read", self._path):
            rows = self._connection.execute(_FACTS_OF, (patient,)).fetchall()
        return b"[" + b",".join([body for (body,) in rows]) + b"]"

    def events(self, patients: Iterable[str] | None = None) -> Iterator[Event]:
        """The facts of some patients, or of all, in order of arrival."""
        return events(self._connection, self._path, patients)

    def folded(self) -> list[Folded]:
        """The journeys that are on disk alone."""
        with explained("read", self._path):
            rows = self._connection.execute(
                "SELECT p.patient, due_at, phase, is_over FROM folded AS f JOIN patients AS p ON p.number = f.patient"
            ).fetchall()
        return [
            Folded(patient, None if due_at is None else instant(due_at), phase, bool(is_over))
            for patient, due_at, phase, is_over in rows
        ]

    def hot(self) -> list[str]:
        """The patients with facts whose journeys belong into memory."""
        with explained("read", self._path):
            rows = self._connection.execute(_HOT).fetchall()
        return [patient for (patient,) in rows]

    def heard(self) -> dict[str, datetime]:
        """When each source was last heard."""
        with explained("read", self._path):
            rows = self._connection.execute("SELECT source, heard_at FROM sources").fetchall()
        return {source: instant(heard_at) for source, heard_at in rows}

    def alerts_known(self) -> Iterator[Notice]:
        """The state of each alert as it was last written."""
        with explained("read", self._path):
            rows = self._connection.execute("SELECT body FROM alerts ORDER BY number").fetchall()
        return (_notice(body) for (body,) in rows)

    def receivers_of(self, alert: str) -> list[tuple[str, str]]:
        """Sink and receiver of everyone to whom any change of an alert was ever to be sent."""
        query = "SELECT DISTINCT sink, receiver FROM outbox WHERE alert = ? ORDER BY sink, receiver"
        with explained("read", self._path):
            return self._connection.execute(query, (alert,)).fetchall()


def events(connection: Connection, path: Path, patients: Iterable[str] | None) -> Iterator[Event]:
    """The facts of some patients, or of all, in order of arrival; a few at a time, so that no transaction lasts."""
    if patients is not None:
        with explained("read", path):
            rows = [
                row
                for patient in set(patients)
                for row in connection.execute(_NUMBERED_FACTS_OF, (patient,)).fetchall()
            ]
        yield from (_event(body) for _, body in sorted(rows))
        return
    last = 0
    while True:
        with explained("read", path):
            rows = connection.execute(
                "SELECT number, body FROM facts WHERE number > ? ORDER BY number LIMIT 1000", (last,)
            ).fetchall()
        if not rows:
            return
        yield from (_event(body) for _, body in rows)
        last = rows[-1][0]


def case_bytes(case: str) -> bytes:
    """The id of a case as it stands in the tables; raises `ValueError` when it is none."""
    return bytes.fromhex(case.replace("-", ""))


def _opened(path: Path) -> Connection:
    """A connection to a database that is sound and of this version."""
    if not path.exists():
        create(path)
    path.parent.chmod(0o700)
    log = path.with_name(path.name + "-wal")
    was_cut_off = log.exists() and log.stat().st_size > 0
    connection = connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
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


def _pseudonym(patient: str, secret: bytes, attempt: int = 0) -> str:
    """Ten letters and digits that tell nothing of the patient without the secret."""
    digest = blake2b(
        patient.encode("utf-8", "surrogatepass"), key=secret, digest_size=10, salt=bytes([attempt])
    )
    return base64.b32encode(digest.digest())[:10].decode().lower()


def _reject_row(kept: Kept) -> tuple[object, ...]:
    why = (kept.reason, kept.detail, kept.segment, kept.field)
    return (kept.origin, kept.where, kept.source, *why, kept.content, micros(kept.arrived_at))


_FACT: Final = "INSERT OR IGNORE INTO facts (patient, digest, arrived_at, body) VALUES (?, ?, ?, ?)"
_NUMBERED_FACTS_OF: Final = """
    SELECT number, body FROM facts WHERE patient = (SELECT number FROM patients WHERE patient = ?)"""
_FACTS_OF: Final = """
    SELECT body FROM facts WHERE patient = (SELECT number FROM patients WHERE patient = ?) ORDER BY number"""
_FOLDED: Final = """
    REPLACE INTO folded (patient, due_at, phase, heard_at, is_over) VALUES (?, ?, ?,
        coalesce((SELECT max(arrived_at) FROM facts WHERE patient = ?), 0), ?)"""
_HOT: Final = """
    SELECT patient FROM patients AS p
    WHERE NOT EXISTS (SELECT 1 FROM folded WHERE patient = p.number)
        AND EXISTS (SELECT 1 FROM facts WHERE patient = p.number)
    ORDER BY number"""
_REJECT: Final = """
    INSERT INTO rejects (origin, place, source, reason, detail, segment, field, content, arrived_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_VERDICT: Final = """
    INSERT INTO verdicts (case_id, patient, rule, state, due_at, body) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (case_id) DO UPDATE SET
        patient = excluded.patient, state = excluded.state, due_at = excluded.due_at, body = excluded.body"""
_ALERT: Final = """
    INSERT INTO alerts (alert, patient, rule, severity, state, place, generation, changed_at, change, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (alert) DO UPDATE SET
        patient = excluded.patient, severity = excluded.severity, state = excluded.state, place = excluded.place,
        generation = excluded.generation, changed_at = excluded.changed_at, change = excluded.change,
        body = excluded.body
    WHERE (excluded.generation, excluded.changed_at, excluded.change) >= (generation, changed_at, change)"""
_WAITS: Final = """
    SELECT 1 FROM outbox WHERE alert = ? AND sink = ? AND receiver = ? AND state = 'waiting'"""
_DELIVERY: Final = """
    INSERT INTO outbox (alert, sink, receiver, due_at, queued_at, body) VALUES (?, ?, ?, ?, ?, ?)"""
