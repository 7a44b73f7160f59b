"""Our own replay: the whole program, the same in this process, and the engine alone over more rules."""

from __future__ import annotations

import io
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import monitor.core.engine
from bench.measure import Taken, timed
from monitor import cli
from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.core.rule import CaseRule
from monitor.formats.reject import Reject
from monitor.ingest.files import read
from monitor.rulefile.load import load_rules
from monitor.runtime.replay import Outcome, arrange, replay

RULES = Path(__file__).parent / "rules.yaml"
NOW = datetime(2030, 1, 1, tzinfo=UTC)
"""After the end of every log."""


def program(path: str, jobs: int = 1) -> Taken:
    """`handoff replay` of the ten rules as its users run it, from start to exit."""
    command = [sys.executable, "-m", "monitor", "replay", "--rules", str(RULES), "--jobs", str(jobs), path]
    taken, done = timed(lambda: subprocess.run(command, check=False, capture_output=True))
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return _of(taken, path)


def in_process(path: str) -> Taken:
    """The same command in this process, without its start."""
    argv = ["replay", "--rules", str(RULES), path]
    problems = io.StringIO()
    taken, code = timed(lambda: cli.main(argv, io.BytesIO(), io.StringIO(), problems))
    if code:
        raise RuntimeError(problems.getvalue())
    return _of(taken, path)


def history(path: str, *, alerts: bool) -> Taken:
    """The ten rules over a log, decode included: lived through for its alerts, or recalled for its verdicts."""
    rules = ten_rules()
    taken, outcome = timed(lambda: replayed(rules, events_of(path), alerts=alerts))
    return _of(taken, path, cases=len(outcome.verdicts), alerts=len(outcome.alerts))


def with_dormant_rules(path: str, rules: int) -> Taken:
    """The engine alone, with so many rules in all: of the ten the first, or all and rules that never match."""
    first = ten_rules()[:rules]
    return _engine_alone(path, [*first, *dormant_rules(rules - len(first))])


def with_rules_spread(path: str, places: int) -> Taken:
    """The engine alone over a log with so many wards, with a rule for each."""
    return _engine_alone(path, rules_of_places(places))


def _engine_alone(path: str, rules: list[CaseRule]) -> Taken:
    """`arrange` and `replay`, with the rules made ready, but neither events nor rules decoded."""
    events = events_of(path)
    taken, outcome = timed(lambda: replayed(rules, events, alerts=False))
    return _of(taken, path, cases=len(outcome.verdicts))


def replayed(rules: list[CaseRule], events: list[Event], *, alerts: bool) -> Outcome:
    """The events put in order of arrival, and the rules over them."""
    return replay(rules, Registry(), arrange(events, until=None, now=NOW), alerts=alerts)


def verdicts(path: str) -> dict[str, str]:
    """Our verdict of each case of the ten rules, or `overdue`, by rule, step and trigger."""
    cases = replayed(ten_rules(), events_of(path), alerts=False).verdicts
    return {
        key(case.rule, case.step, case.trigger): "overdue" if case.overdue else case.verdict for case in cases
    }


def key(rule: str, step: str | None, trigger: str) -> str:
    """What a case is known by when ours are compared with those of others."""
    return f"{rule}/{step}:{trigger}" if step else f"{rule}:{trigger}"


def events_of(path: str) -> list[Event]:
    """All events of a log, read as `handoff replay` reads them."""
    found: list[Event] = []
    for _, number, events in read([path], Registry(), None, io.BytesIO()):
        if isinstance(events, Reject):
            raise ValueError(f"{path}, message {number}: {events.reason}")  # noqa: TRY004  # bad input, not a bad type
        found += events
    return found


def count_of(path: str) -> int:
    """How many events a log has."""
    with Path(path).open("rb") as lines:
        return sum(1 for _ in lines)


def ten_rules() -> list[CaseRule]:
    """The rules of rules.yaml."""
    return _rules(RULES.read_text())


def dormant_rules(number: int) -> list[CaseRule]:
    """Rules like any others, which wait for what never happens: half by the place, half by the type."""
    texts = []
    for each in range(number):
        trigger = (
            f"{{type: transfer, to: annex-{each}}}" if each % 2 else f"{{type: echo_{each}, from: ward-3}}"
        )
        texts.append(
            _expect(f"dormant-{each}", trigger, f"{{type: [discharge, transfer], from: annex-{each}}}")
        )
    return _rules("rules:\n" + "".join(texts)) if texts else []


def rules_of_places(places: int) -> list[CaseRule]:
    """For each ward one rule: who comes there leaves it, or goes home from it, within two days."""
    return _rules(
        "rules:\n"
        + "".join(
            _expect(
                f"ward-{each}",
                f"{{type: [transfer, admit], to: ward-{each}}}",
                f"{{type: [transfer, discharge], from: ward-{each}}}",
            )
            for each in range(places)
        )
    )


def _expect(name: str, trigger: str, expected: str) -> str:
    return (
        f"  - {{id: {name}, summary: made up, severity: info, when: {trigger}, "
        f"expect: {expected}, within: 2d}}\n"
    )


def _rules(text: str) -> list[CaseRule]:
    found, problems = load_rules([("rules.yaml", text.encode())])
    assert not problems, problems[:3]
    return [rule for rule in found if isinstance(rule, CaseRule)]


def _of(taken: Taken, path: str, **facts: Any) -> Taken:
    """A taking with the number of events of its file, and whether the core is compiled."""
    taken.events = count_of(path)
    taken.facts = {"compiled": not str(monitor.core.engine.__file__).endswith(".py"), **facts}
    return taken
