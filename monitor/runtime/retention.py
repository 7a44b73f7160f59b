"""What is not needed any more is deleted: journeys that are long over, with all that is about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from monitor.runtime.database import Connection

_REJECTS_AT_ONCE: Final = 1_000


def forget(connection: Connection, quiet_since: int, limit: int) -> list[str]:
    """Delete journeys in which nothing was heard since an instant, and nothing can happen; at most about so many.

    Patients whom merges link are forgotten together. Journeys that are in memory, and those with an alert that fires or has yet to be
    told, stay. Old rejects go, too, what was delivered of alerts about no patient, and when sources were heard long ago. To be called inside a transaction;
    returns the patients.
    """
    _forget_rejects(connection, quiet_since)
    connection.execute(_FORGET_TOLD, (quiet_since,))
    connection.execute(_FORGET_HEARD, (quiet_since,))
    forgotten: list[str] = []
    for group in _groups(connection, quiet_since):
        if len(forgotten) >= limit:
            break
        forgotten += _delete(connection, group)
    return forgotten


def _groups(connection: Connection, quiet_since: int) -> Iterator[list[int]]:
    """Numbers of patients that can be forgotten, each with those to whom they are linked."""
    seen: set[int] = set()
    for (number,) in connection.execute(_QUIET, (quiet_since,)).fetchall():
        if number in seen:
            continue
        group = [other for (other,) in connection.execute(LINKED, (number,))]
        seen.update(group)
        if not any(_is_needed(connection, other, quiet_since) for other in group):
            yield group


def _is_needed(connection: Connection, number: int, quiet_since: int) -> bool:
    return connection.execute(_NEEDED, {"patient": number, "quiet_since": quiet_since}).fetchone() is not None


def _delete(connection: Connection, group: list[int]) -> list[str]:
    numbers = [(number,) for number in group]
    names = [
        connection.execute("SELECT patient FROM patients WHERE number = ?", number).fetchone()[0]
        for number in numbers
    ]
    for statement in _DELETE:
        connection.executemany(statement, numbers)
    return names


def _forget_rejects(connection: Connection, quiet_since: int) -> None:
    # those that came first, which by their number are the first to be looked at
    connection.execute(
        "DELETE FROM rejects WHERE arrived_at < ? AND number IN (SELECT number FROM rejects ORDER BY number LIMIT ?)",
        (quiet_since, _REJECTS_AT_ONCE),
    )


LINKED: Final = """
    WITH RECURSIVE linked (number) AS (
        VALUES (?) UNION SELECT other FROM linked JOIN links ON links.patient = linked.number)
    SELECT number FROM linked"""
"""The numbers of all patients whom merges link to one, itself among them."""
_QUIET: Final = """
    SELECT patient FROM folded WHERE is_over AND due_at IS NULL AND heard_at < ? ORDER BY heard_at"""
_NEEDED: Final = """
    SELECT 1 WHERE EXISTS (
            SELECT 1 FROM facts WHERE patient = :patient AND NOT EXISTS (
                SELECT 1 FROM folded
                WHERE patient = :patient AND is_over AND due_at IS NULL AND heard_at < :quiet_since))
        OR EXISTS (
            SELECT 1 FROM alerts WHERE patient = :patient AND (state != 'resolved' OR EXISTS (
                SELECT 1 FROM outbox WHERE outbox.alert = alerts.alert AND outbox.state = 'waiting')))"""
_OF_ALERTS: Final = "alert IN (SELECT alert FROM alerts WHERE patient = ?)"
_DELETE: Final = (
    f"DELETE FROM outbox WHERE {_OF_ALERTS}",  # noqa: S608 - a text of our own
    f"DELETE FROM acknowledgments WHERE {_OF_ALERTS}",  # noqa: S608 - likewise
    "DELETE FROM alerts WHERE patient = ?",
    "DELETE FROM verdicts WHERE patient = ?",
    "DELETE FROM visits WHERE patient = ?",
    "DELETE FROM facts WHERE patient = ?",
    "DELETE FROM folded WHERE patient = ?",
    "DELETE FROM links WHERE patient = ?",
    "DELETE FROM patients WHERE number = ?",
)
_FORGET_TOLD: Final = """
    DELETE FROM outbox WHERE state != 'waiting' AND queued_at < ?
        AND alert IN (SELECT alert FROM alerts WHERE patient IS NULL)
        AND number < (
            SELECT max(later.number) FROM outbox AS later
            WHERE later.alert = outbox.alert AND later.sink = outbox.sink AND later.receiver = outbox.receiver)"""
_FORGET_HEARD: Final = """
    DELETE FROM heard WHERE until < ?
        AND number < (SELECT max(later.number) FROM heard AS later WHERE later.source = heard.source)"""
