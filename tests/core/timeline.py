"""Journeys in minutes, and what rules make of them.

`at(10, "transfer", to="icu")` is an event ten minutes after Monday noon. It arrives when it happens, unless `arrived`
says otherwise, and its id is its type and minute: `transfer@10`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from monitor.core.change import AlertChange, CaseVerdict, Change
from monitor.core.engine import Engine
from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.core.rule import FORMS, CaseRule, form_of

NOON = datetime(2024, 3, 4, 12, 0, tzinfo=UTC)
DAY = 24 * 60
END = 30 * DAY
"""So late that whatever can happen has happened."""

HOSPITAL = {
    "microsystems": [
        {"id": "ed", "kind": "ed", "locations": ["ED"]},
        {"id": "icu", "kind": "icu", "tags": ["critical"], "parent": "surgery", "locations": ["ICU"]},
        {"id": "hdu", "kind": "icu", "tags": ["critical", "step-down"], "parent": "medicine"},
        {"id": "ward", "kind": "ward", "parent": "medicine", "locations": ["4W", "5W^7"]},
    ],
    "mesosystems": [
        {"id": "surgery", "parent": "hospital"},
        {"id": "medicine", "parent": "hospital"},
        {"id": "hospital"},
    ],
}

ASK, ANSWER, DROP = {"type": "ask"}, {"type": "answer"}, {"type": "drop"}


def moment(minutes):
    return NOON + timedelta(minutes=minutes)


def minutes(instant):
    """An instant as minutes after noon; whole ones without a fraction."""
    passed = (instant - NOON) / timedelta(minutes=1)
    return int(passed) if passed == int(passed) else passed


def just_after(minute):
    """The first clock at which what was due at a minute has been exceeded."""
    return minute + 1 / 60_000_000


def at(minute, kind, *, arrived=None, recorded=None, **fields):
    fields = {"id": f"{kind}@{minute}", "patient": "p"} | fields
    if recorded is not None:
        fields["recorded_at"] = moment(recorded)
    arrived_at = moment(minute if arrived is None else arrived)
    return Event(type=kind, occurred_at=moment(minute), arrived_at=arrived_at, **fields)


def rule(**keys) -> CaseRule:
    """A rule from the keys of a rule file; its id is `r` and it is a warning unless they say otherwise."""
    keys = {"id": "r", "summary": "not in time", "severity": "warning"} | keys
    return FORMS[form_of(keys)].model_validate(keys)


def expect(**keys) -> CaseRule:
    """An `ask` must be followed by an `answer` within 30 minutes."""
    return rule(**{"when": ASK, "expect": ANSWER, "within": "30m"} | keys)


class Run(NamedTuple):
    engine: Engine
    changes: list[Change]

    @property
    def cases(self) -> list[CaseVerdict]:
        return sorted(self.engine.verdicts(), key=lambda case: (case.trigger_at, case.rule, case.trigger))

    @property
    def alerts(self) -> list[AlertChange]:
        return [change for change in self.changes if isinstance(change, AlertChange)]


def run(rules, *events, now=END, registry=HOSPITAL, listened=()) -> Run:
    """Everything that arrives until `now`, in order of arrival; then the clock moves there."""
    engine = Engine(
        rules if isinstance(rules, Sequence) else [rules],
        Registry.model_validate(registry),
        listened=listened,
    )
    changes = []
    for event in sorted(events, key=lambda event: (event.arrived_at, event.source, event.id)):
        if event.arrived_at <= moment(now):
            changes += engine.observe(event)
    changes += engine.advance(moment(now))
    return Run(engine, changes)


def cases(rules, *events, **how):
    return run(rules, *events, **how).cases


def verdicts(rules, *events, **how):
    """A word or two for each case, in order of their triggers."""
    return [verdict_of(case) for case in cases(rules, *events, **how)]


def verdict(rules, *events, **how):
    """The same, where there is one case."""
    (case,) = cases(rules, *events, **how)
    return verdict_of(case)


def alerts(rules, *events, **how):
    """A line for each change of an alert: the minute, its state, and its level or why it was resolved."""
    return [alert_of(change) for change in run(rules, *events, **how).alerts]


def verdict_of(case):
    """`met`, `open`, `overdue`, `late by 5`, `void: unless`."""
    if case.overdue:
        assert case.verdict == "open"
        return "overdue"
    if case.delay_seconds is not None:
        return f"{case.verdict} by {case.delay_seconds / 60:g}"
    return case.verdict if case.reason is None else f"{case.verdict}: {case.reason}"


def alert_of(change):
    """`30 firing 0`, `40 resolved late`."""
    assert (change.reason is None) == (change.state == "firing")
    return f"{minutes(change.at)} {change.state} {change.level if change.reason is None else change.reason}"
