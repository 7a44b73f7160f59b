"""How far a FHIR subscription has told what it had to tell (FHIR R5 and the backport to R4): what never came is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from monitor.formats import fhir
from monitor.ingest.intake import Intake, Position

OnGap = Callable[[str, str, int], None]
"""Is told the source, the subscription, and how many of its notifications never came."""

_NOTHING_YET: Final = "0"
_UNKNOWN: Final = "?"


class Subscriptions:
    """How far the notifications of each FHIR subscription have come; each is taken in one at a time."""

    def __init__(self, intake: Intake, on_gap: OnGap) -> None:
        self._intake = intake
        self._on_gap = on_gap
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn_of(self, notification: fhir.Notification) -> AsyncIterator[Position | None]:
        """The position to remember with a notification, which is taken in the block; then what is missing before it is told."""
        if notification.subscription is None:
            yield None
            return
        name = f"fhir:{notification.source}:{notification.subscription}"
        turn = self._turns.setdefault(name, asyncio.Lock())
        async with turn:
            reached, missing = follow_numbers(notification, await self._intake.position(name))
            yield None if reached is None else Position(name, reached)
            if missing:
                self._on_gap(notification.source, notification.subscription, missing)


def follow_numbers(notification: fhir.Notification, reached: str | None) -> tuple[str | None, int]:
    """How far a subscription has come with a notification, and how many never came between that and what was `reached`.

    A position is the last `eventNumber`, `?` where it cannot be known, None where nothing was heard yet. A new
    subscription counts from 1; one that is begun again may go on counting or not. Numbers that were there before are
    repeats: nothing is missing, and nothing goes back.
    """
    if notification.kind == "handshake":
        return (_NOTHING_YET if reached in (None, _NOTHING_YET) else _UNKNOWN), 0
    if notification.numbers is None:
        return reached, 0
    first, last = notification.numbers
    if reached is None or reached == _UNKNOWN:
        return str(last), 0
    return str(max(int(reached), last)), max(0, first - int(reached) - 1)
