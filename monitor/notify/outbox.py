"""The delivery loop of one sink: what is due goes out, is marked, and is tried again until it was taken or can never be."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

from monitor.notify.notice import Delivery, NotDelivered, Outbox, Sink

LONGEST_WAIT_SECONDS: Final = 300.0
_FIRST_WAIT_SECONDS: Final = 1.0
_AT_ONCE: Final = 1_000
_SIDE_BY_SIDE: Final = 8
"""Calls of `send` that may be under way at once."""


class Result(NamedTuple):
    """What came of an attempt, for metrics and the log. Its texts are without patients."""

    sink: str
    outcome: Literal["delivered", "retry", "refused", "outbox"]
    """`outbox`: what it is kept in could not be read or marked."""
    deliveries: Sequence[Delivery] = ()
    why: str = ""


OnResult = Callable[[Result], None]


async def deliver(
    sink: Sink,
    outbox: Outbox,
    *,
    wake: asyncio.Event,
    on_result: OnResult,
    poll_seconds: float = 1.0,
) -> None:
    """Deliver what is due for a sink, for ever; looks when woken, and every `poll_seconds` for what is to be tried again.

    Of each alert and receiver the outbox gives only the oldest delivery, so all that it gives may go out side by side.
    """
    loop = _Loop(sink, outbox, on_result, poll_seconds)
    async with asyncio.TaskGroup() as tasks:
        while True:
            wake.clear()
            due = await loop.due()
            if due and sink.gather_seconds:
                await asyncio.sleep(sink.gather_seconds)
                due = await loop.due()
            for group in groups(due, sink.at_once):
                loop.under_way.update(each.id for each in group)
                tasks.create_task(loop.send(group)).add_done_callback(lambda _: wake.set())
            await _woken(wake, poll_seconds)


class _Loop:
    """One sink and its outbox."""

    def __init__(self, sink: Sink, outbox: Outbox, on_result: OnResult, pause_seconds: float) -> None:
        self._sink = sink
        self._outbox = outbox
        self._on_result = on_result
        self._pause_seconds = pause_seconds
        self._places = asyncio.Semaphore(_SIDE_BY_SIDE)
        self._one_step = asyncio.Lock()
        self.under_way: set[int] = set()

    async def due(self) -> list[Delivery]:
        """What is due and not under way. Nothing is marked while the outbox is asked, so the answer is not older than the marks."""
        found: list[Delivery] = []

        async def look() -> None:
            found.extend(await self._outbox.due(self._sink.name, _AT_ONCE))

        await self._surely(look)
        return [each for each in found if each.id not in self.under_way]

    async def send(self, group: Sequence[Delivery]) -> None:
        refused = await self._attempt(group)
        for each in refused:  # what one of them holds must not cost the others their delivery
            await self._attempt([each])
        self.under_way.difference_update(each.id for each in group)

    async def _attempt(self, group: Sequence[Delivery]) -> Sequence[Delivery]:
        """Send and mark; those that are to be sent one by one, since some of them will never be taken."""
        problem: NotDelivered | None = None
        async with self._places:
            try:
                await self._sink.send(group)
            except NotDelivered as error:
                problem = error
            except Exception as error:  # noqa: BLE001 - a fault of the sink; its text might name a patient
                problem = NotDelivered(f"{type(error).__name__} in the sink")
        if problem is None:
            await self._surely(lambda: self._outbox.delivered([each.id for each in group]))
            self._on_result(Result(self._sink.name, "delivered", group))
            return []
        if not problem.retry and len(group) > 1:
            return group
        await self._put_off(group, problem)
        return []

    async def _put_off(self, group: Sequence[Delivery], problem: NotDelivered) -> None:
        why, wait = str(problem), wait_seconds(group[0]) if problem.retry else None
        await self._surely(lambda: self._outbox.failed([each.id for each in group], why, wait))
        self._on_result(Result(self._sink.name, "retry" if problem.retry else "refused", group, why))

    async def _surely(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do it until it succeeds: what was sent and not marked would be sent again at once, and again."""
        async with self._one_step:
            while True:
                try:
                    return await step()
                except Exception as error:  # noqa: BLE001 - whatever ails the outbox, the loop must outlive it
                    self._on_result(Result(self._sink.name, "outbox", why=type(error).__name__))
                await asyncio.sleep(self._pause_seconds)


def groups(due: Sequence[Delivery], at_once: int) -> list[list[Delivery]]:
    """What goes out in one piece: of one receiver, at most so many.

    Each further attempt is made in more, and in other, parts: what the other side cannot take holds up fewer and fewer, without
    a flood of single messages when it was merely down.
    """
    together: dict[tuple[str, int, int], list[Delivery]] = defaultdict(list)
    for each in due:
        part = int(_chance(each, "part") * (each.attempts + 1))
        together[each.receiver, each.attempts, part].append(each)
    return [
        group[first : first + at_once]
        for group in together.values()
        for first in range(0, len(group), at_once)
    ]


def wait_seconds(delivery: Delivery) -> float:
    """How long to wait after this attempt failed: twice as long each time, up to five minutes, and never all at once."""
    longest = min(LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(delivery.attempts, 30))
    return longest * (0.5 + 0.5 * _chance(delivery, "wait"))


def _chance(delivery: Delivery, purpose: str) -> float:
    """A number in [0, 1) that is another for each delivery and attempt, and always the same for one."""
    name = f"{purpose}/{delivery.sink}/{delivery.id}/{delivery.attempts}".encode()
    return int.from_bytes(blake2b(name, digest_size=6).digest(), "big") / 2**48


async def _woken(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return
