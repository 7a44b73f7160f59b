"""What it costs only to read the log: one pass over the file, every line decoded and dropped.

The typed pass of msgspec is the base of all ratios: the least that a program in Python can do with such a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pydantic

from bench.measure import Taken, timed
from monitor.formats import canonical

Value = str | int | float | bool


class Plain(msgspec.Struct, gc=False, rename={"from_": "from"}):
    """An event's fields by their types, and nothing checked beyond."""

    id: str
    type: str
    patient: str
    occurred_at: datetime
    encounter: str | None = None
    recorded_at: datetime | None = None
    from_: str | None = None
    to: str | None = None
    source: str = ""
    attributes: dict[str, Value] = {}


class Checked(pydantic.BaseModel):
    """The same as a pydantic model."""

    id: str
    type: str
    patient: str
    occurred_at: datetime
    encounter: str | None = None
    recorded_at: datetime | None = None
    from_: str | None = pydantic.Field(None, alias="from")
    to: str | None = None
    source: str = ""
    attributes: dict[str, Value] = {}


DECODERS: dict[str, Callable[[bytes], Any]] = {
    "msgspec, typed": msgspec.json.Decoder(Plain).decode,
    "orjson": orjson.loads,
    "pydantic": Checked.model_validate_json,
    "json": json.loads,
    "ours": canonical.decode,
}
BASE = "msgspec, typed"


def decoded(path: str, decoder: str) -> Taken:
    """A pass of one decoder over the file."""
    decode = DECODERS[decoder]

    def work() -> int:
        number = 0
        with Path(path).open("rb") as lines:
            for number, line in enumerate(lines, start=1):  # noqa: B007  # the last number is the count
                decode(line)
        return number

    taken, number = timed(work)
    taken.events = number
    return taken
