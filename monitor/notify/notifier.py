"""All sinks at work: the delivery loop of each, and what keeps Alertmanager told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from monitor.notify.alertmanager import AlertmanagerSink
from monitor.notify.notice import NotDelivered, Outbox, Sink
from monitor.notify.outbox import OnResult, Result, deliver


class Notifier:
    """All sinks of the service, each with a loop of its own, so that none waits for another."""

    def __init__(self, sinks: Mapping[str, Sink], outbox: Outbox, on_result: OnResult) -> None:
        self._sinks = sinks
        self._outbox = outbox
        self._on_result = on_result
        self._wakes = {name: asyncio.Event() for name in sinks}

    def wake(self, sinks: Iterable[str]) -> None:
        """Something is due for these; to be called in the loop's own thread."""
        for name in sinks:
            if name in self._wakes:
                self._wakes[name].set()

    async def run(self) -> None:
        """Deliver until cancelled; then let go of connections. What was under way is sent again at the next start."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, sink in self._sinks.items():
                    tasks.create_task(
                        deliver(sink, self._outbox, wake=self._wakes[name], on_result=self._on_result)
                    )
                    if isinstance(sink, AlertmanagerSink):
                        tasks.create_task(self._keep_firing(sink))
        finally:
            for sink in self._sinks.values():
                await sink.close()

    async def _keep_firing(self, sink: AlertmanagerSink) -> None:
        """Tell Alertmanager again and again what fires, before it takes silence for an end."""
        while True:
            try:
                await sink.refresh()
            except NotDelivered as error:
                self._on_result(Result(sink.name, "retry", why=str(error)))
            except Exception as error:  # noqa: BLE001 - a loop that ends would let every alert there resolve
                self._on_result(Result(sink.name, "outbox", why=type(error).__name__))
            await asyncio.sleep(sink.refresh_seconds)
