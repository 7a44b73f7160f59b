"""How a batch becomes rows."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import timedelta
from hashlib import blake2b
from typing import Final

import msgspec

from monitor.core.change import CaseVerdict
from monitor.core.chart import linked_keys
from monitor.core.event import Event
from monitor.core.feed import SHORT
from monitor.formats.reject import Reject
from monitor.notify.notice import Notice
from monitor.runtime.batch import Batch, Kept
from monitor.runtime.database import Connection, micros, micros_or_none, storable

CLOCK: Final = "clock"
"""The name under which the engine's clock is remembered."""
_GAP: Final = SHORT // timedelta(microseconds=1)
"""Longer gaps in what is heard of a source begin a new run."""
_MANY: Final = 50_000
"""Patients whose numbers are kept in memory."""

_encode: Final = msgspec.json.Encoder().encode


class Writer:
    """Writes batches on a connection, inside the transactions of its caller."""

    def __init__(self, connection: Connection, secret: bytes) -> None:
        """`secret`: by which pseudonyms are made."""
        self._connection = connection
        self._secret = secret
        self._numbers: dict[str, int] = {}

    def forget_numbers(self) -> None:
        """To be called when a transaction failed, or deleted patients: what numbers they had is not so any more."""
        self._numbers.clear()

    def write(self, batch: Batch) -> None:
        """Write all of a batch."""
        run = self._connection.execute
        self._fold(batch)
        if batch.facts:
            self._write_facts(batch.facts)
        if batch.rejects:
            self._connection.executemany(_REJECT, map(_reject_row, batch.rejects))
        for id_, reject in batch.retried:
            self._write_retried(id_, reject)
        for visit in batch.visits:
            patient = self._number(visit.events[0].patient) if visit.events else None
            run("REPLACE INTO visits VALUES (?, ?, ?, ?)", (visit.source, visit.key, patient, _encode(visit)))
        for name, value in batch.positions:
            run("REPLACE INTO positions VALUES (?, ?)", (storable(name), storable(value)))
        for source, heard_at in batch.heard.items():
            self._hear(source, micros(heard_at))
        if batch.verdicts:
            self._connection.executemany(_VERDICT, map(self._verdict_row, batch.verdicts))
        if batch.anew:
            self._forget_others(batch)
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
            run(_DELIVERY, (*key, None if waits else 0, queued_at, _encode(notice)))
        run("REPLACE INTO remembered VALUES (?, ?)", (CLOCK, str(micros(batch.clock))))

    def _fold(self, batch: Batch) -> None:
        if batch.folded:
            rows = (
                (number, micros_or_none(due_at), phase, number, is_over)
                for patient, due_at, phase, is_over in batch.folded
                for number in (self._number(patient),)
            )
            self._connection.executemany(_FOLD, rows)
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

    def _hear(self, source: str, at: int) -> None:
        """Make the last run of a source longer, or begin one: a run has no gap that could be silence."""
        cursor = self._connection.execute(_LONGER, (at, source, at - _GAP))
        if not cursor.rowcount:
            self._connection.execute("INSERT INTO heard VALUES (NULL, ?, ?, ?)", (source, at, at))

    def _forget_others(self, batch: Batch) -> None:
        """Delete the cases of patients whose cases are all in the batch, but for those."""
        standing = {case_bytes(case.case) for case in batch.verdicts}
        for patient in batch.anew:
            rows = self._connection.execute(
                "SELECT case_id FROM verdicts WHERE patient = ?", (self._number(patient),)
            ).fetchall()
            gone = [row for row in rows if row[0] not in standing]
            self._connection.executemany("DELETE FROM verdicts WHERE case_id = ?", gone)

    def _link(self, merge: Event) -> None:
        own = self._number(merge.patient)
        for key in linked_keys([merge]) - {merge.patient}:
            other = self._number(key)
            pairs = [(own, other), (other, own)]
            self._connection.executemany("INSERT OR IGNORE INTO links VALUES (?, ?)", pairs)

    def _write_retried(self, id_: int, reject: Reject | None) -> None:
        if reject is None:
            query = "UPDATE rejects SET state = 'taken', attempts = attempts + 1 WHERE number = ?"
            self._connection.execute(query, (id_,))
            return
        self._connection.execute(_RETRIED, (reject.reason, reject.detail, reject.segment, reject.field, id_))

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
            row = (patient, pseudonym(patient, self._secret, attempt))
            cursor = self._connection.execute("INSERT OR IGNORE INTO patients VALUES (NULL, ?, ?)", row)
            if cursor.rowcount:
                return cursor.lastrowid or 0
            attempt += 1


def case_bytes(case: str) -> bytes:
    """The id of a case as it stands in the tables; raises `ValueError` when it is none."""
    return bytes.fromhex(case.replace("-", ""))


def pseudonym(patient: str, secret: bytes, attempt: int = 0) -> str:
    """Ten letters and digits that tell nothing of the patient without the secret."""
    digest = blake2b(
        patient.encode("utf-8", "surrogatepass"), key=secret, digest_size=10, salt=bytes([attempt])
    )
    return base64.b32encode(digest.digest())[:10].decode().lower()


def _reject_row(kept: Kept) -> tuple[object, ...]:
    why = (kept.reason, kept.detail, kept.segment, kept.field)
    told = (kept.origin, kept.where, kept.source, *why)
    return (*map(storable, told), kept.content, micros(kept.arrived_at))


_FACT: Final = """
    INSERT INTO facts (patient, digest, arrived_at, body) VALUES (?, ?, ?, ?) ON CONFLICT (patient, digest) DO NOTHING"""
_FOLD: Final = """
    REPLACE INTO folded (patient, due_at, phase, heard_at, is_over) VALUES (?, ?, ?,
        coalesce((SELECT arrived_at FROM facts WHERE number = (SELECT max(number) FROM facts WHERE patient = ?)), 0), ?)"""
"""Facts are numbered as they arrive, so the last one says when the journey was heard; the others need not be read."""
_LONGER: Final = """
    UPDATE heard SET until = ?
    WHERE number = (SELECT max(number) FROM heard WHERE source = ?) AND until >= ?"""
_REJECT: Final = """
    INSERT INTO rejects (origin, place, source, reason, detail, segment, field, content, arrived_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_RETRIED: Final = """
    UPDATE rejects SET state = 'kept', attempts = attempts + 1, reason = ?, detail = ?, segment = ?, field = ?
    WHERE number = ?"""
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
