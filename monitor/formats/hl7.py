"""What an HL7 v2 ADT message means: from one raw message to canonical events.

The trigger table and the choice of times follow HL7 v2 chapter 3 and the habits listed in docs/reference/hl7.md,
where each choice has its reason. Reading of segments and fields is in hl7_message.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from hashlib import blake2b
from typing import Final, NamedTuple

from monitor.core.event import CANCEL_PREFIX, UNIT, Event, Value, moment_text
from monitor.core.place import PatientIdChoice, Registry, Source
from monitor.core.text import globbed
from monitor.formats.hl7_message import NO_FIELDS, Fields, Message, Time, offset_of, parse_time, read
from monitor.formats.reject import Reject

Attributes = dict[str, Value | None]


class Meaning(NamedTuple):
    """What a trigger tells: the type of event, and the fields of PV1 for `from` and `to`, the first that is not empty."""

    type: str
    from_: tuple[int, ...] = ()
    to: tuple[int, ...] = ()


MOVES: Final = {
    "A01": Meaning("admit", to=(3,)),
    "A02": Meaning("transfer", from_=(6,), to=(3,)),
    "A03": Meaning("discharge", from_=(3,)),
    "A04": Meaning("register", to=(3,)),
    "A05": Meaning("pre_admit", to=(3,)),
    "A06": Meaning("admit", from_=(6,), to=(3,)),
    "A07": Meaning("register", from_=(6,), to=(3,)),
    "A08": Meaning("update"),
    "A09": Meaning("depart", from_=(3, 6), to=(42, 11)),
    "A10": Meaning("arrive", from_=(6,), to=(3, 11)),
    "A11": Meaning("cancel_admit", to=(3,)),
    "A12": Meaning("cancel_transfer", from_=(3,), to=(6,)),
    "A13": Meaning("cancel_discharge", from_=(3,)),
    "A14": Meaning("pending_admit", to=(42,)),
    "A15": Meaning("pending_transfer", from_=(3,), to=(42,)),
    "A16": Meaning("pending_discharge", from_=(3,)),
    "A21": Meaning("leave", from_=(3,)),
    "A22": Meaning("return", to=(3,)),
    "A25": Meaning("cancel_pending_discharge", from_=(3,)),
    "A26": Meaning("cancel_pending_transfer", from_=(3,), to=(42,)),
    "A27": Meaning("cancel_pending_admit", to=(42,)),
    "A28": Meaning("update"),
    "A31": Meaning("update"),
    "A32": Meaning("cancel_arrive", from_=(3, 11)),
    "A33": Meaning("cancel_depart", from_=(3,), to=(42, 11)),
    "A38": Meaning("cancel_pre_admit", to=(3,)),
    "A52": Meaning("cancel_leave", from_=(3,)),
    "A53": Meaning("cancel_return", to=(3,)),
    "A54": Meaning("attending_doctor_changed"),
    "A55": Meaning("cancel_attending_doctor_changed"),
    "A60": Meaning("update"),
    "A61": Meaning("consulting_doctor_changed"),
    "A62": Meaning("cancel_consulting_doctor_changed"),
}
"""Triggers of one patient that give one event. A trigger that is nowhere in this module is the milestone `adt_` + trigger."""

CLASS_CHANGES: Final = frozenset({"A06", "A07"})
"""The patient becomes an inpatient or an outpatient; in many systems that is a new account or visit, the old one being in MRG."""
_CHANGED_CLASS: Final = frozenset({MOVES[trigger].type for trigger in CLASS_CHANGES})
PATIENT_MERGES: Final = frozenset({"A18", "A30", "A34", "A36", "A39", "A40", "A43", "A46", "A47"})
"""All of the patient in MRG-1 belongs to the patient in PID-3."""
ACCOUNT_MERGES: Final = frozenset({"A18", "A35", "A36", "A41", "A44", "A49"})
"""The account in MRG-3 becomes the one in PID-18, and the visit in MRG-5, if sent, the one in PV1-19."""
VISIT_MERGES: Final = frozenset({"A42", "A45", "A50"})
"""The visit in MRG-5 becomes the one in PV1-19; where no visit is sent, the account as above."""
ALTERNATE_VISIT: Final = "A51"
"""The alternate visit in MRG-6 becomes the one in PV1-50."""
MERGES: Final = PATIENT_MERGES | ACCOUNT_MERGES | VISIT_MERGES | {ALTERNATE_VISIT}
DELETIONS: Final = frozenset({"A23", "A29"})
"""A visit or a person is deleted: what made a stay of it is cancelled."""
_DELETED: Final = (
    "cancel_pre_admit",
    "cancel_register",
    "cancel_admit",
    "cancel_transfer",
    "cancel_discharge",
)
SWAP: Final = "A17"
LINK: Final = "A24"
UNLINK: Final = "A37"
_UPDATE: Final = MOVES["A08"]

_ONLY_FOR: Final = {"PV1-44": frozenset({"A01", "A04"}), "PV1-45": frozenset({"A03", "A13"})}
"""The admit and the discharge time are the event's own time for these triggers only; a cancelled discharge (A13) is found by its own."""
_FIELD: Final = {
    "EVN-2": ("EVN", 2),
    "EVN-6": ("EVN", 6),
    "MSH-7": ("MSH", 7),
    "PV1-44": ("PV1", 44),
    "PV1-45": ("PV1", 45),
    "ZBE-2": ("ZBE", 2),
}
_TIME_FIELDS: Final = ("EVN-6", "PV1-44", "PV1-45", "EVN-2", "MSH-7")
_RECORDED_FIELDS: Final = ("EVN-2", "MSH-7")
_PV1_ATTRIBUTES: Final = (
    ("class", 2),
    ("admission_type", 4),
    ("service", 10),
    ("admit_source", 14),
    ("disposition", 36),
    ("discharged_to", 37),
)
_CHANGES: Final = frozenset({"UPDATE", "CANCEL", "DELETE"})
_TEST_CODES: Final = frozenset({"T", "D"})


def decode(message: bytes | Message, registry: Registry) -> list[Event] | Reject:
    """The events of one message, raw (see `mllp.messages`) or as it was read, or why it cannot be used.

    An empty list is a message that is in order and says nothing about a journey: any that is not ADT, and an
    unknown trigger or a status of beds without a patient. Never raises.
    """
    found = read(message) if isinstance(message, bytes) else message
    if isinstance(found, Reject):
        return found
    code, trigger = found.kind()
    if code != "ADT" and (code or trigger not in MOVES):
        return [] if code else _NO_TYPE
    if not trigger:
        return _NO_TYPE
    try:
        return _events(_sent(found, trigger, registry))
    except _Unusable as unusable:
        return unusable.reject


class _Unusable(Exception):  # noqa: N818  # it is an answer on its way out of nested calls, not an error to report
    """Ends the decoding of one message; never leaves this module."""

    def __init__(self, reason: str, detail: str, field: str) -> None:
        super().__init__(reason)
        self.reject = Reject(reason, detail, field.partition("-")[0], field)


_NO_TYPE: Final = Reject(
    "no-type", "no message type and trigger in MSH-9: expected a value such as ADT^A01", "MSH", "MSH-9"
)


class _Sent(NamedTuple):
    """A message with all that decides how it is read."""

    message: Message
    trigger: str
    source: str
    profile: Source
    zone: tzinfo
    """Stands in for an offset that was not sent: that of MSH-7, else the source's zone, else the registry's."""


class _Group(NamedTuple):
    """A PID and what follows it: a message on two patients has two, one on merges has one for each MRG."""

    pid: Fields = NO_FIELDS
    pv1: Fields = NO_FIELDS
    mrg: Fields = NO_FIELDS


class _When(NamedTuple):
    """When the event occurred, when it was recorded, and attributes that tell of doubts."""

    occurred: Time
    recorded_at: datetime
    doubts: Attributes


class _Movement(NamedTuple):
    """ZBE: which movement the message speaks of, and what is to be done with it."""

    id: str
    action: str
    original: str
    """The trigger that first told of the movement (ZBE-6)."""


def _sent(message: Message, trigger: str, registry: Registry) -> _Sent:
    source = message.source()
    profile = registry.source(source)
    zone = offset_of(message.text(message.msh, 7)) or profile.timezone or registry.timezone
    return _Sent(message, trigger, source, profile, zone)


def _events(sent: _Sent) -> list[Event]:
    trigger = sent.trigger
    if trigger in MOVES:
        return _moved(sent, MOVES[trigger])
    if trigger in MERGES:
        return _merges(sent)
    if trigger in DELETIONS:
        return _deletions(sent)
    if trigger == SWAP:
        return _swap(sent)
    if trigger in (LINK, UNLINK):
        return [_link(sent)]
    if not _keys(sent, sent.message.first("PID"), 3, 2):
        return []
    return _moved(sent, Meaning(f"adt_{trigger.lower()}"))


# --- one patient ----------------------------------------------------------------------------------------------


def _moved(sent: _Sent, meaning: Meaning) -> list[Event]:
    """The event of a trigger, and the new number of the visit where the change of class brought one."""
    message = sent.message
    group = _Group(message.first("PID"), message.first("PV1"), message.first("MRG"))
    event = _movement_event(sent, group, meaning)
    if sent.trigger in CLASS_CHANGES and event.type in _CHANGED_CLASS:
        return [event, *_renumbering(sent, group, event)]
    return [event]


def _movement_event(sent: _Sent, group: _Group, meaning: Meaning) -> Event:
    message = sent.message
    patient = _patient(sent, group.pid)
    movement = _movement(message)
    if movement is None:
        meaning = _if_update_moves(sent, meaning, group.pv1)
        return _event(sent, group, patient, meaning, _when(sent, sent.trigger))
    meaning = _meaning_of_movement(sent, meaning, movement)
    when = _when(sent, movement.original or sent.trigger, meaning is not _UPDATE)
    event = _event(sent, group, patient, meaning, when)
    if meaning is _UPDATE:
        return event
    if meaning.type.startswith(CANCEL_PREFIX):
        event.cancels = movement.id
    elif movement.action == "UPDATE":
        event.replaces = movement.id
    else:
        event.id = movement.id
    return event


def _renumbering(sent: _Sent, group: _Group, event: Event) -> list[Event]:
    """The merge by which the visit before a change of class goes on under the number that it has now."""
    before, now = _numbers(sent.message, group)
    if not before or event.encounter is None or before in (now, event.encounter):
        return []
    when = _When(Time(event.occurred_at, event.precision), event.recorded_at, {})
    merge = _event(sent, _Group(), event.patient, Meaning("merge"), when, ordinal=1)
    merge.encounter = before
    merge.attributes["encounter_into"] = event.encounter
    return [merge]


def _event(
    sent: _Sent, group: _Group, patient: str, meaning: Meaning, when: _When, *, ordinal: int = 0
) -> Event:
    from_, to = _location(sent, group.pv1, meaning.from_), _location(sent, group.pv1, meaning.to)
    if sent.trigger == "A12":
        from_, to = _places_of_cancelled_transfer(sent, from_, to)
    return Event(
        id=identity(sent.message, ordinal),
        type=meaning.type,
        patient=patient,
        encounter=_encounter(sent.message, group),
        occurred_at=when.occurred.at,
        precision=when.occurred.precision,
        recorded_at=when.recorded_at,
        from_=from_,
        to=to,
        source=sent.source,
        attributes=_attributes(sent, group, patient, when),
    )


def identity(message: Message, ordinal: int) -> str:
    """The id of an event: that of its message and its number in it.

    MSH-10 alone repeats in real feeds, and identical messages repeat; the content tells them apart.
    """
    return f"{message.text(message.msh, 10)}-{message.digest()}-{ordinal}"


def _places_of_cancelled_transfer(
    sent: _Sent, restored: str | None, other: str | None
) -> tuple[str | None, str | None]:
    """`from` and `to` of the transfer that an A12 cancels: it restores the former.

    The standard has the restored place in PV1-3. Some feeds repeat the transfer as it was, so that it is in
    PV1-6; the profile says so (`a12_restored`).
    """
    if sent.profile.a12_restored == "PV1-6":
        return other, restored
    return restored, other if other != restored else None


def _if_update_moves(sent: _Sent, meaning: Meaning, pv1: Fields) -> Meaning:
    """The profile may say that an A08 with another place is a transfer; one sent after the discharge is not."""
    if not sent.profile.update_moves or sent.trigger != "A08" or sent.message.text(pv1, 45):
        return meaning
    place = _location(sent, pv1, (3,))
    return MOVES["A02"] if place and place != _location(sent, pv1, (6,)) else meaning


def _movement(message: Message) -> _Movement | None:
    zbe = message.first("ZBE")
    number = message.joined(zbe, 1)
    if not number:
        return None
    return _Movement(f"movement-{number}", message.text(zbe, 4).upper(), message.text(zbe, 6).upper())


def _meaning_of_movement(sent: _Sent, meaning: Meaning, movement: _Movement) -> Meaning:
    """What a message with ZBE tells: the trigger's own meaning, or what is to become of the movement it names."""
    action, original = movement.action, MOVES.get(movement.original)
    if action == "REFERENCE":
        return _UPDATE
    if meaning.type.startswith(CANCEL_PREFIX) and not (action == "UPDATE" and original):
        return meaning
    if original and (action in _CHANGES or sent.trigger not in MOVES):
        meaning = original
    if action in ("CANCEL", "DELETE"):
        return meaning._replace(type=CANCEL_PREFIX + meaning.type)
    is_movement = meaning in MOVES.values() and meaning.type != "update"
    return meaning if is_movement else _UPDATE


# --- several events of one message ----------------------------------------------------------------------------


def _groups(message: Message) -> list[_Group]:
    groups = [_Group()]
    for name, fields in message.segments():
        last = groups[-1]
        if name == "PID":
            if last.pid:
                groups.append(_Group(pid=fields))
            else:
                groups[-1] = last._replace(pid=fields)
        elif name == "PV1" and not last.pv1:
            groups[-1] = last._replace(pv1=fields)
        elif name == "MRG" and last.mrg:
            groups.append(last._replace(mrg=fields))
        elif name == "MRG":
            groups[-1] = last._replace(mrg=fields)
    return groups


def _swap(sent: _Sent) -> list[Event]:
    """A17: after it PV1-3 of each patient is the new bed; what one leaves unsaid the other says."""
    pairs = _groups(sent.message)[:2]
    when = _when(sent, sent.trigger)
    events = []
    for ordinal, group in enumerate(pairs):
        event = _event(sent, group, _patient(sent, group.pid), MOVES["A02"], when, ordinal=ordinal)
        partner = pairs[1 - ordinal].pv1 if len(pairs) > 1 else NO_FIELDS
        event.to = event.to or _location(sent, partner, (6,))
        event.from_ = event.from_ or _location(sent, partner, (3,))
        events.append(event)
    return events


def _deletions(sent: _Sent) -> list[Event]:
    """A23, A29. EVN-6 is not read: the deletion reaches back from when it was made."""
    message = sent.message
    group = _Group(message.first("PID"), message.first("PV1"))
    patient = _patient(sent, group.pid)
    when = _when(sent, sent.trigger, fields=_RECORDED_FIELDS)
    return [
        _event(sent, group, patient, Meaning(deleted), when, ordinal=ordinal)
        for ordinal, deleted in enumerate(_DELETED)
    ]


class _Merge(NamedTuple):
    patient: str
    encounter: str | None
    attributes: Attributes


def _merges(sent: _Sent) -> list[Event]:
    found = []
    for group in _groups(sent.message):
        if group.mrg and _keys(sent, group.pid, 3, 2):
            found += _patient_merges(sent, group) + _encounter_merges(sent, group)
    if not found:
        _patient(sent, sent.message.first("PID"))
        raise _Unusable(
            "no-retired", "the MRG segment does not say what was merged: the sender must fill it", "MRG-1"
        )
    when = _when(sent, sent.trigger)
    events = []
    for ordinal, merge in enumerate(found):
        event = _event(sent, _Group(), merge.patient, Meaning("merge"), when, ordinal=ordinal)
        event.encounter = merge.encounter
        event.attributes |= merge.attributes
        events.append(event)
    return events


def _patient_merges(sent: _Sent, group: _Group) -> list[_Merge]:
    """The patients that become the one in PID; a message on accounts or visits that names none is read so, too."""
    if sent.trigger not in PATIENT_MERGES and _renumbered(sent, group):
        return []
    survivor = _patient(sent, group.pid)
    retired = _keys(sent, group.mrg, 1, 4)
    others = [each for each in retired if each != survivor] or retired[:1]
    return [_Merge(each, None, {"into": survivor}) for each in dict.fromkeys(others)]


def _encounter_merges(sent: _Sent, group: _Group) -> list[_Merge]:
    """Accounts and visits that get another number or another patient."""
    survivor = _patient(sent, group.pid)
    retired = (_keys(sent, group.mrg, 1, 4) or [survivor])[0]
    merges = []
    for old, new in _renumbered(sent, group):
        attributes: Attributes = {}
        if new and new != old:
            attributes["encounter_into"] = new
        if sent.trigger not in PATIENT_MERGES and (retired != survivor or not attributes):
            attributes |= {"into": survivor, "moves": "encounter"}
        if attributes:
            merges.append(_Merge(retired, old, attributes))
    return merges


def _renumbered(sent: _Sent, group: _Group) -> list[tuple[str, str]]:
    """The numbers of encounters before and after, those that the trigger is about."""
    text, (pid, pv1, mrg) = sent.message.text, group
    account, visit = (text(mrg, 3), text(pid, 18)), (text(mrg, 5), text(pv1, 19))
    if sent.trigger in ACCOUNT_MERGES:
        pairs = [account, visit]
    elif sent.trigger in VISIT_MERGES:
        pairs = [visit if visit[0] else account]
    elif sent.trigger == ALTERNATE_VISIT:
        pairs = [(text(mrg, 6), text(pv1, 50))]
    else:
        pairs = []
    return list(dict.fromkeys(pair for pair in pairs if pair[0]))


def _link(sent: _Sent) -> Event:
    """A24 links the first patient to the second; A37 undoes that link and no other merge.

    The link's id is made of the two keys, so that the A37 can name it.
    """
    groups = _groups(sent.message)
    keys = [_patient(sent, group.pid) for group in groups[:2]]
    if len(keys) == 1:
        keys = [*_keys(sent, groups[0].mrg, 1, 4)[:1], *keys]
    if len(keys) == 1:
        raise _Unusable(
            "no-retired", "the message links two patients but has one: a second PID is needed", "PID-3"
        )
    pair = "\0".join((sent.source, *sorted(keys)))
    link = f"link-{blake2b(pair.encode('utf-8', 'surrogatepass'), digest_size=10).hexdigest()}"
    meaning = Meaning("merge") if sent.trigger == LINK else Meaning("cancel_merge")
    event = _event(sent, _Group(), keys[0], meaning, _when(sent, sent.trigger))
    if sent.trigger == LINK:
        event.id = link
        event.attributes |= {"into": keys[1], "link": True}
    else:
        event.cancels = link
    return event


# --- parts of an event ----------------------------------------------------------------------------------------


def _patient(sent: _Sent, pid: Fields) -> str:
    keys = _keys(sent, pid, 3, 2)
    if not keys:
        raise _Unusable(
            "no-patient", "no patient identifier in PID-3 or PID-2: the sender must fill one", "PID-3"
        )
    return keys[0]


def _keys(sent: _Sent, fields: Fields, number: int, old_number: int) -> list[str]:
    """The identifiers of a patient, those that the profile asks for if there are any.

    `old_number` is the field that held the identifier before version 2.3 (PID-2, MRG-4).
    """
    message, choice = sent.message, sent.profile.patient_id
    repetitions = message.repetitions(fields, number)
    found = [key for parts in repetitions if (key := message.clean(parts[0]))]
    if choice.authority is not None or choice.type is not None:
        chosen = [parts for parts in repetitions if _chosen(message, parts, choice)]
        found = [key for parts in chosen if (key := message.clean(parts[0]))] or found[:1]
    return found or [old for old in (message.text(fields, old_number),) if old]


def _chosen(message: Message, parts: list[str], choice: PatientIdChoice) -> bool:
    authority = parts[3].split(message.separators.subcomponent) if len(parts) > 3 else [""]
    kind = message.clean(parts[4]) if len(parts) > 4 else ""
    if choice.authority is not None and choice.authority not in [message.clean(each) for each in authority]:
        return False
    return choice.type is None or choice.type == kind


def _encounter(message: Message, group: _Group) -> str | None:
    """The visit number (PV1-19), else the account number (PID-18)."""
    return message.text(group.pv1, 19) or message.text(group.pid, 18) or None


def _numbers(message: Message, group: _Group) -> tuple[str, str]:
    """Of a change of class, the number before it and the one of the same kind now: visit numbers if both are sent."""
    visit = message.text(group.mrg, 5), message.text(group.pv1, 19)
    account = message.text(group.mrg, 3), message.text(group.pid, 18)
    return visit if all(visit) or not account[0] else account


def _location(sent: _Sent, pv1: Fields, numbers: tuple[int, ...]) -> str | None:
    """The first location (PL) that is not empty."""
    for number in numbers:
        found = sent.message.joined(pv1, number)
        if found:
            return found
    return None


def _when(
    sent: _Sent, trigger: str, is_movement: bool = False, fields: tuple[str, ...] = _TIME_FIELDS
) -> _When:
    """The first readable time of the fields that hold the event's own time, in order."""
    recorded = _time(sent, "EVN-2") or _time(sent, "MSH-7")
    unreadable = None
    if sent.profile.event_time is not None and fields is _TIME_FIELDS:
        fields = tuple(sent.profile.event_time)
    elif is_movement:
        fields = ("ZBE-2", *fields)
    for field in fields:
        if trigger not in _ONLY_FOR.get(field, (trigger,)):
            continue
        found = _time(sent, field)
        if found is None:
            unreadable = unreadable or (field if _text_of(sent, field) else None)
        elif field not in _ONLY_FOR or not _is_plan(found, recorded):
            doubts: Attributes = {found.note: True} if found.note else {}
            if unreadable:
                doubts["unreadable_time"] = unreadable
            return _When(found, recorded.at if recorded else found.at, doubts)
    if unreadable:
        raise _Unusable("bad-time", "no time of the event can be read: expected YYYYMMDDHHMMSS", unreadable)
    raise _Unusable(
        "no-time", f"no time of the event in {', '.join(fields)}: the sender must fill one", fields[-1]
    )


def _is_plan(found: Time, recorded: Time | None) -> bool:
    return recorded is not None and found.at >= recorded.at + UNIT[recorded.precision]


def _text_of(sent: _Sent, field: str) -> str:
    segment, number = _FIELD[field]
    return sent.message.text(sent.message.first(segment), number)


def _time(sent: _Sent, field: str) -> Time | None:
    text = _text_of(sent, field)
    return parse_time(text, sent.zone) if text else None


def _attributes(sent: _Sent, group: _Group, patient: str, when: _When) -> Attributes:
    """What rules may test beside the fields of an event; no names, and nobody's identifiers but encounters'."""
    text, (pid, pv1, mrg) = sent.message.text, group
    found: Attributes = {"trigger": sent.trigger}
    for name, number in _PV1_ATTRIBUTES:
        value = text(pv1, number)
        if value:
            found[name] = value
    if "class" in found and sent.profile.classes:
        found["class"] = sent.profile.classes.get(text(pv1, 2), found["class"])
    if sent.trigger in CLASS_CHANGES and mrg:
        prior, _ = _numbers(sent.message, group)
        if prior:
            found["prior_encounter"] = prior
    if sent.trigger in ("A09", "A10", "A32", "A33"):
        place = _location(sent, pv1, (11,))
        if place:
            found["temporary_location"] = place
    if text(pid, 30).upper() == "Y":
        found["died"] = True
        died = parse_time(text(pid, 29), sent.zone)
        if died:
            found["died_at"] = moment_text(died.at)
    if sent.trigger in ("A21", "A22"):
        expected = parse_time(text(sent.message.first("PV2"), 47), sent.zone)
        if expected:
            found["expected_return"] = moment_text(expected.at)
    if _is_test(sent, patient, pid):
        found["test"] = True
    return found | when.doubts


def _is_test(sent: _Sent, patient: str, pid: Fields) -> bool:
    message = sent.message
    if message.text(message.msh, 11).upper() in _TEST_CODES:
        return True
    if not sent.profile.test_patients:
        return False
    family = message.text(pid, 5).split(message.separators.subcomponent)[0]
    name = f"{family}^{message.text(pid, 5, 2)}"
    return any(globbed(each, patient) or globbed(each, name) for each in sent.profile.test_patients)
