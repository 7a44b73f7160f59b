"""Alerts as lines of the program's own log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from monitor.notify.notice import Delivery, Sees
from monitor.notify.text import line


class Log(Protocol):
    """A structured log: the name of what happened, and fields."""

    def __call__(self, event: str, **fields: object) -> object: ...


class LogSink:
    """Each notice becomes one line with the text that a person reads, and fields by which machines find it."""

    at_once = 100
    gather_seconds = 0.0

    def __init__(self, name: str, log: Log, sees: Sees) -> None:
        self.name = name
        self._log = log
        self._sees = sees

    async def send(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            notice = delivery.notice
            self._log(
                "alert_told",
                sink=self.name,
                receiver=delivery.receiver,
                alert=notice.alert,
                rule=notice.rule,
                severity=notice.severity,
                state=notice.state,
                level=notice.level,
                reason=notice.reason,
                text=line(notice, self._sees(delivery.receiver)),
            )

    async def close(self) -> None:
        return
