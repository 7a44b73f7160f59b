"""Input that cannot be used, and why: what every decoder answers in place of events."""

from __future__ import annotations

import msgspec


class Reject(msgspec.Struct, frozen=True):
    """Why a message gives no events. It never holds anything of the patient, so it may be logged and shown."""

    reason: str
    """A short stable word for counting, such as `no-patient`."""
    detail: str
    """What is wrong, and what to do about it."""
    segment: str | None = None
    """Where: `PID`, or the column of a table; None when the message as a whole is meant."""
    field: str | None = None
    """Where in it: `PID-3`."""
