"""`handoff notify`, put together: the group that shares the alerts, what is kept, the ways out, and what watches them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from monitor.core.rule import RuleBase
from monitor.log import count_dropped, get_logger
from monitor.metrics import OTHER, Metrics
from monitor.notify.alertmanager import AlertmanagerSink
from monitor.notify.notice import Delivery, NotDelivered, Notice, Sink
from monitor.notify.notifier import Notifier
from monitor.notify.outbox import Result
from monitor.notify.routing import Route, Router, notify_roles, problems
from monitor.notify.sinks import make_sinks
from monitor.runtime.clock import LiveClock
from monitor.runtime.counting import Counting
from monitor.runtime.database import StoreError, size_of
from monitor.runtime.deliveries import AsyncDeliveries, Deliveries, until_sent
from monitor.runtime.kept_alerts import KeptAlerts
from monitor.runtime.ledger import Ledger
from monitor.runtime.live import Loaded
from monitor.runtime.notifying import relay_alerts
from monitor.runtime.reader import Reader
from monitor.runtime.relay import Relay
from monitor.runtime.rules import load_again, watched
from monitor.runtime.share import Shares
from monitor.runtime.tasks import Tasks
from monitor.runtime.watch import watch
from monitor.settings import Cluster, Settings

_JOINING: Final = "not a member of the group yet"
_log = get_logger("notify")


class NotifyService:
    """Everything but the web application, which is made from its parts."""

    def __init__(self, settings: Settings, cluster: Cluster, loaded: Loaded, clock: LiveClock) -> None:
        """Opens the data directory: raises `StoreError`."""
        self.settings = settings
        self.clock = clock
        self.metrics = Metrics(clock.now, list(settings.sinks))
        self.counting = Counting(self.metrics, clock)
        self._cluster = cluster
        folder = Path(settings.data)
        self._kept = KeptAlerts(folder)
        self._kept.begin()
        self.reader = Reader(folder)
        self.ledger = Ledger(folder)
        self._deliveries = Deliveries(folder)
        self._relay = Relay(
            self._kept,
            list(settings.sinks),
            self._routes,
            self,
            clock.now,
            wake=self._wake,
            horizon=settings.horizon,
        )
        sinks = make_sinks(settings, log=_log.info, now=clock.now, firing=self._firing)
        self._notifier = Notifier(
            {name: _gated(sink, self._relay.shares) for name, sink in sinks.items()},
            AsyncDeliveries(self._deliveries),
            self._sent,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._warnings: dict[str, str] = {}
        self._problems = {"kafka": _JOINING}
        self._tasks = Tasks(self._problems)
        self._use(loaded)
        self.metrics.read_from(list, self._pending)
        count_dropped(self.metrics.log_fields_dropped.inc)

    @property
    def rules(self) -> Sequence[RuleBase]:
        return self._loaded.rules

    # Running

    def start(self) -> None:
        """Begin: first the ways out, then the way in."""
        self._loop = asyncio.get_running_loop()
        self._tasks.begin(self._notifier.run(), "notifier")
        self._tasks.begin(self._look_around(), "health")
        self._tasks.begin(
            watch(watched(self.settings.rules, self.settings.microsystems), self.reload), "watcher"
        )
        relay = relay_alerts(
            self._cluster, self._relay, list(self.settings.sinks), self._kafka_troubled, self._store_troubled
        )
        self._tasks.begin(relay, "kafka")
        _log.info("service_started", rules=len(self.rules))

    async def stop(self) -> None:
        """End in order: what is due has a moment to go out, what was delivered is committed, the rest is left to others."""
        self._notifier.wake(self.settings.sinks)
        await until_sent(self._deliveries, self.settings.sinks)
        await self._tasks.end(but="notifier")  # Kafka still asks how far the deliveries have come
        await self._tasks.end()
        for each in (self.reader, self.ledger, self._deliveries, self._kept):
            with suppress(StoreError):
                each.close()
        _log.info("service_stopped")

    # Rules

    async def reload(self) -> None:
        """Read rules and registry again, for whom they name; with an error the old ones stay in use."""
        settings = self.settings
        loaded = await load_again(settings.rules, settings.microsystems, self._warnings, self.metrics)
        if loaded is None or loaded.digest == self._loaded.digest:
            return
        self._use(loaded)
        self.metrics.rule_reloads.of("taken").inc()
        _log.info("rules_reloaded", rules=len(loaded.rules))

    def _use(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._rules = {rule.id: rule for rule in loaded.rules}
        self._router = Router(self.settings, loaded.registry)
        self.counting.use(loaded.rules, loaded.registry)
        self.metrics.rules_loaded.set(self.clock.now().timestamp())
        for text in problems(self.settings, loaded.rules, loaded.registry):
            _log.warning("receiver_unknown", why=text)

    def _routes(self, notice: Notice, already: Sequence[Route]) -> list[Route]:
        """Of a rule that we do not have, its owner alone is known, who is in the notice."""
        rule = self._rules.get(notice.rule)
        return self._router.route(notice, notify_roles(rule, notice.level) if rule else (), already)

    # Health

    def is_alive(self) -> bool:
        """Whether all that was begun goes on."""
        return self._tasks.all_go_on

    def problems(self) -> list[tuple[str, str]]:
        """What keeps it from telling of alerts."""
        found = [*self._problems.items(), *self.counting.problems.items()]
        if not found and not self._relay.shares.are_current():
            found.append(("starting", "the alerts of its partitions are being read"))
        return found

    def warnings(self) -> list[tuple[str, str]]:
        """What should be looked at, though alerts are told."""
        return [*self._warnings.items(), *self.counting.failing_long()]

    async def _look_around(self) -> None:
        while True:
            self.metrics.ready.set(0 if self.problems() else 1)
            self.metrics.store_bytes.set(await asyncio.to_thread(size_of, Path(self.settings.data)))
            await asyncio.sleep(1.0)

    def _kafka_troubled(self, why: str | None) -> None:
        if why is None:
            was = self._problems.pop("kafka", _JOINING)
            _log.info("group_joined" if was == _JOINING else "kafka_recovered")
        else:
            self._problems["kafka"] = why
            _log.warning("kafka_failed", why=why)

    def _store_troubled(self, error: StoreError | None) -> None:
        if error is None:
            self.counting.mended("store")
        else:
            self.counting.failed("store", error)

    # What is counted of records

    def alerted(self, told: Notice) -> None:
        self.counting.alerted(told)

    def unreadable(self, partition: int, offset: int) -> None:
        """There is nothing in a record that could be told."""
        self.metrics.rejects.of(OTHER, "not-a-notice").inc()
        _log.error("alert_unreadable", where=f"{self._cluster.topic('alerts')}/{partition}/{offset}")

    # What others ask for

    def _wake(self, sinks: Collection[str]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._notifier.wake, sinks)

    async def _firing(self, sink: str) -> list[tuple[str, Notice]]:
        return await asyncio.to_thread(self._relay.shares.firing, sink)

    def _pending(self) -> dict[str, int]:
        return dict.fromkeys(self.settings.sinks, 0) | {
            each.sink: each.count for each in self.reader.waiting()
        }

    def _sent(self, result: Result) -> None:
        """What came of an attempt; there was none where the gate was shut."""
        shares = self._relay.shares
        if result.outcome != "delivered" and not shares.await_all(result.deliveries):
            return
        if result.outcome in ("delivered", "refused"):
            shares.done(result.deliveries)
        self.counting.sent(result)


class _Gate:
    """Before a sink: lets through what is ours to send, at the very moment of sending."""

    def __init__(self, sink: Sink, shares: Shares) -> None:
        self.name = sink.name
        self.at_once = sink.at_once
        self.gather_seconds = sink.gather_seconds
        self._sink = sink
        self._shares = shares

    async def send(self, deliveries: Sequence[Delivery]) -> None:
        if not self._shares.await_all(deliveries):
            raise NotDelivered("another notifier has it")
        await self._sink.send(deliveries)

    async def close(self) -> None:
        await self._sink.close()


def _gated(sink: Sink, shares: Shares) -> Sink:
    """Alertmanager needs no gate: its sink drops what is older than it told, and tells again and again how things stand."""
    return sink if isinstance(sink, AlertmanagerSink) else _Gate(sink, shares)
