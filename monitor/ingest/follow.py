"""Files that grow, and directories into which files are put: what is new in them is taken over, and nothing twice after a restart."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from time import monotonic
from typing import BinaryIO, Final, NamedTuple, TypeVar

import msgspec

from monitor.core.place import Registry
from monitor.ingest.files import is_hidden
from monitor.ingest.growing import Kind, kind_of, read
from monitor.ingest.intake import Intake, Message, NotTaken, Position
from monitor.ingest.moments import moments

T = TypeVar("T")

OnProblem = Callable[[str, str], None]
"""Told a file and why it cannot be read: once, until that changes."""

_PIECE: Final = 1 << 18
_LARGEST: Final = 1 << 24
"""Bytes that are looked through for the end of a message."""
_HEAD: Final = 1024
"""Bytes at the beginning by which a file is known again."""
_RETRY_SECONDS: Final = 1.0
_RESPITE: Final = 9
"""How many times longer than a look into a large directory the pause after it is."""
_TOO_LONG_SECONDS: Final = 60.0
_UNFINISHED: Final = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp", "~")
_COMPRESSED: Final = (".gz", ".zip", ".bz2", ".xz", ".zst")


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a file has been read, and what tells it from another of its name."""

    offset: int = 0
    number: int = 0
    """Of the last line or message before it."""
    inode: int = 0
    head: int = 0
    """The length of the beginning of which `digest` is."""
    digest: str = ""


async def follow(
    path: str,
    intake: Intake,
    on_problem: OnProblem,
    *,
    every_seconds: float = 0.5,
    rest_seconds: float = 1.0,
) -> None:
    """Take over what is written to a file, or put into a directory, from where it was left off. Never ends.

    A file is read on as it grows: whole messages at once, the last one when nothing was added for `rest_seconds`. It may be
    cut, written anew, or renamed away while another takes its place: what is left of the old one is read first. Files
    of a directory are read once they have rested. Hidden ones and those whose names say that they are not finished are
    left alone.
    """
    following = _Following(path, intake, on_problem, rest_seconds)
    try:
        async for _ in moments([path], every_seconds):
            took_seconds = await following.look()
            await asyncio.sleep(_RESPITE * took_seconds)
    finally:
        following.close()


class _Following:
    """The files at one path, each as far as it has been read."""

    def __init__(self, path: str, intake: Intake, on_problem: OnProblem, rest_seconds: float) -> None:
        self._path = path
        self._intake = intake
        self._on_problem = on_problem
        self._rest_seconds = rest_seconds
        self._files: dict[str, _File] = {}
        self._told: dict[str, str] = {}
        """By file, why it cannot be read."""

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    async def look(self) -> float:
        """Take over all that is new; returns how long it took to see what is."""
        began = monotonic()
        missing = None
        try:
            found = await asyncio.to_thread(_files_at, self._path)
        except OSError as error:
            missing = error.strerror or str(error)
            self._tell(self._path, missing)
            found = [seen for file in self._files.values() if (seen := file.held()) is not None]
        for gone in self._files.keys() - {each.path for each in found}:
            self._files.pop(gone).close()
        now = monotonic()
        for each in found:
            file = self._files.get(each.path) or await self._begin(each.path)
            problem = None
            if file.is_ready(each, now):
                try:
                    await _take_all(file, each, self._intake)
                except OSError as error:
                    problem = error.strerror or str(error)
            self._tell(each.path, problem or file.problem or missing)
        return now - began

    async def _begin(self, path: str) -> _File:
        remembered = await _tried_again(lambda: self._intake.position(_name(path)))
        file = _File(path, _place(remembered), self._rest_seconds, is_put=path != self._path)
        self._files[path] = file
        return file

    def _tell(self, path: str, why: str | None) -> None:
        before = self._told.get(path)
        if why is None:
            self._told.pop(path, None)
        elif why != before:
            self._told[path] = why
            self._on_problem(path, why)


def _place(remembered: str | None) -> Place:
    try:
        return Place() if remembered is None else msgspec.json.decode(remembered, type=Place)
    except msgspec.MsgspecError:
        return Place()  # repeats change nothing


async def _take_all(file: _File, seen: _Seen, intake: Intake) -> None:
    """Hand over what is new in a file, piece by piece; what is not taken now is tried again."""
    while True:
        piece = await asyncio.to_thread(file.next, seen, intake.registry)
        if piece is None:
            return
        messages, place = piece
        position = Position(_name(file.path), msgspec.json.encode(place).decode())
        await _tried_again(partial(intake.take, messages, position))
        file.place = place


async def _tried_again(ask: Callable[[], Awaitable[T]]) -> T:
    """What comes of asking for it, however often it takes until the store is there."""
    while True:
        try:
            return await ask()
        except NotTaken:
            await asyncio.sleep(_RETRY_SECONDS)


def _name(path: str) -> str:
    return f"file:{path}"


class _Seen(NamedTuple):
    """A file as a look found it."""

    path: str
    size: int
    changed_at: int
    inode: int


def _files_at(path: str) -> list[_Seen]:
    """The file itself, or those in a directory that are to be read, oldest first. Raises `OSError`."""
    found = os.stat(path)  # noqa: PTH116 - it keeps the path as it was given
    if not stat.S_ISDIR(found.st_mode):
        return [_seen(path, found)]
    return sorted(_below(Path(path)), key=lambda each: (each.changed_at, each.path))


def _below(folder: Path) -> Iterator[_Seen]:
    for each in folder.rglob("*"):
        if is_hidden(each, folder) or each.name.lower().endswith(_UNFINISHED):
            continue
        try:
            found = each.stat()
        except OSError:
            continue  # it has just been moved away
        if stat.S_ISREG(found.st_mode):
            yield _seen(str(each), found)


def _seen(path: str, found: os.stat_result) -> _Seen:
    return _Seen(path, found.st_size, found.st_mtime_ns, found.st_ino)


class _File:
    """One file: how far it was read, and, where it may be renamed away, a hold on it."""

    def __init__(self, path: str, place: Place, rest_seconds: float, *, is_put: bool) -> None:
        """`is_put`: it was put into a directory, and is whole once it rests."""
        self.path = path
        self.place = place
        self.problem: str | None = None
        self._rest_seconds = rest_seconds
        self._is_put = is_put
        self._file: BinaryIO | None = None
        self._kind: Kind | None = None
        self._may_be_renamed = not is_put and place.offset > 0
        self._last: _Seen | None = None
        self._done: _Seen | None = None
        self._changed_at = self._unrest_at = 0.0
        self._at_rest = True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def held(self) -> _Seen | None:
        """What is there of a file whose name has gone; None where we have no hold on it."""
        return None if self._file is None else _seen(self.path, os.fstat(self._file.fileno()))

    def is_ready(self, seen: _Seen, now: float) -> bool:
        """Whether there may be something to read, without looking into it."""
        if self._last != seen:
            if self._at_rest:
                self._unrest_at = now
            self._last, self._changed_at = seen, now
        self._at_rest = now - self._changed_at >= self._rest_seconds
        if not self._is_put:
            return True
        self.problem = None
        if seen.path.lower().endswith(_COMPRESSED):
            self.problem = "compressed files are not followed"
        elif not self._at_rest and now - self._unrest_at > _TOO_LONG_SECONDS:
            self.problem = "it does not come to rest; name a file that grows under a `path` of its own"
        return self._at_rest and self.problem is None and seen != self._done

    def next(self, seen: _Seen, registry: Registry) -> tuple[list[Message], Place] | None:
        """The next messages and where they end; None when there is nothing new. `place` is for the caller to move."""
        file = self._opened()
        held = os.fstat(file.fileno())
        is_left = held.st_ino != seen.inode  # renamed away, or written anew: nothing will be added to it
        if held.st_size < self.place.offset or not _is_same(file, self.place):
            self.place, self._kind = Place(), None
        piece = self._piece(file, registry, is_all=is_left or self._is_put)
        if piece is None and is_left:
            self.close()
            return self.next(seen, registry)
        if piece is None and self._is_put:
            self.close()
            self._done = seen
        return piece

    def _opened(self) -> BinaryIO:
        """The file; after a restart the one that was read last, if it was renamed while we were away."""
        if self._file is None:
            file: BinaryIO = open(self.path, "rb")  # noqa: SIM115, PTH123 - it stays open, so that it can be read on when it is renamed
            if self._may_be_renamed and not _is_same(file, self.place):
                renamed = _renamed(self.path, self.place)
                if renamed is not None:
                    file.close()
                    file = renamed
            self._may_be_renamed = False
            self._file = file
        return self._file

    def _piece(
        self, file: BinaryIO, registry: Registry, *, is_all: bool
    ) -> tuple[list[Message], Place] | None:
        wanted = _PIECE
        while True:
            file.seek(self.place.offset)
            data = file.read(wanted)
            is_end = len(data) < wanted
            kind = self._kind_of(file, is_all=is_end and (is_all or self._at_rest))
            if not data or kind is None:
                return None
            piece = read(
                data,
                kind,
                registry,
                self.path,
                self.place.number,
                is_all=(is_all and is_end) or len(data) >= _LARGEST,
                at_rest=self._at_rest and is_end,
            )
            if piece.size:
                return piece.messages, self._place_after(file, piece.size, piece.number)
            if is_end:
                return None
            wanted *= 4

    def _kind_of(self, file: BinaryIO, *, is_all: bool) -> Kind | None:
        if self._kind is None:
            file.seek(0)
            self._kind = kind_of(file.read(_PIECE), is_all=is_all)
        return self._kind

    def _place_after(self, file: BinaryIO, size: int, number: int) -> Place:
        offset = self.place.offset + size
        head = min(offset, _HEAD)
        return Place(offset, number, os.fstat(file.fileno()).st_ino, head, _digest(file, head))


def _digest(file: BinaryIO, length: int) -> str:
    file.seek(0)
    return blake2b(file.read(length), digest_size=12).hexdigest()


def _is_same(file: BinaryIO, place: Place) -> bool:
    """Whether a file begins as the one that was read so far, whatever its name or number now."""
    return place.head == 0 or _digest(file, place.head) == place.digest


def _renamed(path: str, place: Place) -> BinaryIO | None:
    """The file that was read last, if it lies beside its old name under another one."""
    for each in Path(path).parent.iterdir():
        try:
            if each.stat().st_ino == place.inode and each.is_file():
                file = each.open("rb")
                if _is_same(file, place):
                    return file
                file.close()
        except OSError:
            continue
    return None
