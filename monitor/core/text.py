"""The small values that people write in rule files: durations, zones, hours, days, globs.

Every scalar of a YAML file reaches the models as text; each type here converts its own.
"""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    GetCoreSchemaHandler,
    WithJsonSchema,
)
from pydantic import GetJsonSchemaHandler as JsonHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_LONGEST_TEXT = 200
_TERM = re.compile(r"([0-9]+)([smhdw])")
_CALENDAR = re.compile(r"([0-9]{1,4})(bd|cd)")
LONGEST: Final = timedelta(days=36_525)
"""A hundred years: no rule needs more, and no sum of moments overflows."""


class Plain(str):
    """A scalar that stood without quotes in a YAML file, so that `3` may be a number and `"3"` is a text."""

    __slots__ = ()


class Model(BaseModel):
    """What every model of a file shares: unknown keys are errors, and nothing changes once read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True
    )


class DurationError(ValueError):
    """A text that is no duration, or one that does not fit here."""


def found(value: Any) -> str:
    """How an error names what it found."""
    if value is None:
        return "an empty value"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value)
    if not text:
        return "an empty text"
    return f"`{text}`" if len(text) <= 60 else f"`{text[:60]}...`"


Complaint = tuple[tuple[str | int, ...], str]
"""The path of keys and positions from a model down to what is wrong, and the message."""


def refuse(complaints: list[Complaint]) -> None:
    """Raises one error that carries all complaints of a validator of a whole model; nothing if there are none."""
    if complaints:
        message = "; ".join(message for _, message in complaints)
        raise PydanticCustomError("complaints", "{message}", {"message": message, "complaints": complaints})


def shape_of(value: Any) -> str | None:
    """The tag by which a union of one and several is told apart: errors then concern the branch that was meant.

    No key of a file looks like these tags, which pydantic puts in the path of an error.
    """
    if isinstance(value, list):
        return "|list|"
    if value is None:
        return "|null|"
    return "|mapping|" if isinstance(value, BaseModel | dict) else "|one|"


def by_shape(allowed: str) -> Discriminator:
    """Picks the branch of a union by the shape of the value; `allowed` says in an error what may stand there."""
    return Discriminator(
        shape_of, custom_error_type="wrong_shape", custom_error_message=f"expected {allowed}"
    )


class _NotNull:
    """Makes null an error where it is written; the field may still be absent."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(_refuse_null, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: JsonHandler
    ) -> JsonSchemaValue:
        found = handler(schema)
        branches = [each for each in found.get("anyOf", []) if each != {"type": "null"}]
        return branches[0] if len(branches) == 1 else {**found, "anyOf": branches}


def _refuse_null(value: Any) -> Any:
    if value is None:
        raise ValueError("the value is empty: write one, or leave the key out")
    return value


T = TypeVar("T")
Maybe = Annotated[T | None, _NotNull()]
"""A field that may be left out (None), but not be written without a value."""


def parse_duration(text: Any) -> timedelta:
    """Elapsed time from `90s`, `45m`, `4h`, `2d`, `1w` and their sums (`1h30m`); a day is 24 hours."""
    if isinstance(text, timedelta):
        return text
    if isinstance(text, str) and _CALENDAR.fullmatch(text):
        raise DurationError(
            f"{found(text)} is in calendar days, which only deadlines of expect and steps may be"
        )
    if isinstance(text, str) and text.startswith("-") and _DURATION.fullmatch(text[1:]):
        raise DurationError(f"{found(text)} is negative, which only `after` of `escalate` may be")
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT or not _DURATION.fullmatch(text):
        raise DurationError(
            f"{found(text)} is not a duration: write 90s, 45m, 4h, 2d, 1w or a sum such as 1h30m"
        )
    seconds = sum(int(count) * _UNITS[unit] for count, unit in _TERM.findall(text))
    if seconds > LONGEST.total_seconds():
        raise DurationError(f"{found(text)} is longer than a hundred years")
    return timedelta(seconds=seconds)


def duration_text(duration: timedelta) -> str:
    """A duration, in whole seconds, as people write it: `1h30m`; whole days as `2d`, but one day as `24h`."""
    rest = int(abs(duration).total_seconds())
    parts = []
    for unit, seconds in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count = rest // seconds
        if count and not (unit == "d" and rest < 2 * seconds):
            parts.append(f"{count}{unit}")
            rest -= count * seconds
    return ("-" if duration < timedelta(0) else "") + ("".join(parts) or "0s")


def parse_signed_duration(text: Any) -> timedelta:
    """A duration that may be negative: `-10m` is ten minutes before."""
    if isinstance(text, str) and text.startswith("-") and _DURATION.fullmatch(text[1:]):
        return -parse_duration(text[1:])
    return parse_duration(text)


class CalendarDuration(NamedTuple):
    """So many business or calendar days after the local day of the trigger (contract, section 4)."""

    days: int
    business: bool


def parse_limit(text: Any) -> timedelta | CalendarDuration:
    """A duration, or calendar days: `2bd` (business days), `2cd`."""
    if isinstance(text, CalendarDuration):
        return text
    days = _CALENDAR.fullmatch(text) if isinstance(text, str) else None
    if days:
        return CalendarDuration(int(days[1]), days[2] == "bd")
    return parse_duration(text)


def parse_zone(text: Any) -> ZoneInfo:
    """A zone of the IANA database, such as `Europe/London`."""
    if isinstance(text, ZoneInfo):
        return text
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise ValueError(f"{found(text)} is not a time zone: write one such as Europe/London") from None


class HoursOfDay(NamedTuple):
    """From `start` to `end` of local time, the end excluded; `end` not after `start` means on the next day."""

    start: time
    end: time | None
    """None is the midnight that ends the day."""


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")


def parse_hours(text: Any) -> HoursOfDay:
    """`22:00-07:00`."""
    if isinstance(text, HoursOfDay):
        return text
    span = _HOURS.fullmatch(text) if isinstance(text, str) else None
    if not span:
        raise ValueError(f"{found(text)} is not a span of hours: write two times of day such as 22:00-07:00")
    start = time(int(span[1]), int(span[2]))
    end = time(int(span[3]), int(span[4])) if span[3] else None
    if start == end:
        raise ValueError(f"`{text}` starts where it ends: leave `hours` out for the whole day")
    if end == time(0):
        end = None
    return HoursOfDay(start, end)


def parse_date(text: Any) -> date:
    """`2026-12-25`."""
    if isinstance(text, date):
        return text
    try:
        return date.fromisoformat(text if _DATE.fullmatch(text) else "")
    except (TypeError, ValueError):
        raise ValueError(f"{found(text)} is not a date: write one such as 2026-12-25") from None


def parse_number(text: Any) -> Any:
    """A whole number from its digits; anything else is left for pydantic to judge."""
    return int(text) if isinstance(text, str) and re.fullmatch(r"[0-9]{1,9}", text) else text


def parse_share(text: Any) -> float:
    """A share of one from `95%` or `0.95`."""
    try:
        share = float(text[:-1]) / 100 if isinstance(text, str) and text.endswith("%") else float(text)
    except (TypeError, ValueError):
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"{found(text)} is not a share: write 95% or 0.95")
    return share


def parse_flag(text: Any) -> bool:
    """`true` or `false`, and no other spelling."""
    if isinstance(text, bool):
        return text
    if text not in ("true", "false"):
        raise ValueError(f"{found(text)} is neither true nor false")
    return bool(text == "true")


_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def parse_value(text: Any) -> Any:
    """An attribute's value: unquoted `3`, `2.5`, `true` are numbers and booleans, all else is text."""
    if text is None or isinstance(text, dict | list):
        raise ValueError(f"expected a text, a number, true or false; found {found(text)}")
    if not isinstance(text, Plain):
        return text
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if len(text) > 40 or not _NUMBER.fullmatch(text):
        return str(text)
    return int(text) if text.lstrip("-").isdigit() else float(text)


_DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^(\d{1,9}[smhdw])+$",
    "examples": ["90s", "45m", "4h", "1h30m", "2d"],
}

Duration = Annotated[timedelta, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
SignedDuration = Annotated[
    timedelta,
    BeforeValidator(parse_signed_duration),
    WithJsonSchema({"type": "string", "pattern": r"^-?(\d{1,9}[smhdw])+$", "examples": ["30m", "-10m"]}),
]
Limit = Annotated[
    timedelta | CalendarDuration,
    BeforeValidator(parse_limit),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^((\d{1,9}[smhdw])+|\d{1,4}(bd|cd))$",
            "examples": ["4h", "2bd", "2cd"],
        }
    ),
]
TimeZone = Annotated[
    ZoneInfo, BeforeValidator(parse_zone), WithJsonSchema({"type": "string", "examples": ["Europe/London"]})
]
Hours = Annotated[
    HoursOfDay,
    BeforeValidator(parse_hours),
    WithJsonSchema({"type": "string", "pattern": r"^\d\d:\d\d-\d\d:\d\d$", "examples": ["22:00-07:00"]}),
]
Value = Annotated[
    str | int | float | bool,
    BeforeValidator(parse_value),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
"""What an attribute is compared with."""
Date = Annotated[
    date,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-12-25"]}),
]
Number = Annotated[int, BeforeValidator(parse_number)]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    WithJsonSchema({"type": ["string", "number"], "examples": ["95%", 0.95]}),
]
Flag = Annotated[bool, BeforeValidator(parse_flag)]


@lru_cache(maxsize=4096)
def _regex(glob: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in re.split(r"\*+", glob)), re.DOTALL)


def globbed(glob: str, text: str) -> bool:
    """Whether the whole of `text` matches; `*` stands for any characters, all others for themselves."""
    return glob == text or ("*" in glob and _regex(glob).fullmatch(text) is not None)
