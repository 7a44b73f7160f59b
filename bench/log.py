"""The log that everything is measured on: made up from a seed, one canonical event a line, in order of recording.

A journey has about 15 events in 27 hours: emergency department, ward, sometimes intensive care, home. So many begin
an hour that, once the first have gone home, about `open_journeys` are open at a time. The log ends in the middle of
things: what is still open then, is open.

It is no simulated hospital: there, charting alone puts a sixth of the events out of order, and one wants to know what
disorder costs, beside none. That hospital has a measure of its own, in hospital.py.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Final

import msgspec

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE: Final = 60
MEAN_STAY: Final = 27.5 * 60 * MINUTE
"""Seconds from registration to discharge, on average."""
HOSPITAL: Final = 20
"""Wards of a hospital."""
UNNAMED: Final = ("vitals", "note", "lab", "medication")
"""Milestones that no rule names."""

_DAYS: Final = [f"{START + timedelta(days=day):%Y-%m-%d}T" for day in range(400)]
_TIMES: Final = [f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z" for second in range(86_400)]

TELLING: Final = 0.85
"""Part of the delays that put an event out of order: not where those after it are delayed, too, or where none comes."""

Seconds = int
"""Since START."""


class Log(msgspec.Struct, frozen=True):
    """What a log is like. Equal ones are equal to the byte."""

    events: int
    seed: int = 2
    open_journeys: int = 20_000
    places: int = 20
    """Wards, `ward-0` and so on; twenty next to each other are a hospital, in which a patient stays."""
    disorder: float = 0.0
    """Share of events, about, that are recorded only after one to three later ones of their journey."""
    cancels: float = 0.0
    """Share of lines that are cancels; what is cancelled is told again, at another time."""

    def write(self, path: Path) -> None:
        """Write the log to a file, one event a line."""
        with path.open("w") as file:
            file.writelines(islice(self.lines(), self.events))

    def lines(self) -> Iterator[str]:
        """The lines, without end: in order of recording, then as they happened."""
        chance = Random(self.seed)
        interval = MEAN_STAY / self.open_journeys
        waiting: list[tuple[Seconds, int, str]] = []
        told = 0
        for number in count():
            begins = int(number * interval)
            while waiting and waiting[0][0] < begins:
                yield heapq.heappop(waiting)[2]
            for message in self._told(journey(number, begins, self.places, chance), chance):
                told += 1
                heapq.heappush(waiting, (message.recorded_at, told, line(message)))

    def _told(self, messages: list[Message], chance: Random) -> list[Message]:
        """The messages of a journey as the feed tells them, mistakes and delays included."""
        if self.cancels:
            wrong = self.cancels / (1 - 2 * self.cancels)  # each brings two lines more
            messages = [told for each in messages for told in _corrected(each, chance.random() < wrong)]
        if self.disorder:
            _delay(messages, self.disorder, chance)
        return messages


class Message(msgspec.Struct, gc=False):
    """One line of the log to be."""

    id: str
    type: str
    journey: int
    visit: str
    at: Seconds
    recorded_at: Seconds
    places: str
    """The fields `from` and `to`, as they stand in the line."""
    attributes: str
    """Of the attributes, those that differ from line to line."""


def line(message: Message) -> str:
    """A message as a canonical event."""
    return (
        f'{{"id":"{message.id}","type":"{message.type}","patient":"MRN{message.journey:08}",'
        f'"encounter":"{message.visit}","occurred_at":"{_moment(message.at)}",'
        f'"recorded_at":"{_moment(message.recorded_at)}",{message.places}"source":"EPIC/GENERAL-HOSPITAL",'
        f'"attributes":{{"class":"inpatient","service":"MEDICINE","attending":"DR-1234",{message.attributes}}}}}\n'
    )


def journey(number: int, begins: Seconds, places: int, chance: Random) -> list[Message]:
    """What happens to one patient, in order."""
    messages: list[Message] = []
    at, visit = begins, f"V{number:08}"

    def add(least: float, mean: float, kind: str, from_: str = "", to: str = "") -> None:
        """Something that happens `least` minutes after what came before, and `mean` more on average."""
        nonlocal at
        if messages:  # never two at once: what a feed means by that is not what is measured
            at += max(1, int(MINUTE * (least + (chance.expovariate(1 / mean) if mean else 0))))
        named = (f'"from":"{from_}",' if from_ else "") + (f'"to":"{to}",' if to else "")
        acuity = f'"acuity":{int(5 * chance.random()) + 1}'
        messages.append(Message(f"{number}-{len(messages)}", kind, number, visit, at, at + 5, named, acuity))

    def unnamed() -> str:
        return UNNAMED[int(len(UNNAMED) * chance.random())]

    def ward() -> str:
        return f"ward-{first + int(min(places, HOSPITAL) * chance.random())}"

    first = HOSPITAL * int(max(1, places // HOSPITAL) * chance.random())
    place = ward()
    add(0, 0, "register", to="ed")
    add(1, 6, "triage")
    add(5, 0, "vitals")
    add(20, 0, "vitals")
    add(0, 60, "decision_to_admit")
    add(5, 0, "note")
    if chance.random() < 0.98:
        add(60, 50, "transfer", "ed", place)
    else:  # admitted under a new number; the visit to the emergency department is closed later
        visit = f"V{number:08}B"
        add(60, 50, "admit", to=place)
        visit = f"V{number:08}"
        add(5, 25, "discharge", "ed")
        visit = f"V{number:08}B"
    add(120, 200, unnamed())
    add(120, 200, unnamed())
    while chance.random() < 0.25:
        add(60, 0, "pending_transfer", place, "icu")
        add(0, 60, "transfer", place, "icu")
        for _ in range(4):
            add(60, 100, "vitals")
        if chance.random() < 0.9:
            add(30, 0, "handoff_signed")
        place = ward()
        add(60, 60, "transfer", "icu", place)
        add(60, 60, unnamed())
    if chance.random() < 0.05:  # moved about for want of beds
        for _ in range(4):
            old, place = place, ward()
            add(60, 90, "transfer", old, place)
    add(120, 200, unnamed())
    add(60, 0, "pending_discharge", place)
    add(0, 120, "summary_sent")
    add(30, 120, "discharge", place)
    return messages


def _corrected(message: Message, is_wrong: bool) -> list[Message]:
    """The message, or the wrong one with its cancel, which has the same time, and the right one after it."""
    if not is_wrong:
        return [message]
    seen = message.recorded_at + 2 * MINUTE
    cancel = {"id": f"{message.id}-c", "type": f"cancel_{message.type}", "recorded_at": seen}
    right = {"id": f"{message.id}-r", "at": message.at + MINUTE, "recorded_at": seen + 5}
    return [
        message,
        msgspec.structs.replace(message, **cancel),
        msgspec.structs.replace(message, **right),
    ]


def _delay(messages: list[Message], share: float, chance: Random) -> None:
    for index, message in enumerate(messages[:-1]):
        if chance.random() < share / TELLING:
            later = min(index + 1 + int(3 * chance.random()), len(messages) - 1)
            message.recorded_at = max(message.recorded_at, messages[later].at + 10)


def _moment(seconds: Seconds) -> str:
    return _DAYS[seconds // 86_400] + _TIMES[seconds % 86_400]
