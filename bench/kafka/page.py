"""The section on Kafka in docs/reference/performance.md."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from bench.live.page import PAGE
from bench.live.table import Section, markdown
from bench.sections import machine, replaced

__all__ = ["HEADING", "PAGE", "written"]

HEADING = "## On Kafka\n"

INTRODUCTION = """
`make bench-kafka` measures `handoff worker` and `handoff ingest` beside a Kafka of one broker, all on the same machine: broker, workers and those who send share its
cores, so that these figures say how the parts compare, and what one machine does that is all of it. The journeys and the rules are those of the live service. The
code is in [bench/kafka/](../../bench/kafka/).
"""

REMARKS = """### What these figures depend on

- **One worker** is one processor's work, and so is the broker: on two cores a second worker has only what the broker leaves. The topic is filled while the workers stand still.
- **A worker that starts** reads the table of its partitions, and lives only those journeys again in which something was due since they were written. Other
  rules mean that all are lived again, some half a millisecond each; meanwhile events are judged.
- **Taking over** from a worker that was killed begins when the brokers have missed it for a session; one that is stopped in order hands over at once.
"""


def written(page: str, found: Iterable[Section], minutes: float) -> str:
    """The page with this section in the place of the one that was there."""
    when = f"Measured on {datetime.now(UTC):%Y-%m-%d}, in {minutes:.0f} minutes; {machine()}.\n"
    return replaced(page, HEADING, "\n".join([HEADING + INTRODUCTION, when, markdown(found), REMARKS]))
