"""A real server on a port of its own, over which tests talk to the application."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx
import uvicorn

from monitor.board.app import Parts
from monitor.board.auth import Access
from monitor.board.server import configured
from monitor.core.place import Registry

NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)
LONGEST_SECONDS = 60
"""For whatever is waited for: far more than it takes, since other tests run beside."""


class MemoryIntake:
    """Keeps what it takes in a list, as a store would on disk."""

    def __init__(self):
        self.registry = Registry()
        self.batches = []
        self.positions = {}
        self.refuse_after = None
        """So many batches are taken, and no more."""
        self.refusal = None

    async def take(self, messages, position=None):
        if self.refuse_after is not None and len(self.batches) >= self.refuse_after:
            raise self.refusal
        self.batches.append(list(messages))
        if position is not None:
            self.positions[position.name] = position.value

    async def position(self, name):
        return self.positions.get(name)

    @property
    def messages(self):
        return [message for batch in self.batches for message in batch]

    @property
    def events(self):
        return [event for message in self.messages for event in message.events]

    @property
    def rejects(self):
        return [message for message in self.messages if message.reject is not None]


class Wellness:
    """A service that does as it is told."""

    def __init__(self):
        self.alive = True
        self.wrong = []
        self.odd = []

    def is_alive(self):
        return self.alive

    def problems(self):
        return list(self.wrong)

    def warnings(self):
        return list(self.odd)


def parts(**given):
    """The parts of an application in memory."""
    gaps, faults = [], []
    known = {
        "intake": MemoryIntake(),
        "access": Access(),
        "health": Wellness(),
        "metrics": lambda accept: (b"handoff_journeys 3\n", "text/plain; version=0.0.4; charset=utf-8"),
        "now": lambda: NOW,
        "on_gap": lambda *gap: gaps.append(gap),
        "on_fault": faults.append,
    }
    return Parts(**known | given), SimpleNamespace(gaps=gaps, faults=faults)


def listener():
    """A socket that listens: who connects is served once a server runs on it, and may have said all by then."""
    return socket.create_server(("127.0.0.1", 0))


@contextmanager
def serving(app, tls=None, listening=None):
    """The address of a server that runs an application until the block ends."""
    server = uvicorn.Server(configured(app, tls))
    listening = listening or listener()
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        host, port = listening.getsockname()
        yield f"{'https' if tls else 'http'}://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def asking(address, **options):
    """A client with patience."""
    return httpx.Client(base_url=address, timeout=LONGEST_SECONDS, **options)


def eventually(holds):
    """Waits for what another thread is about to do."""
    until = time.monotonic() + LONGEST_SECONDS
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)
