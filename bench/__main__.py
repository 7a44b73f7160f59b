"""`make bench`: the budgets of the design, measured in one run, as ratios.

    python -m bench [EVENTS] [--quick] [--only GROUP ...] [--page FILE]

Prints a table; a whole run, of a million events and all groups, also writes docs/reference/performance.md. Beside the
packages of the group `bench`, Flink is fetched (some 300 MB, once) where there is a Java; without, its line is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from bench.live.page import own
from bench.measure import take_all
from bench.page import facts, page
from bench.plan import GROUPS, log_of, plan
from bench.table import Results, exactness, sections, text

EVENTS = 1_000_000
QUICK = 100_000
PAGE = Path(__file__).parents[1] / "docs" / "reference" / "performance.md"


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("events", nargs="?", type=int)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} events, fewer rounds")
    parser.add_argument("--only", nargs="+", choices=GROUPS, metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--page", type=Path, help=f"where to write the page; of a whole run {PAGE.name}")
    args = parser.parse_args()
    events = args.events or (QUICK if args.quick else EVENTS)
    rounds = args.rounds or 2
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        todo = plan(folder, events, rounds, set(args.only or GROUPS))
        for log, what in todo.logs.items():
            say(f"log: {log}")
            try:
                what.write(folder / log)
            except RuntimeError as error:  # what is measured on it will be missing from the table
                say(f"log: {log}: not written: {error}")
        taken = take_all(todo.tasks, say)
        found = sections(Results(taken))
        known = facts(folder, log_of(events), taken)
    print(f"{known}\n{text(found)}\n{exactness(taken)}")
    is_whole = events == EVENTS and not args.only
    target = args.page or (PAGE if is_whole else None)
    if target is not None:
        minutes = (time.perf_counter() - started) / 60
        live = own(PAGE.read_text())  # which `python -m bench.live` writes
        target.write_text(page(known, found, exactness(taken), minutes) + live)


def say(what: str) -> None:
    """Progress, for who waits."""
    print(what, file=sys.stderr, flush=True)


main()
