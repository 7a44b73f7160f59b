"""The history of every alert: its state at every moment at which anything may change (contract, section 6)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from effective import Clock, effective
from match import duration
from silence import silences, silent_from
from verdicts import NAMESPACE, judged

from monitor.core.event import Event

FOLLOWED = {"late": "late", "void": "void", "missed": "missed", "open": "withdrawn"}
"""The reason with which an alert resolves, by the verdict of its case; of `met` see `resolved_by`."""


@dataclass
class Memory:
    """What the past of one alert adds to the present state of its case."""

    state: str | None = None
    level: int = 0
    severity: str = ""
    reason: str | None = None
    fired_at: datetime | None = None
    only_warned: bool = False
    bad_since: datetime | None = None
    """Since when the case has been known as overdue or violated without a break."""

    def shown(self) -> tuple[Any, ...]:
        return (self.state, self.level, self.severity, self.reason)


@dataclass
class Ladder:
    """`escalate`, in order of `after`; the early warning apart."""

    rule: dict[str, Any]

    def steps(self) -> list[dict[str, Any]]:
        found = [each for each in self.rule.get("escalate", []) if not each["after"].startswith("-")]
        return sorted(found, key=lambda each: duration(each["after"]))

    def warning(self) -> dict[str, Any] | None:
        return next((each for each in self.rule.get("escalate", []) if each["after"].startswith("-")), None)

    def level(self, base: datetime, clock: Clock) -> int:
        """How many steps are due; one without delay is there from the first."""
        afters = [duration(each["after"]) for each in self.steps()]
        return sum(not after or clock > (base + after, 0) for after in afters)

    def severity(self, level: int) -> str:
        if level < 0:
            return self.warning().get("severity", self.rule["severity"])
        named = [each["severity"] for each in self.steps()[:level] if "severity" in each]
        return named[-1] if named else self.rule["severity"]

    def climbed(self, base: datetime, clock: Clock) -> bool:
        """Whether the last step is due."""
        return self.level(base, clock) == len(self.steps())


def base_of(case: dict[str, Any]) -> datetime:
    """What the ladder counts from: the deadline; for a violation, the violation."""
    return case["decided_at"] if case["verdict"] == "violated" else case["due_at"]


def warned_at(case: dict[str, Any], rule: dict[str, Any]) -> datetime | None:
    warning = Ladder(rule).warning()
    if warning is None or case["due_at"] is None:
        return None
    return case["due_at"] + duration(warning["after"])


def grace_of(case: dict[str, Any], rule: dict[str, Any], registry: dict[str, Any]) -> Any:
    source = registry.get("sources", {}).get(case["opener"].event.source, {})
    return duration(rule.get("grace") or source.get("grace") or "0s")


def raises(case: dict[str, Any], rule: dict[str, Any]) -> bool:
    """Shadow rules, test patients and old news raise no alert."""
    test = case["opener"].event.attributes.get("test") is True
    return not (test or case["stale"] or rule.get("mode") == "shadow")


def follow(
    memory: Memory,
    case: dict[str, Any] | None,
    rule: dict[str, Any],
    *,
    registry: Any,
    silent: Any,
    clock: Clock,
) -> None:
    """Bring an alert from the moment before to this one."""
    bad = case is not None and (case["overdue"] or case["verdict"] == "violated")
    memory.bad_since = (memory.bad_since or clock[0]) if bad else None
    if case is None:
        resolve(memory, "withdrawn")
    elif bad:
        follow_bad(memory, case, rule, registry, clock)
    elif case["verdict"] == "open" and warning_due(case, rule, silent, clock):
        fire(memory, -1, rule, clock)
    elif case["verdict"] == "unknown":  # what already fires keeps firing
        if memory.state == "firing" and memory.level >= 0 and case["due_at"] is not None:
            fire(memory, Ladder(rule).level(case["due_at"], clock), rule, clock)
    elif case["verdict"] == "met":
        resolve(memory, "met" if memory.only_warned else "charted_late")
    elif case["reason"] == "gave_up" and memory.state == "firing" and memory.level >= 0:
        if Ladder(rule).climbed(case["due_at"], clock) and memory.level == len(Ladder(rule).steps()):
            resolve(memory, "missed")  # once the last step has been told
        else:
            fire(memory, Ladder(rule).level(case["due_at"], clock), rule, clock)
    else:
        resolve(memory, FOLLOWED[case["verdict"]])


def follow_bad(
    memory: Memory, case: dict[str, Any], rule: dict[str, Any], registry: Any, clock: Clock
) -> None:
    """The case is overdue or violated."""
    violated = case["verdict"] == "violated"
    if memory.state == "firing" and memory.level >= 0:
        if violated and clock > (memory.fired_at + duration(rule.get("show_for", "24h")), 0):
            resolve(memory, "expired")
        else:
            fire(memory, Ladder(rule).level(base_of(case), clock), rule, clock)
        return
    grace = grace_of(case, rule, registry)
    waited = not grace or clock > (memory.bad_since + grace, 0)
    if waited and raises(case, rule) and memory.reason != "expired":
        fire(memory, Ladder(rule).level(base_of(case), clock), rule, clock)
    elif memory.state == "resolved" and not violated:
        resolve(memory, "withdrawn")


def warning_due(
    case: dict[str, Any], rule: dict[str, Any], silent: dict[str, datetime], clock: Clock
) -> bool:
    at = warned_at(case, rule)
    if at is None or not raises(case, rule) or not clock > (at, 0):
        return False
    feeds = rule.get("feeds")
    feeds = [case["opener"].event.source] if feeds is None else feeds
    return all(at < silent[feed] for feed in feeds if feed in silent)


def fire(memory: Memory, level: int, rule: dict[str, Any], clock: Clock) -> None:
    if memory.state != "firing":
        memory.state, memory.reason, memory.only_warned = "firing", None, True
        memory.fired_at = clock[0]
    if level >= 0 and memory.only_warned:  # a violation is shown from here on
        memory.only_warned, memory.fired_at = False, clock[0]
    memory.level, memory.severity = level, Ladder(rule).severity(level)


def resolve(memory: Memory, reason: str) -> None:
    """Resolve, or change the reason of what was resolved before; what never fired has nothing to resolve."""
    if memory.state is not None:
        memory.state, memory.reason = "resolved", reason


# -- the history -------------------------------------------------------------------------------------------


def alert_history(
    events: Iterable[Event],
    rules: list[dict[str, Any]],
    registry: dict[str, Any],
    until: datetime,
    listened: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Each change of each alert until the clock stands at `until`."""
    events = [event for event in events if event.arrived_at <= until]
    listened = list(listened)
    by_id = {rule["id"]: rule for rule in rules}
    facts_change_at = {e.arrived_at for e in events} | {
        e.occurred_at for e in events if e.occurred_at > e.arrived_at
    }
    memories: dict[str, Memory] = {}
    rule_of: dict[str, dict[str, Any]] = {}
    seen_cases: dict[str, dict[str, Any]] = {}
    feeds: dict[str, bool] = {}
    changes: list[dict[str, Any]] = []
    numbers: dict[tuple[str, datetime], int] = {}
    journeys: dict[str, Any] = {}

    def note(alert: str, at: datetime, **change: Any) -> None:
        number = numbers[alert, at] = numbers.get((alert, at), -1) + 1
        changes.append({"alert": alert, "at": at, "number": number, **change})

    instant = min(facts_change_at, default=None)
    while instant is not None and instant <= until:
        cases: list[dict[str, Any]] = []
        for phase in (0, 1, 2):
            clock = (instant, phase)
            if clock > (until, 0):
                break
            if phase == 0 and instant in facts_change_at:
                journeys = effective(events, clock, registry)
            silent = silences(events, registry, clock, listened)
            for source in listened:
                if (source in silent) != feeds.get(source, False):
                    feeds[source] = source in silent
                    state = "firing" if source in silent else "resolved"
                    note(feed_alert(source), instant, rule="feed", state=state, level=0, severity=None,
                         reason=None if source in silent else "heard", patient=None, encounter=None, due_at=None)  # fmt: skip

            cases = judged(journeys, rules, registry, clock, silent)
            present = {case["case"]: case for case in cases}
            seen_cases |= present
            for alert in sorted(seen_cases):
                case = present.get(alert)
                rule = rule_of.setdefault(alert, by_id[seen_cases[alert]["rule"]])
                memory = memories.setdefault(alert, Memory())
                before = memory.shown()
                follow(memory, case, rule, registry=registry, silent=silent, clock=clock)
                if memory.shown() != before:
                    known = seen_cases[alert]
                    note(alert, instant, rule=rule["id"], state=memory.state, level=memory.level,
                         severity=memory.severity, reason=memory.reason, patient=known["patient"],
                         encounter=known["encounter"], due_at=known["due_at"])  # fmt: skip
        timers = set(facts_change_at) | set(silent_from(events, registry, instant, listened).values())
        for case in cases:
            timers |= timers_of(case, by_id[case["rule"]], memories[case["case"]], registry)
        instant = min((each for each in timers if each > instant), default=None)
    return changes


def feed_alert(source: str) -> str:
    return str(uuid.uuid5(NAMESPACE, json.dumps(["feed", None, source, ""], separators=(",", ":"))))


def timers_of(case: dict[str, Any], rule: dict[str, Any], memory: Memory, registry: Any) -> set[datetime]:
    """Instants after which the clock alone may change a case or its alert."""
    found = set(case["timers"])
    if warned_at(case, rule) is not None:
        found.add(warned_at(case, rule))
    if base_of(case) is not None:
        found |= {base_of(case) + duration(each["after"]) for each in Ladder(rule).steps()}
    if memory.bad_since is not None:
        found.add(memory.bad_since + grace_of(case, rule, registry))
    if memory.fired_at is not None:
        found.add(memory.fired_at + duration(rule.get("show_for", "24h")))
    return found
