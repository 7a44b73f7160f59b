"""Kinds of arguments that several commands take."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from monitor.core.event import EARLIEST, LATEST


def moment(text: str) -> datetime:
    """A time with an offset, in UTC."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None and EARLIEST <= found < LATEST:
            return found.astimezone(UTC)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"`{text}` is not a time with an offset, such as 2024-05-01T00:00:00Z")
