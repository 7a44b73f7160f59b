"""Replay against truth: the feed of journeys as events, and the cases of both in one shape."""

from collections import Counter
from datetime import UTC, datetime

from monitor.core.event import Event
from monitor.runtime.replay import arrange, replay
from monitor.simulation.truth import Case, cases


def moment(seconds):
    return datetime.fromtimestamp(seconds, UTC)


def events_of(journeys):
    """What the journeys tell, in the order in which it is delivered."""
    told = [
        (telling.delivered_at, _event(journey, fact, telling))
        for journey in journeys
        for fact in journey.facts
        for telling in fact.told
    ]
    return [event for _, event in sorted(told, key=lambda each: each[0])]


def _event(journey, fact, telling):
    """A copy has the words of what it repeats: a cancel, or the fact."""
    kinds = {each.id: each.kind for each in fact.told if each.kind != "copy"}
    kind = kinds.get(telling.id, "first")
    cancels = kind == "cancel"
    return Event(
        id=telling.id,
        type=f"cancel_{fact.type}" if cancels else fact.type,
        patient=fact.patient,
        encounter=fact.visit,
        occurred_at=moment(telling.at),
        precision="minute" if telling.unit == 60 else "second",
        recorded_at=moment(telling.recorded_at),
        arrived_at=moment(telling.delivered_at),
        from_=telling.from_,
        to=telling.to,
        cancels=fact.id if cancels and telling.named else None,
        replaces=fact.id if kind == "correction" and telling.named else None,
        source=fact.source,
        attributes={**fact.attributes, "test": True} if journey.test else fact.attributes,
    )


def truth(journeys, end, where):
    return Counter(case for journey in journeys for case in cases(journey, end, where))


def replayed(rules, registry, events, end, *, alerts=False):
    """The cases of a replay of a copy of the events, as the truth has them."""
    taken = arrange(list(events), until=moment(end), now=moment(end))
    return Counter(_case(verdict) for verdict in replay(rules, registry, taken, alerts=alerts).verdicts)


def _case(verdict):
    return Case(
        int(verdict.trigger_at.timestamp()),
        verdict.rule,
        verdict.patient,
        verdict.trigger,
        verdict.encounter,
        verdict.verdict,
        verdict.decided_at and int(verdict.decided_at.timestamp()),
        verdict.overdue,
        verdict.delay_seconds,
    )


def difference(found, true):
    """The cases in which a replay and the truth differ, for people to read; empty when they agree."""
    return [
        f"{word}: {moment(case.trigger_at)} {case}"
        for word, cases_of in (("replay", found - true), ("truth", true - found))
        for case in sorted(cases_of, key=lambda each: (each.patient, each.trigger_at, each.rule))
    ]
