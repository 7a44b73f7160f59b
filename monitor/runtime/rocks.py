"""The cells of a partition on disk, by RocksDB: memory no longer grows with the journeys, and a worker that starts again reads only what is new.

On disk is only what the brokers have; what a partition writes lies over it, in memory, until they have it. Were it on disk
before, a worker that died in between would find it there, take the same records for known, and never write of them into the
changelog, which is what the next owner begins from.

It is a copy that may be deleted at any time. One that was not looked after for longer than the brokers keep the marks of
deleted keys is not used any more: what was deleted meanwhile would be alive in it.

rocksdict is imported only by who asks for this.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, ItemsView, Iterator, Mapping, MutableMapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from monitor.ingest.brokers import Trouble
from monitor.runtime.table import Table

if TYPE_CHECKING:
    from rocksdict import Rdict

FRESH_FOR: Final = timedelta(hours=12)
"""Half of what brokers keep the marks of deleted keys for, by default (`delete.retention.ms`)."""
_PLACE: Final = b""
"""The key under which it is written how far this is; no cell has it."""
_BUFFER_BYTES: Final = 8 * 2**20
"""What each of the partitions gathers in memory before it is written in order, twice."""
_CACHE_BYTES: Final = 16 * 2**20
_MOST_FILES: Final = 100


class _Place(msgspec.Struct, array_like=True):
    """How far the cells on disk are."""

    next: int
    at: datetime
    """When they were the last of all."""


class DiskTable(Table):
    """The table of a partition in a directory of its own. `close` it before it is opened again."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        """Raises `Trouble` where another process has it open."""
        super().__init__()
        self._now = now
        db = _opened(folder)
        found = db.get(_PLACE)
        place = None if found is None else msgspec.json.decode(found, type=_Place)
        if place is not None and timedelta(0) <= now() - place.at < FRESH_FOR:
            self.next = place.next
        elif place is not None:  # what was deleted meanwhile may be alive in it
            db.close()
            shutil.rmtree(folder)
            db = _opened(folder)
        self._db: Rdict | None = db
        self.cells = self._cells = _Cells(db)

    def keep(self, cells: Mapping[bytes, bytes | None], next_one: int) -> None:
        if self._db is None:
            return
        from rocksdict import WriteBatch  # noqa: PLC0415 - only who uses it needs to have it

        batch = WriteBatch(raw_mode=True)
        for key, value in cells.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self.next = max(self.next, next_one)
        batch.put(_PLACE, msgspec.json.encode(_Place(self.next, self._now())))
        self._db.write(batch)

    def written(self, cells: Mapping[bytes, bytes | None], next_one: int) -> None:
        self.keep(cells, next_one)
        self._cells.settle(cells)

    def clear(self) -> None:
        for key in list(self.cells):
            del self.cells[key]
        self.next = 0
        self.keep(self._cells.ahead, 0)
        self._cells.ahead.clear()

    def close(self) -> None:
        """Let go of the directory; the cells are empty from now on."""
        if self._db is None:
            return
        with suppress(Exception):  # a disk that is full has not kept all; what is missing is read again
            self.keep({}, self.next)
        self._cells.forget()
        self._db.close()
        self._db = None


class _Cells(MutableMapping[bytes, bytes]):
    """What is on disk, and over it what is not there yet."""

    def __init__(self, db: Rdict) -> None:
        self._db: Rdict | None = db
        self.ahead: dict[bytes, bytes | None] = {}
        """None: the key goes."""

    def settle(self, cells: Mapping[bytes, bytes | None]) -> None:
        """These are on disk now."""
        for key, value in cells.items():
            if key in self.ahead and self.ahead[key] is value:
                del self.ahead[key]

    def forget(self) -> None:
        """Hold nothing any more."""
        self._db = None
        self.ahead.clear()

    def __getitem__(self, key: bytes) -> bytes:
        value = self.ahead[key] if key in self.ahead else self._lasting(key)
        if value is None:
            raise KeyError(key)
        return value

    def _lasting(self, key: bytes) -> bytes | None:
        return None if self._db is None else self._db.get(key)

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.ahead[key] = value

    def __delitem__(self, key: bytes) -> None:
        self[key]
        self.ahead[key] = None

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """All cells, in no order."""
        ahead = dict(self.ahead)
        for key, value in self._db.items() if self._db is not None else ():
            assert isinstance(key, bytes)
            if key != _PLACE and key not in ahead:
                yield key, value
        for key, value in ahead.items():
            if value is not None:
                yield key, value

    def items(self) -> ItemsView[bytes, bytes]:
        return _Items(self)

    def __iter__(self) -> Iterator[bytes]:
        return (key for key, _ in self.pairs())

    def __len__(self) -> int:
        return sum(1 for _ in self.pairs())


class _Items(ItemsView[bytes, bytes]):
    """Read in one go, not key by key."""

    _mapping: _Cells

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return self._mapping.pairs()


def _opened(folder: Path) -> Rdict:
    """Raises `Trouble` where another process has it open; what cannot be read is thrown away, for it is only a copy."""
    from rocksdict import (  # noqa: PLC0415 - only who uses it needs to have it
        BlockBasedOptions,
        Cache,
        Options,
        Rdict,
    )

    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(_CACHE_BYTES))
    blocks.set_bloom_filter(10, block_based=False)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_write_buffer_size(_BUFFER_BYTES)
    options.set_max_open_files(_MOST_FILES)
    options.set_max_log_file_size(2**20)
    options.set_keep_log_file_num(1)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return Rdict(str(folder), options)
    except Exception as error:
        if "lock" in str(error).lower():
            raise Trouble(
                f"{folder} is in use by another worker; each needs a directory of its own"
            ) from error
        shutil.rmtree(folder)
        return Rdict(str(folder), options)
