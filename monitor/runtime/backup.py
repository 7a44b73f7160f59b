"""A copy of a data directory's database, while the service runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from monitor.runtime.database import FILE, Connection, StoreError, check_version, connect, create, explained


def backup(folder: Path, target: Path) -> int:
    """Copy all that is in a data directory at this moment into one new file; returns its size in bytes.

    The copy is read through before it gets its name. To use it, put it into an empty directory as `handoff.sqlite`.
    Raises `StoreError`, also when the target exists.
    """
    path = folder / FILE
    with explained("read", path), closing(connect(path, only_reads=True)) as source:
        check_version(source, path)
        with explained("write", target), _new(target) as part:
            _copy(source, path, part)
    return target.stat().st_size


@contextmanager
def _new(target: Path) -> Iterator[Path]:
    """Where to write what becomes a new file, and never takes the place of another."""
    try:
        create(target)
    except FileExistsError:
        raise StoreError("in-use", f"{target} exists already; name a new file") from None
    part = target.with_name(f".{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        create(part)
        yield part
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
        raise


def _copy(source: Connection, path: Path, part: Path) -> None:
    copy = connect(part)
    try:
        source.backup(copy)  # in one piece: in several, each write of the service would make it begin again
        copy.execute("PRAGMA journal_mode = DELETE")  # so that it is one file
        if copy.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
            raise StoreError(
                "corrupt", f"{path} is damaged, and so is its copy; use the last backup that is not"
            )
    finally:
        copy.close()
    with part.open("r+b") as file:
        os.fsync(file.fileno())
