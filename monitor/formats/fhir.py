"""FHIR R4 and R5: a document with Encounters as visits, and what a visit says beyond what was told of it before.

An Encounter is a state, not an event. `decode` reads the state in each version; `changes` compares it with what has
been told, and answers the events by which the difference is told: new ones, corrections and cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from monitor.core.event import CANCEL_PREFIX, HEARTBEAT, Event, Moment, canonical_fields
from monitor.core.place import Registry
from monitor.formats import canonical
from monitor.formats.fhir_encounter import Around, Unusable, deleted, visit_of
from monitor.formats.fhir_resource import (
    Bundle,
    Entry,
    Numbered,
    Parameters,
    Reference,
    Resources,
    SubscriptionStatus,
    bundle_of,
    encounter_of,
    head_of,
    header_of,
    parameters_of,
    parse_time,
    status_of,
    tail,
)
from monitor.formats.fhir_visit import REPEATED, Course, Visit, When, continued, events_of
from monitor.formats.reject import Reject

__all__ = ["Changes", "Notification", "Resources", "Visit", "changes", "decode"]

DEFAULT_SOURCE: Final = "fhir"
"""The source of what does not say where it comes from."""

_BOM: Final = b"\xef\xbb\xbf"

Kind = Literal["events", "heartbeat", "handshake"]

_KINDS: Final[dict[str, Kind]] = {
    "heartbeat": "heartbeat",
    "handshake": "handshake",
    "query-status": "heartbeat",
}
"""Types of a SubscriptionStatus that bring no Encounters."""


class Notification(msgspec.Struct, kw_only=True):
    """What one document brings."""

    visits: list[Visit] = []
    """The Encounters in it, older versions before newer ones."""
    rejects: list[Reject] = []
    """Why entries of it could not be used."""
    kind: Kind = "events"
    """`heartbeat` and `handshake` of a subscription bring no Encounters: they prove that the source lives."""
    subscription: str | None = None
    """The subscription by which it came, as its source names it."""
    numbers: tuple[int, int] | None = None
    """The first and the last `eventNumber` in it; a gap to the last one of the notification before shows what was lost."""
    source: str = DEFAULT_SOURCE
    """The feed: the `source` that was given, else what the message says of itself, else `fhir`."""
    heard_at: Moment | None = None
    """When its sender made it, if it says so."""

    def heartbeat(self) -> list[Event]:
        """The event that proves that its source lives, if it says when it was made."""
        if self.heard_at is None:
            return []
        name = f"{HEARTBEAT}-{self.heard_at.isoformat()}"
        return [Event(id=name, type=HEARTBEAT, patient="-", occurred_at=self.heard_at, source=self.source)]


class Changes(NamedTuple):
    """What a version of an Encounter brings."""

    events: list[Event]
    """To be told now: new events, corrections (`replaces`), cancels (`cancels`); none if nothing is new."""
    told: Visit
    """To be kept in place of what was kept before; the next version is compared with it."""


# --- one document -----------------------------------------------------------------------------------------------


def decode(
    content: bytes, registry: Registry, source: str = "", known: Resources | None = None
) -> Notification | Reject:
    """What a FHIR resource or Bundle (JSON, R4 or R5) brings, or why it cannot be used. Never raises.

    A resource that says nothing about a visit is in order and brings nothing. `known` are Patients and Locations that
    came in documents of their own; one that is read here is added to them.
    """
    content = content.removeprefix(_BOM)
    try:
        kind = head_of(content).resource_type
        if kind == "Bundle":
            return _bundle(bundle_of(content), registry, source, Resources(known))
        if known is not None:
            known.add(kind, msgspec.Raw(content), f"{kind}/{head_of(content).id}")
    except canonical.ERRORS as error:
        return _not_fhir(error)
    found = Notification(source=source or DEFAULT_SOURCE)
    if kind == "Encounter":
        _read_encounter(msgspec.Raw(content), Around(registry, found.source, Resources(known), ()), found)
        if found.rejects:
            return found.rejects[0]
    return found


def _not_fhir(error: Exception, within: str = "") -> Reject:
    said = canonical.reject(error)
    if said.reason == "not-json":
        return said
    field = ".".join(filter(None, (within, said.field)))
    return Reject("not-fhir", said.detail, field=field or None)


def _bundle(bundle: Bundle, registry: Registry, source: str, resources: Resources) -> Notification:
    found = Notification(source=source)
    kinds = []
    for number, entry in enumerate(bundle.entry):
        try:
            kinds.append(_kind_of(entry))
            _look_into(kinds[-1], entry, resources, found)
        except canonical.ERRORS as error:
            kinds[number:] = [""]
            found.rejects.append(_not_fhir(error, f"Bundle.entry[{number}].resource"))
    found.source = found.source or DEFAULT_SOURCE
    zone = registry.source(found.source).timezone or registry.timezone
    dates = [bundle.timestamp, bundle.meta.last_updated]
    times = [time for date in dates if date and (time := parse_time(date, zone))]
    if times:
        found.heard_at = times[0].at.astimezone(UTC)
    for kind, entry in zip(kinds, bundle.entry, strict=True):
        modified = entry.response.last_modified if entry.response else None
        around = Around(registry, found.source, resources, (modified, *dates), entry.full_url)
        if kind == "Encounter":
            _read_encounter(entry.resource, around, found)
        elif _deletes(entry):
            _read_deletion(entry, around, found)
    if found.numbers and not (found.visits or found.rejects):
        found.rejects.append(_NO_RESOURCE)
    found.visits.sort(key=_made)
    return found


_NO_RESOURCE: Final = Reject(
    "no-resource",
    "the notification tells of events without their Encounters: let the subscription send `full-resource`",
    "Bundle",
    "Bundle.entry",
)


def _kind_of(entry: Entry) -> str:
    return head_of(entry.resource).resource_type if bytes(entry.resource) else ""


def _look_into(kind: str, entry: Entry, resources: Resources, found: Notification) -> None:
    """Keep what an entry says about the others. Raises one of `canonical.ERRORS`."""
    if kind in ("Patient", "Location"):
        name = head_of(entry.resource).id
        resources.add(kind, entry.resource, entry.full_url, f"{kind}/{name}" if name else "")
    elif kind == "MessageHeader":
        sender = header_of(entry.resource).source
        found.source = found.source or sender.name or sender.endpoint
    elif kind == "SubscriptionStatus":
        _number(status_of(entry.resource), found)
    elif kind == "Parameters":
        _number(_backported(parameters_of(entry.resource)), found)


def _number(status: SubscriptionStatus, found: Notification) -> None:
    """What a SubscriptionStatus says of its notification."""
    found.kind = _KINDS.get(status.type, "events")
    found.subscription = status.subscription.reference or None
    said = [each.event_number for each in status.notification_event]
    if found.kind == "events" and not said and status.type == "event-notification":
        said = [status.events_since_subscription_start]
    numbers = [
        int(text) for text in map(str, said) if text.isascii() and text.isdigit() and len(text) < _LONGEST
    ]
    if numbers:
        found.numbers = (min(numbers), max(numbers))


_LONGEST: Final = 18


def _backported(parameters: Parameters) -> SubscriptionStatus:
    """The SubscriptionStatus that the R4 backport sends as Parameters."""
    status = SubscriptionStatus()
    for each in parameters.parameter:
        match each.name.replace("-", "").lower():
            case "type":
                status.type = each.value_code
            case "subscription":
                status.subscription = each.value_reference or Reference()
            case "eventssincesubscriptionstart":
                status.events_since_subscription_start = each.value_string
            case "notificationevent":
                numbers = [part.value_string for part in each.part if part.name == "event-number"]
                status.notification_event += [Numbered(number) for number in numbers]
    return status


def _read_encounter(resource: msgspec.Raw, around: Around, found: Notification) -> None:
    try:
        found.visits.append(visit_of(encounter_of(resource), around))
    except Unusable as unusable:
        found.rejects.append(unusable.reject)
    except canonical.ERRORS as error:
        found.rejects.append(_not_fhir(error, "Encounter"))


def _deletes(entry: Entry) -> bool:
    request = entry.request
    return request is not None and request.method == "DELETE" and "Encounter" in request.url.split("/")[:-1]


def _read_deletion(entry: Entry, around: Around, found: Notification) -> None:
    try:
        found.visits.append(deleted(tail(entry.request.url if entry.request else ""), around))
    except Unusable as unusable:
        found.rejects.append(unusable.reject)


def _made(visit: Visit) -> tuple[object, int]:
    return (visit.recorded_at, visit.version)


# --- from one version to the next -------------------------------------------------------------------------------


def changes(visit: Visit, told: Visit | None) -> Changes:
    """What a version of an Encounter says beyond what has been told of it; `told` is None where nothing has been.

    A version made before one that is known changes nothing, and neither does one that is known. What was told is told
    again only when its content differs: as a correction of the last statement about it, or, if that was a cancel or
    spoke of another patient, as an event of its own. Each statement has an id of its own, made of the event's and a number.
    """
    if told is None:
        course = continued(visit.course, Course(), When(visit.recorded_at))
        return _difference(visit, course, [])
    if visit.is_dated and told.is_dated and _made(visit) < _made(told):
        return Changes([], told)
    # corrections stand in the order of their times, so no statement may be older than what it corrects
    recorded_at = max(visit.recorded_at, told.recorded_at)
    visit = replace(visit, recorded_at=recorded_at, is_dated=visit.is_dated or told.is_dated)
    course = continued(visit.course, told.course, When(visit.recorded_at))
    return _difference(visit, course, told.events)


def _difference(visit: Visit, course: Course, told: Sequence[Event]) -> Changes:
    last = {event.id.partition(REPEATED)[0]: event for event in told}
    wanted = {event.id: event for event in events_of(visit, course)}
    statements: list[Event] = []
    for name, before in last.items():
        if name not in wanted and before.cancels is None:
            statements.append(_cancel(before, visit))
    for name, event in wanted.items():
        statements += _statements(event, last.get(name), visit)
    last |= {event.id.partition(REPEATED)[0]: event for event in statements}
    return Changes(statements, replace(visit, course=course, events=list(last.values())))


def _statements(event: Event, before: Event | None, visit: Visit) -> list[Event]:
    """What is to be said of an event after what was last said of it."""
    if before is None:
        return [event]
    if before.cancels is not None:
        return [replace(event, id=_next_id(before))]
    if _content(before) == _content(event):
        return []
    if before.patient == event.patient:
        return [replace(event, id=_next_id(before), replaces=before.id)]
    cancel = _cancel(before, visit)  # a correction is only looked for among the events of the same patient
    return [cancel, replace(event, id=_next_id(cancel))]


def _cancel(event: Event, visit: Visit) -> Event:
    return replace(
        event,
        id=_next_id(event),
        type=CANCEL_PREFIX + event.type,
        recorded_at=visit.recorded_at,
        arrived_at=None,
        cancels=event.id,
        replaces=None,
    )


def _next_id(event: Event) -> str:
    name, _, number = event.id.partition(REPEATED)
    return f"{name}{REPEATED}{int(number or 0) + 1:04}"


def _content(event: Event) -> dict[str, object]:
    fields = canonical_fields(event)
    return {name: value for name, value in fields.items() if name not in ("id", "recorded_at", "replaces")}
