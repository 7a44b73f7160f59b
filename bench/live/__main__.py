"""`make bench-live`: the live service under load, in absolute figures and beside what is bare, in about five minutes.

    python -m bench.live [--only PART ...] [--journeys N] [--folder DIR] [--page FILE]

Prints a table; a whole run also writes its section of docs/reference/performance.md. The data directory lies below
`--folder` (default: build/), which should be on the disk that is meant.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from bench.live import intake, open_cases
from bench.live.page import PAGE, written
from bench.live.table import text

PARTS = ("intake", "cases")


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.live", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--journeys", type=int, default=open_cases.JOURNEYS)
    parser.add_argument("--folder", type=Path, default=Path("build"))
    parser.add_argument("--page", type=Path, help=f"where to write the section; of a whole run {PAGE.name}")
    args = parser.parse_args()
    args.folder.mkdir(exist_ok=True)
    began = time.perf_counter()
    found = []
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        if "intake" in args.only:
            found += intake.measured(Path(name) / "intake")
        if "cases" in args.only:
            found += open_cases.measured(Path(name) / "cases", args.journeys)
    print(text(found))
    is_whole = set(args.only) == set(PARTS) and args.journeys == open_cases.JOURNEYS
    page = args.page or (PAGE if is_whole else None)
    if page is not None:
        page.write_text(written(page.read_text(), found, (time.perf_counter() - began) / 60))


main()
