"""Reading one HL7 v2 message: character set, delimiters, segments, fields, escapes, times.

Nothing here knows what an ADT trigger means; nothing here raises on what a feed may send.
Sources: HL7 v2 chapter 2 (sections 2.5 to 2.7 on delimiters and escapes, MSH-18 with table 0211) and the
habits of real feeds listed in docs/reference/hl7.md.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from monitor.core.event import EARLIEST, LATEST, Precision
from monitor.formats.reject import Reject

Fields = list[str]
"""One segment: the name, then its fields by their HL7 number (MSH-1 is the field separator itself)."""

NO_FIELDS: Final[Fields] = []

# --- character sets -------------------------------------------------------------------------------------------

_CODECS: Final = {
    "8859/1": "latin-1",
    "8859/2": "iso8859-2",
    "8859/3": "iso8859-3",
    "8859/4": "iso8859-4",
    "8859/5": "iso8859-5",
    "8859/6": "iso8859-6",
    "8859/7": "iso8859-7",
    "8859/8": "iso8859-8",
    "8859/9": "iso8859-9",
    "8859/15": "iso8859-15",
    "ISO IR6": "ascii",
    "ISO IR14": "shift_jis",
    "ISO IR87": "iso2022_jp",
    "ISO IR100": "latin-1",
    "ISO IR101": "iso8859-2",
    "ISO IR144": "iso8859-5",
    "ISO IR192": "utf-8",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    "WINDOWS-1252": "cp1252",
    "CP1252": "cp1252",
}
"""Python's name for each value of table 0211, and for two names that feeds use although the table lacks them."""
_TRIED: Final = ("utf-8", "latin-1")
"""What is tried, in order, when MSH-18 names nothing that helps; the last fits any bytes."""


def to_text(message: bytes) -> str:
    """The characters of a message, by its byte order mark, else MSH-18, else UTF-8, else Latin-1. Never fails."""
    if message.isascii() and b"\0" not in message:
        return message.decode("ascii")
    wide = _utf16_text(message)
    if wide is not None:
        return wide
    for codec in (_named_codec(message), *_TRIED):
        try:
            return message.decode(codec).lstrip("\ufeff")
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 fits any bytes")


def _utf16_text(message: bytes) -> str | None:
    start = message.lstrip(b"\x0b")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return start.decode("utf-16", "replace")
    if start.startswith(b"M\0S\0H\0"):
        return start.decode("utf-16-le", "replace")
    if start.startswith(b"\0M\0S\0H"):
        return start.decode("utf-16-be", "replace")
    return None


def _named_codec(message: bytes) -> str:
    header = message.lstrip(b"\xef\xbb\xbf\x0b \t\r\n")[:2000].decode("latin-1")
    fields = re.split(r"[\r\n]", header)[0].split(header[3:4] or "|")
    named = fields[17] if len(fields) > 17 else ""
    name = re.split(r"[~^]", named)[0].strip().upper()
    if name.startswith("UNICODE"):
        return "utf-8"  # UTF-16 and UTF-32 are recognised by their bytes, before
    return _CODECS.get(name) or _CODECS.get(name.replace("ISO IR ", "ISO IR")) or "utf-8"


# --- delimiters and escapes -----------------------------------------------------------------------------------


class Separators(NamedTuple):
    """The delimiters of one message, from MSH-1 and MSH-2."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str


_USUAL = "^~\\&"
_FORMATTING: Final = {"H": "", "N": "", ".br": "\n"}
_HEX = re.compile(r"X(?:[0-9A-Fa-f]{2})+")


@lru_cache(maxsize=64)
def _separators(field: str, sent: str) -> Separators:
    if any(each.isalnum() or each.isspace() for each in sent):
        sent = ""  # MSH-2 was left out
    if len(sent) > 3 and sent[2] == sent[3]:
        sent = sent[:3] + sent[4:]  # `^~\\&`: the escape was itself escaped on its way
    return Separators(field, *(sent + _USUAL[len(sent) :])[:4])


def unescape(text: str, separators: Separators) -> str:
    r"""`text` with `\F\ \S\ \T\ \R\ \E\ \Xdd\ \.br\` replaced, highlighting removed; unknown sequences are kept."""
    mark = separators.escape
    if mark not in text:
        return text
    parts = text.split(mark)
    found = [parts[0]]
    position = 1
    while position < len(parts):
        meaning = _escaped(parts[position], separators) if position + 1 < len(parts) else None
        if meaning is None:
            found += (mark, parts[position])
            position += 1
        else:
            found += (meaning, parts[position + 1])
            position += 2
    return "".join(found)


def _escaped(sequence: str, separators: Separators) -> str | None:
    match sequence:
        case "F":
            return separators.field
        case "S":
            return separators.component
        case "T":
            return separators.subcomponent
        case "R":
            return separators.repetition
        case "E":
            return separators.escape
    if _HEX.fullmatch(sequence):
        return _bytes_text(bytes.fromhex(sequence[1:]))
    return _FORMATTING.get(sequence)


def _bytes_text(sent: bytes) -> str:
    try:
        return sent.decode("utf-8")
    except UnicodeDecodeError:
        return sent.decode("latin-1")


# --- messages -------------------------------------------------------------------------------------------------

_EDGE = " \t\0\x0b\x1c\ufeff"
"""What may stand around a segment without being part of it: frame bytes, blanks, a byte order mark."""
_STRUCTURE = re.compile(r"([A-Z]{3})[_\-]([A-Z][A-Z0-9]{2})")
_TRIGGER = re.compile(r"[A-Z0-9]{1,8}")


class Message:
    """One message as segments and fields. Text is unescaped when it is asked for, not before.

    A field that is empty, missing or `""` (delete) reads as the empty text.
    """

    __slots__ = ("_fields", "_first", "lines", "msh", "separators")

    def __init__(self, lines: list[str], separators: Separators) -> None:
        self.lines = lines
        self.separators = separators
        self.msh = [lines[0][:3].upper(), separators.field, *lines[0][4:].split(separators.field)]
        self._first: dict[str, str] = {}
        self._fields: dict[str, Fields] = {"MSH": self.msh}

    def first(self, name: str) -> Fields:
        """The first segment of that name, wherever it stands; no fields when there is none."""
        found = self._fields.get(name)
        if found is None:
            if not self._first:
                self._first = {line[:3].upper(): line for line in reversed(self.lines)}
            line = self._first.get(name)
            found = self._fields[name] = line.split(self.separators.field) if line else NO_FIELDS
        return found

    def segments(self) -> Iterator[tuple[str, Fields]]:
        """All segments after MSH as (name in capitals, fields), in the order in which they were sent."""
        for line in self.lines[1:]:
            yield line[:3].upper(), line.split(self.separators.field)

    def text(self, fields: Fields, number: int, component: int = 1) -> str:
        """One component (from 1) of the first repetition of a field."""
        if number >= len(fields):
            return ""
        value = fields[number]
        if not value:
            return ""
        _, component_mark, repetition, escape, _ = self.separators
        if repetition in value:
            value = value.split(repetition, 1)[0]
        if component_mark in value:
            parts = value.split(component_mark, component)
            value = parts[component - 1] if component <= len(parts) else ""
        elif component > 1:
            return ""
        value = value.strip()
        if value == '""':
            return ""
        return unescape(value, self.separators) if escape in value else value

    def repetitions(self, fields: Fields, number: int) -> list[list[str]]:
        """A field as its repetitions, each a list of components as they were sent."""
        if number >= len(fields) or not fields[number]:
            return []
        return [
            each.split(self.separators.component) for each in fields[number].split(self.separators.repetition)
        ]

    def clean(self, value: str) -> str:
        """One component of `repetitions` as text."""
        value = value.strip()
        return "" if value == '""' else unescape(value, self.separators)

    def joined(self, fields: Fields, number: int) -> str:
        """The first repetition of a field, its components joined by `^`, without empty ones at the end."""
        if number >= len(fields) or not fields[number]:
            return ""
        parts = fields[number].split(self.separators.repetition, 1)[0].split(self.separators.component)
        return "^".join([self.clean(part) if part else "" for part in parts]).rstrip("^")

    def kind(self) -> tuple[str, str]:
        """Message code and trigger: `("ADT", "A01")`, from MSH-9.1 and MSH-9.2.

        Where MSH-9.2 is no trigger, a structure such as `ADT_A01` is looked for in any of its three components.
        EVN-1 is never read: it was withdrawn, and real feeds leave a wrong value in it.
        """
        code = self.text(self.msh, 9).upper()
        trigger = self.text(self.msh, 9, 2).upper()
        if _TRIGGER.fullmatch(trigger):
            return code, trigger
        for sent in (code, trigger, self.text(self.msh, 9, 3).upper()):
            found = _STRUCTURE.fullmatch(sent)
            if found:
                return found[1], found[2]
        return code, ""

    def source(self) -> str:
        """The feed: `MSH-3/MSH-4`, each by its first component; just MSH-3 when MSH-4 is empty."""
        application, facility = self.text(self.msh, 3), self.text(self.msh, 4)
        return f"{application}/{facility}" if facility else application

    def digest(self) -> str:
        """A hash of all segments without MSH-7 and without line ends: equal for a message and its resend."""
        header = self.separators.field.join((*self.msh[2:7], *self.msh[8:]))
        content = "\r".join((header, *self.lines[1:]))
        return blake2b(content.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def read(data: bytes) -> Message | Reject:
    """The one message in `data`, framed or not, with any line ends; a second MSH and what follows it is left out.

    A line that does not look like a segment (three letters or digits and the field separator) belongs to the
    segment before it: a line end inside a field is a habit of real feeds.
    """
    text = to_text(data)
    if "\n" in text:
        text = text.replace("\r\n", "\r").replace("\n", "\r")
    rows = text.strip(_EDGE + "\r").split("\r")
    header = rows[0]
    mark = header[3:4]
    if header[:3].upper() != "MSH" or not mark or mark.isalnum() or mark.isspace():
        return NO_HEADER
    lines = [header]
    more: list[str] = []  # joined at once, for there may be very many
    for row in rows[1:]:
        line = row if row[3:4] == mark else row.strip(_EDGE)
        name = line[:3]
        if line[3:4] in (mark, "") and len(name) == 3 and name.isalnum():
            if more:
                lines[-1] += "".join(more)
                more.clear()
            if name.upper() == "MSH":
                break
            lines.append(line)
        else:
            more.append(line)
    lines[-1] += "".join(more)
    return Message(lines, _separators(mark, lines[0][4:].split(mark, 1)[0]))


NO_HEADER: Final = Reject(
    "no-msh",
    "no MSH segment at the start: these bytes are not an HL7 v2 message; check what the sender wrote",
    "MSH",
)

# --- times ----------------------------------------------------------------------------------------------------


class Time(NamedTuple):
    """A moment as it was sent."""

    at: datetime
    """Aware; of the offset that was sent, or of the zone that was assumed."""
    precision: Precision
    note: str | None = None
    """What was doubtful: `ambiguous_time`, `skipped_time` or `impossible_offset`."""


_DTM = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:[.,](\d*))?)?)?)?)?)?\s*(Z|[+-]\d\d:?\d\d)?"
)
_ISO = re.compile(
    r"(\d{4})-(\d\d)(?:-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d*))?)?)?)?)?\s*(Z|[+-]\d\d:?\d\d)?"
)
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)\Z")


@lru_cache(maxsize=8192)
def parse_time(text: str, zone: tzinfo) -> Time | None:
    """A DTM, `YYYY[MM[DD[HH[MM[SS[.S+]]]]]][+/-ZZZZ]`, or the ISO form that some feeds send; None when unreadable.

    `zone` stands in for an offset that was not sent. A year or a month is its first day, with precision `day`.
    A local time that occurs twice is its first occurrence, one that never occurs is moved on by the gap. An
    offset below 24 hours is taken as it is written, however odd; a larger one is dropped, and noted.
    """
    found = _DTM.fullmatch(text) or _ISO.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    sent = offset_of(offset) if offset else None
    try:
        local = datetime(  # noqa: DTZ001  # the zone is attached below, where a doubtful local time is noted
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            int((fraction or "0")[:6].ljust(6, "0")),
        )
    except ValueError:
        return None
    if not EARLIEST.year < local.year < LATEST.year:
        return None
    precision: Precision = "second" if second else "minute" if minute else "hour" if hour else "day"
    if sent is not None:
        return Time(local.replace(tzinfo=sent), precision)
    at, note = _localised(local, zone)
    return Time(at, precision, "impossible_offset" if offset else note)


def offset_of(text: str) -> tzinfo | None:
    """The offset at the end of a time, if there is one below 24 hours."""
    if text.endswith("Z"):
        return UTC
    found = _OFFSET.search(text)
    if found is None or int(found[2]) > 23 or int(found[3]) > 59:
        return None
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-offset if found[1] == "-" else offset)


def _localised(local: datetime, zone: tzinfo) -> tuple[datetime, str | None]:
    first, second = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    offset = first.utcoffset() or timedelta(0)
    later = second.utcoffset() or timedelta(0)
    # A fixed offset says the same moment, and keeps saying it when hours are added.
    at = local.replace(tzinfo=timezone(offset))
    if offset == later:
        return at, None
    return at, "ambiguous_time" if offset > later else "skipped_time"
