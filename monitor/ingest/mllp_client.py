"""HL7 v2 over MLLP out: sends messages as an interface engine does, one at a time, each until it is answered."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from monitor.formats import mllp
from monitor.formats.hl7_message import parse_time

ACCEPTED: Final = ("AA", "CA")
LATER: Final = ("AR", "CR")
"""The receiver asks to be sent the same again."""

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_CLOSING_SECONDS: Final = 2.0
_READ_AT_ONCE: Final = 65_536


class Target(NamedTuple):
    """Where messages go."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


class Patience(NamedTuple):
    """How long a sender waits."""

    answer_seconds: float = 30.0
    """For a connection, or an answer, before the message is sent again over a new connection."""
    message_seconds: float = 60.0
    """For a message to be accepted or refused at last, however often it is sent again."""


PATIENCE: Final = Patience()


@dataclass
class Tally:
    """What became of the messages so far; it may be read while they are sent."""

    sent: int = 0
    """Messages that were answered, or that asked for no answer."""
    refused: int = 0
    """Those of them that were not accepted."""
    resent: int = 0
    """How often a message was sent again."""
    codes: Counter[str] = field(default_factory=Counter)
    """Answers by code; of one message there may be several."""
    seconds: float = 0.0


class Unanswered(Exception):  # noqa: N818 - named for what the message is
    """A message got no answer for as long as patience lasted; the text says why."""


def client_tls(
    ca: str | None = None, certificate: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """TLS 1.2 or later, with PEM files: whom to trust (default: whom the system does), and who we are. Raises `OSError`."""
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


async def send(
    messages: Iterable[bytes] | AsyncIterable[bytes],
    target: Target,
    *,
    connections: int = 1,
    speed: float | None = None,
    patience: Patience = PATIENCE,
    tally: Tally | None = None,
    on_refused: Callable[[int, mllp.Answered], None] = lambda _number, _answer: None,
    on_trouble: Callable[[str], None] = lambda _why: None,
) -> Tally:
    """Send unframed messages and return what became of them; `tally` is kept up to date meanwhile.

    Each waits for its answer before the next goes over the same connection; over several connections order is not
    kept. With `speed` they go so many times faster than life by MSH-7, else as fast as they are answered.
    `on_refused` gets the number of a message (the first is 1) and the answer that refused it, `on_trouble` why a
    message must be sent again. Raises `Unanswered`.
    """
    tally = tally or Tally()
    start = _now()
    source = _Source(messages, speed)
    links = [_Link(target, patience, tally, on_refused, on_trouble) for _ in range(connections)]
    tasks = [asyncio.create_task(link.send_all(source)) for link in links]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tally.seconds = _now() - start
    return tally


class _Source:
    """Hands out messages, numbered, to several links; each when its time has come."""

    def __init__(self, messages: Iterable[bytes] | AsyncIterable[bytes], speed: float | None) -> None:
        self._messages = _async(messages)
        self._speed = speed
        self._lock = asyncio.Lock()
        self._number = 0
        self._begin: tuple[datetime, float] | None = None
        """MSH-7 of the first message that has one, and when that was sent."""

    async def next(self) -> tuple[int, bytes] | None:
        async with self._lock:
            message = await anext(self._messages, None)
            if message is None:
                return None
            self._number += 1
            if self._speed is not None:
                await asyncio.sleep(self._pause(message, self._speed))
            return self._number, message

    def _pause(self, message: bytes, speed: float) -> float:
        sent = mllp.header(message)
        time = parse_time(sent.text(sent.msh, 7), UTC)
        if time is None:
            return 0.0
        if self._begin is None:
            self._begin = time.at, _now()
        first, began = self._begin
        return max(0.0, began + (time.at - first).total_seconds() / speed - _now())


async def _async(messages: Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield message
    else:
        for message in messages:
            yield message


class _Link:
    """One connection, which is made anew when it breaks."""

    def __init__(
        self,
        target: Target,
        patience: Patience,
        tally: Tally,
        on_refused: Callable[[int, mllp.Answered], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        self._target = target
        self._patience = patience
        self._tally = tally
        self._on_refused = on_refused
        self._on_trouble = on_trouble
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._framer = mllp.Framer()

    async def send_all(self, source: _Source) -> None:
        try:
            while (found := await source.next()) is not None:
                number, message = found
                answer = await self._deliver(message)
                self._tally.sent += 1
                if answer is not None and answer.code not in ACCEPTED:
                    self._tally.refused += 1
                    self._on_refused(number, answer)
        finally:
            await self._close()

    async def _deliver(self, message: bytes) -> mllp.Answered | None:
        """The last answer to a message; None where it asks for none."""
        until = _now() + self._patience.message_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                answer = await self._exchange(message)
            except (OSError, EOFError) as error:  # `TimeoutError` is an OSError
                await self._close()
                why = _reason(error)
                if _now() + pause > until or isinstance(error, ssl.SSLCertVerificationError):
                    host, port, _ = self._target
                    raise Unanswered(f"no answer from {host}:{port}: {why}") from error
            else:
                if answer is None or answer.code not in LATER or _now() + pause > until:
                    return answer
                why = f"{answer.code} {answer.text}".rstrip()
            self._on_trouble(why)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._tally.resent += 1

    async def _exchange(self, message: bytes) -> mllp.Answered | None:
        sent = mllp.header(message)
        async with asyncio.timeout(self._patience.answer_seconds):
            reader, writer = await self._connected()
            writer.write(mllp.frame(message))
            await writer.drain()
            if mllp.answer(sent, None, "AA") is None:
                return None
            answer = await self._answer(reader, sent.text(sent.msh, 10))
        self._tally.codes[answer.code] += 1
        return answer

    async def _answer(self, reader: asyncio.StreamReader, control_id: str) -> mllp.Answered:
        """The next answer that names this message, or none; one to an earlier message is passed over."""
        while True:
            data = await reader.read(_READ_AT_ONCE)
            if not data:
                raise EOFError
            for content in self._framer.feed(data):
                answer = mllp.answered(content)
                if answer.control_id in ("", control_id) or not control_id:
                    return answer

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                self._target.host, self._target.port, ssl=self._target.tls
            )
        return self._reader, self._writer

    async def _close(self) -> None:
        self._framer = mllp.Framer()
        writer, self._reader, self._writer = self._writer, None, None
        if writer is None:
            return
        writer.close()
        try:
            with suppress(OSError):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await writer.wait_closed()
        finally:
            writer.transport.abort()


def _reason(error: OSError | EOFError) -> str:
    if isinstance(error, EOFError):
        return "the connection was closed"
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error.strerror}"
    return error.strerror or str(error)


def _now() -> float:
    return asyncio.get_running_loop().time()
