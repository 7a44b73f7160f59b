"""What is told of an alert: one change of its state, with all that a reader may need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

Identifiers = Literal["full", "bed", "none"]
"""How much of the patient a receiver may see: key and visit; a pseudonym with the place and bed; the place alone."""


class Notice(msgspec.Struct, kw_only=True, rename={"from_": "from"}):
    """A change of an alert, complete; `shown` leaves out what a receiver may not see."""

    alert: str
    rule: str
    severity: str
    state: str
    """`firing` or `resolved`."""
    level: int
    """Of the escalation; -1 is an early warning."""
    reason: str | None
    """Why it resolved (contract, section 6)."""
    at: datetime
    """The instant of the change."""
    sequence: tuple[int, datetime, int]
    """Grows with each change of an alert."""
    summary: str
    trigger_at: datetime | None = None
    due_at: datetime | None = None
    """The deadline; None where nothing was due, but something happened (forbid, never, require, count, exclusive)."""
    delay_seconds: float | None = None
    """How late it was, once it came."""
    step: str | None = None
    from_: str | None = None
    to: str | None = None
    """Microsystem ids (or raw locations) of the handoff, as far as known."""
    place: str | None = None
    """The microsystem in which the patient is."""
    place_name: str | None = None
    location: str | None = None
    """The raw location, with room and bed."""
    timezone: str = "UTC"
    """The zone of the place; people read its times in it."""
    patient: str = ""
    """Empty for alerts that are about no single patient: feeds, populations."""
    encounter: str | None = None
    pseudonym: str = ""
    """Stands for the patient, the same as in the API: `/api/journeys/PSEUDONYM`."""
    action: str | None = None
    owner: str | None = None
    runbook: str | None = None
    link: str | None = None
    """Where more is to be seen; with `{alert}` and `{journey}` in it until `shown` has put them in."""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    after_outage: bool = False
    """Whether it was due while the monitor was not running, and is told late."""


Sees = Callable[[str], Identifiers]
"""How much of the patient a receiver may see."""


class Delivery(msgspec.Struct):
    """One notice to be sent by one sink to one receiver; kept until it was."""

    id: int
    """Grows; the order of sending for one alert, sink and receiver."""
    sink: str
    receiver: str
    notice: Notice
    attempts: int = 0


class NotDelivered(Exception):  # noqa: N818 - it is an answer, not a fault
    """A sink could not send; its text says why, without patients. With `retry` false it will never succeed."""

    def __init__(self, why: str, *, retry: bool = True) -> None:
        super().__init__(why)
        self.retry = retry


class Sink(Protocol):
    """A way out. Each is a small class of its own module."""

    name: str
    at_once: int
    """The most deliveries that one `send` takes."""
    gather_seconds: float
    """How long the first delivery waits for others to go with it."""

    async def send(self, deliveries: Sequence[Delivery]) -> None:
        """Send them all, of one receiver and different alerts; returns when the other side has taken them.

        Raises `NotDelivered` if any was not taken. Several calls may be under way at once.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and threads."""
        ...


class Outbox(Protocol):
    """What the deliveries are kept in."""

    async def due(self, sink: str, limit: int) -> list[Delivery]:
        """Those of a sink whose time has come; of each alert and receiver only the oldest one that is not delivered."""
        ...

    async def delivered(self, ids: Sequence[int]) -> None: ...

    async def failed(self, ids: Sequence[int], why: str, retry_in_seconds: float | None) -> None:
        """They were not taken; None: give up, and keep them as failed."""
        ...
