"""Bytes of a file that is still being written: the messages that are whole so far, and where they end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

import msgspec

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats import canonical, cloudevents, fhir, hl7, mllp
from monitor.formats.reject import Reject
from monitor.ingest.files import UNKNOWN_FORMAT
from monitor.ingest.intake import Message

Kind = Literal["lines", "document", "hl7", "unknown"]
"""JSON with a message on each line; JSON over several lines, which is one message; HL7 v2; none of these."""

_BOM: Final = b"\xef\xbb\xbf"
_HL7_BEGINS: Final = (b"MSH", b"FHS", b"BHS", b"\x0b")
_FRAME_BEGINS: Final = b"\x0b"
_FRAME_ENDS: Final = b"\x1c"
_MESSAGE = re.compile(rb"(?:\A|[\r\n])[ \t]*(?=MSH[^\w\s])")
_LINE_ENDS: Final = (b"\r", b"\n")


class Piece(NamedTuple):
    """What stands in some bytes."""

    messages: list[Message]
    size: int
    """How many of the bytes they are."""
    number: int
    """Of the last line or message: that of the one before the bytes, and those in them."""


def kind_of(head: bytes, *, is_all: bool) -> Kind | None:
    """What a file is, by its first bytes; None while they do not say. `is_all`: there are no more, and will not be."""
    begin = head.removeprefix(_BOM).lstrip()
    if not begin:
        return None
    if begin.startswith(_HL7_BEGINS):
        return "hl7"
    if not begin.startswith((b"{", b"[")):
        return "unknown" if is_all or len(begin) > 4 else None
    first, end, rest = begin.partition(b"\n")
    if not end:
        return "document" if is_all else None
    if _is_json(first) or (rest.lstrip().startswith(b'{"') and first.startswith(b'{"')):
        return "lines"
    return "document"


def read(
    data: bytes, kind: Kind, registry: Registry, name: str, number: int, *, is_all: bool, at_rest: bool
) -> Piece:
    """The whole messages at the beginning of some bytes of a file called `name`, which follow the message `number`.

    The last message of a file counts once nothing has been added for a while (`at_rest`), if it looks whole; or
    whatever it looks like, when nothing can be added any more (`is_all`).
    """
    if kind == "lines":
        size = _end_of_lines(data, is_all=is_all, at_rest=at_rest)
        return _lines(data[:size], registry, name, number)
    if kind == "hl7":
        size = len(data) if is_all else _end_of_hl7(data, at_rest=at_rest)
        return _hl7(data[:size], registry, name, number)
    if kind == "document":
        if not (is_all or (at_rest and _is_json(data))):
            return Piece([], 0, number)
        return Piece([*_json(data, registry, f"{name}, document 1")], len(data), number + 1)
    return Piece([] if number else [_unknown(data, name)], len(data), number + 1)


# JSON


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text.removeprefix(_BOM), type=msgspec.Raw)
    except canonical.ERRORS:
        return False
    return True


def _end_of_lines(data: bytes, *, is_all: bool, at_rest: bool) -> int:
    end = data.rfind(b"\n") + 1
    rest = data[end:]
    if rest.strip() and (is_all or (at_rest and _is_json(rest))):
        return len(data)
    return end


def _lines(data: bytes, registry: Registry, name: str, number: int) -> Piece:
    """The events of all lines in one message, and one for each of the others."""
    events: list[Event] = []
    messages: list[Message] = []
    for line in data.removesuffix(b"\n").split(b"\n") if data else []:
        number += 1
        if not line.strip():
            continue
        try:
            events.append(canonical.decode(line))
        except canonical.ERRORS:
            messages += _json(line, registry, f"{name}, line {number}")
    if events:
        messages.insert(0, Message(origin="file", content=b"", events=events))
    return Piece(messages, len(data), number)


def _json(content: bytes, registry: Registry, where: str) -> Iterator[Message]:
    """What one JSON document says, whichever of the known ones it is."""
    content = content.removeprefix(_BOM)
    if b'"resourceType"' in content:
        yield from _fhir(content, registry, where)
    elif b'"specversion"' in content:
        is_batch = content.lstrip().startswith(b"[")
        found = cloudevents.read_batch(content) if is_batch else [cloudevents.read(content)]
        yield from _told([found] if isinstance(found, Reject) else found, content, where)
    else:
        yield from _told([canonical.read(content)], content, where)


def _told(found: Iterable[list[Event] | Reject], content: bytes, where: str) -> Iterator[Message]:
    for each in found:
        if isinstance(each, Reject):
            yield _rejected(content, where, each)
        else:
            yield Message(origin="file", content=b"", events=each)


def _fhir(content: bytes, registry: Registry, where: str) -> Iterator[Message]:
    found = fhir.decode(content, registry)
    if isinstance(found, Reject):
        yield _rejected(content, where, found)
        return
    for visit in found.visits:
        yield Message(origin="file", content=content, visit=visit, where=where)
    if found.rejects:  # one dead letter, for it holds all of the document
        yield _rejected(content, where, found.rejects[0])
    if not found.visits and found.kind != "events":
        yield Message(origin="file", content=b"", events=found.heartbeat())


# HL7


def _end_of_hl7(data: bytes, *, at_rest: bool) -> int:
    """The end of the last message that is whole: that of a frame; else where the next one begins, or a line ends at rest."""
    if _FRAME_BEGINS in data:
        end = data.rfind(_FRAME_ENDS) + 1
        return end + (data[end : end + 1] in _LINE_ENDS if end else 0)
    if at_rest and data.endswith(_LINE_ENDS):
        return len(data)
    begins = [found.start() for found in _MESSAGE.finditer(data)]
    return begins[-1] if begins else 0


def _hl7(data: bytes, registry: Registry, name: str, number: int) -> Piece:
    messages = []
    for content in mllp.messages(data):
        number += 1
        found = hl7.decode(content, registry)
        where = f"{name}, message {number}"
        if isinstance(found, Reject):
            source = mllp.header(content).source()
            messages.append(Message(origin="file", content=content, where=where, reject=found, source=source))
        else:
            messages.append(Message(origin="file", content=b"", events=found))
    return Piece(messages, len(data), number)


def _unknown(data: bytes, name: str) -> Message:
    """One reject stands for all of a file of which nothing can be read."""
    reject = Reject(UNKNOWN_FORMAT, "known are canonical JSON lines, HL7 v2, FHIR and CloudEvents")
    return _rejected(data[: mllp.FIRST_BYTES], name, reject)


def _rejected(content: bytes, where: str, reject: Reject) -> Message:
    return Message(origin="file", content=content, where=where, reject=reject)
