"""Every metric, declared once. No patient, and nothing that a sender may choose freely, ever becomes a label.

A label has one of the values that are known to be right, one of the first few others (where nothing says which are right),
or `other`. So the number of series has an upper limit, whatever comes in.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib import metadata
from threading import Lock
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from monitor.core.event import CANCEL_PREFIX, CORE_TYPES, EARLIEST, HEARTBEAT
from monitor.core.place import Registry
from monitor.core.rule import CaseRule, Pattern, Rule
from monitor.core.text import Model

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the number of series, and say what nobody asks

OTHER: Final = "other"
_CARE: Final = (60, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400, 172_800, 604_800)
"""From a minute to a week: what care and charting are measured in."""
_MACHINE: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LATENCY: Final = (*_MACHINE[3:], 30, 60, 300, 3600)
_VERDICTS: Final = ("met", "late", "missed", "violated", "void", "unknown", "open", "overdue")
_RESOLUTIONS: Final = (
    "met",
    "late",
    "charted_late",
    "void",
    "withdrawn",
    "missed",
    "expired",
    "heard",
)

M = TypeVar("M", bound=MetricWrapperBase)


class Bound:
    """The values that a label may have: those that are known, a few others that are seen first, and `other`."""

    def __init__(self, known: Iterable[str] = (), room: int = 0) -> None:
        self._known = frozenset(known)
        self._room = room
        self._seen: set[str] = set()
        self._lock = Lock()

    def __call__(self, value: str | None) -> str:
        """The value, or `other`; none is the empty text."""
        if value is None:
            return ""
        if self.has(value):
            return value
        with self._lock:
            if len(self._seen) < self._room:
                self._seen.add(value)
                return value
        return OTHER

    def has(self, value: str) -> bool:
        return value in self._known or value in self._seen or value in ("", OTHER)

    def use(self, known: Iterable[str], room: int = 0) -> None:
        """Other values are known from now on; those that were seen are forgotten."""
        with self._lock:
            self._known, self._room, self._seen = frozenset(known), room, set()


class Family(Generic[M]):
    """A metric with labels, whose values are kept within bounds."""

    def __init__(self, metric: M, bounds: Sequence[Bound]) -> None:
        self.metric = metric
        self._bounds = bounds
        self._series: dict[tuple[str | None, ...], M] = {}
        """Those whose values are within bounds, so that most events find theirs at once."""
        self._lock = Lock()

    def of(self, *values: str | None) -> M:
        """The series of these values of the labels, in the order in which they are declared."""
        found = self._series.get(values)
        return self._found(values) if found is None else found

    def _found(self, values: tuple[str | None, ...]) -> M:
        if not self._bounds:
            return self.metric
        with self._lock:
            bounded = tuple(bound(value) for bound, value in zip(self._bounds, values, strict=True))
            series = self.metric.labels(*bounded)
            if bounded == tuple(value or "" for value in values):
                self._series[values] = series
        return series

    def drop_strangers(self) -> None:
        """Forget series whose values are no longer within bounds."""
        if not self._bounds:
            return
        names = self.metric._labelnames  # noqa: SLF001 - the client has no other word for it
        with self._lock:
            series = {
                tuple(sample.labels[name] for name in names)
                for each in self.metric.collect()
                for sample in each.samples
            }
            for values in series:
                if not all(bound.has(value) for bound, value in zip(self._bounds, values, strict=True)):
                    self.metric.remove(*values)
            self._series.clear()


class OpenCases(Protocol):
    """How many cases of a rule are open now."""

    rule: str
    open: int
    """Overdue ones included."""
    overdue: int
    oldest_due_at: datetime | None
    """The deadline of the case that has been overdue for the longest time."""


class Declared(NamedTuple):
    """A metric as the reference shows it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


class Metrics:
    """All metrics of one process, in a registry of their own. May be used from any thread."""

    def __init__(self, now: Callable[[], datetime], sinks: Collection[str] = ()) -> None:
        """`now` is the clock by which ages are reckoned, `sinks` are their names."""
        self.declared: list[Declared] = []
        self._now = now
        self._families: list[Family[Any]] = []
        self._registry = CollectorRegistry()
        self._severities: dict[str, str] = {}
        self._counted: dict[str, int] = {}
        self._open_cases: Callable[[], Iterable[OpenCases]] = tuple
        self._pending: Callable[[], Mapping[str, int]] = dict
        self._bounds = {
            "source": Bound(room=50),
            "type": Bound(),
            "rule": Bound(),
            "place": Bound(),
            "reason": Bound(room=50),
            "resolution": Bound(_RESOLUTIONS),
            "cause": Bound(("event", "clock", "reload")),
            "verdict": Bound(_VERDICTS),
            "severity": Bound(("info", "warning", "critical")),
            "state": Bound(("firing", "resolved", "live", "shadow")),
            "result": Bound(("delivered", "failed", "gave_up", "taken", "refused")),
            "sink": Bound(sinks),
            "kind": Bound(("duplicates", "conflicts", "future", "stale", "heartbeats", "updates")),
            "code": Bound(("AA", "AE", "AR", "CA", "CE", "CR")),
        }
        self._declare_input()
        self._declare_judging()
        self._declare_output()
        self._declare_cluster()
        self._declare_process()

    def _declare_input(self) -> None:
        counter, gauge = self._counter, self._gauge
        self.events = counter("events", "Events taken over.", "source", "type")
        self.oddities = counter(
            "event_oddities",
            "Events that were repeats (`duplicates`), repeats with other content (`conflicts`), of a time to come (`future`), "
            "heartbeats or demographic updates; and cases that were over before they were known (`stale`).",
            "kind",
        )
        self.rejects = counter(
            "rejects", "Messages that could not be used and were kept.", "source", "reason"
        )
        self.dropped_bytes = counter(
            "dropped_bytes", "Bytes on a connection that belong to no message.", unit="bytes"
        )
        self.unmapped_locations = counter(
            "unmapped_locations", "Locations in events that no microsystem owns.", "source"
        )
        self.feed_gaps = counter("feed_gaps", "Messages that a feed's own numbering shows as lost.", "source")
        self.feed_last_event = gauge(
            "feed_last_event_timestamp_seconds",
            "When a source was last heard, in Unix time.",
            "source",
            unit="seconds",
        )
        self.charting_delay = self._histogram(
            "charting_delay_seconds",
            "From when something happened to when the source wrote it.",
            _CARE,
            "source",
        )
        self.intake_queue = gauge("intake_queue", "Messages that wait to be made durable.").of()
        self.mllp_connections = gauge("mllp_connections", "Open MLLP connections.").of()
        self.mllp_acks = counter("mllp_acks", "Acknowledgements sent over MLLP.", "code")

    def _declare_judging(self) -> None:
        counter, gauge = self._counter, self._gauge
        self.cases = counter("cases", "Cases that came to a verdict.", "rule", "verdict")
        self.verdict_changes = counter(
            "verdict_changes",
            "Changes of a verdict, from nothing (empty) or another, by what brought them about.",
            "rule",
            "from:verdict",
            "to:verdict",
            "cause",
        )
        self.delay = self._histogram(
            "delay_seconds",
            "How long after its deadline what was expected came, for cases that ended late.",
            _CARE,
            "rule",
            "from:place",
            "to:place",
        )
        self.journeys = gauge("journeys", "Patients of whom something may still be told.").of()
        self.rules = gauge("rules", "Rules in use.", "state")
        self.rule_reloads = counter(
            "rule_reloads", "Readings of changed rules and registries, by what became of them.", "result"
        )
        self.rules_refused = gauge(
            "rules_refused", "1 while the rules on disk are wrong and older ones are in use."
        ).of()
        self.rules_loaded = gauge(
            "rules_loaded_timestamp_seconds",
            "When the rules in use were read, in Unix time.",
            unit="seconds",
        ).of()
        self.clock_steps = counter("clock_steps", "Times at which the wall clock was set.").of()
        for name, meaning, labels in _CASE_GAUGES:
            self._declare(name, "gauge", meaning, labels)

    def _declare_output(self) -> None:
        self.alerts = self._counter(
            "alerts", "Changes of alerts.", "rule", "severity", "state", "reason:resolution"
        )
        self.alert_latency = self._histogram(
            "alert_latency_seconds",
            "From deadline and grace to when a sink had taken the alert.",
            _LATENCY,
            "sink",
        )
        self.deliveries = self._counter("deliveries", "Attempts to deliver alerts.", "sink", "result")
        self._declare("outbox_pending", "gauge", "Deliveries that wait.", ("sink",))

    def _declare_cluster(self) -> None:
        """Of `handoff worker`."""
        counter, gauge = self._counter, self._gauge
        self.partitions = gauge("partitions", "Partitions of the events that are this worker's.").of()
        self.recovery_seconds = gauge(
            "recovery_seconds",
            "How long it last took from losing partitions, or from the start, until all journeys had been looked at.",
            unit="seconds",
        ).of()
        self.lag = gauge("lag_records", "Records in these partitions that have not been read yet.").of()
        self.offset_gaps = counter(
            "offset_gaps", "Times at which the stream left out records; they were read again beside it."
        ).of()
        self.expired = counter(
            "expired_records",
            "Records that retention took before a worker had read them; nothing is known of them.",
        ).of()
        self.skewed = counter(
            "skewed_records",
            "Records that the broker's clock put earlier than what had been judged already.",
        ).of()

    def _declare_process(self) -> None:
        gauge = self._gauge
        self.ready = gauge("ready", "1 while messages are taken over and judged.").of()
        self.store_write = self._histogram(
            "store_write_seconds", "How long one durable write of a batch took.", _MACHINE
        ).of()
        self.store_failures = self._counter("store_failures", "Writes that failed and were tried again.").of()
        self.store_bytes = gauge("store_bytes", "Size of the store on disk.", unit="bytes").of()
        self.log_fields_dropped = self._counter(
            "log_fields_dropped", "Fields kept out of the log, for nobody had said that they are harmless."
        ).of()
        self.scrape_errors = self._counter(
            "scrape_errors", "Times at which figures could not be read from the store for a scrape."
        ).of()
        build = Info("handoff_build", "What is running.", registry=self._registry)
        build.info({"version": metadata.version("handoff-monitor"), "python": platform.python_version()})
        self._declare("build_info", "gauge", "1, with what is running.", ("version", "python"))
        self._registry.register(_Read(self))
        ProcessCollector(registry=self._registry)

    def use(self, rules: Iterable[Rule], registry: Registry) -> None:
        """The rules and the registry in use say which rules, types, sources and places there are; series of others are forgotten."""
        rules = list(rules)
        self._severities = {rule.id: rule.severity for rule in rules}
        core = CORE_TYPES | {HEARTBEAT}
        named = {word for rule in rules for word in _types(rule)}
        self._bounds["rule"].use([*self._severities, "feed"])
        self._bounds["type"].use([*core, *(CANCEL_PREFIX + each for each in core), *named])
        self._bounds["source"].use(registry.sources, room=0 if registry.sources else 50)
        self._bounds["place"].use([each.id for each in registry.microsystems])
        for family in self._families:
            family.drop_strangers()
        shadow = sum(1 for rule in rules if isinstance(rule, CaseRule) and rule.mode == "shadow")
        self.rules.of("live").set(len(rules) - shadow)
        self.rules.of("shadow").set(shadow)

    def count_oddities(self, counts: Mapping[str, int]) -> None:
        """Add what has been counted since the last time; an engine that begins anew counts from 0."""
        for kind, count in counts.items():
            before = self._counted.get(kind, 0)
            self.oddities.of(kind).inc(count - before if count >= before else count)
        self._counted = dict(counts)

    def read_from(
        self, open_cases: Callable[[], Iterable[OpenCases]], pending: Callable[[], Mapping[str, int]]
    ) -> None:
        """Where to read, at each scrape, how many cases are open and how many deliveries wait (by sink)."""
        self._open_cases, self._pending = open_cases, pending

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics and their content type: OpenMetrics, or the older text, as an `Accept` header asks. Reads the store."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def gauges(self) -> Iterator[Metric]:
        """The figures that are read from the store at a scrape; none where it cannot be read."""
        try:
            rows, pending = list(self._open_cases()), dict(self._pending())
        except Exception:  # noqa: BLE001 - whatever ails the store, the other figures are wanted all the more
            self.scrape_errors.inc()
            return
        now = self._now()
        families = {
            name: GaugeMetricFamily(f"handoff_{name}", meaning, labels=labels)
            for name, meaning, labels in _CASE_GAUGES
        }
        for row in rows:
            rule = row.rule
            if rule not in self._severities:
                continue
            families["open_cases"].add_metric([rule], row.open)
            families["overdue_cases"].add_metric([rule, self._severities[rule]], row.overdue)
            since = (now - row.oldest_due_at).total_seconds() if row.oldest_due_at else 0.0
            families["oldest_overdue_seconds"].add_metric([rule], max(0.0, since))
        yield from families.values()
        waiting = GaugeMetricFamily("handoff_outbox_pending", "Deliveries that wait.", labels=["sink"])
        for sink, count in pending.items():
            if self._bounds["sink"].has(sink):
                waiting.add_metric([sink], count)
        yield waiting

    def _declare(self, name: str, kind: str, meaning: str, labels: Sequence[str]) -> None:
        self.declared.append(Declared(f"handoff_{name}", kind, tuple(labels), meaning))

    def _counter(self, name: str, meaning: str, *labels: str, unit: str = "") -> Family[Counter]:
        return self._family(Counter, f"{name}_total", "counter", meaning, labels, unit=unit)

    def _gauge(self, name: str, meaning: str, *labels: str, unit: str = "") -> Family[Gauge]:
        return self._family(Gauge, name, "gauge", meaning, labels, unit=unit)

    def _histogram(
        self, name: str, meaning: str, buckets: Sequence[float], *labels: str
    ) -> Family[Histogram]:
        return self._family(Histogram, name, "histogram", meaning, labels, unit="seconds", buckets=buckets)

    def _family(
        self,
        make: Callable[..., M],
        name: str,
        kind: str,
        meaning: str,
        labels: Sequence[str],
        **options: Any,
    ) -> Family[M]:
        """A metric. A label is written as its name, with `:BOUND` where its bound has another name."""
        pairs = [(label, bound or label) for label, _, bound in (each.partition(":") for each in labels)]
        names = [label for label, _ in pairs]
        self._declare(name, kind, meaning, names)
        metric = make(f"handoff_{name}", meaning, names, registry=self._registry, **options)
        family = Family(metric, [self._bounds[bound] for _, bound in pairs])
        self._families.append(family)
        return family


class _Read(Collector):
    """Gives the figures that are read at a scrape to the client."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics.gauges()

    def describe(self) -> Iterator[Metric]:
        """Nothing: else the client would collect once to learn the names."""
        return iter(())


_CASE_GAUGES: Final = (
    ("open_cases", "Cases that are open now, overdue ones included.", ("rule",)),
    ("overdue_cases", "Cases that are overdue now.", ("rule", "severity")),
    (
        "oldest_overdue_seconds",
        "For how long the oldest overdue case has been overdue; 0 if there is none.",
        ("rule",),
    ),
)


def metrics_table() -> str:
    """A table of all metrics, in Markdown."""
    rows = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.meaning} |"
        for each in sorted(Metrics(lambda: EARLIEST).declared)
    ]
    return "\n".join(rows) + "\n"


def _types(value: Any) -> Iterator[str]:
    """The types of events that patterns anywhere in a rule name, without those with a `*`."""
    if isinstance(value, list):
        for each in value:
            yield from _types(each)
    elif isinstance(value, Model):
        if isinstance(value, Pattern) and value.type is not None:
            words = [value.type] if isinstance(value.type, str) else value.type
            yield from (word for word in words if "*" not in word)
        for name in type(value).model_fields:
            yield from _types(getattr(value, name))
