"""What the live service counts and logs of its work; nothing of it names a patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from monitor.core.change import CaseVerdict, VerdictChange
from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.core.rule import Rule
from monitor.log import get_logger
from monitor.metrics import Metrics
from monitor.notify.notice import Notice
from monitor.notify.outbox import Result
from monitor.runtime.batch import Kept
from monitor.runtime.clock import LiveClock

_FAILING_FOR = timedelta(minutes=5)
"""A sink that could not deliver for so long is worth a warning."""
_DECIDED = ("met", "late", "missed", "violated", "void")
_OUTCOMES = {"delivered": "delivered", "retry": "failed", "refused": "gave_up", "outbox": "failed"}
_log = get_logger("live")


class Counting:
    """Watches the engine's thread, the MLLP port and the sinks."""

    def __init__(self, metrics: Metrics, clock: LiveClock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._registry = Registry()
        self.problems: dict[str, str] = {}
        """What is the matter, and why, until it is mended."""
        self.failing: dict[str, tuple[datetime, str]] = {}
        """Sinks that could not deliver the last time: since when, and why."""

    def use(self, rules: Sequence[Rule], registry: Registry) -> None:
        """The rules and the registry in use from now on."""
        self._registry = registry
        self._metrics.use(rules, registry)

    # Of the engine's thread

    def took(self, events: Sequence[Event], rejects: Sequence[Kept], at: datetime) -> None:
        metrics = self._metrics
        for (source, kind), number in Counter([(each.source, each.type) for each in events]).items():
            metrics.events.of(source, kind).inc(number)
        for event in events:
            delay = (event.recorded_at - event.occurred_at).total_seconds()
            metrics.charting_delay.of(event.source).observe(max(0.0, delay))
        self.heard({each.source for each in events}, at)
        if self._registry.microsystems:
            for (source, to), number in Counter([(each.source, each.to) for each in events]).items():
                if to is not None and not self._registry.is_mapped(to):
                    metrics.unmapped_locations.of(source).inc(number)
        for kept in rejects:
            metrics.rejects.of(kept.source, kept.reason).inc()
            _log.warning(
                "message_rejected", origin=kept.origin, reason=kept.reason, source=self._known(kept.source)
            )

    def heard(self, sources: Iterable[str], at: datetime) -> None:
        for source in sources:
            self._metrics.feed_last_event.of(source).set(at.timestamp())

    def judged(self, change: VerdictChange, told: CaseVerdict | None) -> None:
        metrics = self._metrics
        cause = "clock"
        judged = change.of.judged
        if judged is None or judged.by_clock is None:
            cause = "event"
        metrics.verdict_changes.of(change.rule, change.before, change.after, cause).inc()
        if told is None or told.verdict not in _DECIDED:
            return
        metrics.cases.of(change.rule, told.verdict).inc()
        if told.delay_seconds is not None:
            metrics.delay.of(change.rule, told.from_, told.to).observe(told.delay_seconds)

    def alerted(self, told: Notice) -> None:
        self._metrics.alerts.of(told.rule, told.severity, told.state, told.reason).inc()
        if told.rule == "feed":
            _log.warning(
                "feed_" + ("fell_silent" if told.state == "firing" else "came_back"), what=told.summary
            )

    def wrote(self, seconds: float) -> None:
        self._metrics.store_write.observe(seconds)

    def failed(self, what: str, error: Exception) -> None:
        self._metrics.store_failures.inc()
        text = str(error) if type(error).__name__ == "StoreError" else type(error).__name__
        if self.problems.get(what) != text:
            self.problems[what] = text
            _log.error(what + "_failed", why=text, exc_info=error)

    def mended(self, what: str) -> None:
        if self.problems.pop(what, None) is not None:
            _log.info(what + "_recovered")

    # Of the MLLP port

    def connected(self) -> None:
        self._metrics.mllp_connections.inc()

    def disconnected(self) -> None:
        self._metrics.mllp_connections.dec()

    def dropped(self, size: int) -> None:
        self._metrics.dropped_bytes.of().inc(size)

    def answered(self, code: str) -> None:
        self._metrics.mllp_acks.of(code).inc()

    def refused(self, reason: Any, detail: str = "") -> None:
        _log.warning("connection_ended", reason=reason, why=detail)

    # Of the sinks

    def sent(self, result: Result) -> None:
        """What came of an attempt to deliver."""
        now = self._clock.now()
        count = max(1, len(result.deliveries))
        self._metrics.deliveries.of(result.sink, _OUTCOMES[result.outcome]).inc(count)
        if result.outcome == "delivered":
            for delivery in result.deliveries:
                if not delivery.notice.after_outage:
                    late = (now - delivery.notice.at).total_seconds()
                    self._metrics.alert_latency.of(result.sink).observe(max(0.0, late))
            if self.failing.pop(result.sink, None) is not None:
                _log.info("sink_recovered", sink=result.sink)
            return
        if result.sink not in self.failing or result.outcome == "refused":
            _log.warning("delivery_failed", sink=result.sink, state=result.outcome, why=result.why)
        since, _ = self.failing.get(result.sink, (now, ""))
        self.failing[result.sink] = (since, result.why)

    def failing_long(self) -> list[tuple[str, str]]:
        """The sinks that could not deliver for some minutes, each with why."""
        now = self._clock.now()
        return [
            (f"sink {sink}", why) for sink, (since, why) in self.failing.items() if now - since > _FAILING_FOR
        ]

    def _known(self, source: str) -> str:
        return source if source in self._registry.sources else "other"
