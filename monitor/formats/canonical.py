"""Canonical events as JSON, one a line: in and out."""

from __future__ import annotations

import msgspec

from monitor.core.event import Event, canonical_fields, moment_text

_decoder = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder(order="sorted")


def decode(line: bytes | str) -> Event:
    """The event in one line of JSON. Raises `msgspec.ValidationError` or `msgspec.DecodeError` saying what is wrong."""
    return _decoder.decode(line)


def encode(event: Event) -> bytes:
    """The event as one line of canonical JSON without its line end; `arrived_at` is there when it is known."""
    fields = canonical_fields(event)
    if event.arrived_at is not None:
        fields["arrived_at"] = moment_text(event.arrived_at)
    return _encoder.encode(fields)
