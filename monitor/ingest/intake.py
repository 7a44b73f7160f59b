"""The way in: what every server and reader hands over, and what it is promised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats.fhir import Visit
from monitor.formats.reject import Reject

Origin = Literal["mllp", "http", "fhir", "file", "kafka"]
"""By which way a message came."""


class Message(msgspec.Struct, kw_only=True):
    """One message as it came in, and what it was read as: events, the state of a visit, or a reject; or nothing at all."""

    origin: Origin
    content: bytes
    """Its bytes as they were received; kept only with a reject."""
    where: str = ""
    """What helps to find it again, without patients: a file and line, a topic with partition and offset."""
    events: list[Event] = []
    visit: Visit | None = None
    """A FHIR Encounter: a state, which becomes events by comparison with what was told of it before."""
    reject: Reject | None = None
    source: str = ""
    """Of a reject: the feed that it came from, as far as that is known."""


class Position(NamedTuple):
    """How far a reader has come; remembered together with what it read until there."""

    name: str
    value: str


class NotTaken(Exception):  # noqa: N818 - it is an answer, not a fault
    """The messages could not be made durable now; nothing of them was taken, and the sender must try again later."""


class Intake(Protocol):
    """What stands behind every way in."""

    @property
    def registry(self) -> Registry:
        """By which messages are decoded; ask again for each, for it may be reloaded."""
        ...

    async def take(self, messages: Sequence[Message], position: Position | None = None) -> None:
        """Take messages over; on return they are on disk. Waits while there is too much to do. Raises `NotTaken`."""
        ...

    async def position(self, name: str) -> str | None:
        """Where a reader had come, the last time it said."""
        ...


LARGEST_BATCH: Final = 1_000
"""Messages that a reader best hands over at once."""
