"""The reading side of a data directory: what the API, gauges and commands ask of it, beside the service that writes."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from monitor.core.change import CaseVerdict
from monitor.core.event import Event
from monitor.notify.notice import Notice
from monitor.runtime.database import FILE, Row, check_version, connect, explained, instant, storable
from monitor.runtime.retention import LINKED
from monitor.runtime.store import REGISTRY, events, heard
from monitor.runtime.writer import CLOCK

PAGE: Final = 100
_LONGEST_SECONDS: Final = 10.0
"""A question that takes longer is broken off: while it lasts, the log of writes cannot be cleared."""

_STATES: Final = ("open", "overdue", "met", "late", "missed", "violated", "void", "unknown")
_FIRST: Final = 1 << 62
"""Above the number of any row: a page before it is the first."""

_case: Final = msgspec.json.Decoder(CaseVerdict).decode
_event: Final = msgspec.json.Decoder(Event).decode
_notice: Final = msgspec.json.Decoder(Notice).decode


class Acknowledgment(msgspec.Struct):
    """That someone has seen an alert."""

    who: str
    reason: str
    at: datetime


class KnownAlert(msgspec.Struct):
    """An alert as it stands."""

    number: int
    """Grows with each alert that fires for the first time."""
    notice: Notice
    acknowledged: list[Acknowledgment] = []
    """Oldest first."""


class KnownCase(msgspec.Struct):
    """A case as it stands."""

    number: int
    """Grows with each case that comes to be known."""
    pseudonym: str
    verdict: CaseVerdict


class OpenCases(msgspec.Struct):
    """How many cases of a rule wait."""

    rule: str
    open: int
    """Those that are overdue among them."""
    overdue: int
    oldest_due_at: datetime | None
    """When the first of those that are overdue was due."""


class KnownReject(msgspec.Struct):
    """A reject, without what it was."""

    id: int
    state: str
    """`kept`, `asked` (to be tried again) or `taken`."""
    origin: str
    where: str
    source: str
    reason: str
    detail: str
    segment: str | None
    field: str | None
    arrived_at: datetime
    attempts: int
    """How often it was tried again."""
    size: int
    """Its bytes."""


class Waiting(msgspec.Struct):
    """What a sink has not delivered."""

    sink: str
    count: int
    oldest_queued_at: datetime
    why: str | None
    """Why the oldest was not delivered so far."""


class Audited(msgspec.Struct):
    """A line of the audit log."""

    number: int
    at: datetime
    who: str
    role: str
    action: str
    what: str


class Reader:
    """Reads a data directory on a connection of its own; for any thread, one question at a time.

    Lists are newest first, in pages: `before` is the number of the last one on the page before. Every method may raise
    `StoreError`.
    """

    def __init__(self, folder: Path) -> None:
        """Of a data directory that exists."""
        self._path = folder / FILE
        self._alone = threading.Lock()
        self._until = 0.0
        with explained("open", self._path):
            self._connection = connect(self._path, only_reads=True)
            try:
                check_version(self._connection, self._path)
            except BaseException:
                self._connection.close()
                raise
            self._connection.set_progress_handler(self._is_too_long, 100_000)

    def close(self) -> None:
        """Let go of the connection."""
        with self._alone, explained("close", self._path):
            self._connection.close()

    # Alerts

    def alerts(
        self,
        *,
        state: str | None = None,
        rule: str | None = None,
        place: str | None = None,
        severity: str | None = None,
        before: int | None = None,
        limit: int = PAGE,
    ) -> list[KnownAlert]:
        """Alerts, those that fired last for the first time before the others."""
        given = {"state": state, "rule": rule, "place": place, "severity": severity}
        wanted = {name: value for name, value in given.items() if value is not None}
        tests = "".join(f" AND {name} = ?" for name in wanted)
        query = f"SELECT number, body FROM alerts WHERE number < ?{tests} ORDER BY number DESC LIMIT ?"  # noqa: S608 - the names are ours
        return self._known(self._all(query, _row(before), *wanted.values(), limit))

    def alert(self, alert: str) -> KnownAlert | None:
        """One alert."""
        found = self._known(self._all("SELECT number, body FROM alerts WHERE alert = ?", alert))
        return found[0] if found else None

    def _known(self, rows: Sequence[Row]) -> list[KnownAlert]:
        known = [KnownAlert(number, _notice(body)) for number, body in rows]
        query = "SELECT who, reason, at FROM acknowledgments WHERE alert = ? ORDER BY number"
        for each in known:
            marks = self._all(query, each.notice.alert)
            each.acknowledged = [Acknowledgment(who, reason, instant(at)) for who, reason, at in marks]
        return known

    def firing(self, sink: str) -> list[tuple[str, Notice]]:
        """The alerts that fire now and were told through a sink, each with its receiver and as it stands."""
        return [(receiver, _notice(body)) for receiver, body in self._all(_FIRING, sink)]

    # Cases

    def verdicts(
        self,
        *,
        rule: str | None = None,
        verdict: str | None = None,
        overdue: bool | None = None,
        journey: str | None = None,
        before: int | None = None,
        limit: int = PAGE,
    ) -> list[KnownCase]:
        """Cases, those that came to be known last first. `journey` is a pseudonym; those whom merges link are included."""
        states = _states(verdict, overdue)
        if journey is not None:
            rows = self._cases_of(journey, rule, states, _row(before))
        elif rule is None and states == _STATES:
            rows = self._all(f"{_CASES} WHERE c.number < ? {_LATEST}", _row(before), limit)
        else:
            rows = self._cases_by(self._rules() if rule is None else [rule], states, _row(before), limit)
        return [KnownCase(number, pseudonym, _case(body)) for number, pseudonym, body in rows[:limit]]

    def _cases_of(self, journey: str, rule: str | None, states: Sequence[str], before: int) -> list[Row]:
        query = f"{_CASES} WHERE c.patient = ? AND c.number < ? AND coalesce(c.rule = ?, TRUE)"
        marks = ",".join("?" * len(states))
        rows = [
            row
            for number in self._linked(journey)
            for row in self._all(f"{query} AND c.state IN ({marks})", number, before, rule, *states)
        ]
        return sorted(rows, reverse=True)

    def _cases_by(self, rules: Sequence[str], states: Sequence[str], before: int, limit: int) -> list[Row]:
        """One short look into the index for each rule and state: their rows are in order, and so is what they are merged to."""
        query = f"{_CASES} WHERE c.rule = ? AND c.state = ? AND c.number < ? {_LATEST}"
        pages = [self._all(query, rule, state, before, limit) for rule in rules for state in states]
        return list(heapq.merge(*pages, reverse=True))

    def open_cases(self) -> list[OpenCases]:
        """How many cases of each rule wait, and since when."""
        return [OpenCases(rule, *self._open(rule)) for rule in self._rules()]

    def _open(self, rule: str) -> tuple[int, int, datetime | None]:
        count = "SELECT count(*) FROM verdicts WHERE rule = ? AND state = ?"
        first = "SELECT min(due_at) FROM verdicts WHERE rule = ? AND state = 'overdue'"
        open_, overdue = self._all(count, rule, "open")[0][0], self._all(count, rule, "overdue")[0][0]
        due_at = self._all(first, rule)[0][0] if overdue else None
        return open_ + overdue, overdue, None if due_at is None else instant(due_at)

    def _rules(self) -> list[str]:
        return [rule for (rule,) in self._all(_RULES)]

    # Journeys

    def patient_of(self, pseudonym: str) -> str | None:
        """The patient key that a pseudonym stands for."""
        rows = self._all("SELECT patient FROM patients WHERE pseudonym = ?", pseudonym)
        return rows[0][0] if rows else None

    def facts_of(self, pseudonym: str) -> list[Event]:
        """The facts of a patient and of those whom merges link to it, in order of arrival; none of one who is not known."""
        query = "SELECT number, body FROM facts WHERE patient = ?"
        rows = [row for number in self._linked(pseudonym) for row in self._all(query, number)]
        return [_event(body) for _, body in sorted(rows)]

    def events(self, patients: Sequence[str] | None = None) -> Iterator[Event]:
        """The facts of some patients, or of all, in order of arrival."""
        return events(self._all, patients)

    def _linked(self, pseudonym: str) -> list[int]:
        rows = self._all("SELECT number FROM patients WHERE pseudonym = ?", pseudonym)
        return [number for (number,) in self._all(LINKED, rows[0][0])] if rows else []

    # The rest

    def clock(self) -> datetime | None:
        """The engine's clock at the last batch."""
        rows = self._all("SELECT value FROM remembered WHERE name = ?", CLOCK)
        return instant(int(rows[0][0])) if rows else None

    def registry(self) -> str | None:
        """The file in which the service found its registry: empty where none was named, None where that is not known."""
        rows = self._all("SELECT value FROM remembered WHERE name = ?", REGISTRY)
        return str(rows[0][0]) if rows else None

    def heard(self) -> dict[str, list[tuple[datetime, datetime]]]:
        """When each source was heard: from when to when without a gap that could be silence, in order."""
        return heard(self._all)

    def rejects(
        self,
        *,
        state: str | None = None,
        reason: str | None = None,
        before: int | None = None,
        limit: int = PAGE,
    ) -> list[KnownReject]:
        """Rejects, the last ones first."""
        wanted = {
            name: value for name, value in {"state": state, "reason": reason}.items() if value is not None
        }
        tests = "".join(f" AND {name} = ?" for name in wanted)
        query = f"{_REJECTS} WHERE number < ?{tests} ORDER BY number DESC LIMIT ?"
        return [_reject(row) for row in self._all(query, _row(before), *wanted.values(), limit)]

    def reject(self, id_: int) -> tuple[KnownReject, bytes] | None:
        """One reject, and its bytes."""
        rows = self._all(f"{_REJECTS} WHERE number = ?", id_)
        if not rows:
            return None
        return _reject(rows[0]), self._all("SELECT content FROM rejects WHERE number = ?", id_)[0][0]

    def waiting(self) -> list[Waiting]:
        """What each sink has still to deliver."""
        return [Waiting(sink, count, instant(at), why) for sink, count, at, why, _ in self._all(_WAITING)]

    def audited(self, *, before: int | None = None, limit: int = PAGE) -> list[Audited]:
        """The audit log, the last lines first."""
        query = "SELECT number, at, who, role, action, what FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?"
        rows = self._all(query, _row(before), limit)
        return [Audited(number, instant(at), *rest) for number, at, *rest in rows]

    def _all(self, query: str, *values: object) -> list[Row]:
        """All rows at once, so that no transaction stays open behind them."""
        with self._alone, explained("read", self._path):
            self._until = time.monotonic() + _LONGEST_SECONDS
            return self._connection.execute(query, tuple(map(storable, values))).fetchall()

    def _is_too_long(self) -> bool:
        return time.monotonic() > self._until


def _row(before: int | None) -> int:
    return _FIRST if before is None else min(before, _FIRST)


def _states(verdict: str | None, overdue: bool | None) -> tuple[str, ...]:
    """The states of cases with a verdict, overdue or not."""
    chosen = _STATES if verdict is None else (verdict, "overdue") if verdict == "open" else (verdict,)
    return tuple(state for state in chosen if overdue is None or (state == "overdue") == overdue)


def _reject(row: Row) -> KnownReject:
    values = [*row]
    values[9] = instant(values[9])
    return KnownReject(*values)


_FIRING: Final = """
    SELECT DISTINCT o.receiver, a.body FROM alerts AS a JOIN outbox AS o ON o.alert = a.alert
    WHERE a.state = 'firing' AND o.sink = ?"""
_CASES: Final = """
    SELECT c.number, p.pseudonym, c.body FROM verdicts AS c JOIN patients AS p ON p.number = c.patient"""
_LATEST: Final = "ORDER BY c.number DESC LIMIT ?"
_RULES: Final = """
    WITH RECURSIVE found (rule) AS (
        SELECT min(rule) FROM verdicts
        UNION ALL SELECT (SELECT min(rule) FROM verdicts WHERE rule > found.rule) FROM found WHERE rule IS NOT NULL)
    SELECT rule FROM found WHERE rule IS NOT NULL"""
_REJECTS: Final = """
    SELECT number, state, origin, place, source, reason, detail, segment, field, arrived_at, attempts, length(content)
    FROM rejects"""
_WAITING: Final = """
    SELECT sink, count(*), queued_at, why, min(number) FROM outbox WHERE state = 'waiting' GROUP BY sink"""
"""With `min`, SQLite takes the other columns from the row that has the least."""
