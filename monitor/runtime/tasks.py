"""The parts of a service that go on in the background for as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from monitor.log import get_logger

_log = get_logger("tasks")


class Tasks:
    """Begun one after the other, ended together. None of them ends by itself, unless it failed."""

    def __init__(self, problems: dict[str, str]) -> None:
        """`problems`: where it is put down that a part has failed, by its name."""
        self._problems = problems
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def all_go_on(self) -> bool:
        """Whether something was begun, and none of it has failed."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    def begin(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)
        return task

    async def end(self, but: str | None = None) -> None:
        """Cancel all, or all but those of one name, and wait until they have ended."""
        ending = [task for task in self._tasks if task.get_name() != but]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        name = task.get_name()
        self._problems[name] = f"it ended ({type(error).__name__}); start the service again"
        _log.error("part_failed", what=name, exc_info=error)
