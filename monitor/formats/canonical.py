"""Canonical events as JSON, one a line: in and out."""

from __future__ import annotations

import re
from typing import Final, get_args

import msgspec

from monitor.core.event import Event, Precision, canonical_fields, moment_text
from monitor.formats.reject import Reject

ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)
"""All that `decode` may raise, whatever the bytes."""

_decoder = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder(order="sorted")
_ECHOES: Final = "Invalid enum value"
"""What msgspec says of a wrong `precision`, before the value, which may hold anything."""
_WHERE = re.compile(r" - at `\$\.?(.*)`$")


decode = _decoder.decode
"""The event in one line of JSON (bytes or text); raises one of `ERRORS`, which say what is wrong."""


def read(line: bytes | str) -> list[Event] | Reject:
    """The event in one line of JSON, or why there is none."""
    try:
        return [decode(line)]
    except ERRORS as error:
        return reject(error)


def reject(error: Exception) -> Reject:
    """What an error of `decode` says of the line: no JSON at all (`not-json`), or no event (`not-an-event`)."""
    if not isinstance(error, msgspec.ValidationError):
        return Reject("not-json", "nested too deeply" if isinstance(error, RecursionError) else str(error))
    text = str(error)
    where = _WHERE.search(text)
    detail = _WHERE.sub("", text)
    if detail.startswith(_ECHOES):
        detail = f"must be one of {', '.join(get_args(Precision))}"
    return Reject("not-an-event", detail, field=where[1] or None if where else None)


def encode(event: Event) -> bytes:
    """The event as one line of canonical JSON without its line end; `arrived_at` is there when it is known."""
    fields = canonical_fields(event)
    if event.arrived_at is not None:
        fields["arrived_at"] = moment_text(event.arrived_at)
    return _encoder.encode(fields)
