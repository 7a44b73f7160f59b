"""What other rules, or another registry, would change about journeys as they stand: worked out, and nothing done."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from monitor.core.change import AlertChange, VerdictChange
from monitor.core.chart import linked_keys
from monitor.core.engine import Engine
from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.core.rule import CaseRule, Rule
from monitor.runtime.live import Loaded
from monitor.runtime.recorded import Runs

_AT_ONCE: Final = 500
"""Patients whose journeys are in memory together."""
_NONE: Final = "none"
"""Stands for no case."""
Fate = Literal["new", "removed", "changed", "same"]


class RulePlan(msgspec.Struct):
    """What would become of the cases and alerts of one rule."""

    rule: str
    fate: Fate
    keys: list[str] = []
    """Of a changed rule the keys that differ."""
    cases_before: int = 0
    cases_after: int = 0
    verdicts: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    """How many cases go from one verdict to another; `none` is no case, and `overdue` is an open one that is late."""
    fire: int = 0
    resolve: Counter[str] = msgspec.field(default_factory=Counter)
    """How many alerts that fire would be resolved, by reason."""
    climb: int = 0
    """Alerts that go on firing at another level, or with another severity."""
    stay: int = 0
    """Alerts that go on firing as they do."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing changes for any case or alert."""
        return not (self.verdicts or self.fire or self.resolve or self.climb)


class Moved(msgspec.Struct):
    """A location that another registry gives to another microsystem."""

    location: str
    before: str | None
    """None: no microsystem owns it."""
    after: str | None
    events: int


class Plan(msgspec.Struct):
    """What a reload would do."""

    clock: datetime
    patients: int
    events: int
    rules: list[RulePlan]
    """All rules of both sides, by id."""
    locations: list[Moved]


class History:
    """The journeys to look at: their patients, in groups that merges link, and the events of some of them."""

    def __init__(
        self,
        events: Iterable[Event],
        events_of: Callable[[Sequence[str]], Iterable[Event]],
        clock: datetime,
        heard: Runs,
    ) -> None:
        """`events` are all of them, read once and not kept."""
        self.clock = clock
        self.heard = heard
        self.locations: Counter[str] = Counter()
        self.events = 0
        self._events_of = events_of
        self._group_of: dict[str, list[str]] = {}
        for event in events:
            self._add(event)

    def _add(self, event: Event) -> None:
        self.events += 1
        self.locations.update(place for place in (event.from_, event.to) if place is not None)
        group = self._group_of.setdefault(event.patient, [event.patient])
        for key in linked_keys([event]) if event.type == "merge" else ():
            other = self._group_of.get(key, [key])
            if other is not group:
                group += other
                self._group_of.update(dict.fromkeys(other, group))

    @property
    def patients(self) -> int:
        return len(self._group_of)

    def parts(self) -> Iterator[dict[str, list[Event]]]:
        """The events of some patients after the other, by patient; those who are linked come together."""
        part: list[str] = []
        for group in {id(each): each for each in self._group_of.values()}.values():
            part += group
            if len(part) >= _AT_ONCE:
                yield self._read(part)
                part = []
        if part:
            yield self._read(part)

    def _read(self, patients: Sequence[str]) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = defaultdict(list)
        for event in self._events_of(patients):
            found[event.patient].append(event)
        return found


def plan(history: History, old: Loaded, new: Loaded, progress: Callable[[int], None]) -> Plan:
    """What would change if `new` took the place of `old` now. `progress` is told how many events were looked at."""
    rules = {each.rule: each for each in _fates(old.rules, new.rules)}
    for part in history.parts():
        _compare(part, history, old, new, rules)
        progress(sum(map(len, part.values())))
    moved = list(_moved(history.locations, old.registry, new.registry))
    ordered = [rules[name] for name in sorted(rules)]
    return Plan(history.clock, history.patients, history.events, ordered, moved)


def _fates(old: Sequence[Rule], new: Sequence[Rule]) -> Iterator[RulePlan]:
    before, after = {each.id: each for each in old}, {each.id: each for each in new}
    for name in before.keys() | after.keys():
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            yield RulePlan(name, "new" if one is None else "removed")
        else:
            keys = _differing(one, other)
            yield RulePlan(name, "changed" if keys else "same", keys)


def _differing(one: Rule, other: Rule) -> list[str]:
    fields = {**type(one).model_fields, **type(other).model_fields}
    return [
        field.alias or name
        for name, field in fields.items()
        if getattr(one, name, None) != getattr(other, name, None)
    ]


def _moved(locations: Counter[str], old: Registry, new: Registry) -> Iterator[Moved]:
    for location, count in sorted(locations.items()):
        before = old.place(location) if old.is_mapped(location) else None
        after = new.place(location) if new.is_mapped(location) else None
        if before != after:
            yield Moved(location, before, after, count)


def _compare(
    part: dict[str, list[Event]], history: History, old: Loaded, new: Loaded, rules: dict[str, RulePlan]
) -> None:
    """Live the journeys of some patients under the old rules, put the new ones over them, and count what changes."""
    listened = {
        name
        for loaded in (old, new)
        for name, source in loaded.registry.sources.items()
        if source.silent_after is not None and name in history.heard
    }
    engine = Engine(_cases(old.rules), old.registry, listened=listened)
    engine.resume(history.clock, ())
    for source in listened:
        engine.heard(source, history.heard[source])
    for patient, own in part.items():
        engine.load(patient, msgspec.json.encode(own))
    for verdict in engine.verdicts():
        rules[verdict.rule].cases_before += 1
        rules[verdict.rule].cases_after += 1
    firing = {each.alert: each for each in engine.alerts() if each.state == "firing"}
    for change in engine.use(_cases(new.rules), new.registry):
        if change.rule not in rules:
            continue  # a feed's own alert
        if isinstance(change, VerdictChange):
            _count_verdict(change, rules[change.rule])
        else:
            _count_alert(change, firing, rules[change.rule])
    severity = {each.alert: each.severity for each in engine.alerts()}
    for was in firing.values():
        if severity[was.alert] == was.severity:
            rules[was.rule].stay += 1
        else:
            rules[was.rule].climb += 1


def _cases(rules: Sequence[Rule]) -> list[CaseRule]:
    return [rule for rule in rules if isinstance(rule, CaseRule)]


def _count_verdict(change: VerdictChange, of_rule: RulePlan) -> None:
    of_rule.verdicts[change.before or _NONE, change.after or _NONE] += 1
    of_rule.cases_after += (change.before is None) - (change.after is None)


def _count_alert(change: AlertChange, firing: dict[str, AlertChange], of_rule: RulePlan) -> None:
    """Count one change; an alert that does not simply go on firing is no longer among those that do."""
    did_fire = firing.pop(change.alert, None) is not None
    if change.state == "resolved":
        if did_fire:  # that one which is over is over for another reason is no news
            of_rule.resolve[change.reason or ""] += 1
    elif did_fire:
        of_rule.climb += 1
    else:
        of_rule.fire += 1
