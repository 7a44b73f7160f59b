"""`handoff run`, put together: the ways in, the engine's thread over its store, the ways out, and what watches them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from monitor.core.place import Registry
from monitor.core.rule import CaseRule
from monitor.ingest import follow, kafka
from monitor.ingest.intake import Intake, NotTaken
from monitor.ingest.mllp_server import Limits, MllpServer, server_tls
from monitor.log import count_dropped, get_logger
from monitor.metrics import Metrics
from monitor.notify.notice import Notice
from monitor.notify.notifier import Notifier
from monitor.notify.routing import Router, problems
from monitor.notify.sinks import make_sinks
from monitor.runtime.clock import LiveClock
from monitor.runtime.counting import Counting
from monitor.runtime.database import size_of
from monitor.runtime.deliveries import AsyncDeliveries, Deliveries, until_sent
from monitor.runtime.lane import Lane
from monitor.runtime.ledger import Ledger
from monitor.runtime.live import Live, Loaded
from monitor.runtime.reader import Reader
from monitor.runtime.rules import load_again, watched
from monitor.runtime.store import REGISTRY, Store
from monitor.runtime.tasks import Tasks
from monitor.runtime.watch import watch
from monitor.settings import Settings

_STUCK_AFTER: Final = 30.0
"""Seconds after which a thread that does not answer is taken for dead."""
_JOURNEY: Final = "journey"
_log = get_logger("service")


class Service:
    """Everything but the web application, which is made from its parts."""

    def __init__(self, settings: Settings, loaded: Loaded, clock: LiveClock) -> None:
        """Opens the store: raises `StoreError`."""
        self.settings = settings
        self.clock = clock
        self.metrics = Metrics(clock.now, list(settings.sinks))
        self.counting = Counting(self.metrics, clock)
        folder = Path(settings.data)
        self._store = Store.open(folder)
        self._store.remember(
            REGISTRY, str(Path(settings.microsystems).absolute()) if settings.microsystems else ""
        )
        self.reader = Reader(folder)
        self.ledger = Ledger(folder)
        self._deliveries = Deliveries(folder)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._live = Live(
            self._store,
            clock,
            loaded,
            lambda registry: Router(settings, registry),
            self.counting,
            link=settings.link,
            wake=self._wake,
            least_horizon=settings.horizon,
        )
        self._lane = Lane(self._live)
        self._notifier = Notifier(
            make_sinks(settings, log=_log.info, now=clock.now, firing=self._firing),
            AsyncDeliveries(self._deliveries),
            self.counting.sent,
        )
        self._warnings: dict[str, str] = {}
        self._tasks = Tasks(self.counting.problems)
        self._mllp: MllpServer | None = None
        self.mllp_port = 0
        self._answered_at = 0.0
        self._use(loaded)
        self.metrics.read_from(self.reader.open_cases, self._pending)
        count_dropped(self.metrics.log_fields_dropped.inc)

    @property
    def intake(self) -> Intake:
        return self._lane

    @property
    def rules(self) -> Sequence[Any]:
        return self._live.loaded.rules

    @property
    def registry(self) -> Registry:
        return self._live.registry

    # Running

    async def start(self) -> None:
        """Begin: first the engine's thread, then the ways out, then the ways in. Raises `OSError` where it cannot listen."""
        self._loop = asyncio.get_running_loop()
        self._answered_at = self._loop.time()
        self._lane.start()
        self._tasks.begin(self._notifier.run(), "notifier")
        self._tasks.begin(self._look_around(), "health")
        mllp = self.settings.mllp
        server = MllpServer(self._lane, self.counting, self.clock.now, mllp_limits(self.settings))
        tls = None if mllp.tls is None else server_tls(mllp.tls.certificate, mllp.tls.key, mllp.tls.client_ca)
        self.mllp_port = await server.start(mllp.host, mllp.port, tls)
        self._mllp = server
        for place in self.settings.follow:
            self._tasks.begin(follow.follow(place.path, self._lane, self._unreadable), "follower")
        for number, topic in enumerate(self.settings.kafka):
            self._tasks.begin(kafka.read(topic, self._lane, self._warner(f"kafka-{number}")), "kafka")
        self._tasks.begin(
            watch(watched(self.settings.rules, self.settings.microsystems), self.reload), "watcher"
        )
        _log.info("service_started", host=mllp.host, port=self.mllp_port, rules=len(self.rules))

    async def until_begun(self) -> None:
        """Wait until all that was known has been read, and messages are taken."""
        await self._lane.begun.wait()

    async def stop(self) -> None:
        """End in order: no more comes in, what is there is finished, and the rest is kept for the next start."""
        try:
            if self._mllp is not None:
                await self._mllp.stop()
            await self._tasks.end(but="notifier")
        finally:  # its thread would keep the process from ending
            await self._lane.stop()
        self._notifier.wake(self.settings.sinks)
        await until_sent(self._deliveries, self.settings.sinks)
        await self._tasks.end()
        self._store.close()
        self.reader.close()
        self.ledger.close()
        self._deliveries.close()
        _log.info("service_stopped")

    # Rules

    async def reload(self) -> None:
        """Read rules and registry again; with an error the old ones stay in use."""
        settings = self.settings
        loaded = await load_again(settings.rules, settings.microsystems, self._warnings, self.metrics)
        if loaded is None or loaded.digest == self._live.loaded.digest:
            return
        await self._lane.begin_again(lambda: self._live.use(loaded))
        self._use(loaded)
        self.metrics.rule_reloads.of("taken").inc()
        _log.info("rules_reloaded", rules=len(loaded.rules))

    def _use(self, loaded: Loaded) -> None:
        self.counting.use(loaded.rules, loaded.registry)
        self.metrics.rules_loaded.set(self.clock.now().timestamp())
        for text in problems(self.settings, loaded.rules, loaded.registry):
            _log.warning("receiver_unknown", why=text)
        many = [rule.id for rule in loaded.rules if not isinstance(rule, CaseRule)]
        if many:
            _log.info("rules_left_to_prometheus", rules=len(many))

    # Health

    def is_alive(self) -> bool:
        """Whether the engine's thread does its work. While it reads what is on disk, which may take minutes, it answers nobody."""
        if self._loop is None or not self._lane.is_alive:
            return False
        return not self._lane.has_begun or self._loop.time() - self._answered_at < _STUCK_AFTER

    def problems(self) -> list[tuple[str, str]]:
        """What keeps the service from taking messages over."""
        found = list(self.counting.problems.items())
        if not self._lane.has_begun:
            found.append(("starting", "the journeys that are on disk are being read"))
        if self.clock.behind > timedelta(seconds=2):
            found.append(
                (
                    "clock",
                    f"the machine's clock was set back by {self.clock.behind}; nothing falls due until it has caught up",
                )
            )
        return [each for each in found if each[0] != _JOURNEY]

    def warnings(self) -> list[tuple[str, str]]:
        """What should be looked at, though messages are taken over."""
        failing = self.counting.failing_long()
        left_out = self.counting.problems.get(_JOURNEY)
        if left_out is not None:
            failing.append(
                (_JOURNEY, f"journeys cannot be read and are left out, others are not ({left_out})")
            )
        if self._lane.has_begun and self._lane.is_reading:
            failing.append(
                ("rules", "all journeys are being read again under other rules; alerts wait until then")
            )
        return [*self._warnings.items(), *failing]

    async def _look_around(self) -> None:
        """Now and then: does the engine's thread answer, and what do the gauges say?"""
        steps = 0
        while True:
            await self._ask_lane()
            metrics = self.metrics
            metrics.ready.set(0 if self.problems() else 1)
            metrics.intake_queue.set(self._lane.waiting)
            if self._lane.has_begun:
                metrics.journeys.set(self._live.journeys)
                metrics.count_oddities(self._live.counts)
            metrics.clock_steps.inc(self.clock.steps - steps)
            steps = self.clock.steps
            metrics.store_bytes.set(await asyncio.to_thread(size_of, Path(self.settings.data)))
            await asyncio.sleep(1.0)

    async def _ask_lane(self) -> None:
        """Note when the engine's thread last answered, were it only that it can take nothing."""
        assert self._loop is not None
        with suppress(NotTaken):
            try:
                async with asyncio.timeout(1.0):
                    await self._lane.do(lambda: None)
            except TimeoutError:
                return
        self._answered_at = self._loop.time()

    # What others ask for

    def _wake(self, sinks: Iterable[str]) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._notifier.wake, sinks)

    async def _firing(self, sink: str) -> list[tuple[str, Notice]]:
        return await asyncio.to_thread(self.reader.firing, sink)

    def _pending(self) -> dict[str, int]:
        return dict.fromkeys(self.settings.sinks, 0) | {
            each.sink: each.count for each in self.reader.waiting()
        }

    def gap(self, source: str, _subscription: str, missing: int) -> None:
        """So many notifications of a subscription never came."""
        self.metrics.feed_gaps.of(source).inc(missing)
        _log.warning("notifications_missed", count=missing)

    def _unreadable(self, file: str, why: str) -> None:
        _log.warning("file_unreadable", file=file, why=why)

    def _warner(self, name: str) -> Callable[[str | None], None]:
        def warn(text: str | None) -> None:
            if text is None:
                self._warnings.pop(name, None)
            else:
                self._warnings[name] = text
                _log.warning("kafka_failed", why=text)

        return warn


def mllp_limits(settings: Settings) -> Limits:
    mllp = settings.mllp
    return Limits(
        connections=mllp.connections,
        largest=mllp.largest_kilobytes * 1024,
        idle_after=mllp.idle_after.total_seconds(),
        message_within=mllp.message_within.total_seconds(),
    )
