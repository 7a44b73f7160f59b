"""Those who send: cheap, in processes of their own, with everything made before the time is taken."""

from __future__ import annotations

import http.client
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import chain, count, islice
from random import Random

from bench.live.journeys import FACTS, courses, far_deadlines, move, questions
from bench.live.taking import quantiles
from bench.live.traffic import told
from bench.measure import Taken, timed

_END = b"\x1c\r"


def mllp(port: int, messages: int, connections: int, outstanding: int, name: str) -> Taken:
    """Messages over so many connections, so many unacknowledged on each: the rate, and how long acknowledgments took."""
    frames = told(messages, name, open_journeys=2_000, by_hl7=True).frames(connections)
    return _mllp([_Sender(port, each, outstanding) for each in frames])


def _mllp(senders: Sequence[_Sender]) -> Taken:
    taken, _ = timed(lambda: _converse(senders))
    return _of(taken, senders)


def _of(taken: Taken, senders: Sequence[_Sender]) -> Taken:
    waits = [wait for sender in senders for wait in sender.waits]
    taken.events = len(waits)
    taken.facts = quantiles(waits) | {"refused": sum(sender.refused for sender in senders)}
    return taken


class _Sender:
    """One connection."""

    def __init__(self, port: int, frames: Iterable[bytes], outstanding: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waits: list[float] = []
        self.refused = 0
        self._frames = iter(frames)
        self._sent: deque[float] = deque()
        self._outstanding = outstanding
        self._rest = b""

    def send(self) -> bool:
        """Send what may be sent now, in one piece; false when all is acknowledged."""
        more = list(islice(self._frames, self._outstanding - len(self._sent)))
        if more:
            self._sent.extend([time.perf_counter()] * len(more))
            self.socket.sendall(b"".join(more))
        return bool(self._sent)

    def receive(self) -> bool:
        """Read acknowledgments; whether any is still to come."""
        *answers, self._rest = (self._rest + self.socket.recv(65_536)).split(_END)
        now = time.perf_counter()
        for answer in answers:
            self.waits.append(now - self._sent.popleft())
            self.refused += b"\rMSA|AA" not in answer
        return bool(self._sent)


def _converse(senders: Sequence[_Sender]) -> None:
    with selectors.DefaultSelector() as selector:
        for sender in senders:
            selector.register(sender.socket, selectors.EVENT_READ, sender)
            sender.send()
        while selector.get_map():
            for key, _ in selector.select():
                key.data.receive()
                if not key.data.send():
                    selector.unregister(key.fileobj)
                    key.data.socket.close()


def jsonl(port: int, events: int, batch: int, connections: int, name: str) -> Taken:
    """Canonical events as JSON lines in bodies of so many, over so many connections."""
    lines = told(events, name, open_journeys=max(1, events // 50)).lines()
    return post_all(port, list(_bodies(lines, batch)), events, connections)


def post_all(port: int, bodies: Sequence[bytes], events: int, connections: int) -> Taken:
    """Bodies, each as soon as an earlier one was answered."""
    waiting = iter(bodies)

    def post() -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        waits = []
        for body in waiting:
            began = time.perf_counter()
            connection.request("POST", "/events", body, {"Content-Type": "application/x-ndjson"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 202:
                raise RuntimeError(f"/events answered {answer.status}")
            waits.append(time.perf_counter() - began)
        connection.close()
        return waits

    with ThreadPoolExecutor(connections) as pool:
        taken, found = timed(
            lambda: [each.result() for each in [pool.submit(post) for _ in range(connections)]]
        )
    taken.events = events
    taken.facts = quantiles([wait for waits in found for wait in waits])
    return taken


def journeys(port: int, number: int, near: int, connections: int) -> Taken:
    """The seven facts of so many journeys, and the question of all but the first `near` of them."""
    deadlines = list(far_deadlines(number, datetime.now(UTC)).items())
    lines = chain.from_iterable(
        [*courses([each]), *(questions([each]) if each[0] >= near else ())] for each in deadlines
    )
    return post_all(port, list(_bodies(lines)), number * FACTS - near, connections)


def falling_due(port: int, first: int, number: int, begins: float, lasts: float) -> Taken:
    """The questions of so many journeys, whose deadlines are spread over `lasts` seconds from `begins` (Unix time) on."""
    start = datetime.fromtimestamp(begins, UTC)
    due = [(first + each, start + timedelta(seconds=lasts * each / number)) for each in range(number)]
    return post_all(port, list(_bodies(questions(due))), number, 2)


def moves(port: int, number: int, of: int, connections: int) -> Taken:
    """Moves of patients picked among so many journeys, over so many connections."""
    chance = Random(5)
    picked = [move(chance.randrange(of), index) for index in range(number)]
    return _mllp([_Sender(port, picked[each::connections], 1) for each in range(connections)])


def paced(port: int, of: int, per_second: float, seconds: float) -> Taken:
    """A light load: one move after the other over one connection; how long each acknowledgment took."""
    chance = Random(6)
    sender = _Sender(port, (move(chance.randrange(of), index) for index in count()), 1)
    until = time.perf_counter() + seconds

    def work() -> None:
        while time.perf_counter() < until:
            began = time.perf_counter()
            sender.send()
            while sender.receive():
                pass
            time.sleep(max(0.0, 1 / per_second - (time.perf_counter() - began)))

    taken, _ = timed(work)
    return _of(taken, [sender])


def _bodies(lines: Iterable[str | bytes], batch: int = 1_000) -> Iterator[bytes]:
    lines = iter(lines)
    while part := list(islice(lines, batch)):
        yield b"".join(each if isinstance(each, bytes) else each.encode() for each in part)
