"""For how long what was ours is still ours: nothing may be written about partitions that others may have taken over.

The brokers give partitions away when a member of the group has not been heard for a session. So an answer that still counts
us in proves that nobody else has them until a session after we *asked*; when the answer was read proves nothing, for it may
have lain there while the process slept. A lease ends a little earlier, so that what was sent just before has arrived by then.
"""

from __future__ import annotations

from threading import Lock


class Lease:
    """Whether we own what we were given; asked and told from several threads, with instants of one steady clock that goes on while the machine sleeps."""

    def __init__(self, seconds: float) -> None:
        """It holds for so many `seconds` after we last asked and were counted in."""
        self._seconds = seconds
        self._until: float | None = None
        self._is_over = False
        self._lock = Lock()

    def begin(self, asked_at: float) -> None:
        """We were given something, at our asking."""
        with self._lock:
            if not self._is_over:
                self._until = asked_at + self._seconds

    def renew(self, asked_at: float) -> None:
        """We were counted in; this is of no use once it has ended."""
        with self._lock:
            if self._until is not None:
                self._until = max(self._until, asked_at + self._seconds)

    def end(self) -> None:
        """What we were given is no longer ours; we may be given something again."""
        with self._lock:
            self._until = None

    def end_for_good(self) -> None:
        """The same, and nothing will be ours again."""
        with self._lock:
            self._until = None
            self._is_over = True

    def holds(self, now: float) -> bool:
        """Whether it is certain that nobody else owns what was given to us."""
        until = self._until
        return until is not None and now < until
