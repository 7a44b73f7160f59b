"""What becomes of the records of a notifier's partitions: known, on disk, to be delivered, and then to be committed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

import msgspec

from monitor.notify.notice import Notice
from monitor.runtime.kept_alerts import KeptAlerts
from monitor.runtime.share import Change, FindRoutes, Share, Shares, Told

_FORGET_EVERY: Final = timedelta(hours=1)
_notice: Final = msgspec.json.Decoder(Notice).decode


class Record(NamedTuple):
    """One of the topic."""

    offset: int
    key: bytes | None
    value: bytes | None
    """None: the alert is no more."""


class Watcher(Protocol):
    """What is counted and logged of it; nothing of it may name a patient."""

    def alerted(self, told: Notice) -> None: ...
    def unreadable(self, partition: int, offset: int) -> None: ...


class Relay:
    """For one thread, that which reads; others ask its `shares`. What needs the disk may raise `StoreError`."""

    def __init__(
        self,
        kept: KeptAlerts,
        sinks: Collection[str],
        find_routes: FindRoutes,
        watcher: Watcher,
        now: Callable[[], datetime],
        *,
        wake: Callable[[Collection[str]], None] = lambda _sinks: None,
        horizon: timedelta = timedelta(days=45),
    ) -> None:
        """`wake` is called with the names of sinks for which there are deliveries."""
        self.shares = Shares()
        self._kept = kept
        self._sinks = list(sinks)
        self._find_routes = find_routes
        self._watcher = watcher
        self._now = now
        self._wake = wake
        self._horizon = horizon
        self._forget_at = now()
        self._committed: dict[int, Told] = {}
        """Of our partitions, what was committed last."""
        self._is_sound = False
        """Whether what is on disk is what the shares say."""

    def begin(self) -> None:
        """To be called before partitions are opened. At first, and when the disk had failed, all of them are read anew."""
        if self._is_sound:
            return
        with self.shares.lock:
            self.shares.by_number.clear()
        self._committed.clear()
        self._kept.begin()
        self._is_sound = True

    # Partitions

    def open(self, number: int, end: int, told: Told | None) -> int | None:
        """A partition is ours; `end` is the offset behind its last record, `told` what was committed of it.

        Returns the offset from which it is to be read, None for its beginning. One that was ours, and has been nobody else's
        since, is gone on with.
        """
        share = self.shares.by_number.get(number)
        if share is not None and told == self._committed.get(number):
            share.is_held = False
            return share.position
        self.close([number])
        with self.shares.lock:
            self.shares.by_number[number] = Share(end, told, self._sinks, self._find_routes)
        if told is not None:
            self._committed[number] = told
        return None

    def close(self, numbers: Iterable[int]) -> None:
        """Partitions are not ours any more."""
        alerts: list[str] = []
        for number in numbers:
            with self.shares.lock:
                share = self.shares.by_number.pop(number, None)
            self._committed.pop(number, None)
            alerts += share.alerts() if share is not None else []
        if alerts:
            with self._on_disk():
                self._kept.drop(alerts)

    def partitions(self) -> list[int]:
        """The numbers of those that are ours."""
        return list(self.shares.by_number)

    def is_current(self, number: int) -> bool:
        """Whether all of a partition was read that was there when it became ours."""
        return self.shares.by_number[number].is_current

    # Records

    def take(self, number: int, records: Sequence[Record]) -> None:
        """Keep what the next records of a partition say, and queue what is to be delivered of it."""
        with self.shares.lock:
            share = self.shares.by_number[number]
            changes = [self._change(share, number, each) for each in records]
        self._keep(share, [each for each in changes if each is not None])

    def _change(self, share: Share, number: int, record: Record) -> Change | None:
        if record.value is None:
            share.forget(record.offset, (record.key or b"").decode(errors="replace"))
            return None
        notice = read(record.value)
        if notice is None:
            share.pass_over(record.offset)
            self._watcher.unreadable(number, record.offset)
            return None
        return share.take(record.offset, notice)

    def reached(self, number: int, position: int) -> None:
        """All records of a partition before an offset have been taken, as far as there are any."""
        with self.shares.lock:
            share = self.shares.by_number[number]
            changes = share.reached(position)
        self._keep(share, changes)

    def _keep(self, share: Share, changes: Sequence[Change]) -> None:
        if not changes:
            return
        with self._on_disk():
            made = self._kept.write(changes, self._now())
        with self.shares.lock:
            for each in made:
                share.done(each)
        for change in changes:
            if not change.is_old:
                self._watcher.alerted(change.notice)
        self._wake({sink for change in changes for sink, _ in change.routes})

    def look_around(self) -> None:
        """Now and then delete what is not needed any more."""
        now = self._now()
        if now >= self._forget_at:
            self._forget_at = now + _FORGET_EVERY
            with self._on_disk():
                self._kept.forget(now - self._horizon)

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._is_sound = False
            raise

    # What has been delivered

    def to_commit(self) -> dict[int, Told]:
        """How far each sink has delivered of our partitions, where that is not what was committed."""
        with self.shares.lock:
            told = {number: share.told() for number, share in self.shares.by_number.items()}
        return {
            number: each
            for number, each in told.items()
            if each is not None and each != self._committed.get(number)
        }

    def committed(self, told: Mapping[int, Told]) -> None:
        """That was committed."""
        self._committed |= told


def read(value: bytes) -> Notice | None:
    """The notice in the value of a record; None where there is none that can be told."""
    try:
        notice = _notice(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    moments = (notice.at, notice.sequence[1], notice.trigger_at, notice.due_at)
    return None if any(each is not None and each.tzinfo is None for each in moments) else notice
