"""Files in: opens what a path names, finds out its format, and gives its messages one by one."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats import canonical, cloudevents, fhir, hl7, mllp
from monitor.formats.reject import Reject
from monitor.formats.table import Mapping, read_csv, read_xes

Item = tuple[str, int, list[Event] | Reject]
"""The file, the number of the message in it (a line, a row, a message: the first is 1), and what became of it."""

Found = tuple[int, list[Event] | Reject]
Meaning = Callable[[bytes], list[list[Event] | Reject]]
"""What one document of a file says: events, and why parts of it cannot be used."""

STDIN: Final = "-"
REGISTRY_FILE: Final = "microsystems.yaml"
UNKNOWN_FORMAT: Final = "format-not-recognised"
NOT_XML: Final = "not-xml"
"""The reasons of rejects after which nothing more of a file can be read."""

_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_LOOKED_AT: Final = 65_536
_XES = re.compile(rb"<(?:\w+:)?log[\s>/]")
_HL7 = re.compile(rb"(?:^|[\r\n\x0b])[ \t]*(?:MSH|FHS|BHS)[^\w\s]")
_JSON_LINE = re.compile(rb"^[ \t]*\{", re.MULTILINE)
PACK: Final = "pack:"


class Unreadable(Exception):  # noqa: N818 - named for what the file is
    """A file that is missing, may not be read, or is broken: `file`, `why`, and the number of files after it, `unread`."""

    def __init__(self, file: str, why: str, unread: int = 0) -> None:
        after = f"; {unread} more after it not read" if unread else ""
        super().__init__(f"cannot read {file}: {why}{after}")
        self.file = file
        self.why = why


def read(
    paths: Sequence[str], registry: Registry, mapping: Mapping | None, stdin: BinaryIO
) -> Iterator[Item]:
    """All messages of the files, in order; `-` is `stdin`, and what is compressed by gzip is read as what it holds.

    Whatever the bytes are, they become events or rejects. Raises `Unreadable`, after all that could be read.
    """
    visits = _Visits(registry)
    for place, path in enumerate(paths, start=1):
        with _readable(path, unread=len(paths) - place), _opened(path, stdin) as stream:
            for number, found in _messages(stream, registry, mapping, visits):
                yield path, number, found


def whole(path: str, stdin: BinaryIO) -> bytes:
    """All bytes of a small file, such as a registry or a mapping. Raises `Unreadable`."""
    with _readable(path):
        return stdin.read() if path == STDIN else Path(path).read_bytes()


def rule_files(paths: Sequence[str], stdin: BinaryIO) -> list[tuple[str, bytes]]:
    """The rule files that paths name: files, all `*.yaml` below directories, and `pack:NAME`. Raises `Unreadable`."""
    found = []
    for path in paths:
        if path.startswith(PACK):
            found.append((path, _pack(path)))
        else:
            found.extend((name, whole(name, stdin)) for name in yaml_files(path))
    return found


def yaml_files(path: str) -> list[str]:
    """A file, or the rule files below a directory; hidden ones are not, nor what lies in hidden directories.

    (Kubernetes keeps each version of a mounted directory in a hidden one, and links to the files of the present one.)
    """
    if not Path(path).is_dir():
        return [path]
    below = sorted(each for suffix in ("yaml", "yml") for each in Path(path).rglob(f"*.{suffix}"))
    return [str(each) for each in below if each.name != REGISTRY_FILE and not is_hidden(each, Path(path))]


def is_hidden(file: Path, folder: Path) -> bool:
    """Whether a file below a directory, or a directory between the two, has a name that begins with a dot."""
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _pack(path: str) -> bytes:
    installed = resources.files("monitor") / "packs"
    packs = installed if installed.is_dir() else Path(__file__).parents[2] / "rules"
    names = {each.name.removesuffix(".yaml"): each for each in packs.iterdir() if each.name.endswith(".yaml")}
    names.pop(REGISTRY_FILE.removesuffix(".yaml"), None)
    name = path.removeprefix(PACK)
    if name not in names:
        raise Unreadable(path, f"there is no such pack; there are {', '.join(sorted(names)) or 'none'}")
    return names[name].read_bytes()


@contextmanager
def _readable(path: str, unread: int = 0) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unreadable(path, error.strerror or str(error), unread) from error
    except (EOFError, zlib.error) as error:
        raise Unreadable(path, f"the gzip data is broken ({error})", unread) from error
    except UnicodeError as error:
        raise Unreadable(path, f"the text is not {error}", unread) from error


@contextmanager
def _opened(path: str, stdin: BinaryIO) -> Iterator[_Stream]:
    if path == STDIN:
        yield _uncompressed(stdin)
        return
    with Path(path).open("rb") as file:
        yield _uncompressed(file)


def _uncompressed(file: BinaryIO) -> _Stream:
    stream = _Stream(file)
    if not stream.head.startswith(_GZIP):
        return stream
    return _Stream(gzip.GzipFile(fileobj=io.BufferedReader(stream)))


class _Stream(io.RawIOBase):
    """A stream whose beginning can be looked at; an error comes only after all that could be read before it."""

    def __init__(self, file: BinaryIO | gzip.GzipFile) -> None:
        self._file = file
        self._error: Exception | None = None
        self.head = b""
        while len(self.head) < _LOOKED_AT and (chunk := self._more(_LOOKED_AT)):
            self.head += chunk
        self._unread = self.head

    def _more(self, size: int) -> bytes:
        if self._error is not None:
            return b""
        try:
            return self._file.read1(size)  # type: ignore[union-attr]  # all binary streams have it
        except (OSError, EOFError, zlib.error) as error:
            self._error = error
            return b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # narrower, as it is called
        chunk = self._unread[: len(buffer)] or self._more(len(buffer))
        self._unread = self._unread[len(chunk) :]
        if not chunk and self._error is not None:
            raise self._error
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _messages(
    stream: _Stream, registry: Registry, mapping: Mapping | None, visits: _Visits
) -> Iterator[Found]:
    head = stream.head.removeprefix(_BOM).lstrip()
    buffered = io.BufferedReader(stream, 1 << 18)
    if not head:
        buffered.read()
    elif head.startswith(b"<") and _XES.search(head):
        yield from _xes(buffered, mapping or Mapping(), registry)
    elif head.startswith((b"{", b"[")) and (other := _other_json(head)):
        yield from _documents(buffered, visits.read if other == "FHIR" else _cloudevents)
    elif head.startswith(b"{"):
        yield from _json_lines(buffered)
    elif _HL7.search(head):
        yield from _hl7(buffered, registry)
    elif mapping is not None:
        yield from _csv(buffered, mapping, registry)
    elif _JSON_LINE.search(head):
        yield from _json_lines(buffered)
    else:
        hint = "known are canonical JSON lines, HL7 v2, FHIR, CloudEvents, XES and, with --mapping, CSV"
        yield 1, Reject(UNKNOWN_FORMAT, f"the format is not recognised; {hint}")


def _other_json(head: bytes) -> str | None:
    """What JSON is, if it is known not to be lines of canonical events."""
    first = head.split(b"\n", 1)[0]
    try:
        keys = set(msgspec.json.decode(first, type=dict[str, msgspec.Raw]))
    except canonical.ERRORS:
        keys = {key for key in ("resourceType", "specversion") if f'"{key}"'.encode() in head}
    if "resourceType" in keys:
        return "FHIR"
    return "CloudEvents" if "specversion" in keys else None


def _documents(stream: io.BufferedReader[_Stream], meaning: Meaning) -> Iterator[Found]:
    """What JSON documents mean: one a line, each with the number of its line; or a single one over all lines."""
    lines = _lines(stream)
    begin = list(islice(lines, 2))
    documents: Iterator[tuple[int, bytes]] = chain(begin, lines)
    if not _is_one_a_line([line for _, line in begin]):
        documents = iter([(begin[0][0], b"\n".join(line for _, line in documents))])
    for number, document in documents:
        for found in meaning(document):
            yield number, found


def _lines(stream: io.BufferedReader[_Stream]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, each with its number."""
    number = 0
    for text in _whole_lines(stream):
        for line in text.removesuffix(b"\n").split(b"\n"):
            number += 1
            if line.strip():
                yield number, line.removeprefix(_BOM) if number == 1 else line


def _is_one_a_line(begin: Sequence[bytes]) -> bool:
    """Whether the first line is a document, or at least the second one begins another."""
    try:
        msgspec.json.decode(begin[0], type=msgspec.Raw)
    except canonical.ERRORS:
        return len(begin) > 1 and begin[0].startswith(b"{") and begin[1].startswith(b"{")
    return True


def _cloudevents(content: bytes) -> list[list[Event] | Reject]:
    """What one CloudEvent says, or a batch of them."""
    if not content.lstrip().startswith(b"["):
        return [cloudevents.read(content)]
    found = cloudevents.read_batch(content)
    return [found] if isinstance(found, Reject) else found


class _Visits:
    """What FHIR documents told of each Encounter, and of Patients and Locations, in one reading of files."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._told: dict[tuple[str, str], fhir.Visit] = {}
        self._known = fhir.Resources()

    def read(self, content: bytes) -> list[list[Event] | Reject]:
        """What a document says beyond those before it, and why parts of it cannot be used."""
        found = fhir.decode(content, self._registry, known=self._known)
        if isinstance(found, Reject):
            return [found]
        events = [] if found.kind == "events" else found.heartbeat()
        for visit in found.visits:
            changes = fhir.changes(visit, self._told.get((visit.source, visit.key)))
            self._told[visit.source, visit.key] = changes.told
            events += changes.events
        return [events, *found.rejects]


def _json_lines(stream: io.BufferedReader[_Stream]) -> Iterator[Found]:
    """The events of many lines come together, with the number of the last; a line that is none comes alone."""
    number = 0
    for text in _whole_lines(stream):
        lines = text.removesuffix(b"\n").split(b"\n")
        try:
            events = [canonical.decode(line) for line in lines]
        except canonical.ERRORS:
            for line in lines:
                number += 1
                if line.strip():
                    yield number, canonical.read(line.removeprefix(_BOM) if number == 1 else line)
        else:
            number += len(lines)
            yield number, events


def _whole_lines(stream: io.BufferedReader[_Stream]) -> Iterator[bytes]:
    """What has come of a stream, as far as its last line end, again and again; at the end the rest."""
    begun: list[bytes] = []
    while chunk := stream.read1(_LOOKED_AT):
        ended = chunk.rfind(b"\n") + 1
        if ended:
            yield b"".join([*begun, chunk[:ended]])
            begun = []
        begun.append(chunk[ended:])
    yield b"".join(begun)


def _hl7(stream: io.BufferedReader[_Stream], registry: Registry) -> Iterator[Found]:
    data, error = _all_of(stream)
    for number, message in enumerate(mllp.messages(data), start=1):
        yield number, hl7.decode(message, registry)
    if error is not None:
        raise error


def _all_of(stream: io.BufferedReader[_Stream]) -> tuple[bytes, Exception | None]:
    chunks = []
    try:
        while chunk := stream.read1():
            chunks.append(chunk)
    except (OSError, EOFError, zlib.error) as error:
        return b"".join(chunks), error
    return b"".join(chunks), None


def _csv(stream: io.BufferedReader[_Stream], mapping: Mapping, registry: Registry) -> Iterator[Found]:
    encoding = "utf-8-sig" if mapping.encoding == "utf-8" else mapping.encoding
    lines = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")
    for number, found in read_csv(lines, mapping, registry.timezone):
        yield number, found if isinstance(found, Reject) else [found]


def _xes(stream: io.BufferedReader[_Stream], mapping: Mapping, registry: Registry) -> Iterator[Found]:
    chunks = iter(lambda: stream.read1(_LOOKED_AT), b"")
    for number, found in read_xes(chunks, mapping, registry.timezone):
        yield number, found if isinstance(found, Reject) else [found]
