"""Bytewax: a stream processor with a state for each patient; the rules are those of the hand-written script.

Its own timers follow the clock of the machine, not that of the log, so what is due in a journey happens at the
journey's next event, or at the end.
"""

from __future__ import annotations

from typing import Any, Final

import bytewax.operators as op
import orjson
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulLogic
from bytewax.testing import TestingSink, run_main

from bench.measure import Taken, timed
from bench.peers.script import HANDLERS, Case, Watch, seconds

COVERS: Final = "all"


class Clock:
    """The last instant of the log that was read."""

    text: str = ""


class Journey(StatefulLogic[dict[str, Any], Case, None]):
    """The rules over one patient's events; the cases are given out at the end."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.watch = Watch()

    def on_item(self, value: dict[str, Any]) -> tuple[list[Case], bool]:
        self.watch.take(value)
        over = not self.watch.visits and all(timer[2].verdict != "open" for timer in self.watch.timers)
        return (self.watch.cases, StatefulLogic.DISCARD) if over else ([], StatefulLogic.RETAIN)

    def on_eof(self) -> tuple[list[Case], bool]:
        self.watch.advance(seconds(self.clock.text))
        return self.watch.cases, StatefulLogic.DISCARD

    def snapshot(self) -> None:
        """Nothing is kept for recovery."""


def run(path: str) -> tuple[Taken, dict[str, str]]:
    """The dataflow over a log: what it took, and the verdicts."""
    found: list[tuple[str, Case]] = []
    clock = Clock()

    def decode(line: str) -> dict[str, Any]:
        event: dict[str, Any] = orjson.loads(line)
        clock.text = event["recorded_at"]
        return event

    flow = Dataflow("handoffs")
    lines = op.input("lines", flow, FileSource(path))
    events = op.map("decode", lines, decode)
    known = op.filter("known", events, lambda event: event["type"] in HANDLERS)
    of_patient = op.key_on("patient", known, lambda event: event["patient"])
    cases = op.stateful("journeys", of_patient, lambda _state: Journey(clock))
    op.output("cases", cases, TestingSink(found))
    taken, _ = timed(lambda: run_main(flow))
    return taken, {f"{case.rule}:{case.trigger}": case.verdict for _, case in found}
