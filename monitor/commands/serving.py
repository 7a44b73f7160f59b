"""What the commands that serve until a signal share."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from monitor.commands.streams import UNABLE, Failed


def ended_by_signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set, on the event loop that runs."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    return ended


@contextmanager
def listening(what: str, host: str, port: int) -> Iterator[None]:
    """Says of a port that cannot be listened on which it is, and why."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise Failed(UNABLE, f"{what}: cannot listen on {host}:{port}: {why}") from error
