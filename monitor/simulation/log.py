"""The log of what the feeds told, in order of delivery, and its JSON lines."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import TypeVar

import msgspec

from monitor.simulation.care import courses
from monitor.simulation.charting import Charting
from monitor.simulation.clock import HOUR
from monitor.simulation.hospital import Hospital, Options
from monitor.simulation.journey import Fact, Journey, Seconds, Telling
from monitor.simulation.text import moment

Message = TypeVar("Message")

_encode = msgspec.json.encode


def journeys(options: Options) -> Iterator[Journey]:
    """All who come to the hospitals, in order of their first facts; one at a time, so that none need be kept."""
    hospitals = [Hospital(options, number) for number in range(1, options.hospitals + 1)]
    return heapq.merge(*map(_of_hospital, hospitals), key=_begins)


def in_order(
    journeys: Iterable[Journey], write: Callable[[Journey], Iterable[tuple[Seconds, Message]]]
) -> Iterator[Message]:
    """The messages that `write` makes of each journey, with their instants of delivery, in the order of these.

    Those only are kept that others may still precede: a journey tells nothing before its first fact.
    """
    hours: defaultdict[int, list[tuple[Seconds, Message]]] = defaultdict(list)
    """What is delivered in each hour to come, not in order yet."""
    told = 0
    for journey in journeys:
        hour = journey.facts[0].at // HOUR
        if hour > told:
            yield from _flush(hours, hour)
            told = hour
        for item in write(journey):
            hours[item[0] // HOUR].append(item)
    yield from _flush(hours, max(hours, default=0) + 1)


def tellings(journey: Journey, end: Seconds) -> Iterator[tuple[Fact, Telling, Seconds]]:
    """The messages that are delivered by the end, and when; a copy is the telling that it repeats."""
    for fact in journey.facts:
        for telling in fact.told:
            if telling.delivered_at <= end:
                said = _repeated(fact, telling) if telling.kind == "copy" else telling
                yield fact, said, telling.delivered_at


def json_lines(journey: Journey, end: Seconds) -> Iterator[tuple[Seconds, str]]:
    """The canonical events that are delivered by the end, each with its line end."""
    for fact, telling, delivered_at in tellings(journey, end):
        yield delivered_at, json_line(fact, telling, delivered_at)


def json_line(fact: Fact, telling: Telling, delivered_at: Seconds) -> str:
    """A telling as a canonical event, with its line end."""
    type_, more = fact.type, ""
    if telling.kind == "correction":
        more = f',"replaces":"{fact.id}"'
    elif telling.kind == "cancel":
        type_ = f"cancel_{type_}"
        if telling.named:
            more = f',"cancels":"{fact.id}"'
    if fact.visit is not None:
        more += f',"encounter":"{fact.visit}"'
    if telling.from_ is not None:
        more += f',"from":"{telling.from_}"'
    if telling.to is not None:
        more += f',"to":"{telling.to}"'
    if fact.attributes:
        more += f',"attributes":{_encode(fact.attributes).decode()}'
    return (
        f'{{"id":"{telling.id}","source":"{fact.source}","type":"{type_}","patient":"{fact.patient}",'
        f'"occurred_at":"{moment(telling.at)}","recorded_at":"{moment(telling.recorded_at)}",'
        f'"arrived_at":"{moment(delivered_at)}"{more}}}\n'
    )


def _of_hospital(hospital: Hospital) -> Iterator[Journey]:
    charting = Charting(hospital)
    return map(charting.journey, courses(hospital))


def _begins(journey: Journey) -> Seconds:
    return journey.facts[0].at


def _flush(hours: dict[int, list[tuple[Seconds, Message]]], before: int) -> Iterator[Message]:
    """What is delivered before an hour; what comes at one instant stays in the order of the journeys."""
    for hour in sorted(hour for hour in hours if hour < before):
        for _, message in sorted(hours.pop(hour), key=itemgetter(0)):
            yield message


def _repeated(fact: Fact, copy: Telling) -> Telling:
    return next(telling for telling in fact.told if telling.id == copy.id)
