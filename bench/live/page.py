"""The section on the live service in docs/reference/performance.md."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from bench.live.table import Section, markdown

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "performance.md"
HEADING = "## The live service\n"

INTRODUCTION = """
`make bench-live` measures `handoff run` as its users start it: one process over a data directory on a real disk, with those who send in processes of
their own, on the same two cores, and with everything that they send made before the time is taken. Beside the figures stand what the same
minutes gave without the service: a loop that commits one row at a time to SQLite as durably (`synchronous = FULL`), an MLLP server that only answers, a
typed decode of the same lines. Of measures that were taken several times the median is shown. The code is in [bench/live/](../../bench/live/).
"""


def written(page: str, found: Iterable[Section], minutes: float) -> str:
    """The page with this section in the place of the one that was there."""
    when = f"Measured on {datetime.now(UTC):%Y-%m-%d}, in {minutes:.0f} minutes.\n"
    return "\n".join([others(page), HEADING + INTRODUCTION, when, markdown(found)])


def others(page: str) -> str:
    """All of the page but this section, which is its last."""
    return page.partition("\n" + HEADING)[0]


def own(page: str) -> str:
    """The section as it stands in the page; empty if there is none."""
    _, found, section = page.partition("\n" + HEADING)
    return found + section
