"""The simulated patient administration system: what it tells, as real HL7 v2 ADT messages, in several dialects.

A `Dialect` is what a vendor makes of the standard. `message` writes one telling of a fact; the journeys that it is
given must have been through `as_told` (hl7_telling), which leaves in them only what the dialect can say. All people
are made up from their number, and look like it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Final, NamedTuple
from zlib import crc32
from zoneinfo import ZoneInfo

from monitor.simulation.clock import ZONE
from monitor.simulation.journey import Attribute, Fact, Kind, Seconds, Telling

LONDON: Final = ZoneInfo(ZONE)
"""Of times that are sent without an offset; the profile of the feed says so, too."""


class Dialect(NamedTuple):
    """What one vendor's ADT feed says, and how."""

    name: str
    version: str
    """MSH-12."""
    unit: Seconds = 1
    """How exactly times are sent: 60 is to the minute."""
    tells_event_time: bool = True
    """EVN-6 holds when the event happened, on a cancel the event that is cancelled. Else PV1-44 and PV1-45 are all there is."""
    tells_offset: bool = False
    """MSH-7 has the offset from UTC, which holds for all times of its message."""
    numbers_visits: bool = True
    """The encounter is the visit number PV1-19, else the account number PID-18."""
    numbers_movements: bool = False
    """ZBE names each movement, so that corrections and cancels name what they mean."""
    repeats_transfer: bool = False
    """An A12 has the places of the transfer that it cancels as that had them: what is restored is in PV1-6."""
    renumbers: bool = False
    """An admission from the emergency department may begin a new visit number; MRG-5 has the one before it."""
    names_tests: bool = False
    """A test patient has a name that begins with ZZ, else MSH-11 is T."""
    in_batch: bool = False
    """The file is one batch (FHS, BHS ... BTS, FTS); else its messages are apart by blank lines."""
    profile: tuple[str, ...] = ()
    """What `sources:` of the registry must say of such a feed, beside zone and `patient_id`: lines of YAML."""


_CLASSES: Final = {"emergency": "E", "inpatient": "I", "outpatient": "O", "preadmit": "P"}
_PROFILE: Final = ("classes: {E: emergency, I: inpatient, O: outpatient, P: preadmit}",)
DIALECTS: Final = {
    each.name: each
    for each in (
        Dialect("standard", "2.5.1", tells_offset=True, profile=_PROFILE),
        Dialect("no-evn6", "2.3", unit=60, tells_event_time=False, numbers_visits=False, profile=_PROFILE),
        Dialect(
            "epic",
            "2.5.1",
            repeats_transfer=True,
            renumbers=True,
            names_tests=True,
            profile=(*_PROFILE, "a12_restored: PV1-6", "test_patients: [ZZ*]"),
        ),
        Dialect("zbe", "2.5", numbers_movements=True, in_batch=True, profile=_PROFILE),
    )
}
"""The dialects, by name."""

TRIGGERS: Final = {
    "admit": "A01",
    "transfer": "A02",
    "discharge": "A03",
    "register": "A04",
    "pre_admit": "A05",
    "update": "A08",
    "depart": "A09",
    "arrive": "A10",
    "pending_admit": "A14",
    "pending_transfer": "A15",
    "pending_discharge": "A16",
    "leave": "A21",
    "return": "A22",
    "merge": "A40",
}
"""The trigger that tells a fact of each type, before its circumstances are known."""
CANCELS: Final = {
    "A01": "A11",
    "A02": "A12",
    "A03": "A13",
    "A04": "A11",
    "A05": "A38",
    "A06": "A11",
    "A09": "A33",
    "A10": "A32",
    "A14": "A27",
    "A15": "A26",
    "A16": "A25",
    "A21": "A52",
    "A22": "A53",
}
"""The trigger that cancels what another one told; merges and updates cannot be taken back."""
CORRECTS: Final = "Z99"
"""The trigger under which a movement is corrected where movements have numbers."""
RENUMBERS: Final = frozenset({"A35", "A50"})
"""Triggers that give a visit another number."""
_PLACES: Final = {
    **dict.fromkeys(("A01", "A04", "A05", "A11", "A22", "A38", "A53"), (None, 3)),
    **dict.fromkeys(("A02", "A06", "A10"), (6, 3)),
    **dict.fromkeys(("A03", "A13", "A16", "A25", "A21", "A32", "A52"), (3, None)),
    **dict.fromkeys(("A09", "A15", "A26", "A33"), (3, 42)),
    **dict.fromkeys(("A14", "A27"), (None, 42)),
    "A12": (3, 6),
}
"""The fields of PV1 for where the patient comes from and goes to."""
_STRUCTURES: Final = {
    **dict.fromkeys(("A01", "A04", "A08", "A13", CORRECTS), "ADT_A01"),
    **dict.fromkeys(("A05", "A14"), "ADT_A05"),
    **dict.fromkeys(("A09", "A10", "A11", "A12"), "ADT_A09"),
    **dict.fromkeys(("A21", "A22", "A25", "A26", "A27", "A32", "A33"), "ADT_A21"),
    **dict.fromkeys(("A52", "A53"), "ADT_A52"),
    "A35": "ADT_A30",
    "A40": "ADT_A39",
}
"""The structure of each trigger's message (MSH-9.3), where it is not the trigger's own."""
_PV1_ATTRIBUTES: Final = {
    "admission_type": 4,
    "service": 10,
    "admit_source": 14,
    "disposition": 36,
    "discharged_to": 37,
}
SAID: Final = frozenset({*_PV1_ATTRIBUTES, "class", "died", "test", "into", "encounter_into"})
"""Attributes that every dialect can say, as the words that they are."""

_FAMILIES: Final = [
    "Sample",
    "Example",
    "Testfield",
    "Mockridge",
    "Trialman",
    "Demoway",
    "Placeholder",
    "Fixture",
]
_GIVEN: Final = ["Alpha", "Bravo", "Delta", "Echo", "Foxtrot", "Juliet", "Oscar", "Romeo", "Sierra", "Victor"]
_MOVEMENT: Final = ("movement-", "^PAS")
"""What the decoded id of a movement has around its number."""


def is_adt(fact: Fact) -> bool:
    """Whether the patient administration system tells it; all else travels beside, from the record and others."""
    return fact.type in TRIGGERS


def is_sent(fact: Fact) -> bool:
    """Whether its tellings are messages of their own; the new visit number of an A06 is told by the A06."""
    return not (fact.type == "merge" and fact.attributes.get("trigger") == "A06")


def trigger_of(fact: Fact, telling: Telling, dialect: Dialect) -> str:
    """The trigger of the message (MSH-9.2)."""
    trigger = str(fact.attributes["trigger"])
    if telling.kind == "cancel":
        return CANCELS[trigger]
    return CORRECTS if telling.kind == "correction" and dialect.numbers_movements else trigger


def places_of(fact: Fact, kind: Kind) -> tuple[int | None, int | None]:
    """The fields of PV1 in which a message of that kind says where the patient comes from and goes to."""
    trigger = str(fact.attributes["trigger"])
    return _PLACES.get(CANCELS[trigger] if kind == "cancel" else trigger, (None, None))


def message(fact: Fact, telling: Telling, dialect: Dialect) -> bytes:
    """The message that tells a fact, its correction or its cancel; a copy is told by what it repeats.

    Segments end with a carriage return. The journey must have been through `as_told`.
    """
    sent = _Message(fact, telling, trigger_of(fact, telling, dialect), dialect, _zone(telling, dialect))
    segments = [_event(sent), _person(sent), *_numbers_before(sent)]
    if sent.trigger != "A40":
        segments.append(_visit(sent))
    if "expected_return" in fact.attributes:
        segments.append({0: "PV2", 47: sent.moment(seconds_of(fact.attributes["expected_return"]))})
    if dialect.numbers_movements and is_movement(fact):
        segments.append(_movement(sent))
    return "".join([_header(sent), *map(_segment, segments)]).encode()


def feed(messages: Iterable[bytes], dialect: Dialect) -> Iterator[bytes]:
    """The messages as a file, part by part."""
    if not dialect.in_batch:
        for each in messages:
            yield each + b"\r\n"
        return
    yield b"FHS|^~\\&|PAS\rBHS|^~\\&|PAS\r"
    number = 0
    for each in messages:
        number += 1
        yield each
    yield b"BTS|%d\rFTS|1\r" % number


def is_movement(fact: Fact) -> bool:
    """Whether it has a number of its own where movements have numbers."""
    return fact.type not in ("merge", "update")


def movement_id(control: str) -> str:
    """The id of the event of a movement, from its number, which is the control id of the message that told it."""
    return control.join(_MOVEMENT)


def provisional_id(control: str) -> str:
    """An id from which `control_of` gives the control id, as long as the message is not written yet."""
    return f"{control}-0-0"


def control_of(id_: str) -> str:
    """The message control id (MSH-10) from which the id of an event was made."""
    before, after = _MOVEMENT
    if id_.startswith(before):
        return id_.removeprefix(before).removesuffix(after)
    return id_.rsplit("-", 2)[0]


def seconds_of(moment: Attribute) -> Seconds:
    """An instant that is written as RFC 3339 in an attribute."""
    return int(datetime.fromisoformat(str(moment)).timestamp())


# -- segments ----------------------------------------------------------------------------------------------

_Fields = dict[int, str]
"""One segment: its name under 0, and its fields by their numbers."""


class _Message(NamedTuple):
    """A message that is to be written."""

    fact: Fact
    telling: Telling
    trigger: str
    dialect: Dialect
    zone: tzinfo

    def moment(self, at: Seconds) -> str:
        text = datetime.fromtimestamp(at, self.zone).strftime("%Y%m%d%H%M%S")
        return text if self.dialect.unit == 1 else text[:12]

    def says(self, attribute: str) -> str:
        value = self.fact.attributes.get(attribute)
        return "" if value is None else str(value)


def _zone(telling: Telling, dialect: Dialect) -> tzinfo:
    """That of all times of a message; one offset, where MSH-7 tells it."""
    if not dialect.tells_offset:
        return LONDON
    return timezone(datetime.fromtimestamp(telling.recorded_at, LONDON).utcoffset() or timedelta(0))


def _segment(fields: _Fields) -> str:
    return "|".join([fields.get(number, "") for number in range(max(fields) + 1)]) + "\r"


def _header(sent: _Message) -> str:
    """MSH, which numbers its fields from the separator on."""
    telling, dialect = sent.telling, sent.dialect
    application, _, facility = sent.fact.source.partition("/")
    sent_at = sent.moment(telling.recorded_at)
    if dialect.tells_offset:
        sent_at += datetime.fromtimestamp(telling.recorded_at, sent.zone).strftime("%z")
    kind = f"ADT^{sent.trigger}"
    if dialect.version != "2.3":
        kind += f"^{_STRUCTURES.get(sent.trigger, 'ADT_' + sent.trigger)}"
    is_test = sent.fact.attributes.get("test") is True and not dialect.names_tests
    fields = (application, facility, "HANDOFF", facility, sent_at, "", kind, control_of(telling.id))
    return "|".join(("MSH", "^~\\&", *fields, "T" if is_test else "P", dialect.version)) + "\r"


def _event(sent: _Message) -> _Fields:
    found = {0: "EVN", 1: sent.trigger, 2: sent.moment(sent.telling.recorded_at)}
    if sent.dialect.tells_event_time:
        found[6] = sent.moment(sent.telling.at)
    return found


def _person(sent: _Message) -> _Fields:
    fact, dialect = sent.fact, sent.dialect
    number = sent.says("into") or fact.patient
    chance = crc32(number.encode())
    family = _FAMILIES[chance % len(_FAMILIES)]
    if fact.attributes.get("test") is True and dialect.names_tests:
        family = "ZZTest"
    found = {
        0: "PID",
        1: "1",
        3: f"999{chance % 10**7:07}^^^NHS^NH~{_identifier(sent, number)}",
        5: f"{family}^{_GIVEN[chance // 8 % len(_GIVEN)]}",
        7: f"{1926 + chance // 80 % 95}{1 + chance // 7600 % 12:02}{1 + chance // 91200 % 28:02}",
        8: "FM"[chance % 2],
    }
    if not dialect.numbers_visits:
        found[18] = sent.says("encounter_into") or fact.visit or ""
    if sent.trigger == "A03" and fact.attributes.get("died") is True:
        found |= {29: sent.moment(sent.telling.at), 30: "Y"}
    return found


def _identifier(sent: _Message, number: str) -> str:
    return f"{number}^^^{sent.fact.source.partition('/')[2]}^MR"


def _numbers_before(sent: _Message) -> list[_Fields]:
    """MRG, where a patient or a visit had another number before."""
    fact = sent.fact
    old_visit = ""
    if "encounter_into" in fact.attributes:
        old_visit = fact.visit or ""
    elif sent.trigger == "A06":
        old_visit = sent.says("prior_encounter")
    if not old_visit and "into" not in fact.attributes:
        return []
    return [
        {0: "MRG", 1: _identifier(sent, fact.patient), 5 if sent.dialect.numbers_visits else 3: old_visit}
    ]


def _visit(sent: _Message) -> _Fields:
    fact, telling, dialect, trigger = sent.fact, sent.telling, sent.dialect, sent.trigger
    found = {0: "PV1", 1: "1", 2: _CLASSES.get(sent.says("class"), sent.says("class"))}
    for name, number in _PV1_ATTRIBUTES.items():
        if name in fact.attributes:
            found[number] = sent.says(name)
    from_, to = places_of(fact, telling.kind)
    if from_ is not None:
        found[from_] = telling.from_ or ""
    if to is not None:
        found[to] = telling.to or ""
    if trigger == "A12" and dialect.repeats_transfer:
        found[3], found[6] = found.get(6, ""), found.get(3, "")
    if dialect.numbers_visits:
        found[19] = sent.says("encounter_into") or fact.visit or ""
    if trigger in ("A01", "A04"):
        found[44] = sent.moment(telling.at)
    elif trigger in ("A03", "A13"):
        found[45] = sent.moment(telling.at)
    return found


def _movement(sent: _Message) -> _Fields:
    """ZBE: which movement, when it began, what becomes of it, and the trigger that first told of it."""
    actions = {"cancel": "CANCEL", "correction": "UPDATE"}
    return {
        0: "ZBE",
        1: sent.fact.id.removeprefix(_MOVEMENT[0]),
        2: sent.moment(sent.telling.at),
        4: actions.get(sent.telling.kind, "INSERT"),
        5: "N",
        6: sent.says("trigger"),
    }
