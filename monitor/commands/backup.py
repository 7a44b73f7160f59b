"""`handoff backup`: a copy of what the service keeps, while it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from monitor.commands.streams import FINE, UNABLE, Failed, Streams
from monitor.runtime.backup import backup
from monitor.runtime.database import FILE, StoreError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--data", required=True, metavar="DIR", help="the data directory of the service")
    parser.add_argument("target", metavar="TARGET", help="the new file to write")


def run(args: argparse.Namespace, streams: Streams) -> int:
    """Copy, check the copy, and say how large it is."""
    target = Path(args.target)
    if target.is_dir():
        raise Failed(UNABLE, f"{target} is a directory; name a new file")
    try:
        size = backup(Path(args.data), target)
    except StoreError as error:
        raise Failed(UNABLE, str(error)) from error
    streams.print(
        f"{target}: {_size_text(size)}, read through and sound; to use it, copy it to {FILE} in an empty directory\n"
    )
    return FINE


def _size_text(size: int) -> str:
    if size < 1_000_000:
        return f"{size / 1_000:.0f} kB"
    return f"{size / 1_000_000:,.1f} MB"
