"""Alerts to chats and pagers, by Apprise: over a hundred services, each behind an address of its own."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from apprise import Apprise, NotifyFormat, NotifyType

from monitor.notify.notice import Delivery, NotDelivered, Sees
from monitor.notify.secret import secret
from monitor.notify.text import plain, subject

_TYPES: Final = {"critical": NotifyType.FAILURE, "warning": NotifyType.WARNING, "info": NotifyType.INFO}

logging.getLogger("apprise").disabled = True  # it would write addresses and texts beside our own log


class AppriseSink:
    """Each notice goes to all addresses of a file; one that has taken it does not get it again while others fail."""

    at_once = 1
    gather_seconds = 0.0

    def __init__(self, name: str, file: str, sees: Sees) -> None:
        """`file` has one address a line; lines that begin with `#` are comments."""
        self.name = name
        self._file = file
        self._sees = sees
        with warnings.catch_warnings(action="ignore"):  # the warnings of its modules are not ours
            Apprise.instantiate("json://localhost")  # reads them all: now, and not at the first alert
        self._taken: dict[int, set[str]] = {}
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix=f"apprise-{name}")

    async def send(self, deliveries: Sequence[Delivery]) -> None:
        run = asyncio.get_running_loop().run_in_executor
        for delivery in deliveries:
            await run(self._threads, self._hand_over, delivery)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _hand_over(self, delivery: Delivery) -> None:
        taken = self._taken.setdefault(delivery.id, set())
        problems: list[str] = []
        for number, url in urls(secret(self._file)):
            if url in taken:
                continue
            problem = self._tell(url, delivery)
            if problem is None:
                taken.add(url)
            else:
                problems.append(f"line {number} {problem}")
        if problems:
            raise NotDelivered("; ".join(problems))
        del self._taken[delivery.id]

    def _tell(self, url: str, delivery: Delivery) -> str | None:
        """What went wrong, if anything; without the address, which holds secrets."""
        service = Apprise()
        if not service.add(url):
            return "is no address that Apprise knows"
        notice = delivery.notice
        kind = (
            NotifyType.SUCCESS
            if notice.state == "resolved"
            else _TYPES.get(notice.severity, NotifyType.WARNING)
        )
        text = plain(notice, self._sees(delivery.receiver))
        took = service.notify(text, title=subject(notice), notify_type=kind, body_format=NotifyFormat.TEXT)
        return None if took else "did not take it"


def urls(text: str) -> list[tuple[int, str]]:
    """The addresses of a file, with the numbers of their lines."""
    lines = [(number, each.strip()) for number, each in enumerate(text.splitlines(), 1)]
    return [(number, each) for number, each in lines if each and not each.startswith("#")]
