"""When to read the rules and the registry again: their files have changed, or somebody sent SIGHUP."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from monitor.ingest.files import yaml_files
from monitor.ingest.moments import moments

_AT_MOST: Final = 10
"""Looks for which files that go on changing are waited for."""
State = dict[str, tuple[int, int, int] | None]


async def watch(
    paths: Sequence[str], reload: Callable[[], Awaitable[None]], *, every_seconds: float = 1.0
) -> None:
    """Call `reload` whenever one of the files (or a rule file below one of the directories) has changed, or on SIGHUP. Never ends.

    It is called once at the beginning, for what has changed since they were last read.

    Files are compared by what they are now: however an editor writes, whatever a link leads to, on network shares too.
    What changes is left to come to rest first. What `reload` raises ends the watch.
    """
    with _hung_up() as asked:
        known = await asyncio.to_thread(_state, paths)
        await reload()
        async for _ in moments(paths, every_seconds):
            now = await asyncio.to_thread(_state, paths)
            if now == known and not asked.is_set():
                continue
            asked.clear()
            known = await _at_rest(paths, now, every_seconds)
            await reload()


async def _at_rest(paths: Sequence[str], state: State, every_seconds: float) -> State:
    """The state once two looks find the same."""
    for _ in range(_AT_MOST):
        await asyncio.sleep(every_seconds / 5)
        now = await asyncio.to_thread(_state, paths)
        if now == state:
            break
        state = now
    return state


def _state(paths: Iterable[str]) -> State:
    """Each file with what tells one version of it from another; None for one that is not there."""
    return {file: _version(file) for path in paths for file in (path, *yaml_files(path))}


def _version(file: str) -> tuple[int, int, int] | None:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    if Path(file).is_dir():
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


@contextmanager
def _hung_up() -> Iterator[asyncio.Event]:
    """An event that SIGHUP sets, where there is such a thing."""
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, asked.set)
    except (AttributeError, NotImplementedError, ValueError, RuntimeError):
        yield asked  # no such signal, or not the main thread
        return
    try:
        yield asked
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
