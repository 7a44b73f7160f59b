"""Files in: opens what a path names, finds out its format, and gives its messages one by one."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats import canonical, hl7, mllp
from monitor.formats.reject import Reject
from monitor.formats.table import Mapping, read_csv, read_xes

Item = tuple[str, int, list[Event] | Reject]
"""The file, the number of the message in it (a line, a row, a message: the first is 1), and what became of it."""

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
_PACK: Final = "pack:"


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
    for place, path in enumerate(paths, start=1):
        with _readable(path, unread=len(paths) - place), _opened(path, stdin) as stream:
            for number, found in _messages(stream, registry, mapping):
                yield path, number, found


def whole(path: str, stdin: BinaryIO) -> bytes:
    """All bytes of a small file, such as a registry or a mapping. Raises `Unreadable`."""
    with _readable(path):
        return stdin.read() if path == STDIN else Path(path).read_bytes()


def rule_files(paths: Sequence[str], stdin: BinaryIO) -> list[tuple[str, bytes]]:
    """The rule files that paths name: files, all `*.yaml` below directories, and `pack:NAME`. Raises `Unreadable`."""
    found = []
    for path in paths:
        if path.startswith(_PACK):
            found.append((path, _pack(path)))
        else:
            found.extend((name, whole(name, stdin)) for name in _yaml_files(path))
    return found


def _yaml_files(path: str) -> list[str]:
    if not Path(path).is_dir():
        return [path]
    below = sorted(each for suffix in ("yaml", "yml") for each in Path(path).rglob(f"*.{suffix}"))
    return [str(each) for each in below if each.name != REGISTRY_FILE]


def _pack(path: str) -> bytes:
    installed = resources.files("monitor") / "packs"
    packs = installed if installed.is_dir() else Path(__file__).parents[2] / "rules"
    names = {each.name.removesuffix(".yaml"): each for each in packs.iterdir() if each.name.endswith(".yaml")}
    names.pop(REGISTRY_FILE.removesuffix(".yaml"), None)
    name = path.removeprefix(_PACK)
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
    stream: _Stream, registry: Registry, mapping: Mapping | None
) -> Iterator[tuple[int, list[Event] | Reject]]:
    head = stream.head.removeprefix(_BOM).lstrip()
    buffered = io.BufferedReader(stream, 1 << 18)
    if not head:
        buffered.read()
    elif head.startswith(b"<") and _XES.search(head):
        yield from _xes(buffered, mapping or Mapping(), registry)
    elif head.startswith(b"{") and (hint := _other_json(head)):
        yield 1, Reject(UNKNOWN_FORMAT, hint)
    elif head.startswith(b"{"):
        yield from _json_lines(buffered)
    elif _HL7.search(head):
        yield from _hl7(buffered, registry)
    elif mapping is not None:
        yield from _csv(buffered, mapping, registry)
    elif _JSON_LINE.search(head):
        yield from _json_lines(buffered)
    else:
        hint = "known are canonical JSON lines, HL7 v2, XES and, with --mapping, CSV"
        yield 1, Reject(UNKNOWN_FORMAT, f"the format is not recognised; {hint}")


def _other_json(head: bytes) -> str | None:
    """Why a JSON document is not lines of canonical events, if it is known to be something else."""
    first = head.split(b"\n", 1)[0]
    try:
        keys = set(msgspec.json.decode(first, type=dict[str, msgspec.Raw]))
    except canonical.ERRORS:
        keys = {key for key in ("resourceType", "specversion") if f'"{key}"'.encode() in head}
    if "resourceType" in keys:
        return "the format is not recognised; this looks like FHIR"
    if "specversion" in keys:
        return "the format is not recognised; this looks like CloudEvents"
    return None


def _json_lines(stream: io.BufferedReader[_Stream]) -> Iterator[tuple[int, list[Event] | Reject]]:
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


def _hl7(
    stream: io.BufferedReader[_Stream], registry: Registry
) -> Iterator[tuple[int, list[Event] | Reject]]:
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


def _csv(
    stream: io.BufferedReader[_Stream], mapping: Mapping, registry: Registry
) -> Iterator[tuple[int, list[Event] | Reject]]:
    encoding = "utf-8-sig" if mapping.encoding == "utf-8" else mapping.encoding
    lines = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")
    for number, found in read_csv(lines, mapping, registry.timezone):
        yield number, found if isinstance(found, Reject) else [found]


def _xes(
    stream: io.BufferedReader[_Stream], mapping: Mapping, registry: Registry
) -> Iterator[tuple[int, list[Event] | Reject]]:
    chunks = iter(lambda: stream.read1(_LOOKED_AT), b"")
    for number, found in read_xes(chunks, mapping, registry.timezone):
        yield number, found if isinstance(found, Reject) else [found]
