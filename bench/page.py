"""docs/reference/performance.md: the table, with what it was measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.decode import BASE, Plain
from bench.log import Log
from bench.measure import Taken
from bench.plan import DISORDER, named
from bench.sections import processor
from bench.table import Section, markdown

INTRODUCTION = """# Performance

How fast `handoff replay` is, in ratios, which change less from machine to machine than speeds do: the base is the typed decode of msgspec, one pass over the same file that
does nothing else. `make bench` measures all of it again and writes this page; the code is in [bench/](../../bench/).

Every measure is a process of its own; the measures are taken in turn, in several rounds, and the best of each counts. Times are those of
the processor, but where more than one process or thread is at work: those are by the clock. Where many logs are compared, for places and
for disorder, they are a fifth as long as the log below, and of the same shape. *Must* and *goal* are
the budgets that the project has set itself; a ratio beside a budget is **no** where not even the first is kept.
"""

PEERS = """## Others

Each computes the verdicts of the rules that it can express, over the same log or a shorter one of the same shape, and each verdict is compared
with ours. Beside DuckDB and Polars stands `handoff replay --jobs 2`, by the clock; beside the rest our replay, in one process, of the rules that they cover. None
of them here handles a cancel, a correction, a duplicate or a merge, and but for the script none raises alerts: the log of this comparison is in
perfect order. The code of each is in [bench/peers/](../../bench/peers/).
"""


MISSED = """## What is not kept, and why

- **Replay in one process.** A fifth to a quarter of the time makes the events: our decode takes twice the base, for it checks times and keys and keeps what it
  made. The rest is the life of cases, 0.4 an event: a fact in its place, a case opened and answered, a verdict told; some forty small objects an
  event in all, and memory that is cold by the time it is needed. The scripts beside us keep no facts, so they cannot take a cancel or a late event. Compiling the engine, the forms and the patterns with mypyc, from the
  same sources, took a quarter off the engine's share and a sixth off the whole, and Cython less than a tenth. For that every build would need a C compiler and
  every structure a module of its own, so neither is used.
- **Two processes.** Reading is not divided, and a process that is forked copies the pages of every event that it touches. What one process
  needs has become smaller faster than what the second can take off it.
- **A million open journeys.** What an event touches is then in no cache of the processor: half more time than with a thousand.
- **Memory of an open journey.** While events come, a journey holds them as decoded, with what the rules have made of them. `Engine.fold` packs those
  that are quiet, as nearly all are at any moment, and unfolds them when something comes or falls due: about 0.2 ms each way.
"""


def page(known: str, found: Iterable[Section], exact: str, minutes: float) -> str:
    """The whole page."""
    when = f"Measured on {datetime.now(UTC):%Y-%m-%d}, in {minutes:.0f} minutes.\n"
    return "\n".join([INTRODUCTION, when, known, markdown(found), MISSED, PEERS, exact])


def facts(folder: Path, log: Log, taken: Mapping[str, Taken]) -> str:
    """The machine, the log and the base in numbers, a line each."""
    base = taken[f"decode {BASE}"]
    compiled = any(each.facts.get("compiled") for each in taken.values())
    cases = [each.facts["cases"] / each.events for name, each in taken.items() if name == "rules 10"]
    lines = [
        f"machine: {os.cpu_count()} cores, {processor()}, {platform.system()}",
        f"Python {platform.python_version()}; the core is {'compiled' if compiled else 'not compiled'}",
        f"log: {log_facts(folder / 'log', log)}" + "".join(f", {each:.2f} cases an event" for each in cases),
        f"the base: {1 / base.each:,.0f} events a second here",
    ]
    disorderly = folder / named(*DISORDER[-1], "log")
    if disorderly.exists():
        late, cancels = disorder_of(disorderly)
        lines.append(
            f"the log with disorder and cancels: {late:.1%} of its lines come after what happened later in "
            f"their journey, {cancels:.1%} are cancels"
        )
    return "".join(f"- {each}\n" for each in lines)


def log_facts(path: Path, log: Log) -> str:
    """The log in numbers."""
    events = _events(path)
    patients = {event.patient for event in events}
    return (
        f"{len(events):,} events of {len(patients):,} journeys from seed {log.seed}, "
        f"{path.stat().st_size / len(events):.0f} bytes a line, {log.open_journeys:,} journeys open at a time"
    )


def disorder_of(path: Path) -> tuple[float, float]:
    """The share of lines that tell of what happened before something told already, but for cancels; that of cancels."""
    latest: dict[str, datetime] = {}
    late = cancels = 0
    events = _events(path)
    for event in events:
        if event.type.startswith("cancel_"):
            cancels += 1
        elif event.occurred_at < latest.get(event.patient, event.occurred_at):
            late += 1
        else:
            latest[event.patient] = event.occurred_at
    return late / len(events), cancels / len(events)


def _events(path: Path) -> list[Plain]:
    decode = msgspec.json.Decoder(Plain).decode
    with path.open("rb") as lines:
        return [decode(line) for line in lines]
