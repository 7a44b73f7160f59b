"""What workers told, against one pass over the events that lie in the topic."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from monitor.core.engine import Engine
from monitor.core.place import Registry

AGREES_WITHIN_SECONDS = 25
"""After the last deadline."""
_BEHIND = timedelta(seconds=2)
"""Workers judge what was a moment ago: the brokers' clock may be behind theirs."""
_SOON = timedelta(minutes=10)
_HARMLESS = ("withdrawn", "charted_late", "void", "met")
"""How an alert ends of which all facts together know nothing."""


class Comparison(NamedTuple):
    """What was found when things stood still."""

    wrong: dict[str, dict]
    """By what must not be, the alerts and cases of which it is so. None of these may have any."""
    passing: dict[str, float]
    """Alerts that one pass does not know, or not that they grew so much: told while facts were on their way between partitions.
    For how many seconds they fired."""
    untold: set[str]
    """Alerts that came and went in one pass, and of which nobody was told."""
    repeats: int
    """Notices that said again what the topic said already."""
    slowest: float
    """Seconds from the instant of a change until it was first told."""


def one_pass(site, now):
    """An engine that has seen all events."""
    engine = Engine(site.rule_set(), Registry())
    for event in site.events():
        engine.observe(event)
    engine.advance(max(engine.now[0], now))
    return engine


def compared(site, now):
    """What was told against one pass until `now`; `wrong` is empty where all is as it should be."""
    engine = one_pass(site, now)
    notices = {alert: [each for _, each in told] for alert, told in site.notices().items()}
    latest = {alert: max(told, key=lambda each: each.sequence) for alert, told in notices.items()}
    replayed = {each.alert: each for each in engine.alerts()}
    must = {alert for alert, each in replayed.items() if each.state == "firing"}
    passing = {
        alert: each
        for alert, each in latest.items()
        if each.state == "resolved" and went_too_far(each, replayed.get(alert))
    }
    wrong = {
        "verdicts": different(site.verdicts(), {each.case: each for each in engine.verdicts()}),
        "alerts": different(
            {alert: standing(each) for alert, each in latest.items() if alert not in passing},
            {
                alert: standing(each)
                for alert, each in replayed.items()
                if alert in must | (latest.keys() - passing.keys())
            },
        ),
        "patients": {
            alert: (each.patient, replayed[alert].patient)
            for alert, each in latest.items()
            if alert in replayed and each.patient not in engine.stands(replayed[alert].patient)[0]
        },
        "order": {alert: why for alert, told in notices.items() if (why := undisciplined(told))},
    }
    return wrong, passing.keys(), replayed.keys() - latest.keys(), engine.next_due()


def went_too_far(told, replayed):
    """Whether an alert was told of which one pass knows nothing, or not that it grew so much, and was taken back as far as that goes."""
    if replayed is None:
        return told.reason in _HARMLESS
    is_over = replayed.state == "resolved" and told.level > replayed.level
    return is_over and (
        told.reason == replayed.reason or (replayed.reason == "met" and told.reason in _HARMLESS)
    )


def standing(alert):
    """How it stands, to a receiver; of what is over nobody need hear that other rules give it another severity."""
    severity = alert.severity if alert.state == "firing" else None
    return alert.state, alert.level, alert.reason, alert.rule, severity, alert.trigger_at


def undisciplined(told):
    """What is wrong with the sequences under which an alert was told, in the order of the topic; None: nothing.

    A sequence that is lower than one before it must be a repeat: a receiver drops it, and loses nothing by that.
    The last record must be the last word, for compaction leaves no other.
    """
    said, highest = {}, told[0].sequence
    for each in told:
        word = (*standing(each), each.at)  # of whom, and where, may become known later
        if each.sequence < highest and each.sequence not in said:
            return f"told late, under an earlier sequence: {each}"
        if said.setdefault(each.sequence, word) != word:
            return f"two words under one sequence: {said[each.sequence]} and {word}"
        highest = max(highest, each.sequence)
    return None if told[-1].sequence == highest else f"the last record is not the last word: {told[-1]}"


def different(told, replayed):
    return {
        key: (told.get(key), replayed.get(key))
        for key in sorted(told.keys() | replayed.keys())
        if told.get(key) != replayed.get(key)
    }


def until_agrees(site):
    """Wait until nothing is due, and until all is told as one pass tells it. Returns the instant at which that was so."""
    ends = time.monotonic() + AGREES_WITHIN_SECONDS
    while True:
        now = datetime.now(UTC) - _BEHIND
        wrong, _, _, due = compared(site, now)
        if due is not None and due < now + _SOON:
            ends = time.monotonic() + AGREES_WITHIN_SECONDS
            time.sleep(min(1.0, (due - now).total_seconds()))
        elif not any(wrong.values()):
            return now
        else:
            assert time.monotonic() < ends, shown(wrong)
            time.sleep(0.3)


def at_the_end(site, now):
    """The same once more, when nobody will tell anything any more: nothing that came late may have changed it."""
    wrong, passing, untold, _ = compared(site, now)
    assert not any(wrong.values()), shown(wrong)
    notices = site.notices()
    return Comparison(
        wrong,
        {alert: fired(notices[alert]) for alert in passing},
        untold,
        sum(len(told) - len({each.sequence for _, each in told}) for told in notices.values()),
        max((delay for told in notices.values() for delay in delays(told)), default=0.0),
    )


def agrees(site):
    """See that what is told is what one pass tells, also when all workers have ended, and that nobody was told too much."""
    now = until_agrees(site)
    site.end()
    found = at_the_end(site, now)
    assert [site.notices()[alert] for alert in found.passing] == []


def fired(told):
    """For how many seconds an alert fired before it was taken back."""
    return told[-1][0] - told[0][0]


def delays(told):
    """Seconds from the instant of each change until it was told for the first time."""
    first = {}
    for at, each in told:
        first.setdefault(each.sequence, at - each.at.timestamp())
    return first.values()


def shown(wrong):
    """What is wrong, a few of each kind."""
    lines = [f"{name}: {len(found)}" for name, found in wrong.items() if found]
    for name, found in wrong.items():
        lines += [f"{name} {key}: {what}" for key, what in list(found.items())[:4]]
    return "\n".join(lines)
