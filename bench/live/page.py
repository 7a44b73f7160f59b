"""The section on the live service in docs/reference/performance.md."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from bench.live.table import Section, markdown
from bench.sections import replaced

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "performance.md"
HEADING = "## The live service\n"

INTRODUCTION = """
`make bench-live` measures `handoff run` as its users start it: one process over a data directory on a real disk, with those who send in processes of
their own, on the same two cores, and with everything that they send made before the time is taken. Beside the figures stand what the same
minutes gave without the service: a loop that commits one row at a time to SQLite as durably (`synchronous = FULL`), an MLLP server that only answers, a
typed decode of the same lines. Of measures that were taken several times the median is shown. The code is in [bench/live/](../../bench/live/).
"""

REMARKS = """### What these figures depend on

- **Messages over MLLP** wait for the disk: while one batch is made durable the next gathers, so with eight senders, each waiting for its acknowledgment, some four share
  a commit, and their rate is four times that of bare commits at best. The more is outstanding, the more share one; then the processor is what they wait for.
- **Many alerts in one second** go out one request a notice by webhook, at a few milliseconds of the processor each, most of it the HTTP client's; Alertmanager is told of many at once.
- **Other rules** mean that each journey is lived again, some half a millisecond each; messages wait meanwhile. A start under other rules takes as long.
- **Journeys in memory** are at most some thousands; the others are on disk alone, and read when something comes for them or falls due. After `kill -9` those that were in memory are lived again.
"""


def written(page: str, found: Iterable[Section], minutes: float) -> str:
    """The page with this section in the place of the one that was there."""
    when = f"Measured on {datetime.now(UTC):%Y-%m-%d}, in {minutes:.0f} minutes.\n"
    return replaced(page, HEADING, "\n".join([HEADING + INTRODUCTION, when, markdown(found), REMARKS]))


def own(page: str) -> str:
    """The section as it stands in the page, and those that follow it; empty if there is none."""
    _, found, section = page.partition("\n" + HEADING)
    return found + section
