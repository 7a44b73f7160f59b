"""CloudEvents 1.0 (CNCF): an envelope around one canonical event, in structured, batch and binary mode.

The envelope says `id`, `source`, `type` (`adt.transfer` is `transfer`: what follows the last dot), `time` (when it
happened) and, as an extension, `recordedtime`. All other fields of a canonical event are in `data`, a JSON object;
where both say the same field, the envelope stands. `subject` and other extensions are not read: an envelope is seen
by what passes it on, so it is no place for a patient.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from monitor.core.event import Event
from monitor.formats import canonical
from monitor.formats.reject import Reject

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
HEADER: Final = "ce-"
"""How the headers of binary mode begin (HTTP protocol binding, 3.1.3)."""

_NO_CLOUDEVENT: Final = "not-a-cloudevent"
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")
_OF_ENVELOPE: Final = {"occurred_at": "time", "recorded_at": "recordedtime"}
"""How the envelope calls fields of an event."""


class _Envelope(msgspec.Struct):
    specversion: str
    id: str
    source: str
    type: str
    time: str | None = None
    recordedtime: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    data_base64: bytes = b""


_envelope = msgspec.json.Decoder(_Envelope)
_batch = msgspec.json.Decoder(list[msgspec.Raw])
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def read(content: bytes | msgspec.Raw) -> list[Event] | Reject:
    """The event in one CloudEvent in structured mode, or why there is none. Never raises, whatever the bytes."""
    try:
        envelope = _envelope.decode(content)
    except canonical.ERRORS as error:
        return _not_one(error)
    return _opened(envelope, envelope.data_base64 or bytes(envelope.data))


def read_batch(content: bytes) -> list[list[Event] | Reject] | Reject:
    """What `read` says of each of a batch, in order; or why it is no batch."""
    try:
        return [read(each) for each in _batch.decode(content)]
    except canonical.ERRORS as error:
        return _not_one(error)


def structured(headers: Mapping[str, str], data: bytes) -> bytes:
    """A CloudEvent in binary mode as one in structured mode, which `read` reads and which can be kept.

    Its envelope is in HTTP headers (lower-case names, values percent-encoded), its data are the body.
    """
    said = {
        name.removeprefix(HEADER): _decoded(value)
        for name, value in headers.items()
        if name.startswith(HEADER)
    }
    if "content-type" in headers:
        said["datacontenttype"] = headers["content-type"]
    return _encode(said | {"data_base64": data})


def _decoded(value: str) -> str:
    """A header's value without its percent-encoding, which is of UTF-8."""
    found = _ENCODED.sub(lambda each: bytes([int(each[1], 16)]), value.encode("utf-8", "replace"))
    return found.decode("utf-8", "replace")


def _not_one(error: Exception) -> Reject:
    said = canonical.reject(error)
    if said.reason == "not-json":
        return said
    return Reject(_NO_CLOUDEVENT, said.detail, field=said.field)


def _opened(envelope: _Envelope, data: bytes) -> list[Event] | Reject:
    if envelope.specversion != "1.0":
        return Reject(_NO_CLOUDEVENT, "only CloudEvents 1.0 are read", field="specversion")
    if not envelope.source:
        return Reject(_NO_CLOUDEVENT, "must not be empty", field="source")
    if not _is_json(envelope.datacontenttype):
        return Reject(_NO_CLOUDEVENT, "data must be JSON", field="datacontenttype")
    try:
        fields = _fields.decode(data or b"{}")
    except canonical.ERRORS as error:
        return Reject(_NO_CLOUDEVENT, canonical.reject(error).detail, field="data")
    told = {
        "id": envelope.id,
        "source": envelope.source,
        "type": envelope.type.rpartition(".")[2],
        "occurred_at": envelope.time,
        "recorded_at": envelope.recordedtime,
    }
    fields |= {name: msgspec.Raw(_encode(text)) for name, text in told.items() if text is not None}
    found = canonical.read(_encode(fields))
    if isinstance(found, Reject):
        return _as_sent(found, envelope)
    return found


def _is_json(content_type: str | None) -> bool:
    kind = (content_type or "application/json").partition(";")[0].strip().lower()
    return kind == "text/json" or kind.endswith(("/json", "+json"))


def _as_sent(found: Reject, envelope: _Envelope) -> Reject:
    """The reject with its field under the name that the sender gave it."""
    name = _OF_ENVELOPE.get(found.field or "")
    if name is None or getattr(envelope, name) is None:
        return found
    return Reject(found.reason, found.detail, field=name)
