"""Where commands read and write: the three streams, files of results, a bar of progress, and how a command ends early."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from monitor.ingest.files import STDIN

FINE: Final = 0
PROBLEMS: Final = 1
USAGE: Final = 2
UNABLE: Final = 3
INTERRUPTED: Final = 130


_LONG: Final = 20_000
"""Events from which on a progress bar is worth its line."""
_AT_ONCE: Final = 500
"""Lines that are written together."""


class Streams(NamedTuple):
    """Where a command reads and writes."""

    stdin: BinaryIO
    stdout: TextIO
    stderr: TextIO

    def say(self, text: str) -> None:
        """Tell the user something that is no result."""
        self.note(f"handoff: {text}\n")

    def note(self, text: str) -> None:
        """Write to stderr; what cannot be written there is lost, and nothing else is."""
        with suppress(OSError):
            self.stderr.write(text)

    def print(self, text: str) -> None:
        """Write a part of the result."""
        with _writing("to stdout"):
            self.stdout.write(text)

    def flush(self) -> None:
        """Have the result written so far leave the process."""
        with _writing("to stdout"):
            self.stdout.flush()

    def print_all(self, lines: Iterable[str]) -> None:
        """Write lines of the result, many at a time; those before an error are written too."""
        held: list[str] = []
        try:
            for line in lines:
                held.append(line)
                if len(held) >= _AT_ONCE:
                    text = "".join(held)
                    held.clear()
                    self.print(text)
        finally:
            self.print("".join(held))


@contextmanager
def _writing(where: str) -> Iterator[None]:
    """Names what could not be written; that a reader of ours has gone is told by `BrokenPipeError`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failed(UNABLE, f"cannot write {where}: {error.strerror}") from error


class Failed(Exception):  # noqa: N818 - a command that ends early, with its exit code
    """The command cannot go on; `code` is its exit code, and what is to be said has a text."""

    def __init__(self, code: int, text: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@contextmanager
def progress_bar(total: int, streams: Streams) -> Iterator[Callable[[int], None]]:
    """A bar on stderr for a long input, where that is a terminal."""
    if total < _LONG or not streams.stderr.isatty():
        yield lambda _events: None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=streams.stderr)
    # without `auto_refresh`, since that is a thread, which a fork must not meet
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("events", total=total)
        yield lambda events: bar.update(task, advance=events, refresh=True)


def check_can_write(option: str, path: str, inputs: Iterable[str], streams: Streams) -> None:
    """Ends a command before its work where the file of an option could not be written after it, or is one that it reads."""
    target = Path(path).resolve()
    why = None
    if target.is_dir():
        why = os.strerror(errno.EISDIR)
    elif not target.parent.is_dir():
        why = os.strerror(errno.ENOENT)
    elif not os.access(target if target.exists() else target.parent, os.W_OK):
        why = os.strerror(errno.EACCES)
    if why is not None:
        raise Failed(UNABLE, f"cannot write {path}: {why}")
    if not target.is_file():
        return
    for each in inputs:
        with suppress(OSError):  # it is missing, which is said when it is read, or it is no file
            read_from = os.fstat(streams.stdin.fileno()) if each == STDIN else Path(each).stat()
            if os.path.samestat(target.stat(), read_from):
                raise Failed(USAGE, f"{option} {path} would overwrite what is read from {each}")


def write_file(path: str, lines: Iterable[str], streams: Streams) -> None:
    """Write a file, which takes the place of an older one when all is in it; devices and pipes are written as they are."""
    if _is_stdout(path, streams):
        streams.print_all(lines)
        return
    with _writing(path):
        if not _is_device(path):
            _replace(Path(path).resolve(), lines)
            return
        with Path(path).open("a", encoding="utf-8") as device:
            device.writelines(lines)


def _is_stdout(path: str, streams: Streams) -> bool:
    try:
        return os.path.samestat(Path(path).stat(), os.fstat(streams.stdout.fileno()))
    except OSError:
        return False


def _is_device(path: str) -> bool:
    """Also `/dev/stderr` and its like, which may lead to a file that others write."""
    return path.startswith("/dev/") or (Path(path).exists() and not Path(path).is_file())


def _replace(target: Path, lines: Iterable[str]) -> None:
    part = target.with_name(f".handoff-{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.writelines(lines)
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
