"""`make bench-kafka`: workers on a Kafka of one broker, on this machine, in about six minutes.

    python -m bench.kafka [--only PART ...] [--journeys N] [--events N] [--folder DIR] [--page FILE]

Prints a table; a whole run also writes its section of docs/reference/performance.md. Broker and data lie below `--folder` (default: build/).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from bench.kafka import site, speed, standing, ways_in
from bench.kafka.page import PAGE, written
from bench.live.table import Section, text

PARTS = ("speed", "standing", "ways-in")


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.kafka", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--journeys", type=int, default=standing.JOURNEYS)
    parser.add_argument("--events", type=int, default=speed.EVENTS)
    parser.add_argument("--folder", type=Path, default=Path("build"))
    parser.add_argument("--page", type=Path, help=f"where to write the section; of a whole run {PAGE.name}")
    args = parser.parse_args()
    args.folder.mkdir(exist_ok=True)
    began = time.perf_counter()
    found: list[Section] = []
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name).absolute()
        with site.broker(folder) as servers:
            if "speed" in args.only:
                found += speed.measured(folder, servers, args.events)
            if "standing" in args.only:
                found += standing.measured(folder, servers, args.journeys)
            if "ways-in" in args.only:
                found += ways_in.measured(folder, servers)
    print(text(found))
    is_whole = (
        set(args.only) == set(PARTS) and args.journeys == standing.JOURNEYS and args.events == speed.EVENTS
    )
    page = args.page or (PAGE if is_whole else None)
    if page is not None:
        page.write_text(written(page.read_text(), found, (time.perf_counter() - began) / 60))


if __name__ == "__main__":
    main()
