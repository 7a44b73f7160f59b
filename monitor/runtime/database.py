"""The database file of a data directory: how it is opened, who may write to it, and what is said when it fails."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from monitor.runtime.schema import APPLICATION, MIGRATIONS

Connection = sqlite3.Connection
Row = tuple[Any, ...]

FILE: Final = "handoff.sqlite"
_LOCK: Final = "lock"

Kind = Literal[
    "full",
    "read-only",
    "locked",
    "corrupt",
    "not-a-database",
    "newer",
    "in-use",
    "disk",
    "gone",
    "slow",
    "fault",
]


class StoreError(Exception):
    """The store cannot do what was asked. The text says what, where and what to do, and nothing of what is in it."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        """A short stable word, for counting."""


_WHY: Final[dict[int, tuple[Kind, str]]] = {
    sqlite3.SQLITE_FULL: ("full", "the disk is full; free some space, nothing else is needed"),
    sqlite3.SQLITE_READONLY: ("read-only", "it cannot be written; see who owns the directory and its files, and whether the disk is mounted read-only"),
    sqlite3.SQLITE_PERM: ("read-only", "it may not be opened; see who owns the directory and its files"),
    sqlite3.SQLITE_CANTOPEN: ("gone", "it cannot be opened; see whether the directory is there, and who owns it and its files"),
    sqlite3.SQLITE_BUSY: ("locked", "another program holds it locked; end that program"),
    sqlite3.SQLITE_LOCKED: ("locked", "another program holds it locked; end that program"),
    sqlite3.SQLITE_CORRUPT: ("corrupt", "it is damaged; stop, keep a copy of the directory, and put the last backup in its place"),
    sqlite3.SQLITE_NOTADB: ("not-a-database", "it is no database, or damaged at its beginning; put the last backup in its place, or name another directory"),
    sqlite3.SQLITE_INTERRUPT: ("slow", "it took too long; ask for less"),
    sqlite3.SQLITE_IOERR: ("disk", "the disk does not read or write; see whether it is full, over its quota or failing"),
}  # fmt: skip

_LIKE: Final = {
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EACCES: sqlite3.SQLITE_READONLY,
    errno.EPERM: sqlite3.SQLITE_READONLY,
    errno.EROFS: sqlite3.SQLITE_READONLY,
    errno.ENOENT: sqlite3.SQLITE_CANTOPEN,
    errno.ENOTDIR: sqlite3.SQLITE_CANTOPEN,
}
"""What the system says, and how SQLite would say it."""


@contextmanager
def explained(doing: str, path: Path) -> Iterator[None]:
    """Says for people what went wrong with a database while something was done."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        kind, why = _WHY.get((code or 0) & 0xFF, ("fault", "this should not happen, please report it"))
        raise StoreError(kind, f"cannot {doing} {path}: {why} ({name})") from error
    except OSError as error:
        kind, why = _WHY[_LIKE.get(error.errno or 0, sqlite3.SQLITE_IOERR)]
        raise StoreError(kind, f"cannot {doing} {path}: {why} ({error.strerror})") from error


def connect(path: Path, *, only_reads: bool = False, busy_seconds: float = 5.0) -> Connection:
    """A connection to a database that exists; it may be used by any one thread at a time.

    Raises `sqlite3.Error`: call it where that is `explained`.
    """
    address = f"file:{quote(str(path))}?mode={'ro' if only_reads else 'rw'}"
    connection = sqlite3.connect(
        address, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # where fsync alone leaves it in the disk's cache (macOS)
        connection.execute("PRAGMA secure_delete = ON")  # of forgotten patients nothing stays in free pages
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `checkpoint`
        connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
        _refuse_foreign(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def create(path: Path) -> None:
    """Make an empty database file that only its owner can read. Raises `OSError`."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def migrate(connection: Connection, path: Path) -> None:
    """Bring the tables to this version. Raises `StoreError` if they are newer, or another program's, and changes nothing then."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StoreError(
            "newer",
            f"{path} was written by a later version of handoff-monitor (tables {version}, this one knows "
            f"{len(MIGRATIONS)}); install that version, or put back the backup made before it",
        )
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        raise _foreign(path)
    connection.execute("PRAGMA journal_mode = WAL")
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {number}; COMMIT"
        )


def check_version(connection: Connection, path: Path) -> None:
    """Raises `StoreError` unless the tables are of this version: for those who only look at a database."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != len(MIGRATIONS):
        raise StoreError(
            "newer",
            f"{path} has tables of version {version}, this program knows {len(MIGRATIONS)}; use the version of "
            "handoff-monitor that runs the service",
        )


def _refuse_foreign(connection: Connection, path: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] not in (0, APPLICATION):
        raise _foreign(path)


def _foreign(path: Path) -> StoreError:
    return StoreError("not-a-database", f"{path} is a database of another program; name another directory")


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All of what is done in it is kept, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors have ended it already
            connection.execute("ROLLBACK")
        raise


def size_of(folder: Path) -> int:
    """The bytes of the files in a data directory."""
    size = 0
    with suppress(OSError):  # the directory is gone, which is told elsewhere
        for each in folder.iterdir():
            with suppress(OSError):  # it was just removed
                size += each.stat().st_size
    return size


class Lock:
    """Keeps a second service out of a data directory; the system lets it go when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Raises `StoreError` when another process has it, `OSError` when it cannot be made."""
        self._file = os.fdopen(os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600), "r+b", buffering=0)
        try:
            _lock(self._file.fileno())
        except OSError as error:
            holder = _holder(self._file.read(20))
            self._file.close()
            text = (
                f"{folder} is in use by another `handoff run`{holder}; stop that, or name another directory"
            )
            raise StoreError("in-use", text) from error
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let others have the directory."""
        self._file.close()


if sys.platform == "win32":
    import msvcrt

    _FAR: Final = 1 << 30
    """Locked there, so that others can read the number of the process at the beginning."""

    def _lock(file: int) -> None:
        os.lseek(file, _FAR, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(content: bytes) -> str:
    number = content.decode("ascii", "replace").strip()
    return f" (process {number})" if number.isdigit() else ""


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """An instant as it stands in the tables."""
    return (moment - _EPOCH) // _MICROSECOND


def micros_or_none(moment: datetime | None) -> int | None:
    return None if moment is None else micros(moment)


def instant(number: int) -> datetime:
    """The instant that stands in a table."""
    return _EPOCH + timedelta(microseconds=number)


def storable(value: object) -> object:
    """A value as SQLite takes it: text that is no Unicode (from file names, from JSON) has its odd parts written out."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode()
    return value
