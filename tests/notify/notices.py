"""Notices to be told, and a web server of a few lines that keeps what it is sent."""

import asyncio
import ssl
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple

import msgspec
from held_ports import held_port, port_of

from monitor.notify.notice import Delivery, Notice

LONGEST_SECONDS = 60
"""For whatever is waited for: far more than it takes, since other tests run beside."""
TRUST = ssl.create_default_context()
"""What the machine trusts; made once, for that takes long."""

TRIGGERED = datetime(2026, 1, 6, 14, 43, tzinfo=UTC)
DUE = TRIGGERED + timedelta(hours=4)
NOW = DUE + timedelta(hours=2)

FIRING = Notice(
    alert="0b9d6a4e-0000-5000-8000-000000000001",
    rule="ed-boarding",
    severity="warning",
    state="firing",
    level=0,
    reason=None,
    at=DUE,
    sequence=(1, DUE, 0),
    summary="admitted patient still in the emergency department",
    trigger_at=TRIGGERED,
    due_at=DUE,
    from_="ed",
    place="ed",
    place_name="Emergency department",
    location="ED^12^A^RGH",
    timezone="Europe/London",
    patient="1000091",
    encounter="V-77",
    pseudonym="k3j2abcdef",
    action="find a bed",
    owner="bed manager",
    runbook="https://wiki.example/boarding",
    link="https://board.example/alerts/{alert}?journey={journey}",
)
"""An alert at its deadline."""


def later(notice=FIRING, **changes):
    """The next change of an alert."""
    at = changes.pop("at", notice.at + timedelta(minutes=1))
    return msgspec.structs.replace(notice, at=at, sequence=(1, at, 0), **changes)


def resolved(reason="late", **changes):
    return later(at=NOW, state="resolved", reason=reason, **changes)


def delivery(notice=FIRING, receiver="default", number=1, sink="out"):
    return Delivery(number, sink, receiver, notice)


async def until(condition):
    async with asyncio.timeout(LONGEST_SECONDS):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in threads and other processes, too
            await asyncio.sleep(0.001)


class Request(NamedTuple):
    path: str
    headers: dict
    body: bytes


class WebServer:
    """Keeps requests; answers with `status`, or what `answer(request)` says."""

    def __init__(self, tls=None):
        self.requests = []
        self.status = 200
        self.answer = None
        self.headers = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = Request(self.path, dict(self.headers), body)
                outer.requests.append(request)
                self.send_response(outer.answer(request) if outer.answer else outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'http' if tls is None else 'https'}://localhost:{self.port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def silent_port():
    """A port on which nothing listens."""
    with held_port() as held:
        yield port_of(held)
