"""From bytes to raw HL7 v2 messages and back: MLLP frames, batch files, acknowledgements. No I/O.

MLLP (HL7 v2 transport specification): 0x0B, the message, 0x1C 0x0D. A message ends its segments with 0x0D;
real files also use LF or CR LF, put blank lines between messages, and wrap them in FHS/BHS ... BTS/FTS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Final, Literal, NamedTuple

from monitor.formats.hl7_message import Message, Separators, read, to_text
from monitor.formats.reject import Reject

START: Final = b"\x0b"
END: Final = b"\x1c\r"
LARGEST: Final = 16 * 2**20
"""How many bytes a message may have; real ones with embedded documents stay below."""
FIRST_BYTES: Final = 64 * 2**10
"""How much is kept of a message that is too large: enough for its header and its patient."""
MOST_IN_FRAME: Final = 1000
"""How many messages a batch in one frame may have."""

_MARK = re.compile(rb"MSH[^0-9A-Za-z\s]")
_MARK_SMALL = re.compile(rb"msh[^0-9A-Za-z\s]", re.IGNORECASE)
_WIDE = re.compile(rb"\x0b?(?:\xff\xfe|\xfe\xff|M\0S\0H\0|\0M\0S\0H)")
_WRAPPER = re.compile(rb"(?:\A|(?<=[\r\n]))[ \t]*(?:FHS|BHS|BTS|FTS)(?![0-9A-Za-z])[^\r\n]*")
_WRAPPERS: Final = (b"FHS", b"BHS", b"BTS", b"FTS")
_FRAME_END = re.compile(rb"\x1c(?=[\r\n\x0b]|\Z)")
_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)[ \t]*(?:(?>\r\n|\r|\n)[ \t]*)+")
_MAY_BE_BLANK: Final = (b"\r\r", b"\n\r", b"\n\n", b" \r", b" \n", b"\t\r", b"\t\n")
_EVN = re.compile(rb"(?:\A|[\r\n])[ \t]*EVN[^0-9A-Za-z]", re.IGNORECASE)
_BLANK: Final = b" \t\r\n\0\x0b\x1c\x1a\xef\xbb\xbf"
"""Bytes that say nothing between messages: blanks, frame bytes, the end-of-file of old systems, the parts of a byte order mark."""


def messages(data: bytes) -> Iterator[bytes]:
    """The raw messages of a whole file, however they are kept apart, in order.

    A message begins at a segment that starts with `MSH`. Batch wrappers and blank lines are left out; counts in
    BTS and FTS are not checked, for senders get them wrong. Bytes that belong to no message come as pieces of
    their own, so that they are seen as rejects.
    """
    if _WIDE.match(data):
        data = to_text(data).encode()
    start = 0
    for found in (_MARK if b"MSH" in data else _MARK_SMALL).finditer(data):
        if found.start() > start and _begins_segment(data, found.start()):
            yield from _pieces(data[start : found.start()])
            start = found.start()
    yield from _pieces(data[start:])


def _begins_segment(data: bytes, position: int) -> bool:
    before = data[max(0, position - 16) : position].rstrip(b" \t\0\xef\xbb\xbf")
    return not before or before[-1:] in (b"\r", b"\n", b"\x0b", b"\x1c")


def _pieces(chunk: bytes) -> Iterator[bytes]:
    """The message at the start of a chunk that holds one MSH at most, then what follows but does not belong to it."""
    framed, *rest = _FRAME_END.split(chunk) if b"\x1c" in chunk else (chunk,)
    if rest:
        whole = _without_wrappers(framed)
        if whole:
            yield whole
    for part in rest or [framed]:
        yield from _paragraphs(_without_wrappers(part))


def _without_wrappers(chunk: bytes) -> bytes:
    if any(each in chunk for each in _WRAPPERS):
        chunk = _WRAPPER.sub(b"\r\r", chunk)
    return chunk.strip(_BLANK)


def _paragraphs(chunk: bytes) -> Iterator[bytes]:
    """The message, then each paragraph after its last segment, and each that begins another message's EVN.

    Blank lines between segments, or in a text between two segments, are habits of real feeds.
    """
    if not any(each in chunk for each in _MAY_BE_BLANK):
        if chunk:
            yield chunk
        return
    paragraphs = _BLANK_LINE.split(chunk)
    segment = _segment(chunk[3:4] if chunk[:3].upper() == b"MSH" else b"|")
    last = max((place for place, each in enumerate(paragraphs) if segment.search(each)), default=0)
    current = paragraphs[:1]
    has_evn = _EVN.search(paragraphs[0]) is not None
    for place, paragraph in enumerate(paragraphs[1:], 1):
        evn = _EVN.search(paragraph) is not None
        if place > last or (evn and has_evn):
            yield b"\r".join(current)
            current, has_evn = [], False
        current.append(paragraph)
        has_evn = has_evn or evn
    yield b"\r".join(current)


@lru_cache(maxsize=64)
def _segment(mark: bytes) -> re.Pattern[bytes]:
    """A line that begins with a segment's name and the field separator."""
    return re.compile(rb"(?:\A|[\r\n])[ \t]*[A-Za-z][0-9A-Za-z]{2}" + re.escape(mark))


def in_frame(content: bytes) -> list[bytes]:
    """The messages of one frame, at least one: nearly always the frame as it is, but some senders put a batch in it.

    No more than `MOST_IN_FRAME` and one are looked for.
    """
    is_wrapped = content[:3] in _WRAPPERS
    if not is_wrapped and content.count(b"MSH") < 2:
        return [content]
    parts = list(islice(messages(content), MOST_IN_FRAME + 1))
    if is_wrapped:
        return parts or [content]
    return parts if sum(part.startswith(b"MSH") for part in parts) > 1 else [content]


class Frame(NamedTuple):
    """What stood in one frame, or the first bytes of it where it was too long."""

    content: bytes
    size: int
    """How many bytes it had."""

    @property
    def is_whole(self) -> bool:
        return len(self.content) == self.size


class Framer:
    """MLLP frames out of a stream of bytes that may be cut anywhere.

    A frame ends at 0x1C 0x0D. What stands between frames is dropped and counted; so is a frame that was cut off
    by the next one: it was never acknowledged, so its sender sends it again. Of a frame of more than `limit` bytes
    only the first ones are kept, and the rest is counted as dropped, too.
    """

    def __init__(self, limit: int = LARGEST) -> None:
        self.noise = 0
        """Bytes thrown away so far that stood between frames, blanks aside, or in a frame that was cut off."""
        self.cut = 0
        """Bytes thrown away so far of frames that were too long."""
        self.is_inside = False
        """Whether a frame has begun that has not ended."""
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._first: bytes | None = None
        """The first bytes of the present frame, once it is known to be too long."""
        self._gone = 0
        """How many bytes of the present frame are no longer in the buffer."""

    @property
    def dropped(self) -> int:
        """Bytes thrown away so far, for whichever reason."""
        return self.noise + self.cut

    @property
    def held(self) -> int:
        """Bytes that wait for the end of their frame."""
        return len(self._buffer)

    def forget(self) -> None:
        """Throw away what waits for the end of its frame."""
        self._buffer.clear()
        self.is_inside, self._first, self._gone, self._searched = False, None, 0, 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that these bytes complete, without those that are too long."""
        return [each.content for each in self.frames(data) if each.is_whole]

    def frames(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete."""
        self._buffer += data
        found: list[Frame] = []
        while self.is_inside or self._find_start():
            end = self._buffer.find(END, self._searched)
            if end < 0:
                self._wait()
                break
            found += self._close(end)
        return found

    def _find_start(self) -> bool:
        start = self._buffer.find(START)
        between = self._buffer[: start if start >= 0 else len(self._buffer)]
        self.noise += len(between.translate(None, b" \t\r\n"))
        del self._buffer[: len(between) + 1]
        self.is_inside = start >= 0
        return self.is_inside

    def _wait(self) -> None:
        if self._first is not None or len(self._buffer) > self._limit + 1:
            self._let_go(len(self._buffer) - 1)  # the last byte may be the first of the end
        self._searched = max(0, len(self._buffer) - 1)

    def _let_go(self, size: int) -> None:
        if self._first is None:
            self._first = bytes(self._buffer[: min(FIRST_BYTES, self._limit)])
        self.cut += size
        self._gone += size
        del self._buffer[:size]

    def _close(self, end: int) -> list[Frame]:
        if self._first is not None or end > self._limit:
            self._let_go(end)
            found = [Frame(self._first or b"", self._gone)]
            del self._buffer[: len(END)]
        else:
            content = bytes(self._buffer[:end])
            del self._buffer[: end + len(END)]
            whole = content.split(b"\x1c" + START)  # the 0x0D was left out between them
            found = [Frame(each, len(each)) for each in map(self._last_started, whole)]
        self.is_inside, self._first, self._gone, self._searched = False, None, 0, 0
        return found

    def _last_started(self, content: bytes) -> bytes:
        cut = content.rfind(START + b"MSH")
        if cut < 0:
            return content
        self.noise += cut
        return content[cut + 1 :]


def frame(message: bytes) -> bytes:
    """A message as one MLLP frame."""
    return START + message + END


# --- acknowledgements -----------------------------------------------------------------------------------------

_CONDITIONS: Final = {
    "no-msh": "100^Segment sequence error^HL70357",
    "no-patient": "101^Required field missing^HL70357",
    "no-time": "101^Required field missing^HL70357",
    "no-type": "101^Required field missing^HL70357",
    "no-retired": "101^Required field missing^HL70357",
    "bad-time": "102^Data type error^HL70357",
}
_CONDITION: Final = "207^Application internal error^HL70357"
UNREADABLE: Final = Message(["MSH|^~\\&|"], Separators("|", "^", "~", "\\", "&"))
"""Stands in for a message whose header cannot be read."""
_LONGEST_HEADER: Final = 4096
_NO_FRAME_BYTES: Final = dict.fromkeys(b"\x0b\x1c")

TOO_LARGE: Final = "too-large"
"""The reason of the reject that a message of too many bytes becomes."""


def too_large(size: int, limit: int) -> Reject:
    """Why a message was not read at all."""
    return Reject(
        TOO_LARGE,
        f"the message has {size} bytes, and {limit} are allowed: "
        "let the sender leave documents out, or allow larger ones",
    )


TOO_MANY: Final = Reject(
    TOO_LARGE, f"the frame has more than {MOST_IN_FRAME} messages: let the sender cut its batches"
)


def header(message: bytes) -> Message:
    """The MSH segment of a message; an empty one where it cannot be read. Never raises, whatever the bytes are."""
    found = read(_beginning(message))
    return UNREADABLE if isinstance(found, Reject) else found


def _beginning(message: bytes) -> bytes:
    """The segments at the start of a long message, so that a document in it is not read only to answer it."""
    if len(message) <= _LONGEST_HEADER:
        return message
    cut = message.rfind(b"\r", 0, _LONGEST_HEADER)
    return message[: cut if cut > 0 else _LONGEST_HEADER]


Code = Literal["AA", "AE", "CA", "CE"]


def answer(sent: Message, reject: Reject | None, rejects: Literal["AA", "AE"]) -> Code | None:
    """The code by which a message that is safely stored, or whose reject is, must be answered; None: not at all.

    `sent` is its header. `rejects` is the profile's: AA says that a dead letter was taken over, AE that it was refused.
    A message that is too large is refused always: it was not kept.

    HL7 v2 chapter 2, processing rules: with neither MSH-15 nor MSH-16 (original mode) the answer is AA or AE; with
    MSH-15 (enhanced mode) it is the accept acknowledgment CA or CE, under the condition that stands there; where
    that is NE, it is the application acknowledgment under the condition in MSH-16. There is never more than one
    answer: once a message is stored, nothing can happen to it that its sender would have to know. AR and CR are
    never sent: see docs/reference/mllp.md. An acknowledgment is not acknowledged.
    """
    if sent.kind()[0] == "ACK":
        return None
    is_refused = reject is not None and (rejects == "AE" or reject.reason == TOO_LARGE)
    accept, application = sent.text(sent.msh, 15).upper(), sent.text(sent.msh, 16).upper()
    if not accept and not application:
        return "AE" if is_refused else "AA"
    is_accept = accept not in ("", "NE")
    condition = accept if is_accept else application
    if condition in ("", "NE") or condition == ("SU" if is_refused else "ER"):
        return None
    if is_accept:
        return "CE" if is_refused else "CA"
    return "AE" if is_refused else "AA"


class Answered(NamedTuple):
    """What an acknowledgment says."""

    code: str
    """MSA-1, in capitals; empty where there is none."""
    control_id: str
    """MSA-2: MSH-10 of the message that it answers."""
    text: str
    """MSA-3, else ERR-8: why, for people."""


def answered(acknowledgment: bytes) -> Answered:
    """Read an acknowledgment. Never raises; bytes that are none have no code."""
    found = read(acknowledgment)
    if isinstance(found, Reject):
        return Answered("", "", "")
    msa = found.first("MSA")
    text = found.text(msa, 3) or found.text(found.first("ERR"), 8)
    return Answered(found.text(msa, 1).upper(), found.text(msa, 2), text)


def acknowledge(
    message: bytes | Message, code: str, *, control_id: str, at: datetime, error: Reject | None = None
) -> bytes:
    """The ACK for a message or its header, unframed, with the sender's own delimiters. Never raises.

    `code` is AA, AE or AR, in enhanced mode CA, CE or CR. MSH-7 is `at`, MSH-10 `control_id`; MSH-3 to MSH-6 are
    the sender's the other way round, MSH-11, MSH-12 and MSA-2 are what came in. `error` is told in ERR, and in
    MSA-3 for senders older than version 2.5.
    """
    sent = header(message) if isinstance(message, bytes) else message
    field, component = sent.separators.field, sent.separators.component
    escapes = _escapes(sent.separators)
    _, trigger = sent.kind()
    kind = component.join(("ACK", trigger, "ACK")) if trigger else "ACK"
    parties = [_raw(sent, number) for number in (5, 6, 3, 4)]
    reason = f"{error.reason}: {error.detail}".translate(escapes) if error else ""
    marks = "".join(sent.separators[1:])
    made_at, number = at.strftime("%Y%m%d%H%M%S%z"), control_id.translate(escapes)
    processing, version = _raw(sent, 11) or "P", _raw(sent, 12) or "2.5"
    lines = [
        field.join(("MSH", marks, *parties, made_at, "", kind, number, processing, version)),
        field.join(("MSA", code, _raw(sent, 10), reason)).rstrip(field),
    ]
    if error:
        location = component.join((error.segment or "", "1", (error.field or "").partition("-")[2]))
        condition = _CONDITIONS.get(error.reason, _CONDITION).replace("^", component)
        where = location.rstrip(component) if error.segment else ""
        lines.append(field.join(("ERR", "", where, condition, "E", "", "", reason)))
    return ("\r".join(lines) + "\r").encode("utf-8", "replace")


def _raw(message: Message, number: int) -> str:
    """A field of MSH as it was sent, so that what goes back is equal to what came; no byte in it may end a frame."""
    found = message.msh[number] if number < len(message.msh) else ""
    return found if found.isalnum() else found.translate(_NO_FRAME_BYTES)


@lru_cache(maxsize=64)
def _escapes(marks: Separators) -> dict[int, str]:
    """What stands for the delimiters in text of ours."""
    names = zip(marks, "FSRET", strict=True)
    return {ord(mark): f"{marks.escape}{name}{marks.escape}" for mark, name in names}
