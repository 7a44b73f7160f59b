"""The clock that verdicts are judged by: an instant, and whether what was due at it has been exceeded."""

from __future__ import annotations

from datetime import datetime, timedelta

Clock = tuple[datetime, int]
"""An instant and its phase.

Phase 0 is at the instant: what arrived at it is known. Phase 1 is just after it: a deadline at it has been exceeded
(contract, section 4: exactly at the deadline is in time; a change due after an instant is seen by later clocks).
Phase 2 comes behind that: an alert given up is over once its last step has been told.
"""


def after(clock: Clock, delay: timedelta) -> Clock:
    """The clock just after the instant that lies so long after another."""
    return (clock[0] + delay, 1)
