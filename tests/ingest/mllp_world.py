"""A server of the real kind on a real socket, an intake of a few lines behind it, and senders in front of it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from monitor.core.place import Registry
from monitor.formats.mllp import Framer, answered, frame
from monitor.ingest.intake import NotTaken
from monitor.ingest.mllp_server import Limits, MllpServer

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LONGEST_SECONDS = 60
"""For whatever is waited for: far more than it takes, since other tests run beside."""


class FakeIntake:
    """Remembers what it was handed, batch by batch; refuses or waits when it is told to."""

    def __init__(self, registry=None):
        self.registry = registry or Registry()
        self.batches = []
        self.refusals = 0
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.waiting = 0

    async def take(self, messages, position=None):
        self.waiting += 1
        await self.may_take.wait()
        self.waiting -= 1
        if self.refusals:
            self.refusals -= 1
            raise NotTaken
        self.batches.append(list(messages))

    async def position(self, name):
        return None

    @property
    def taken(self):
        return [message for batch in self.batches for message in batch]

    @property
    def contents(self):
        return [message.content for message in self.taken]


class Log:
    """A watcher that writes down what it is told."""

    def __init__(self):
        self.open = 0
        self.noise = 0
        self.refusals = []
        self.details = []
        self.codes = []

    def connected(self):
        self.open += 1

    def disconnected(self):
        self.open -= 1

    def dropped(self, size):
        self.noise += size

    def answered(self, code):
        self.codes.append(code)

    def refused(self, reason, detail=""):
        self.refusals.append(reason)
        self.details.append(detail)


class Sender:
    """The other end of a connection."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self._framer = Framer()
        self._answers = []

    async def write(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def raw(self):
        """The next answer, as bytes."""
        while not self._answers:
            data = await asyncio.wait_for(self.reader.read(65536), LONGEST_SECONDS)
            if not data:
                raise EOFError
            self._answers += self._framer.feed(data)
        return self._answers.pop(0)

    async def answer(self):
        """The code and the control id of the next answer."""
        found = answered(await self.raw())
        return found.code, found.control_id

    async def ask(self, message):
        await self.write(frame(message))
        return await self.answer()

    async def is_reset(self):
        """Whether the server has ended the connection, and not in order; what it had sent before is lost then."""
        try:
            while await asyncio.wait_for(self.reader.read(65536), LONGEST_SECONDS):
                pass
        except ConnectionError:
            return True
        return False

    async def close(self):
        self.writer.close()
        with suppress(OSError):
            await asyncio.wait_for(self.writer.wait_closed(), LONGEST_SECONDS)


class World:
    """A server with what stands behind it and beside it."""

    def __init__(self, intake, log, server, port):
        self.intake = intake
        self.log = log
        self.server = server
        self.port = port
        self._senders = []

    async def sender(self, **options):
        sender = Sender(*await asyncio.open_connection("127.0.0.1", self.port, **options))
        self._senders.append(sender)
        return sender

    async def close(self):
        for sender in self._senders:
            await sender.close()
        await asyncio.wait_for(self.server.stop(), LONGEST_SECONDS)


@asynccontextmanager
async def world(intake=None, tls=None, port=0, **limits):
    intake, log = intake or FakeIntake(), Log()
    server = MllpServer(intake, log, lambda: NOW, Limits(**limits))
    found = World(intake, log, server, await server.start("127.0.0.1", port, tls))
    try:
        yield found
    finally:
        await found.close()
    assert (server.connections, server.held, log.open) == (0, 0, 0)


async def until(condition):
    """Wait for something to come true, by a clock that never leaps."""
    longest = time.monotonic() + LONGEST_SECONDS
    while not condition():
        assert time.monotonic() < longest
        await asyncio.sleep(0.005)


def leap(seconds):
    """Have the clock of this loop go forward: what waits for a time that has passed then is over at once."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds


def adt(number, trigger="A01", *, patient="7", accept="", application="", sender="ADT", fields=""):
    """A small message whose MSH-10 is its number."""
    header = (
        f"MSH|^~\\&|{sender}|HOSP|||20260301115900||ADT^{trigger}|{number}|P|2.5|||{accept}|{application}"
    )
    lines = (header, "EVN||20260301115900", f"PID|||{patient}", f"PV1||I|4W^12{fields}")
    return "\r".join(lines).encode()
