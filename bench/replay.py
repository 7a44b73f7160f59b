"""Replay against a plain decode of the same file: the budgets, as ratios that hold on any machine.

    python -m bench [EVENTS]

The log is made up from a seed: about 290 bytes a line, about 15 events a journey. The measure is one pass of
msgspec into a struct without our checks. Each figure is the best of three, but for the whole process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.core.rule import CaseRule
from monitor.formats import canonical
from monitor.rulefile.load import load_rules
from monitor.runtime.replay import arrange, replay

EVENTS = 300_000
RULES = Path(__file__).parent / "rules.yaml"
START = datetime(2026, 1, 1, tzinfo=UTC)
UNNAMED = ("vitals", "note", "lab", "medication")
NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Plain(msgspec.Struct, gc=False, rename={"from_": "from"}):
    """An event's fields by their types, and nothing checked beyond."""

    id: str
    type: str
    patient: str
    occurred_at: datetime
    encounter: str | None = None
    recorded_at: datetime | None = None
    from_: str | None = None
    to: str | None = None
    source: str = ""
    attributes: dict[str, str | int | float | bool] = {}


def journey(number: int, chance: Random) -> list[tuple[datetime, str]]:
    """One patient's way from the emergency department to the ward and home, as (time, line)."""
    moment = START + timedelta(seconds=5 * number)
    lines: list[tuple[datetime, str]] = []

    def add(least: float, mean: float, kind: str, to: str | None = None) -> None:
        """Something that happens `least` minutes after what came before, and `mean` more on average."""
        nonlocal moment
        moment += timedelta(minutes=least + (chance.expovariate(1 / mean) if mean else 0))
        fields: dict[str, Any] = {
            "id": f"{number}-{len(lines)}",
            "type": kind,
            "patient": f"P{number:07d}",
            "encounter": f"V{number}",
            "occurred_at": moment.isoformat().replace("+00:00", "Z"),
            "recorded_at": (moment + timedelta(seconds=5)).isoformat().replace("+00:00", "Z"),
            "source": "EPIC/GENERAL-HOSPITAL",
            "attributes": {
                "class": "inpatient",
                "service": "MEDICINE",
                "attending": "A1234",
                "acuity": chance.randint(1, 5),
            },
        }
        if to is not None:
            fields["to"] = to
        lines.append((moment, json.dumps(fields, separators=(",", ":"))))

    def ward() -> str:
        return f"ward-{chance.randint(1, 20)}"

    add(0, 0, "register", "ed")
    add(1, 6, "triage")
    add(5, 0, "vitals")
    add(20, 0, "vitals")
    add(0, 60, "decision_to_admit")
    add(5, 0, "note")
    add(60, 50, "transfer", ward())
    for _ in range(2):
        add(120, 200, chance.choice(UNNAMED))
    if chance.random() < 0.3:
        add(60, 0, "pending_transfer", "icu")
        add(0, 60, "transfer", "icu")
        for _ in range(4):
            add(60, 100, "vitals")
        add(30, 0, "fit_for_discharge")
        add(60, 60, "transfer", ward())
    add(120, 200, chance.choice(UNNAMED))
    add(60, 0, "pending_discharge")
    add(0, 60, "summary_sent")
    add(30, 60, "discharge")
    return lines


def write_log(path: Path, events: int, seed: int = 2) -> tuple[int, int]:
    """Write about so many events in order of time; returns how many, and of how many journeys."""
    chance = Random(seed)
    lines: list[tuple[datetime, str]] = []
    journeys = 0
    while len(lines) < events:
        lines += journey(journeys, chance)
        journeys += 1
    lines.sort(key=lambda line: line[0])
    path.write_text("".join(f"{text}\n" for _, text in lines))
    return len(lines), journeys


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """The shortest time that the work took."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def decoded(path: Path, decode: Callable[[bytes], Any]) -> list[Any]:
    with path.open("rb") as lines:
        return [decode(line) for line in lines]


def replayed(path: Path, rules: list[CaseRule]) -> int:
    """Decode and replay; returns the number of cases."""
    events: list[Event] = decoded(path, canonical.decode)
    return len(replay(rules, Registry(), arrange(events, until=None, now=NOW)).verdicts)


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    found, problems = load_rules([(str(RULES), RULES.read_bytes())])
    assert not problems
    rules = [rule for rule in found if isinstance(rule, CaseRule)]
    program = [sys.executable, "-m", "monitor", "replay", "--rules", str(RULES)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        count, journeys = write_log(path, events)
        measure = seconds(lambda: decoded(path, msgspec.json.Decoder(Plain).decode))
        rows = [
            ("our decode", seconds(lambda: decoded(path, canonical.decode))),
            *(
                (f"replay, {number} rules", seconds(lambda number=number: replayed(path, rules[:number])))
                for number in (0, 1, len(rules))
            ),
            (
                f"handoff replay, {len(rules)} rules",
                seconds(lambda: subprocess.run([*program, path], check=True, capture_output=True), times=1),
            ),
        ]
        cases = replayed(path, rules)
        size = path.stat().st_size / count
    print(
        f"{count:,} events of {journeys:,} journeys, {size:.0f} bytes a line, {cases / count:.2f} cases an event"
    )
    print("time as a ratio to a plain msgspec decode of the same file")
    for name, taken in rows:
        print(f"  {name:<26}{taken / measure:6.1f}")
    print("HL7 readers, on a folder of messages of your own: python bench/hl7_readers.py FOLDER")
