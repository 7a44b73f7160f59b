"""A reject read once more, after the rules of reading have changed: a profile, a mapping, a newer version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from sys import intern

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats import canonical, cloudevents, fhir, hl7
from monitor.formats.reject import Reject
from monitor.ingest.intake import Message, Origin

_HL7 = re.compile(rb"[\s\x0b]*MSH[^\w\s]")


def read(content: bytes, origin: Origin, where: str, source: str, registry: Registry) -> Iterator[Message]:
    """What its bytes are read as now, whatever they were taken for then: one message, or several of a FHIR bundle."""
    if b'"resourceType"' in content and not _HL7.match(content):
        yield from _of_fhir(content, origin, where, source, registry)
        return
    found = _events(content, registry)
    if isinstance(found, Reject):
        yield Message(origin=origin, content=content, where=where, source=source, reject=found)
        return
    for event in found:
        event.source = event.source or intern(source)
    yield Message(origin=origin, content=content, where=where, source=source, events=found)


def _events(content: bytes, registry: Registry) -> list[Event] | Reject:
    if _HL7.match(content):
        return hl7.decode(content, registry)
    if b'"specversion"' in content:
        return cloudevents.read(content)
    return canonical.read(content)


def _of_fhir(
    content: bytes, origin: Origin, where: str, source: str, registry: Registry
) -> Iterator[Message]:
    found = fhir.decode(content, registry, source)
    if isinstance(found, Reject):
        yield Message(origin=origin, content=content, where=where, source=source, reject=found)
        return
    for reject in found.rejects:
        yield Message(origin=origin, content=content, where=where, source=found.source, reject=reject)
    for visit in found.visits:
        yield Message(origin=origin, content=b"", where=where, source=found.source, visit=visit)
