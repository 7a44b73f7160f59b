"""The one thread that owns the engine and the store: everything that touches them is done in it, one after the other.

Whoever brings messages waits on the event loop until they are on disk. The lane takes all that wait as one batch (so
that one sync of the disk serves them all), lets those who wait go on, and then judges. Between batches it runs errands
for others. When nothing comes it wakes for the next deadline.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from monitor.core.place import Registry
from monitor.ingest.intake import Message, NotTaken, Position
from monitor.runtime.database import StoreError

T = TypeVar("T")

_MOST_AT_ONCE: Final = 4_000
"""Events in one batch: the more, the fewer pages of indexes each of them costs; but those that came first wait for the others."""
_MOST_WAITING: Final = 20_000
"""Events that may wait; beyond that, whoever brings more waits first."""
_LONGEST_NAP: Final = 0.25
"""Seconds after which the clock is looked at again, for it may have been set."""
_TRY_AGAIN: Final = 0.5
"""Seconds after which a store that failed is tried again."""


class Work(Protocol):
    """What is done in the lane."""

    @property
    def registry(self) -> Registry: ...

    def begin(self) -> Iterator[None]:
        """Read what is known, step by step; between two steps messages may be written. Raises `StoreError`; it is called again then."""
        ...

    def write(self, messages: Sequence[Message], positions: Sequence[Position]) -> None:
        """Make messages durable, together with what has come of those before them. Raises `StoreError`: nothing was written."""
        ...

    def judge(self) -> None:
        """Draw the conclusions from what was written, and from the time."""
        ...

    def has_news(self) -> bool:
        """Whether conclusions wait to be written: with the next messages, or without any when it is time."""
        ...

    def seconds_until_due(self) -> float:
        """How long nothing will happen, if nothing comes; nor need news be written before that."""
        ...

    def position(self, name: str) -> str | None: ...

    def failed(self, error: Exception) -> None:
        """Told of what `begin`, `write` or `judge` raised."""
        ...


class _Job(NamedTuple):
    """Messages that someone waits to see taken."""

    messages: Sequence[Message]
    position: Position | None
    weight: int
    """Events in them, or messages without any."""
    done: asyncio.Future[None]


class _Errand(NamedTuple):
    """Something that someone waits to see done."""

    run: Callable[[], object]
    done: asyncio.Future[Any]


class _NothingWritten(Exception):  # noqa: N818 - it is no fault of ours
    """The store failed; all is as it was before."""


class Lane:
    """Runs the work in a thread of its own. It is the `Intake` of every way in."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._jobs: deque[_Job] = deque()
        self._errands: deque[_Errand] = deque()
        self._changes: deque[_Errand] = deque()
        """After which all is read again."""
        self._waiting = 0
        self._condition = threading.Condition()
        self._stopping = False
        self.begun = asyncio.Event()
        """Set once all that was known has been read, and messages are taken."""
        self._has_begun = False
        self.is_reading = False
        """Whether all that is known is being read now: messages are taken, but judged later."""
        self._has_failed = False
        """Whether the last thing that was tried could not be done: then it is tried again though nobody brings anything."""
        self._thread = threading.Thread(target=self._run, name="engine")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room = asyncio.Event()

    @property
    def registry(self) -> Registry:
        return self._work.registry

    @property
    def waiting(self) -> int:
        """Events that wait to be taken, and messages without any."""
        return self._waiting

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def has_begun(self) -> bool:
        """Whether all that was known has been read: not at the start, nor after a fault, before all was read again."""
        return self._has_begun

    def start(self) -> None:
        """To be called on the event loop that those who wait are on."""
        self._loop = asyncio.get_running_loop()
        self._room.set()
        self._thread.start()

    async def stop(self) -> None:
        """Finish what waits, and end."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._room.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    async def take(self, messages: Sequence[Message], position: Position | None = None) -> None:
        """Take messages over; on return they are on disk. Raises `NotTaken`."""
        while self._waiting >= _MOST_WAITING and not self._stopping:
            self._room.clear()
            await self._room.wait()
        weight = sum(len(message.events) or 1 for message in messages)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._condition:
            self._check_is_open()
            self._jobs.append(_Job(messages, position, weight, done))
            self._waiting += weight
            self._condition.notify()
        await done

    async def position(self, name: str) -> str | None:
        """Where a reader had come, the last time it said. Raises `NotTaken` when the store cannot be read."""
        try:
            return await self.do(lambda: self._work.position(name))
        except StoreError as error:
            raise NotTaken(str(error)) from error

    async def begin_again(self, change: Callable[[], None]) -> None:
        """Change what the work is about, and let it read again all that is known; meanwhile messages are written, but not judged."""
        await self._ask(change, self._changes)

    async def do(self, errand: Callable[[], T]) -> T:
        """Run something between two batches; gives back or raises what it does. Raises `NotTaken` at the end."""
        found: T = await self._ask(errand, self._errands)
        return found

    async def _ask(self, errand: Callable[[], object], queue: deque[_Errand]) -> Any:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        with self._condition:
            self._check_is_open()
            queue.append(_Errand(errand, done))
            self._condition.notify()
        return await done

    def _check_is_open(self) -> None:
        if self._stopping or not self._thread.is_alive():
            raise NotTaken("the service is not running")

    # The thread

    def _run(self) -> None:
        try:
            if self._begun():
                while self._go_on():
                    pass
        finally:
            with self._condition:  # who comes from now on is refused at the door
                self._stopping = True
                self._errands += self._changes
            self._refuse("the service is stopping")

    def _begun(self) -> bool:
        """Read what is known, by the latest changes, however often it takes; false when it is time to stop."""
        changed: list[asyncio.Future[Any]] = []
        while not self._stopping:
            try:
                while self._changes:
                    change = self._changes.popleft()
                    changed.append(change.done)
                    change.run()
                is_done = self._read_all()
            except _NothingWritten:
                self._nap()
            except Exception as error:  # noqa: BLE001 - whatever it is: it is told, and tried again
                self._has_begun = False
                self._failed(error)
                self._refuse("the service is starting and cannot read its store")
                self._nap()
            else:
                if is_done:
                    self._has_begun, self.is_reading = True, False
                    self._on_loop(self.begun.set)
                    self._on_loop(_let_go, changed, None, self._room)
                    return True
        self._on_loop(_let_go, changed, NotTaken("the service is stopping"), self._room)
        return False

    def _read_all(self) -> bool:
        """Read what is known. It may take minutes: those who wait are not kept waiting. False when it is time to stop."""
        self.is_reading = True
        for _ in self._work.begin():
            errands, jobs = self._pop()
            for errand in errands:
                self._run_errand(errand)
            if jobs:
                self._take(jobs)
            if self._stopping:
                return False
        return True

    def _go_on(self) -> bool:
        """One round: errands, a batch, conclusions. False at the end."""
        if self._changes:
            return self._begun()
        errands, jobs = self._next()
        for errand in errands:
            self._run_errand(errand)
        if not (jobs or errands or self._work.has_news()) and self._stopping:
            return False
        try:
            self._take(jobs)
            self._work.judge()
        except _NothingWritten:
            self._nap()
            return not self._stopping
        except Exception as error:  # noqa: BLE001 - the facts are safe: all that follows from them is drawn again
            self._has_begun = False
            self._failed(error)
            self._nap()
            return self._begun()
        return True

    def _next(self) -> tuple[list[_Errand], list[_Job]]:
        """What is to be done next, perhaps nothing."""
        with self._condition:
            if not self._is_busy():
                self._condition.wait(min(self._work.seconds_until_due(), _LONGEST_NAP))
        return self._pop()

    def _pop(self) -> tuple[list[_Errand], list[_Job]]:
        """Errands, and as many jobs as one batch takes."""
        with self._condition:
            errands = list(self._errands)
            self._errands.clear()
            jobs: list[_Job] = []
            count = 0
            while self._jobs and (not jobs or count + self._jobs[0].weight <= _MOST_AT_ONCE):
                jobs.append(self._jobs.popleft())
                count += jobs[-1].weight
            self._waiting -= count
            return errands, jobs

    def _is_busy(self) -> bool:
        return bool(self._jobs or self._errands or self._changes or self._stopping)

    def _take(self, jobs: Sequence[_Job]) -> None:
        """Make messages durable and let their senders know, whether it could be done or not."""
        if not (jobs or self._work.has_news() or self._has_failed):
            return
        messages = [message for job in jobs for message in job.messages]
        positions = [job.position for job in jobs if job.position is not None]
        try:
            self._work.write(messages, positions)
        except StoreError as error:
            self._failed(error)
            self._let_go(jobs, NotTaken(str(error)))
            raise _NothingWritten from error
        except Exception as error:
            # its text may hold what a message said
            self._let_go(jobs, NotTaken(f"internal error ({type(error).__name__})"))
            raise
        self._has_failed = False
        self._let_go(jobs, None)

    def _failed(self, error: Exception) -> None:
        self._has_failed = True
        self._work.failed(error)

    def _run_errand(self, errand: _Errand) -> None:
        try:
            result = errand.run()
        except Exception as error:  # noqa: BLE001 - handed to whoever asked
            self._on_loop(_fail, errand.done, error)
        else:
            self._on_loop(_end, errand.done, result)

    def _let_go(self, jobs: Sequence[_Job], error: Exception | None) -> None:
        """Tell those who wait that their messages are safe, or are not; in one call for all."""
        self._on_loop(_let_go, [job.done for job in jobs], error, self._room)

    def _refuse(self, why: str) -> None:
        """Nothing that waits can be done now."""
        with self._condition:
            waiting = [*(job.done for job in self._jobs), *(errand.done for errand in self._errands)]
            self._jobs.clear()
            self._errands.clear()
            self._waiting = 0
        self._on_loop(_let_go, waiting, NotTaken(why), self._room)

    def _nap(self) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._stopping, _TRY_AGAIN)

    def _on_loop(self, function: Callable[..., None], *args: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)


def _let_go(waiting: Sequence[asyncio.Future[Any]], error: Exception | None, room: asyncio.Event) -> None:
    room.set()
    for done in waiting:
        if error is not None:
            _fail(done, error)
        else:
            _end(done, None)


def _end(done: asyncio.Future[T], result: T) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: asyncio.Future[Any], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
