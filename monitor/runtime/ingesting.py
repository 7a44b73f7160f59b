"""`handoff ingest`, put together: the ways in, the thread that sends to Kafka, and what watches them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from monitor.ingest import kafka
from monitor.ingest.brokers import Trouble
from monitor.ingest.intake import Intake, NotTaken
from monitor.ingest.mllp_server import MllpServer, server_tls
from monitor.log import count_dropped, get_logger
from monitor.metrics import Metrics
from monitor.runtime.clock import LiveClock
from monitor.runtime.counting import Counting
from monitor.runtime.kafka_intake import KafkaIntake
from monitor.runtime.lane import Lane
from monitor.runtime.live import Loaded
from monitor.runtime.rules import load_again, watched
from monitor.runtime.service import mllp_limits
from monitor.runtime.tasks import Tasks
from monitor.runtime.topics import differences
from monitor.runtime.watch import watch
from monitor.settings import Cluster, Settings

_LOOK_SECONDS: Final = 1.0
_ASK_SECONDS: Final = 15.0
"""How often it is seen whether the brokers are there and the topics as they have to be, for a night may bring no message."""
_STUCK_AFTER: Final = 60.0
"""Seconds after which a thread that does not answer is taken for dead: more than brokers that do not answer may hold it."""
_log = get_logger("ingest")


class Ingesting:
    """Everything but the web application, which is made from its parts."""

    def __init__(self, settings: Settings, cluster: Cluster, loaded: Loaded, clock: LiveClock) -> None:
        self.settings = settings
        self.clock = clock
        self.metrics = Metrics(clock.now)
        self.counting = Counting(self.metrics, clock)
        self._cluster = cluster
        self._loaded = loaded
        self._sending = KafkaIntake(cluster, loaded.registry, clock, self.counting)
        self._lane = Lane(self._sending)
        self._troubles: dict[str, str] = {}
        self._warnings: dict[str, str] = {}
        self._tasks = Tasks(self._troubles)
        self._mllp: MllpServer | None = None
        self._answered_at: float | None = None
        self.mllp_port = 0
        self.counting.use((), loaded.registry)
        count_dropped(self.metrics.log_fields_dropped.inc)

    @property
    def intake(self) -> Intake:
        return self._lane

    # Running

    async def start(self) -> None:
        """Begin. Raises `OSError` where it cannot listen."""
        self._answered_at = asyncio.get_running_loop().time()
        self._lane.start()
        self._tasks.begin(self._look_around(), "health")
        self._tasks.begin(self._ask_brokers(), "brokers")
        mllp = self.settings.mllp
        server = MllpServer(self._lane, self.counting, self.clock.now, mllp_limits(self.settings))
        tls = None if mllp.tls is None else server_tls(mllp.tls.certificate, mllp.tls.key, mllp.tls.client_ca)
        self.mllp_port = await server.start(mllp.host, mllp.port, tls)
        self._mllp = server
        for number, topic in enumerate(self.settings.kafka):
            self._tasks.begin(kafka.read(topic, self._lane, self._warner(f"kafka-{number}")), "kafka")
        self._tasks.begin(watch(watched((), self.settings.microsystems), self.reload), "watcher")
        _log.info("service_started", host=mllp.host, port=self.mllp_port)

    async def stop(self) -> None:
        """End in order: no more comes in, and what has come is sent, or refused."""
        try:
            if self._mllp is not None:
                await self._mllp.stop()
            await self._tasks.end()
        finally:  # its thread would keep the process from ending
            await self._lane.stop()
            await asyncio.to_thread(self._sending.close)
        _log.info("service_stopped")

    async def reload(self) -> None:
        """Read the registry again; with an error the old one stays in use."""
        loaded = await load_again((), self.settings.microsystems, self._warnings, self.metrics)
        if loaded is None or loaded.digest == self._loaded.digest:
            return
        self._loaded = loaded
        self._sending.registry = loaded.registry
        self.counting.use((), loaded.registry)
        self.metrics.rule_reloads.of("taken").inc()
        _log.info("registry_reloaded")

    # Health

    def is_alive(self) -> bool:
        """Whether the thread that sends does its work."""
        if self._answered_at is None or not self._lane.is_alive:
            return False
        return asyncio.get_running_loop().time() - self._answered_at < _STUCK_AFTER

    def problems(self) -> list[tuple[str, str]]:
        """What keeps messages from being taken over."""
        return list((self._troubles | self.counting.problems).items())

    def warnings(self) -> list[tuple[str, str]]:
        """What should be looked at, though messages are taken over."""
        return list(self._warnings.items())

    async def _look_around(self) -> None:
        """Now and then: does the thread that sends answer, and what do the gauges say?"""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(NotTaken):
                await self._lane.do(lambda: None)
            self._answered_at = loop.time()
            self.metrics.ready.set(0 if self.problems() else 1)
            self.metrics.intake_queue.set(self._lane.waiting)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _ask_brokers(self) -> None:
        while True:
            await asyncio.sleep(_ASK_SECONDS)
            await self.ask_brokers()

    async def ask_brokers(self) -> None:
        """See whether the brokers answer, and whether somebody changed the topics."""
        try:
            found = await asyncio.to_thread(differences, self._cluster)
        except Trouble as trouble:
            self._trouble("brokers", str(trouble))
            return
        self._trouble("brokers", None)
        self._warner("topics")("; ".join(found) or None)

    def _trouble(self, what: str, why: str | None) -> None:
        known = self._troubles.pop(what, None)
        if why is not None:
            self._troubles[what] = why
        if why != known:
            _log.warning("brokers_failed", why=why) if why else _log.info("brokers_recovered")

    def _warner(self, name: str) -> Callable[[str | None], None]:
        def warn(text: str | None) -> None:
            known = self._warnings.pop(name, None)
            if text is not None:
                self._warnings[name] = text
            if text is not None and text != known:
                _log.warning("kafka_failed", why=text)

        return warn

    # What others ask for

    def gap(self, source: str, _subscription: str, missing: int) -> None:
        """So many notifications of a subscription never came."""
        self.metrics.feed_gaps.of(source).inc(missing)
        _log.warning("notifications_missed", count=missing)
