"""What becomes of input that cannot be an event."""

from __future__ import annotations

import msgspec


class Reject(msgspec.Struct, frozen=True):
    """One message that will not be processed, and why. It never holds a patient's identifier or name."""

    reason: str
    """A short fixed word, such as `missing-value`: the label by which rejects are counted."""
    detail: str
    """What was found and what is allowed."""
    segment: str | None = None
    field: str | None = None
