"""The web server: how many connections it keeps, and how long it waits for who does not ask."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from monitor.settings import Http, Tls

CONNECTIONS: Final = 500
"""How many may be open at once; who comes after is answered with 503."""
_HEAD_SECONDS: Final = 20.0
_LARGEST_HEAD: Final = 1 << 15
"""Bytes of the head of a request."""


def configured(app: FastAPI, tls: Tls | None = None) -> uvicorn.Config:
    """How the server of an application is to run, on sockets that it is given; it writes no log of its own but what went wrong."""
    return uvicorn.Config(
        app,
        http=TimedProtocol,
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=_LARGEST_HEAD,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=5,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
        ssl_ca_certs=tls.client_ca if tls else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.client_ca else ssl.CERT_NONE,
    )


class _Server(uvicorn.Server):
    """Leaves the signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Web:
    """An application on its port."""

    def __init__(self, app: FastAPI, http: Http) -> None:
        self._server = _Server(configured(app, http.tls))
        self._task: asyncio.Task[None] | None = None
        self._http = http
        self.port = 0

    async def start(self) -> None:
        """Listen. Raises `OSError`."""
        family = socket.AF_INET6 if ":" in self._http.host else socket.AF_INET
        listening = socket.create_server((self._http.host, self._http.port), family=family, backlog=200)
        # Inherited by each connection: else an answer, which leaves in two parts, waits 40 ms for the first to be acknowledged.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listening.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve([listening]))

    async def stop(self) -> None:
        """Finish what was asked, and listen no more."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


class TimedProtocol(H11Protocol):
    """Ends a connection over which no whole head of a request comes in time; uvicorn itself would wait for ever.

    So long, too, the rest of a body is let come that was refused.
    """

    head_seconds = _HEAD_SECONDS
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def _look(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._in_time()
        elif self._late is None:
            self._late = self.loop.call_later(self.head_seconds, self.transport.close)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
