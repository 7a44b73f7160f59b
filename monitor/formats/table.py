"""Event logs as tables: CSV with any separator, and XES (IEEE 1849), each with a mapping that names its columns.

Both become rows, a dict of column to text, and one function makes a row an event or a reject.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import chain
from typing import Annotated, Any, Final, Literal
from xml.parsers import expat

from pydantic import BeforeValidator, Field

from monitor.core.event import Event, Precision, Value
from monitor.core.text import Model, TimeZone, parse_value
from monitor.formats.reject import Reject

Row = dict[str, str]

SEPARATORS: Final = ",;\t|"
_REST: Final = "*"
_TEXTS: Final = ("id", "encounter", "source", "from_", "to", "cancels", "replaces")
"""Fields of an event that a column may give as they are."""


def _as_mapping(column: Any) -> Any:
    return {"column": column} if isinstance(column, str) else column


class TimeColumn(Model):
    """A column that holds a time, and how it is written."""

    column: str | list[str]
    """Several columns (a date, a time of day) are joined by a space."""
    format: str = "iso"
    """`iso` (RFC 3339, with or without an offset), `epoch` (seconds since 1970) or a format of `strptime`."""
    timezone: TimeZone | None = None
    """The zone of times without an offset; by default that of the mapping."""
    precision: Precision | None = None
    """By default what the format, or for `iso` the text, has digits for."""


class AttributeColumn(Model):
    """A column that becomes an attribute."""

    column: str
    name: str | None = None
    """By default the column's."""
    type: Literal["text", "number", "boolean"] | None = None
    """By default text, and in XES what the log declares."""


class TypeOf(Model):
    """What an activity of the log means: a type of event and, where the activity tells, the places."""

    type: str = Field(min_length=1)
    from_: str | None = Field(default=None, alias="from")
    to: str | None = None


Attributes = list[Annotated[AttributeColumn, BeforeValidator(_as_mapping)]]


class Mapping(Model):
    """How the columns of an event log make events.

    Columns of XES are the keys of an event, and those of its trace with `case:` before them. Its standard keys
    are the defaults of `patient`, `type` and `occurred_at`; for CSV these three must be given.
    """

    separator: str | None = Field(default=None, min_length=1, max_length=1)
    """By default the one of `, ; tab |` that the header has most of."""
    encoding: str = "utf-8"
    patient: str = "case:concept:name"
    type: str = "concept:name"
    types: dict[
        str,
        Annotated[
            TypeOf, BeforeValidator(lambda found: {"type": found} if isinstance(found, str) else found)
        ],
    ] = {}
    """Types of events for the words of the `type` column; a word that is not listed stands for itself."""
    occurred_at: Annotated[TimeColumn, BeforeValidator(_as_mapping)] = TimeColumn(column="time:timestamp")
    recorded_at: Annotated[TimeColumn, BeforeValidator(_as_mapping)] | None = None
    timezone: TimeZone | None = None
    """By default the registry's."""
    id: str | None = None
    """By default a hash of the row and, where rows are equal, its number among them."""
    encounter: str | None = None
    source: str | None = None
    from_: str | None = Field(default=None, alias="from")
    to: str | None = None
    cancels: str | None = None
    replaces: str | None = None
    attributes: Annotated[
        Attributes, BeforeValidator(lambda found: [_REST] if found == "all" else found)
    ] = []
    """A list of columns, in which `*` stands for all that are named nowhere else; `all` is short for `["*"]`."""
    decimal: Literal[".", ","] = "."
    constants: dict[str, Annotated[str | int | float | bool, BeforeValidator(parse_value)]] = {}
    """Values for all rows: of `encounter`, `source`, `from` and `to`, and of attributes by any other name."""

    def columns(self) -> set[str]:
        """All columns that the mapping names."""
        times = [self.occurred_at, *([self.recorded_at] if self.recorded_at else [])]
        found = {self.patient, self.type, *(column for each in times for column in _columns(each))}
        found.update(column for field in _TEXTS if (column := getattr(self, field)) is not None)
        found.update(each.column for each in self.attributes if each.column != _REST)
        return found


def separator_of(header: str) -> str:
    """The separator that stands most often in a header, outside of quotes."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=bare.count)


def read_csv(lines: Iterable[str], mapping: Mapping, zone: tzinfo) -> Iterator[tuple[int, Event | Reject]]:
    """Events and rejects of a CSV, with the number of the row; the header is row 1.

    `lines` keep their line ends, so that a quoted cell may hold one. `zone` is that of times which have neither
    an offset nor a zone of the mapping. Without the columns that the mapping names there is one reject, of row 1.
    """
    lines = iter(lines)
    first = next(lines, "")
    separator = mapping.separator or separator_of(first)
    reader = csv.reader(chain((first,), lines), delimiter=separator)
    header = next(_cells(reader), [])
    if isinstance(header, Reject):
        yield 1, header
        return
    header = [name.strip() for name in header]
    problem = _header_problem(header, mapping)
    if problem is not None:
        yield 1, problem
        return
    make = _Maker(mapping, zone)
    for number, cells in enumerate(_cells(reader), start=2):
        if isinstance(cells, Reject):
            yield number, cells
        elif len(cells) > len(header):
            yield number, Reject("too-many-cells", f"{len(cells)} cells under {len(header)} columns")
        elif any(cells):
            yield number, make.event(dict(zip(header, cells, strict=False)))


def _cells(reader: Iterator[list[str]]) -> Iterator[list[str] | Reject]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Reject("not-csv", str(error))


def _header_problem(header: list[str], mapping: Mapping) -> Reject | None:
    for column in sorted(mapping.columns()):
        if column not in header:
            return Reject("missing-column", f"the header has no column `{column}`", field=column)
        if header.count(column) > 1:
            return Reject("ambiguous-column", f"the header has `{column}` more than once", field=column)
    return None


def read_xes(chunks: Iterable[bytes], mapping: Mapping, zone: tzinfo) -> Iterator[tuple[int, Event | Reject]]:
    """Events and rejects of an XES log, with the number of the event in it.

    What cannot be read as XML, or has a document type (which could hold entities that grow without end), is a
    reject that ends the log; the traces before it stand.
    """
    log = _XesLog()
    make = _Maker(mapping, zone, log.kinds)
    number = 0
    for chunk in chain(chunks, (b"",)):
        problem = log.feed(chunk)
        for row in log.take():
            number += 1
            yield number, make.event(row)
        if problem is not None:
            yield number + 1, problem
            return


class _Refused(Exception):  # noqa: N818 - passed through expat from a handler, never seen outside
    pass


class _XesLog:
    """The rows of the traces that have ended so far. Nested attributes, and those of the log, are not ours."""

    _KINDS: Final = {
        "string": "text",
        "date": "text",
        "id": "text",
        "int": "number",
        "float": "number",
        "boolean": "boolean",
    }

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self._path: list[str] = []
        self._trace: Row = {}
        self._events: list[Row] = []
        self._rows: list[Row] = []
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._refuse

    def feed(self, chunk: bytes) -> Reject | None:
        """No bytes end the document."""
        try:
            self._parser.Parse(chunk, not chunk)
        except _Refused:
            return Reject("document-type", "the document has a DOCTYPE, which XES has no use for")
        except expat.ExpatError as error:
            return Reject("not-xml", str(error))
        except ValueError as error:  # an encoding that Python does not know
            return Reject("not-xml", str(error))
        return None

    def take(self) -> list[Row]:
        rows, self._rows = self._rows, []
        return rows

    def _start(self, name: str, values: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if name == "trace":
            self._trace, self._events = {}, []
        elif name == "event":
            self._events.append({})
        elif name in self._KINDS and "key" in values and self._path:
            self._attribute(values["key"], values.get("value", ""), self._KINDS[name])
        self._path.append(name)

    def _attribute(self, key: str, value: str, kind: str) -> None:
        if self._path[-1] == "event" and self._events:
            self._events[-1][key] = value
            self.kinds[key] = kind
        elif self._path[-1] == "trace":
            self._trace[f"case:{key}"] = value
            self.kinds[f"case:{key}"] = kind

    def _end(self, name: str) -> None:
        self._path.pop()
        if name.rpartition(":")[2] == "trace":
            self._rows.extend({**self._trace, **event} for event in self._events)
            self._events = []

    def _refuse(self, *_declaration: object) -> None:
        raise _Refused


class _Unusable(Exception):  # noqa: N818 - carries a reject out of a row; never leaves this module
    def __init__(self, reason: str, detail: str, field: str | None = None) -> None:
        self.reject = Reject(reason, detail, field=field)


class _Maker:
    """Makes events of rows; it counts equal rows, so that each gets an id of its own, the same on every reading."""

    def __init__(self, mapping: Mapping, zone: tzinfo, kinds: dict[str, str] | None = None) -> None:
        self.mapping = mapping
        self.kinds = kinds if kinds is not None else {}
        self.zone = mapping.timezone or zone
        self.named = mapping.columns()
        self.takes_rest = any(each.column == _REST for each in mapping.attributes)
        self.seen: dict[bytes, int] = {}

    def event(self, row: Row) -> Event | Reject:
        try:
            return self._event(row)
        except _Unusable as unusable:
            return unusable.reject
        except ValueError as error:  # the event itself has limits, such as the years it knows
            return Reject("not-an-event", str(error))

    def _event(self, row: Row) -> Event:
        mapping = self.mapping
        content_id = self._content_id(row)
        meaning = mapping.types.get(word := _needed(row, mapping.type)) or TypeOf(type=word)
        occurred_at, precision = self._moment(row, mapping.occurred_at)
        texts = {
            field: row.get(column) for field in _TEXTS if (column := getattr(mapping, field)) is not None
        }
        constants = dict(mapping.constants)
        for field in ("encounter", "source", "from", "to"):
            if (constant := constants.pop(field, None)) is not None:
                name = "from_" if field == "from" else field
                texts[name] = texts.get(name) or str(constant)
        if mapping.id is not None and not texts["id"]:
            raise _Unusable("missing-value", "the cell is empty", mapping.id)
        return Event(
            id=texts.get("id") or content_id,
            type=meaning.type,
            patient=_needed(row, mapping.patient),
            encounter=texts.get("encounter") or None,
            occurred_at=occurred_at,
            precision=precision,
            recorded_at=self._recorded_at(row, occurred_at),
            from_=texts.get("from_") or meaning.from_,
            to=texts.get("to") or meaning.to,
            cancels=texts.get("cancels") or None,
            replaces=texts.get("replaces") or None,
            source=texts.get("source") or "",
            attributes={**constants, **self._attributes(row)},
        )

    def _content_id(self, row: Row) -> str:
        try:
            content = "\x1f".join(f"{name}\x1e{cell}" for name, cell in row.items() if cell).encode()
        except UnicodeEncodeError:
            raise _Unusable("encoding", f"a cell is not {self.mapping.encoding}") from None
        digest = hashlib.blake2b(content, digest_size=12).digest()
        ordinal = self.seen[digest] = self.seen.get(digest, 0) + 1
        return digest.hex() if ordinal == 1 else f"{digest.hex()}-{ordinal}"

    def _recorded_at(self, row: Row, occurred_at: datetime) -> datetime:
        column = self.mapping.recorded_at
        if column is None or not _joined(row, column):
            return occurred_at
        return self._moment(row, column)[0]

    def _moment(self, row: Row, column: TimeColumn) -> tuple[datetime, Precision]:
        name = _columns(column)[0]
        text = _joined(row, column)
        if not text:
            raise _Unusable("missing-value", "the cell is empty", name)
        try:
            moment = _parsed(text, column.format)
            if moment.tzinfo is None:
                moment = local(moment, column.timezone or self.zone)
        except (ValueError, OverflowError, OSError):
            raise _Unusable("bad-time", f"not a time of the format `{column.format}`", name) from None
        return moment, column.precision or _precision(text, column.format)

    def _attributes(self, row: Row) -> dict[str, Value]:
        found: dict[str, Value] = {}
        if self.takes_rest:
            rest = (name for name in row if name and name not in self.named)
            found.update(
                (name, self._value(row[name], name, self.kinds.get(name))) for name in rest if row[name]
            )
        for each in self.mapping.attributes:
            if each.column != _REST and (cell := row.get(each.column)):
                kind = each.type or self.kinds.get(each.column)
                found[each.name or each.column] = self._value(cell, each.column, kind)
        return found

    def _value(self, cell: str, column: str, kind: str | None) -> Value:
        if kind == "number":
            value: Value | None = _number(cell, self.mapping.decimal)
        elif kind == "boolean":
            value = _FLAGS.get(cell.strip().lower())
        else:
            value = cell
        if value is None:
            raise _Unusable(f"bad-{kind}", f"the cell is not a {kind}", column)
        return value


def local(moment: datetime, zone: tzinfo) -> datetime:
    """A local time as an instant: of an hour that occurs twice the first, one that never occurs moved on by the gap."""
    offset = moment.replace(tzinfo=zone, fold=0).utcoffset() or timedelta(0)
    return moment.replace(tzinfo=timezone(offset))


def _columns(column: TimeColumn) -> list[str]:
    return [column.column] if isinstance(column.column, str) else column.column


def _joined(row: Row, column: TimeColumn) -> str:
    return " ".join(row.get(name, "").strip() for name in _columns(column)).strip()


def _needed(row: Row, column: str) -> str:
    found = row.get(column)
    if not found:
        raise _Unusable("missing-value", "the cell is empty", column)
    return found


def _parsed(text: str, form: str) -> datetime:
    if form == "iso":
        return datetime.fromisoformat(text)
    if form == "epoch":
        return datetime.fromtimestamp(float(text), UTC)
    return datetime.strptime(text, form)  # noqa: DTZ007 - the caller adds the zone where the format has none


_ISO_HOURS = re.compile(r"[T ](\d\d)(:?\d\d)?(:?\d\d)?")
_FINER: Final[tuple[tuple[str, Precision], ...]] = (
    ("STXcsf", "second"),
    ("MR", "minute"),
    ("HI", "hour"),
)


def _precision(text: str, form: str) -> Precision:
    if form == "epoch":
        return "second"
    if form == "iso":
        found = _ISO_HOURS.search(text)
        if found is None:
            return "day"
        return "second" if found[3] else "minute" if found[2] else "hour"
    directives = set(re.findall(r"%(.)", form))
    for letters, precision in _FINER:
        if directives & set(letters):
            return precision
    return "day"


_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,2})?")
_FLAGS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _number(cell: str, decimal: str) -> int | float | None:
    text = cell.strip()
    if decimal == ",":
        if "." in text:
            return None
        text = text.replace(",", ".")
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else float(text)
