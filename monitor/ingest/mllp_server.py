"""HL7 v2 over MLLP in: takes messages from many connections and acknowledges what is on disk, and only that.

The bytes and codes are in monitor/formats/mllp.py; here are the sockets. One task serves one connection: it reads,
hands all messages of one read to the intake, waits until they are durable, and answers them in their order. It does
not read meanwhile, so a sender that is faster than the disk is slowed down by TCP.

A connection that the monitor ends is always *reset*, never closed in order. Some interface engines take an orderly
close after they wrote a message, or before, for success and drop the message; a reset is an error to all of them,
and they keep what was not acknowledged, in its order, and send it again (docs/reference/mllp.md).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import PurePath
from typing import Final, Literal, NamedTuple, Protocol

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats import hl7, mllp
from monitor.formats.hl7_message import Message as Sent
from monitor.formats.hl7_message import read
from monitor.formats.reject import Reject
from monitor.ingest.intake import LARGEST_BATCH, Intake, Message, NotTaken

Ended = Literal["connections", "memory", "idle", "slow", "not-taken", "unread", "fault"]
"""Why the monitor ended a connection: too many of them; its unfinished message was the largest and memory is short;
nothing came for long; a message was not complete in time; what it sent could not be made durable; it does not read
its answers; an error of ours."""

_READ_AT_ONCE: Final = 256 * 2**10
_LARGE: Final = 2**20
"""Bytes that take so long to read that other senders would notice."""
_STREAM_BUFFER: Final = 64 * 2**10
_HANDSHAKE_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0
_PARTING_SECONDS: Final = 0.2
"""How long the last answers have to reach their senders before connections are reset at the end."""
_CLOSING_SECONDS: Final = 5.0
_LINGER_NOT: Final = struct.pack("ii", 1, 0)
"""Makes closing a socket a reset."""


class Watcher(Protocol):
    """Told of what happens, for metrics and logs; never given what a sender wrote."""

    def connected(self) -> None:
        """A sender has connected."""

    def disconnected(self) -> None:
        """A connection has ended, by whichever side."""

    def dropped(self, size: int) -> None:
        """So many bytes stood in no frame, or in one that was cut off by the next."""

    def answered(self, code: str) -> None:
        """An acknowledgment was sent."""

    def refused(self, reason: Ended, detail: str = "") -> None:
        """The monitor ended a connection; of an error of ours `detail` says what and where."""


class Limits(NamedTuple):
    """What a sender may do."""

    connections: int = 500
    """How many may be open at once."""
    largest: int = mllp.LARGEST
    """Bytes of a message; a larger one is refused."""
    held: int = 128 * 2**20
    """Bytes of messages, of all connections together, that are unfinished or not yet durable; at least four of the largest."""
    idle_after: float = 1800.0
    """Seconds without a byte after which a connection is ended."""
    message_within: float = 60.0
    """Seconds that a message may take from its first byte to its last, and a sender to read its answers."""
    patience: float = 4.0
    """Seconds for which messages that cannot be made durable are tried again before their connection is ended."""


LIMITS: Final = Limits()


def server_tls(certificate: str, key: str, client_ca: str | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later from PEM files; with `client_ca` a client must show a certificate that it signed. Raises `OSError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class MllpServer:
    """Listens until it is stopped. Nothing that a sender does ends it."""

    def __init__(
        self, intake: Intake, watcher: Watcher, clock: Callable[[], datetime], limits: Limits = LIMITS
    ) -> None:
        self.intake = intake
        self.watcher = watcher
        self.limits = limits._replace(held=max(limits.held, 4 * limits.largest))
        self.is_stopping = False
        self.held = 0
        """Bytes of messages that are unfinished or not yet durable, of all connections."""
        self.large = asyncio.Lock()
        """Held while large messages are read: their text takes many times their memory."""
        self._clock = clock
        self._process = format(int(clock().timestamp()), "X")
        self._numbers = count(1)
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port, which is chosen where 0 is given. Raises `OSError` where that is not possible."""
        self._server = await asyncio.start_server(
            self._serve,
            host,
            port,
            limit=_STREAM_BUFFER,
            ssl=tls,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS if tls else None,
        )
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def stop(self, within: float = 10.0) -> None:
        """Take no more connections, finish and answer what was read for so many seconds at most, end all connections."""
        self.is_stopping = True
        if self._server is not None:
            self._server.close()
        tasks = [each.task for each in self._connections]
        busy = [each.task for each in self._connections if not each.is_reading]
        if busy:
            await asyncio.wait(busy, timeout=within)
        elif tasks:
            await asyncio.sleep(_PARTING_SECONDS)
        for connection in self._connections:
            connection.reset()
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=_PARTING_SECONDS)
            for task in stuck:
                task.cancel()
            await asyncio.wait(tasks)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    def acknowledgment(self, sent: Sent, code: mllp.Code, error: Reject | None) -> bytes:
        """One answer; its MSH-10 is the start of this process and a number."""
        control_id = f"{self._process}-{next(self._numbers)}"
        return mllp.acknowledge(sent, code, control_id=control_id, at=self._clock(), error=error)

    def make_room(self) -> None:
        """End the connections that hold most of unfinished messages, until all together keep to the limit."""
        while self.held > self.limits.held:
            largest = max(self._connections, key=lambda each: each.unfinished)
            if not largest.unfinished:
                return  # the rest is under way to the disk, and is let go when it is there
            largest.end("memory")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_stopping or len(self._connections) >= self.limits.connections:
            self.watcher.refused("connections")
            _reset(writer)
            return
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        self.watcher.connected()
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)
            self.watcher.disconnected()


class _Connection:
    """One sender: what it has sent of a message that is not complete, and what of it is under way to the disk."""

    def __init__(
        self, server: MllpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._loop = task.get_loop()
        self.is_reading = False
        self._server = server
        self._reader = reader
        self._writer = writer
        self._where = _address(writer)
        self._framer = mllp.Framer(server.limits.largest)
        self._begun_at: float | None = None
        """When the first byte came of what is not yet a message."""
        self._taking = 0
        """Bytes that are under way to the disk."""
        self._held = 0
        self._is_over = False

    @property
    def unfinished(self) -> int:
        """Bytes of a message that is not complete."""
        return self._framer.held

    async def serve(self) -> None:
        """Read and answer until either side ends it."""
        try:
            _keep_alive(self._writer)
            await self._converse()
        except OSError:
            self._is_over = True  # the sender is gone; what was not answered it sends again
        except asyncio.CancelledError:
            if not self._server.is_stopping:
                raise
            self._is_over = True
        except Exception as error:  # noqa: BLE001 - whatever one sender brings about, the others are served
            self.end("fault", _place_of(error))
        finally:
            await self._leave()

    def end(self, reason: Ended, detail: str = "") -> None:
        """End it from our side; its sender keeps what was not answered, and sends it again."""
        if self._is_over:
            return
        self._server.watcher.refused(reason, detail)
        self.reset()

    def reset(self) -> None:
        """Let go of everything; whoever waits for the sender's bytes finds that there are no more."""
        self._is_over = True
        self._forget()
        _reset(self._writer)

    async def _converse(self) -> None:
        while not self._server.is_stopping:
            data = await self._read()
            if self._is_over or not data or self._server.is_stopping:
                return
            await self._receive(data)

    async def _read(self) -> bytes:
        reason: Ended = "idle"
        until = self._loop.time() + self._server.limits.idle_after
        if self._begun_at is not None:
            reason = "slow"
            until = self._begun_at + self._server.limits.message_within
        self.is_reading = True
        timer = self._loop.call_at(
            until, self.end, reason
        )  # cheaper than a timeout, for each message has one
        try:
            return await self._reader.read(_READ_AT_ONCE)
        finally:
            timer.cancel()
            self.is_reading = False

    async def _receive(self, data: bytes) -> None:
        """Make the messages that these bytes complete durable, and answer them."""
        noise = self._framer.noise
        frames = self._framer.frames(data)
        noise = self._framer.noise - noise
        if noise:
            self._server.watcher.dropped(noise)
        self._taking = sum(len(each.content) for each in frames)
        self._count()
        self._server.make_room()
        for start in range(0, len(frames), LARGEST_BATCH):
            if not self._is_over:
                await self._handle(frames[start : start + LARGEST_BATCH])
        self._taking = 0
        self._count()
        if frames:
            self._begun_at = self._loop.time() if self._framer.is_inside else None
        elif self._begun_at is None and (noise or self._framer.is_inside):
            self._begun_at = self._loop.time()

    async def _handle(self, frames: Sequence[mllp.Frame]) -> None:
        found = await self._read_all(frames, self._server.intake.registry)
        if not await self._take([each.message for messages in found for each in messages]):
            self.end("not-taken")
            return
        if not self._is_over:
            await self._answer(found)

    async def _read_all(self, frames: Sequence[mllp.Frame], registry: Registry) -> list[list[_Read]]:
        """The messages of each frame; large ones are read beside the loop, one after the other."""
        if self._taking < _LARGE:
            return [self._messages(frame, registry) for frame in frames]
        async with self._server.large:
            return await asyncio.to_thread(lambda: [self._messages(frame, registry) for frame in frames])

    def _messages(self, frame: mllp.Frame, registry: Registry) -> list[_Read]:
        if not frame.is_whole:
            too_large = mllp.too_large(frame.size, self._server.limits.largest)
            return [self._refused(frame.content, too_large, registry)]
        found = mllp.in_frame(frame.content)
        if len(found) > mllp.MOST_IN_FRAME:
            return [self._refused(frame.content[: mllp.FIRST_BYTES], mllp.TOO_MANY, registry)]
        return [self._message(each, registry) for each in found]

    def _message(self, content: bytes, registry: Registry) -> _Read:
        """A message, which is read once for what it tells and for how it is to be answered."""
        sent = read(content)
        if isinstance(sent, Reject):
            return self._read_as(content, sent, mllp.UNREADABLE, registry)
        return self._read_as(content, _decode(sent, registry), sent, registry)

    def _refused(self, content: bytes, reject: Reject, registry: Registry) -> _Read:
        return self._read_as(content, reject, mllp.header(content), registry)

    def _read_as(self, content: bytes, found: list[Event] | Reject, sent: Sent, registry: Registry) -> _Read:
        source = sent.source()
        if isinstance(found, Reject):
            message = Message(origin="mllp", content=content, where=self._where, reject=found, source=source)
        else:
            message = Message(origin="mllp", content=content, where=self._where, events=found)
        code = mllp.answer(sent, message.reject, registry.source(source).rejects)
        if code is None:
            return _Read(message)
        error = message.reject if code in ("AE", "CE") else None
        return _Read(message, code, self._server.acknowledgment(sent, code, error))

    async def _take(self, messages: list[Message]) -> bool:
        """Whether they are durable; a short trouble of the disk is waited for, for there is no good answer to it."""
        until = self._loop.time() + self._server.limits.patience
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._server.intake.take(messages)
            except NotTaken:
                if self._is_over or self._server.is_stopping or self._loop.time() + pause > until:
                    return False
            else:
                return True
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _answer(self, found: Sequence[Sequence[_Read]]) -> None:
        """Send the answers, those to the messages of one frame in one frame."""
        frames = [b"".join([each.answer for each in messages]) for messages in found]
        answers = b"".join([mllp.frame(each) for each in frames if each])
        if not answers:
            return
        self._writer.write(answers)
        for messages in found:
            for each in messages:
                if each.code is not None:
                    self._server.watcher.answered(each.code)
        if self._writer.transport.get_write_buffer_size():
            await self._drain()

    async def _drain(self) -> None:
        """Wait until the sender has read its answers, or nearly."""
        try:
            async with asyncio.timeout(self._server.limits.message_within):
                await self._writer.drain()
        except TimeoutError:
            self.end("unread")

    async def _leave(self) -> None:
        self._taking = 0
        self._forget()
        if self._is_over:
            _reset(self._writer)
        elif self._server.is_stopping:
            await asyncio.sleep(_PARTING_SECONDS)
            _reset(self._writer)
        else:
            self._writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._writer.wait_closed()
        self._writer.transport.abort()

    def _forget(self) -> None:
        if self._framer.held:
            self._server.watcher.dropped(self._framer.held)
        self._framer.forget()
        self._count()

    def _count(self) -> None:
        held = self._framer.held + self._taking
        self._server.held += held - self._held
        self._held = held


class _Read(NamedTuple):
    """A message, and what is sent when it is on disk."""

    message: Message
    code: mllp.Code | None = None
    """Of the answer; without one there is none."""
    answer: bytes = b""


def _decode(sent: Sent, registry: Registry) -> list[Event] | Reject:
    try:
        return hl7.decode(sent, registry)
    except Exception as error:  # noqa: BLE001 - a fault of ours must not have its sender send the message for ever
        return Reject("fault", f"an error of the monitor, {_place_of(error)}: please report it")


def _place_of(error: Exception) -> str:
    """What went wrong and where, without the text of the error, which may hold data."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{where}"


def _address(writer: asyncio.StreamWriter) -> str:
    peer = writer.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if peer else ""


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Have the system find out when the machine at the other end is gone."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()
