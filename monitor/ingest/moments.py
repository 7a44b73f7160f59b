"""When to look at files again: as soon as the system tells of a change nearby, and now and then in any case."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from watchfiles import awatch


async def moments(paths: Sequence[str], every_seconds: float) -> AsyncIterator[None]:
    """Moments at which to look at some files and directories, whether they exist or not. Never ends.

    The system's word is only a hint: network shares give none, and what a link leads to may change unheard.
    """
    while True:
        yield
        folders = await asyncio.to_thread(_folders, paths)
        if not folders:
            await asyncio.sleep(every_seconds)
            continue
        milliseconds = max(1, int(1000 * every_seconds))
        with suppress(OSError, RuntimeError):  # a folder has gone, or the system has no watches left
            async for _ in awatch(
                *folders,
                watch_filter=None,
                recursive=False,
                debounce=min(milliseconds, 200),
                rust_timeout=milliseconds,
                yield_on_timeout=True,
            ):
                yield
                if await asyncio.to_thread(_folders, paths) != folders:
                    break
        await asyncio.sleep(every_seconds / 5)


def _folders(paths: Iterable[str]) -> list[str]:
    """The directories in which something may change, as far as they exist."""
    near = {path if Path(path).is_dir() else os.path.dirname(path) or "." for path in paths}  # noqa: PTH120 - a Path forgets `./`
    return sorted(each for each in near if Path(each).is_dir())
