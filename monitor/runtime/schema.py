"""The tables of a data directory, and how older ones become them.

Instants are INTEGER microseconds since 1970-01-01T00:00:00Z, cases the 16 bytes of their UUID, bodies the JSON of the
struct that they hold. Text that names a patient stands in `patients` and in bodies, and nowhere else.
"""

from __future__ import annotations

from typing import Final

APPLICATION: Final = 0x48614E44
"""`PRAGMA application_id`: the letters HaND."""

MIGRATIONS: Final = (
    """
    CREATE TABLE remembered (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE positions (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    -- runs of messages of a source without a gap that could be silence
    CREATE TABLE heard (number INTEGER PRIMARY KEY, source TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL);
    CREATE INDEX heard_of ON heard (source);

    CREATE TABLE patients (
        number INTEGER PRIMARY KEY,
        patient TEXT NOT NULL UNIQUE,
        pseudonym TEXT NOT NULL UNIQUE
    );
    -- keys that a merge has ever named together
    CREATE TABLE links (patient INTEGER NOT NULL, other INTEGER NOT NULL, PRIMARY KEY (patient, other)) WITHOUT ROWID;
    -- journeys that are on disk alone; all others that have facts are in memory
    CREATE TABLE folded (
        patient INTEGER PRIMARY KEY,
        due_at INTEGER,
        phase INTEGER NOT NULL,
        heard_at INTEGER NOT NULL,
        is_over INTEGER NOT NULL
    );
    CREATE INDEX folded_over ON folded (heard_at) WHERE is_over AND due_at IS NULL;

    -- `number` counts arrivals; `digest` is of all but the arrival, so that an equal copy is kept once
    CREATE TABLE facts (
        number INTEGER PRIMARY KEY,
        patient INTEGER NOT NULL,
        digest BLOB NOT NULL,
        arrived_at INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (patient, digest)
    );
    CREATE TABLE visits (
        source TEXT NOT NULL,
        key TEXT NOT NULL,
        patient INTEGER,
        body BLOB NOT NULL,
        PRIMARY KEY (source, key)
    ) WITHOUT ROWID;
    CREATE INDEX visits_of ON visits (patient);

    -- `number` counts cases as they came to be known; `state` is the verdict, or `overdue`
    CREATE TABLE verdicts (
        number INTEGER PRIMARY KEY,
        case_id BLOB NOT NULL UNIQUE,
        patient INTEGER NOT NULL,
        rule TEXT NOT NULL,
        state TEXT NOT NULL,
        due_at INTEGER,
        body BLOB NOT NULL
    );
    CREATE INDEX verdicts_of ON verdicts (patient);
    CREATE INDEX verdicts_by ON verdicts (rule, state);

    -- `number` counts alerts as they first fired; (generation, changed_at, change) is the sequence of the last change
    CREATE TABLE alerts (
        number INTEGER PRIMARY KEY,
        alert TEXT NOT NULL UNIQUE,
        patient INTEGER,
        rule TEXT NOT NULL,
        severity TEXT NOT NULL,
        state TEXT NOT NULL,
        place TEXT,
        generation INTEGER NOT NULL,
        changed_at INTEGER NOT NULL,
        change INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    CREATE INDEX alerts_of ON alerts (patient);
    CREATE INDEX alerts_by_rule ON alerts (rule);
    CREATE INDEX alerts_by_place ON alerts (place);
    CREATE INDEX alerts_by_severity ON alerts (severity);
    CREATE INDEX alerts_by_state ON alerts (state);
    CREATE TABLE acknowledgments (
        number INTEGER PRIMARY KEY,
        alert TEXT NOT NULL,
        who TEXT NOT NULL,
        reason TEXT NOT NULL,
        at INTEGER NOT NULL
    );
    CREATE INDEX acknowledgments_of ON acknowledgments (alert);

    -- of each (alert, sink, receiver) only the oldest delivery that waits has a `due_at`
    CREATE TABLE outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        alert TEXT NOT NULL,
        sink TEXT NOT NULL,
        receiver TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting', -- or delivered, failed
        due_at INTEGER,
        queued_at INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        why TEXT,
        body BLOB NOT NULL
    );
    CREATE INDEX outbox_due ON outbox (sink, due_at) WHERE due_at IS NOT NULL;
    CREATE INDEX outbox_of ON outbox (alert, sink, receiver);
    CREATE INDEX outbox_waiting ON outbox (sink) WHERE state = 'waiting';

    CREATE TABLE rejects (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        state TEXT NOT NULL DEFAULT 'kept', -- or asked (to be tried again), taken
        origin TEXT NOT NULL,
        place TEXT NOT NULL,
        source TEXT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        segment TEXT,
        field TEXT,
        arrived_at INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        content BLOB NOT NULL
    );
    CREATE INDEX rejects_by_state ON rejects (state);
    CREATE INDEX rejects_by_reason ON rejects (reason);

    CREATE TABLE audit (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        who TEXT NOT NULL,
        role TEXT NOT NULL,
        action TEXT NOT NULL,
        what TEXT NOT NULL
    );
    """,
)
"""Each makes of one version of the tables the next; the first makes them of nothing. Never change one that was released."""
