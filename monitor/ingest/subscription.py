"""How far a FHIR subscription has told what it had to tell (FHIR R5 and the backport to R4): what never came is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from monitor.formats import fhir
from monitor.ingest.intake import Intake, Position

OnGap = Callable[[str, str, int], None]
"""Is told the source, the subscription, and how many of its notifications never came."""


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
            reached = await self._intake.position(name)
            last, missing = follow_numbers(notification, None if reached is None else int(reached))
            yield None if last is None else Position(name, str(last))
            if missing:
                self._on_gap(notification.source, notification.subscription, missing)


def follow_numbers(notification: fhir.Notification, reached: int | None) -> tuple[int | None, int]:
    """The last `eventNumber` known with a notification, and how many are missing between it and what was `reached`.

    A handshake begins to count anew. Numbers that came before are repeats: nothing is missing, and nothing goes back.
    """
    if notification.kind == "handshake":
        return (notification.numbers[1] if notification.numbers else 0), 0
    if notification.numbers is None:
        return reached, 0
    first, last = notification.numbers
    if reached is None:
        return last, 0
    return max(reached, last), max(0, first - reached - 1)
