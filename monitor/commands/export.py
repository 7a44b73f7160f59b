"""`handoff export`: what a service has recorded, as events that a replay takes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from itertools import takewhile
from pathlib import Path

from monitor.commands.auditing import note
from monitor.commands.streams import FINE, UNABLE, Failed, Streams
from monitor.core.chart import arrival
from monitor.core.event import Event, moment_text
from monitor.formats import canonical
from monitor.runtime.database import StoreError
from monitor.runtime.reader import Reader
from monitor.runtime.recorded import recorded


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--data", required=True, metavar="DIR", help="the data directory of the service")


def run(args: argparse.Namespace, streams: Streams) -> int:
    """Print the facts with their arrivals, and when each source was heard; a replay of them tells what the service told."""
    folder = Path(args.data)
    try:
        with closing(Reader(folder)) as reader:
            note(folder, "export", "all events")
            heard, clock = reader.heard(), reader.clock()
            if clock is None:
                raise Failed(UNABLE, f"{args.data} holds no events yet")
            streams.print_all(map(_line, _until(clock, recorded(reader.events(), heard))))
    except StoreError as error:
        raise Failed(UNABLE, str(error)) from error
    streams.flush()
    now = moment_text(clock)
    streams.say(f"the clock of the service stands at {now}: replay with --until {now}")
    return FINE


def _until(clock: datetime, events: Iterator[Event]) -> Iterator[Event]:
    """A service that runs goes on recording; what comes after the clock is left out."""
    return takewhile(lambda event: arrival(event) <= clock, events)


def _line(event: Event) -> str:
    return canonical.encode(event).decode() + "\n"
