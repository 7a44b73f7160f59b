"""A simulated hospital that feeds a real service over real sockets, whatever becomes of the service, and who is told of alerts."""

from __future__ import annotations

import io
import json
import random
import re
import threading
from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from live_process import LONGEST_SECONDS

from monitor.cli import main
from monitor.formats import canonical, hl7
from monitor.rulefile.load import load_registry

PACKS = [
    f"pack:{name}" for name in ("ambulance", "ed", "sepsis", "icu", "stroke", "flow", "discharge", "transit")
]


class Hospital(NamedTuple):
    """What a hospital sends, in the order of sending, with the time at which it does."""

    registry: str
    adt: list[tuple[datetime, bytes]]
    """HL7 messages."""
    milestones: list[tuple[datetime, str]]
    """Canonical events, a line of JSON each."""

    def events(self, messages):
        """The facts, as (source, id), of messages that were acknowledged."""
        registry, _ = load_registry("microsystems.yaml", self.registry.encode())
        for message in messages:
            found = hl7.decode(message, registry)
            assert isinstance(found, list), found
            yield from ((each.source, each.id) for each in found if each.type != "update")


def hospital(folder, seed, *, dialect="standard", silent_after=None, **options):
    """A simulated hospital; `silent_after` is said of both of its feeds."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    arguments = ["simulate", "--seed", str(seed), "--no-truth", "--format", "hl7", "--dialect", dialect]
    assert main([*arguments, "--out", str(folder), *words], io.BytesIO(), io.StringIO(), io.StringIO()) == 0
    registry = (folder / "microsystems.yaml").read_text()
    if silent_after is not None:
        registry += f"    silent_after: {silent_after}\n  EPR: {{silent_after: {silent_after}}}\n"
    content = (folder / "adt.hl7").read_bytes()
    messages = [
        each.group() for each in re.finditer(rb"MSH\|(?:(?!\r+\n*(?:MSH|BTS|FTS)\|).)*", content, re.DOTALL)
    ]
    adt, last = [], datetime.min.replace(tzinfo=UTC)
    for message in messages:
        last = max(last, sent_at(message))
        adt.append((last, message.strip() + b"\r"))
    lines = (folder / "milestones.jsonl").read_text().splitlines()
    return Hospital(registry, adt, [(canonical.decode(line).arrived_at, line) for line in lines])


def sent_at(message):
    """MSH-7; in winter London has no offset."""
    return datetime.strptime(message.split(b"|")[6][:14].decode().ljust(14, "0"), "%Y%m%d%H%M%S").replace(
        tzinfo=UTC
    )


class Feed(threading.Thread):
    """Something that sends what is due, and sends again whatever was not acknowledged."""

    def __init__(self, service, due, chance, most):
        """`due`: (time, what) in order. At most so many are sent before an answer is waited for."""
        super().__init__()
        self.service, self.due, self.chance, self.most = service, due, chance, most
        self.acknowledged = []
        self.sent_again = 0
        """Messages that had been sent when the connection was lost, and that nobody had acknowledged."""
        self.fault = None
        self._stopped = threading.Event()

    def run(self):
        try:
            while len(self.acknowledged) < len(self.due) and not self._stopped.is_set():
                first = len(self.acknowledged)
                now = self.service.now()
                ready = [
                    what
                    for at, what in self.due[first : first + self.chance.randint(1, self.most)]
                    if at <= now
                ]
                if not ready or not self.send(ready):
                    self._stopped.wait(0.01)
        except Exception as error:
            self.fault = error
            raise
        finally:
            self.close()

    def end(self):
        """Wait until all is acknowledged."""
        self.join(LONGEST_SECONDS * 3)
        self._stopped.set()
        assert not self.is_alive(), f"{len(self.acknowledged)} of {len(self.due)} were acknowledged"
        assert self.fault is None

    def stop(self):
        self._stopped.set()
        self.join()


class MllpFeed(Feed):
    """One MLLP connection after the other."""

    sender = None

    def send(self, messages):
        known, was_open = len(self.acknowledged), False
        try:
            self.sender = self.sender or self.service.sender()
            was_open = True
            self.sender.socket.sendall(b"".join(b"\x0b" + each + b"\x1c\r" for each in messages))
            for message in messages:
                code, control_id = self.sender.answer()
                assert (code, control_id.encode()) == ("AA", message.split(b"|", 10)[9])
                self.acknowledged.append(message)
        except OSError:
            if was_open:
                self.sent_again += known + len(messages) - len(self.acknowledged)
            self.close()
            return False
        return True

    def close(self):
        if self.sender is not None:
            self.sender.socket.close()
            self.sender = None


class HttpFeed(Feed):
    """JSON lines, some at a time."""

    def send(self, lines):
        try:
            status, answer = self.service.post("/events", "\n".join(lines))
        except ConnectionRefusedError:
            return False
        except (OSError, HTTPException):
            self.sent_again += len(lines)
            return False
        assert status in (202, 503), answer
        if status == 503:
            self.sent_again += len(lines)
            return False
        assert json.loads(answer)["rejected"] == 0, answer
        self.acknowledged += lines
        return True

    def close(self):
        pass


@contextmanager
def feeds(service, sent, seed, *, connections=4, most=8):
    """Connections over which a hospital sends all that it has."""
    chance = random.Random(seed)
    shares = [sent.adt[number::connections] for number in range(connections)]
    all_ = [MllpFeed(service, share, random.Random(chance.random()), most) for share in shares]
    all_ += [
        HttpFeed(service, sent.milestones[n::2], random.Random(chance.random()), most * 6) for n in range(2)
    ]
    for each in all_:
        each.start()
    try:
        yield all_
    finally:
        for each in all_:
            each.stop()


class Pager:
    """Someone who is told of alerts by a webhook, and whose server fails now and then."""

    def __init__(self, seed=0, fails=0.0):
        """`fails`: which share of requests is answered with an error, after they have been heard or before."""
        self.told = defaultdict(list)
        """By alert, what was told of it, in order."""
        self.requests = 0
        chance, lock = random.Random(seed), threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler):
                size = int(handler.headers["content-length"])
                content = handler.rfile.read(size)
                if len(content) < size:  # the service was killed while it told us
                    handler.close_connection = True
                    return
                body = json.loads(content)
                with lock:
                    self.requests += 1
                    fails_now, was_heard = chance.random() < fails, chance.random() < 0.5
                    if not fails_now or was_heard:
                        self.told[body["alert"]["alert"]].append(body)
                handler.send_response(500 if fails_now else 204)
                handler.end_headers()

            def log_message(handler, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/alerts"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def settings(self):
        """What `handoff.yaml` says of it."""
        return (
            f"sinks: {{pager: {{webhook: {self.url}, identifiers: full}}}}\n"
            "receivers: {default: {sinks: [pager]}}\n"
        )
