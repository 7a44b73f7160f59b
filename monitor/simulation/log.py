"""The log of what the feeds told, in order of delivery, and its JSON lines."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from monitor.simulation.care import courses
from monitor.simulation.charting import Charting
from monitor.simulation.clock import HOUR
from monitor.simulation.course import Fact, Journey, Seconds, Telling
from monitor.simulation.hospital import Hospital, Options
from monitor.simulation.text import moment

Message = TypeVar("Message")
Render = Callable[[Fact, Telling, Seconds], Message]
"""A message about a fact; a copy is rendered as the telling that it repeats, with its own instant of delivery."""

_encode = msgspec.json.encode


def journeys(options: Options) -> Iterator[Journey]:
    """All who come to the hospitals, in order of their first facts; one at a time, so that none need be kept."""
    hospitals = [Hospital(options, number) for number in range(1, options.hospitals + 1)]
    return heapq.merge(*map(_of_hospital, hospitals), key=_begins)


def in_order(told: Iterable[Journey], end: Seconds, render: Render[Message]) -> Iterator[Message]:
    """The messages that are delivered by the end, in order of delivery.

    Only those are kept that may still be preceded by others: a journey tells nothing before its first fact.
    """
    hours: dict[int, list[tuple[Seconds, int, Message]]] = {}
    """What is delivered in each hour, not in order yet; the number keeps equal instants in the order of the journeys."""
    number = 0
    next_hour = 0
    for journey in told:
        if not journey.facts:
            continue
        hour = journey.facts[0].at // HOUR
        if hour > next_hour:
            yield from _flush(hours, hour)
            next_hour = hour
        for fact in journey.facts:
            for telling in fact.told:
                delivered_at = telling.delivered_at
                if delivered_at <= end:
                    number += 1
                    message = render(fact, _original(fact, telling), delivered_at)
                    hours.setdefault(delivered_at // HOUR, []).append((delivered_at, number, message))
    yield from _flush(hours, end // HOUR + 1)


def json_line(fact: Fact, telling: Telling, delivered_at: Seconds) -> str:
    """The canonical event, with its line end."""
    type_, then = fact.type, ""
    if telling.kind == "correction":
        then = f',"replaces":"{fact.id}"'
    elif telling.kind == "cancel":
        type_ = f"cancel_{type_}"
        if telling.named:
            then = f',"cancels":"{fact.id}"'
    if fact.visit is not None:
        then += f',"encounter":"{fact.visit}"'
    if telling.from_ is not None:
        then += f',"from":"{telling.from_}"'
    if telling.to is not None:
        then += f',"to":"{telling.to}"'
    if fact.attributes:
        then += f',"attributes":{_encode(fact.attributes).decode()}'
    return (
        f'{{"id":"{telling.id}","source":"{fact.source}","type":"{type_}","patient":"{fact.patient}",'
        f'"occurred_at":"{moment(telling.at)}","recorded_at":"{moment(telling.recorded_at)}",'
        f'"arrived_at":"{moment(delivered_at)}"{then}}}\n'
    )


def _of_hospital(hospital: Hospital) -> Iterator[Journey]:
    charting = Charting(hospital)
    return map(charting.journey, courses(hospital))


def _begins(journey: Journey) -> Seconds:
    return journey.facts[0].at


def _flush(hours: dict[int, list[tuple[Seconds, int, Message]]], before: int) -> Iterator[Message]:
    for hour in sorted(hour for hour in hours if hour < before):
        for _, _, message in sorted(hours.pop(hour), key=_in_order):
            yield message


def _in_order(item: tuple[Seconds, int, Any]) -> tuple[Seconds, int]:
    return item[:2]


def _original(fact: Fact, telling: Telling) -> Telling:
    if telling.kind != "copy":
        return telling
    return next(each for each in fact.told if each.id == telling.id)
