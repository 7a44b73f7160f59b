"""What is sent: the journeys of bench/log.py, as they would be told while they happen, in HL7 v2 or as canonical events.

They are pressed together, so that days of care fit into the minute before the sending begins: a service that is up to
date sees each event soon after it happened, and answers most cases long before their deadlines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from bench.log import MEAN_STAY, Message, journey

PRESSED_INTO = timedelta(minutes=1)
TRIGGERS = {
    "register": "A04",
    "admit": "A01",
    "transfer": "A02",
    "discharge": "A03",
    "pending_transfer": "A15",
    "pending_discharge": "A16",
}
"""The events that HL7 v2 has messages for; milestones it has not."""
REGISTRY = """microsystems:
  - {id: ed, name: Emergency department, kind: ed, locations: ["ED*"]}
  - {id: icu, name: Intensive care, kind: icu, locations: ["ICU*"]}
""" + "".join(
    f'  - {{id: ward-{each}, name: Ward {each}, kind: ward, locations: ["W{each}^*"]}}\n'
    for each in range(20)
)
"""The places of the log, for messages that name them by their point of care."""


class Told:
    """Journeys in the order in which they are told, each event with the instant at which it happens."""

    def __init__(self, messages: Sequence[Message], until: datetime, name: str) -> None:
        """`until`: when the last of them happens; `name` tells these patients from those of other measures."""
        self._messages = messages
        self._name = name
        self._length = max(1, messages[-1].at)
        self._began = until - PRESSED_INTO

    def __len__(self) -> int:
        return len(self._messages)

    def lines(self) -> Iterator[bytes]:
        """As canonical events, a line each."""
        for each in self._messages:
            at = f"{self._at(each):%Y-%m-%dT%H:%M:%S.%fZ}"
            yield (
                f'{{"id":"{self._name}{each.id}","type":"{each.type}","patient":"{self._patient(each)}",'
                f'"encounter":"{each.visit}","occurred_at":"{at}","recorded_at":"{at}",{each.places}'
                f'"source":"EPIC/GENERAL-HOSPITAL","attributes":{{"class":"inpatient","service":"MEDICINE",'
                f'"attending":"DR-1234",{each.attributes}}}}}\n'
            ).encode()

    def frames(self, senders: int) -> list[list[bytes]]:
        """As MLLP frames for so many connections; all of a patient go over one of them, in order."""
        found: list[list[bytes]] = [[] for _ in range(senders)]
        for each in self._messages:
            found[each.journey % senders].append(self._frame(each))
        return found

    def _frame(self, message: Message) -> bytes:
        trigger, at = TRIGGERS[message.type], f"{self._at(message):%Y%m%d%H%M%S.%f}"[:-2] + "+0000"
        here, there = _locations(message.places)
        to = there or here
        pending = there if trigger == "A15" else ""
        prior = here if trigger == "A02" else ""
        segments = (
            f"MSH|^~\\&|EPIC|GENERAL-HOSPITAL|MONITOR|GENERAL-HOSPITAL|{at}||ADT^{trigger}|{self._name}{message.id}|P|2.5.1",
            f"EVN|{trigger}|{at}||||{at}",
            f"PID|1||{self._patient(message)}^^^GENERAL-HOSPITAL^MR||DOE^JANE^Q||19500101|F|||1 MAIN ST^^TOWN^ST^12345",
            f"PV1|1|I|{here if trigger == 'A15' else to}|R||{prior}|1234^WELBY^MARCUS|||MED||||7||||IN|{message.visit}|||||||||||||||||||||||{pending}||{at}",
        )
        return b"\x0b" + "\r".join(segments).encode() + b"\r\x1c\r"

    def _patient(self, message: Message) -> str:
        return f"{self._name}{message.journey:08}"

    def _at(self, message: Message) -> datetime:
        return self._began + PRESSED_INTO * (message.at / self._length)


def told(events: int, name: str, *, open_journeys: int, by_hl7: bool = False) -> Told:
    """So many events of as many journeys as it takes.

    By HL7 v2: the moves and orders alone, of those who are not in intensive care. What is signed there HL7 v2 does not
    tell, so that each of them would raise an alert.
    """
    chance = Random(2)
    interval = MEAN_STAY / open_journeys
    journeys = []
    found = number = 0
    while found < events:
        of_one = journey(number, int(number * interval), 20, chance)
        if by_hl7:
            is_grave = any("icu" in each.places for each in of_one)
            of_one = [each for each in of_one if each.type in TRIGGERS and not is_grave]
        found += len(of_one)
        journeys.append(of_one)
        number += 1
    ordered = sorted((each for of_one in journeys for each in of_one), key=lambda each: each.at)
    return Told(ordered[:events], datetime.now(UTC), name)


def _locations(places: str) -> tuple[str, str]:
    """`from` and `to` as PL fields."""
    named = dict(part.replace('"', "").split(":") for part in places.split(",") if part)
    return _location(named.get("from", "")), _location(named.get("to", ""))


def _location(place: str) -> str:
    code = place.replace("ward-", "W").upper()
    return f"{code}^12^A^GENERAL-HOSPITAL" if code else ""
