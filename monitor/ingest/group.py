"""Taking part in a group of readers of a Kafka topic: what all who do so have in common.

kafka-python is imported only once a topic is to be read; its calls block, so they are made in a thread of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, Never

from monitor.ingest.brokers import ANSWER_MILLISECONDS, Complaints, connected, why
from monitor.settings import Brokers

Partition = Any
"""A `kafka.TopicPartition`; the library has no types."""
Record = Any
"""A `ConsumerRecord` of the library."""
Blocking = Callable[..., asyncio.Future[Any]]
"""Calls a function in the thread of the group."""

_GOODBYE_MILLISECONDS: Final = 1_500
_SESSION_MILLISECONDS: Final = 10_000
"""A reader that died is missed after so long; until then nobody else reads its partitions."""
_METADATA_MILLISECONDS: Final = 30_000
"""New partitions are found within so long."""
_FETCH_BYTES: Final = 8 * 2**20
_QUIET_MILLISECONDS: Final = 5_000
"""When polls have brought nothing for so long it is asked whether the brokers are still there."""
_FAILURES: Final = 20
"""After so many that were hoped to pass, one after the other, the connection is made anew."""
_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 30.0


async def take_part(once: Callable[[Blocking, Callable[[], None]], Awaitable[None]]) -> Never:
    """Take part until cancelled: whenever `once` has ended it is called again, after a wait of 1 to 30 seconds.

    It is given a way to make calls that block, and what to call when all is well, so that the next wait is short again.
    """
    loop = asyncio.get_running_loop()
    wait = _FIRST_WAIT_SECONDS

    def is_well() -> None:
        nonlocal wait
        wait = _FIRST_WAIT_SECONDS

    with ThreadPoolExecutor(max_workers=1) as thread:
        while True:
            await once(partial(loop.run_in_executor, thread), is_well)
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)


def on_change(tell: Callable[[str | None], None]) -> Callable[[str | None], None]:
    """Tells only what differs from what it told before."""
    told: list[str | None] = []

    def changed(text: str | None) -> None:
        if told != [text]:
            told[:] = [text]
            tell(text)

    return changed


class GroupConsumer:
    """A consumer of the library, as one of a group. All of it blocks; it is called by one thread at a time."""

    def __init__(self, source: Brokers, topic: str, client_id: str, group: str) -> None:
        self._source = source
        self._topic = topic
        self._client_id = client_id
        self._group = group
        self._complaints = Complaints(client_id)
        self._quiet_milliseconds = 0
        self._failures = 0
        self.client: Any = None
        """The library's own, once it has reached the brokers."""
        self.trouble: str | None = None
        """Why nothing comes, while it is hoped that this passes."""

    def connect(self, *topics: str, **options: Any) -> None:
        """Reach the brokers; topics that are not named are to be subscribed to. Raises what the library, the system or `Trouble` has to say when that is not possible."""
        from kafka import KafkaConsumer  # type: ignore[import-untyped]  # noqa: PLC0415 - only who uses Kafka pays for it

        self._complaints.listen()
        self.client = connected(
            KafkaConsumer,
            self._source,
            *topics,
            client_id=self._client_id,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            session_timeout_ms=_SESSION_MILLISECONDS,
            metadata_max_age_ms=_METADATA_MILLISECONDS,
            fetch_max_bytes=_FETCH_BYTES,
            metrics_enabled=False,
            **options,
        )

    @property
    def has_topic(self) -> bool:
        """Whether there is the topic, as far as we may know."""
        return bool(self.client.partitions_for_topic(self._topic))

    @contextmanager
    def patient(self, milliseconds: int) -> Iterator[None]:
        """Holds back errors that may pass, for so long each; they are raised once they came again and again.

        The library mends most of what breaks by itself, and who leaves a group in a hurry holds up the others.
        """
        from kafka.errors import KafkaError  # type: ignore[import-untyped]  # noqa: PLC0415

        try:
            yield
        except KafkaError as error:
            self._failures += 1
            if not error.retriable or self._failures > _FAILURES:
                raise
            self.trouble = self.reason(error)
            time.sleep(milliseconds / 1000)

    def poll(self, milliseconds: int, most: int) -> dict[Partition, list[Record]]:
        """What came, at most so many records; in a long silence the brokers are asked whether they are there."""
        self._go_on_joining()
        records: dict[Partition, list[Record]] = self.client.poll(timeout_ms=milliseconds, max_records=most)
        self._quiet_milliseconds += milliseconds
        if not records and self._quiet_milliseconds < _QUIET_MILLISECONDS:
            return records
        if not records:
            self._ask()
        self._quiet_milliseconds = 0
        self._failures = 0
        self.trouble = None
        self._complaints.last = ""
        return records

    def _go_on_joining(self) -> None:
        """Have the library finish what it may have left halfway.

        When partitions were added, the leader of a group takes its joining anew for done once it has decided who gets which; if
        the time of a poll is over at just that moment, it never asks which are its own, and soon belongs to no group any more.
        """
        coordinator = self.client._coordinator  # noqa: SLF001 - it has no other way
        if coordinator.rejoining and not coordinator.need_rejoin():
            coordinator.request_rejoin()

    def _ask(self) -> None:
        """Whether the brokers are still there: without it their silence is like that of a hospital in which nothing happens.

        Not by the connection to the group's coordinator: there an answer may wait until all members have joined.
        """
        from kafka import TopicPartition  # noqa: PLC0415

        self.client.end_offsets([TopicPartition(self._topic, 0)], timeout_ms=ANSWER_MILLISECONDS)

    def leave(self) -> None:
        self._complaints.end()
        if self.client is not None:
            with suppress(Exception):  # brokers that are gone need no goodbye
                self.client.close(autocommit=False, timeout_ms=_GOODBYE_MILLISECONDS)

    def reason(self, error: Exception) -> str:
        """What an error means, without anything of a message."""
        return why(error, self._source, self._complaints)
