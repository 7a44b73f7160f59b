"""A hundred thousand journeys of eight facts, each with a case that is open, and a deadline that is known.

Seven facts lead a patient through the emergency department to a ward, all in time; the eighth asks a question that
ANSWERED gives twelve hours for. All of it happened hours ago and is told now: so each deadline can be put where it is
wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from bench.replay import RULES

FACTS = 8
WITHIN = timedelta(hours=12)
SOURCE = "EPIC/GENERAL-HOSPITAL"
RULE = "answered"
ANSWERED = f"""
  - id: {RULE}
    summary: no answer within twelve hours
    severity: warning
    when: {{type: question}}
    expect: {{type: answer}}
    within: 12h
"""

_COURSE = (  # minutes before the question, type, fields
    (180, "register", '"to":"ed",'),
    (175, "triage", ""),
    (165, "vitals", ""),
    (155, "vitals", ""),
    (140, "decision_to_admit", ""),
    (135, "note", ""),
    (60, "transfer", '"from":"ed","to":"ward-{ward}",'),
)


def eleven_rules() -> str:
    """The ten rules of bench/rules.yaml, and ANSWERED."""
    return RULES.read_text() + ANSWERED


def patient(number: int) -> str:
    return f"J{number:08}"


def far_deadlines(journeys: int, now: datetime) -> dict[int, datetime]:
    """Deadlines of journeys, by number, that no measure lives to see: from one hour on."""
    chance = Random(3)
    return {number: now + timedelta(minutes=60 + 600 * chance.random()) for number in range(journeys)}


def courses(deadlines: Iterable[tuple[int, datetime]]) -> Iterator[str]:
    """The seven facts before the question, as lines."""
    for number, due_at in deadlines:
        asked_at = due_at - WITHIN
        for index, (before, kind, fields) in enumerate(_COURSE):
            at = asked_at - timedelta(minutes=before)
            yield _line(number, index, kind, at, fields.format(ward=number % 20))


def questions(deadlines: Iterable[tuple[int, datetime]]) -> Iterator[str]:
    """The question of each journey, as a line."""
    for number, due_at in deadlines:
        yield _line(number, FACTS - 1, "question", due_at - WITHIN, "")


def move(number: int, index: int) -> bytes:
    """A later move of a patient, now, as an MLLP frame."""
    at = f"{datetime.now(UTC):%Y%m%d%H%M%S.%f}"[:-2] + "+0000"
    segments = (
        f"MSH|^~\\&|EPIC|GENERAL-HOSPITAL|MONITOR|GENERAL-HOSPITAL|{at}||ADT^A02|move-{number}-{index}|P|2.5.1",
        f"EVN|A02|{at}||||{at}",
        f"PID|1||{patient(number)}^^^GENERAL-HOSPITAL^MR||DOE^JANE^Q||19500101|F",
        f"PV1|1|I|W{index % 20}^12^A^GENERAL-HOSPITAL|R||W{number % 20}^12^A^GENERAL-HOSPITAL|||||||||||||V{number:08}",
    )
    return b"\x0b" + "\r".join(segments).encode() + b"\r\x1c\r"


def _line(number: int, index: int, kind: str, at: datetime, fields: str) -> str:
    moment = f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"
    return (
        f'{{"id":"{number}-{index}","type":"{kind}","patient":"{patient(number)}","encounter":"V{number:08}",'
        f'"occurred_at":"{moment}",{fields}"source":"{SOURCE}",'
        '"attributes":{"class":"inpatient","service":"MEDICINE","attending":"DR-1234"}}\n'
    )
