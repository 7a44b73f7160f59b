"""What is left of a journey when it is told in a dialect of HL7 v2.

A dialect loses things: exact times, the time of the event itself, which fact a cancel means. `as_told` gives the
journey as its messages can say it, so that what is true of *that* can be held against a replay. Staff and systems
adapt to what their feed can say, and so does it: where a correction has no message of its own, the fact is cancelled
and told again, and where only the time of recording is sent, things are recorded in the order in which they happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from zlib import crc32

from msgspec.structs import replace

from monitor.formats.hl7 import identity
from monitor.formats.hl7_message import Message, read
from monitor.simulation.chart import APART
from monitor.simulation.clock import MINUTE
from monitor.simulation.hl7 import (
    CANCELS,
    LONDON,
    SAID,
    TRIGGERS,
    Dialect,
    is_adt,
    is_movement,
    message,
    movement_id,
    places_of,
    provisional_id,
    seconds_of,
)
from monitor.simulation.journey import Attribute, Fact, Journey, Seconds, Telling

_TIMED: Final = frozenset({"A01", "A03", "A04"})
"""Triggers whose time is in PV1-44 or PV1-45, whatever EVN says."""
_ADMISSIONS: Final = frozenset({"admit", "register"})
"""Types that one trigger (A11) cancels."""
_CLASS: Final = {"pre_admit": "preadmit", "pending_admit": "preadmit", "admit": "inpatient"}
_SHARE_RENUMBERED: Final = 4
"""One in so many admissions from the emergency department begins a new visit number, where the dialect does so."""


def as_told(journey: Journey, dialect: Dialect) -> Journey:
    """The journey as messages of that dialect can say it: its facts of the ADT feed anew, all others as they are.

    The ids of facts and tellings are those of the events that the messages decode to. What cannot be said is lost:
    attributes, places, times; a fact that was never charted stays so.
    """
    mine = [fact for fact in journey.facts if is_adt(fact) and fact.told]
    others = [fact for fact in journey.facts if not (is_adt(fact) and fact.told)]
    told = list(_sayable(sorted(mine, key=_first_at), dialect, is_test=journey.test))
    visits = journey.visits | {
        fact.visit: str(fact.attributes["encounter_into"])
        for fact in mine
        if fact.visit is not None and "encounter_into" in fact.attributes
    }
    if not dialect.numbers_movements:
        told = [each for fact in told for each in _without_correction(fact, dialect)]
    if not dialect.tells_event_time:
        told = list(_as_recorded(told, visits, dialect))
    if dialect.renumbers:
        told = list(_renumbered(told, visits, journey.patient))
    told = [each for fact in told for each in _with_ids(fact, dialect)]
    return replace(journey, facts=sorted([*others, *told], key=lambda fact: fact.at), visits=visits)


# -- what the fields of a message can hold -------------------------------------------------------------------


def _sayable(facts: Sequence[Fact], dialect: Dialect, *, is_test: bool) -> Iterator[Fact]:
    """The facts with the trigger that tells each, and without what it has no field for."""
    classes: dict[str | None, str] = {}
    for fact in facts:
        trigger = TRIGGERS[fact.type]
        if fact.type == "merge" and "encounter_into" in fact.attributes:
            trigger = "A50" if dialect.numbers_visits else "A35"
        if fact.type == "admit" and classes.get(fact.visit) == "emergency":
            trigger = "A06"
        attributes: dict[str, Attribute] = {
            name: value for name, value in fact.attributes.items() if name in SAID
        }
        attributes["trigger"] = trigger
        if fact.type != "merge":
            classes[fact.visit] = _class(fact, classes.get(fact.visit))
            attributes.setdefault("class", classes[fact.visit])
        if "expected_return" in fact.attributes:
            attributes["expected_return"] = _moment_text(
                _readable(seconds_of(fact.attributes["expected_return"]), dialect)
            )
        if fact.attributes.get("disposition") == "died":
            attributes["died"] = True
        if is_test:
            attributes["test"] = True
        said = replace(fact, attributes=attributes)
        yield replace(said, told=list(_told(said, dialect)))


def _class(fact: Fact, before: str | None) -> str:
    if fact.type == "register":
        return "emergency"
    return _CLASS.get(fact.type) or before or "inpatient"


def _told(fact: Fact, dialect: Dialect) -> Iterator[Telling]:
    """The tellings that have a message: with times and places as it can give them, each after the first."""
    first = content = fact.told[0]
    from_, to = places_of(fact, "first")
    for telling in fact.told:
        kind = telling.kind
        if (kind == "cancel" and fact.attributes["trigger"] not in CANCELS) or (
            kind == "correction" and not is_movement(fact)
        ):
            continue
        if kind in ("first", "correction"):
            content = telling
        yield replace(
            telling,
            at=_readable(content.at, dialect),
            recorded_at=_readable(telling.recorded_at, dialect),
            delivered_at=max(telling.delivered_at, first.delivered_at),
            from_=_location(content.from_) if from_ else None,
            to=_location(content.to) if to else None,
            named=dialect.numbers_movements,
            unit=dialect.unit,
        )


def _location(sent: str | None) -> str | None:
    """A location as it is read again: empty components at its end are nothing."""
    return (sent and sent.rstrip("^")) or None


def _readable(at: Seconds, dialect: Dialect) -> Seconds:
    """An instant as it is read again; without an offset, of an hour that occurs twice it is the first."""
    at -= at % dialect.unit
    if dialect.tells_offset:
        return at
    return int(datetime.fromtimestamp(at, LONDON).replace(fold=0).timestamp())


def _moment_text(at: Seconds) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")


# -- corrections, where no message names what it corrects -----------------------------------------------------


def _without_correction(fact: Fact, dialect: Dialect) -> Iterator[Fact]:
    """The fact, and in place of its last correction a cancel and a fact of its own, or an update that changes nothing."""
    corrections = [each for each in fact.told if each.kind == "correction"]
    if not corrections:
        yield fact
        return
    dropped = {each.id for each in corrections}
    last = max(corrections, key=lambda each: (each.recorded_at, each.id))
    first = fact.told[0]
    later = [each for each in fact.told if each.id not in dropped]
    if not _can_be_told_again(fact, first, last, dialect):
        yield replace(fact, told=[_as_first(each, first) for each in later])
        yield _update(fact, last)
        return
    cancels = {each.id for each in later if each.kind == "cancel"}
    cancel = replace(
        first, kind="cancel", id=f"{last.id}x", recorded_at=last.recorded_at, delivered_at=last.delivered_at
    )
    again = replace(last, kind="first")
    copies = [each for each in fact.told if each.kind == "copy" and each.id == last.id]
    yield replace(fact, told=[*(each for each in later if each.id not in cancels), cancel])
    yield replace(
        fact, id=last.id, at=last.at, told=[again, *copies, *(each for each in later if each.id in cancels)]
    )


def _as_first(telling: Telling, first: Telling) -> Telling:
    """What was never corrected is cancelled as it was first told."""
    return replace(telling, at=first.at, from_=first.from_, to=first.to)


def _can_be_told_again(fact: Fact, first: Telling, last: Telling, dialect: Dialect) -> bool:
    """Whether a cancel and a new message say the correction: where times are lost, only another time that has a field."""
    if (first.at, first.from_, first.to) == (last.at, last.from_, last.to):
        return False
    return dialect.tells_event_time or (fact.attributes["trigger"] in _TIMED and first.at != last.at)


def _update(fact: Fact, correction: Telling) -> Fact:
    """An A08, with which many systems correct what was charted; it moves no one."""
    attributes: dict[str, Attribute] = {
        name: value for name, value in fact.attributes.items() if name in ("class", "test")
    }
    recorded_at = correction.recorded_at
    told = replace(correction, kind="first", at=recorded_at, from_=None, to=None)
    return Fact(
        correction.id,
        fact.source,
        "update",
        recorded_at,
        fact.patient,
        fact.visit,
        None,
        None,
        {**attributes, "trigger": TRIGGERS["update"]},
        [told],
    )


# -- times, where only the recording has one ------------------------------------------------------------------


def _as_recorded(facts: Sequence[Fact], visits: Mapping[str, str], dialect: Dialect) -> Iterator[Fact]:
    """The facts at the times at which they were recorded, which is all that the feed says of most of them.

    Whoever has no way to enter the time of a move enters it before the next one: recordings are in the order of
    what they record.
    """
    dated: list[Fact] = []
    latest: Seconds | None = None
    for fact in sorted(facts, key=_first_at, reverse=True):
        if fact.type == "update":
            yield fact
            continue
        first, is_timed = fact.told[0], fact.attributes["trigger"] in _TIMED
        at = first.at if is_timed else first.recorded_at
        if latest is not None:
            at = min(at, latest - APART)  # so that a cancel can be recorded between any two
        latest = at = _readable(at, dialect)
        recorded_at = max(at, first.recorded_at) if is_timed else at
        told = [replace(first, at=at, recorded_at=recorded_at), *fact.told[1:]]
        dated.append(replace(fact, told=told))
    for fact in dated:
        if any(each.kind == "cancel" for each in fact.told):
            yield from _cancelled_in_time(fact, dated, visits)
        else:
            yield fact


def _cancelled_in_time(fact: Fact, facts: Sequence[Fact], visits: Mapping[str, str]) -> Iterator[Fact]:
    """The fact, its cancel recorded so early that it can mean no other; nothing where it always could.

    A cancel without a time means the last of its type before it; one of an admission a registration only where
    the visit has no admission. That of a discharge has the time of the discharge, and can be recorded at any time.
    """
    first = fact.told[0]
    kinds = _ADMISSIONS if fact.type in _ADMISSIONS else {fact.type}
    visit = visits.get(fact.visit or "", fact.visit)
    alike = [
        each
        for each in facts
        if each is not fact
        and each.type in kinds
        and (visit is None or visits.get(each.visit or "", each.visit) == visit)
    ]
    if fact.type == "register" and any(each.type == "admit" and each.told[0].at < first.at for each in alike):
        return
    following = min((each.told[0].at for each in alike if each.told[0].at > first.at), default=None)
    told: list[Telling] = []
    for telling in fact.told:
        if telling.kind != "cancel":
            told.append(telling)
            continue
        recorded_at = max(telling.recorded_at, first.at + MINUTE)
        if fact.type == "discharge":
            at = first.at
        else:
            if following is not None:
                recorded_at = min(recorded_at, following - MINUTE)
            at = recorded_at
        told[0] = first = replace(first, recorded_at=min(first.recorded_at, recorded_at))
        delivered_at = max(telling.delivered_at, recorded_at)
        told.append(replace(telling, at=at, recorded_at=recorded_at, delivered_at=delivered_at))
    yield replace(fact, told=told)


# -- numbers ---------------------------------------------------------------------------------------------------


def _renumbered(facts: Sequence[Fact], visits: dict[str, str], patient: str) -> Iterator[Fact]:
    """Some admissions from the emergency department begin a new visit number, under which all later messages go.

    None does under a patient's temporary key: the record, which knows the patient by the lasting one and the visit by
    its old number, would be left behind.
    """
    begun: dict[str, tuple[Fact, str]] = {}
    renamed = {*visits, *visits.values()}
    for fact in facts:
        visit = fact.visit
        if visit is None or visit in renamed or visit in begun:
            continue
        if fact.attributes["trigger"] != "A06" or fact.patient != patient:
            continue
        if crc32(visit.encode()) % _SHARE_RENUMBERED == 0:
            begun[visit] = (fact, f"I{visit.removeprefix('V')}")
    for fact in facts:
        admission, number = begun.get(fact.visit or "", (None, ""))
        if admission is fact:
            attributes = {**fact.attributes, "prior_encounter": fact.visit or ""}
            yield replace(fact, visit=number, attributes=attributes)
        elif admission is not None and _first_recorded(fact) > _first_recorded(admission):
            yield replace(fact, visit=number)
        else:
            yield fact
    visits.update({visit: number for visit, (_, number) in begun.items()})


def _with_ids(fact: Fact, dialect: Dialect) -> Iterator[Fact]:
    """The fact as its events are called, and the renaming of its visit that the same message tells."""
    control = fact.told[0].id
    is_numbered = dialect.numbers_movements and is_movement(fact)
    fact = replace(fact, id=movement_id(control) if is_numbered else provisional_id(control))
    told: dict[str, Telling] = {}
    """The tellings by their message control ids."""
    everything: list[Telling] = []
    for telling in fact.told:
        if telling.kind == "copy":
            original = told[telling.id]
            delivered_at = max(telling.delivered_at, original.delivered_at)
            everything.append(replace(original, kind="copy", delivered_at=delivered_at))
            continue
        from_, to = places_of(fact, telling.kind)
        sent = replace(
            telling,
            id=provisional_id(telling.id),
            from_=telling.from_ if from_ else None,
            to=telling.to if to else None,
        )
        found = read(message(fact, sent, dialect))
        assert isinstance(found, Message), "the message was written here"
        sent.id = fact.id if is_numbered and telling.kind == "first" else identity(found, 0)
        told[telling.id] = sent
        everything.append(told[telling.id])
    content = [each for each in everything if each.kind in ("first", "correction")][-1]
    fact = replace(
        fact, id=everything[0].id, at=content.at, from_=content.from_, to=content.to, told=everything
    )
    yield fact
    if "prior_encounter" in fact.attributes:
        yield _renaming(fact)


def _renaming(admission: Fact) -> Fact:
    """The second event of an A06 under a new visit number; a cancel of the admission lets it stand."""
    first = admission.told[0]
    id_ = first.id.removesuffix("0") + "1"
    attributes: dict[str, Attribute] = {"trigger": "A06", "encounter_into": admission.visit or ""}
    return replace(
        admission,
        id=id_,
        type="merge",
        visit=str(admission.attributes["prior_encounter"]),
        from_=None,
        to=None,
        attributes=attributes,
        told=[replace(first, id=id_, from_=None, to=None)],
    )


def _first_at(fact: Fact) -> Seconds:
    return fact.told[0].at


def _first_recorded(fact: Fact) -> Seconds:
    return fact.told[0].recorded_at
