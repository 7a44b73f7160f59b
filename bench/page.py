"""docs/reference/performance.md: the table, with what it was measured on."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.decode import BASE, Plain
from bench.log import Log
from bench.measure import Taken
from bench.table import Section, exactness, markdown

INTRODUCTION = """# Performance

How fast `handoff replay` is, in ratios that hold on any machine: the base is the typed decode of msgspec, one pass over the same file that
does nothing else. `make bench` measures all of it again and writes this page; the code is in [bench/](../../bench/).

Every measure is a process of its own; the measures are taken in turn, in several rounds, and the best of each counts. Times are those of
the processor, but where more than one process or thread is at work: those are by the clock. *Must* and *goal* are
the budgets that the project has set itself; a ratio beside a budget is **no** where not even the first is kept.
"""

PEERS = """## Others

Each computes the verdicts of the rules that it can express, over the same log or a shorter one of the same shape, and each verdict is compared
with ours. Beside DuckDB and Polars stands `handoff replay --jobs 2`, by the clock; beside the rest our replay, in one process, of the rules that they cover. None
of them here handles a cancel, a correction, a duplicate or a merge, and but for the script none raises alerts: the log of this comparison is in
perfect order. The code of each is in [bench/peers/](../../bench/peers/).
"""


def page(path: Path, log: Log, taken: Mapping[str, Taken], found: Iterable[Section], minutes: float) -> str:
    """The whole page."""
    parts = [INTRODUCTION, facts(path, log, taken, minutes), markdown(found), PEERS, exactness(taken)]
    return "\n".join(parts)


def facts(path: Path, log: Log, taken: Mapping[str, Taken], minutes: float) -> str:
    """What was measured, when, and on what machine."""
    base = taken[f"decode {BASE}"]
    replay = taken.get("replay") or taken.get("program")
    compiled = bool(replay and replay.facts.get("compiled"))
    cases = next(
        (each.facts["cases"] / each.events for each in taken.values() if "cases" in each.facts), None
    )
    lines = [
        f"- measured: {datetime.now(UTC):%Y-%m-%d}, in {minutes:.0f} minutes",
        f"- machine: {os.cpu_count()} cores, {_processor()}, {platform.system()}",
        f"- Python {platform.python_version()}; the core is {'compiled' if compiled else 'not compiled'}",
        f"- log: {log_facts(path, log)}" + (f"; {cases:.2f} cases an event" if cases else ""),
        f"- the base: {1 / base.each:,.0f} events a second here",
    ]
    return "\n".join(lines) + "\n"


def log_facts(path: Path, log: Log) -> str:
    """The log in numbers."""
    decode = msgspec.json.Decoder(Plain).decode
    types: Counter[str] = Counter()
    patients: set[str] = set()
    with path.open("rb") as lines:
        for line in lines:
            event = decode(line)
            types[event.type] += 1
            patients.add(event.patient)
    size = path.stat().st_size / types.total()
    return (
        f"{types.total():,} events of {len(patients):,} journeys from seed {log.seed}, {size:.0f} bytes a line, "
        f"{log.open_journeys:,} journeys open at a time"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), "unknown")
