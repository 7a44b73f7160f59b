"""The engine against the brute-force reading of the contract, on random journeys and rules.

`HYPOTHESIS_EXAMPLES=20000` runs each property that often (divided as below); a failure prints its blob.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import oracle
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from strategies import Scenario, registries, rule_lists, scenarios

from monitor.core.engine import AlertChange, Change, Engine
from monitor.core.event import Event

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "2400"))


def often(share: float) -> Callable[[Any], Any]:
    """This share of all examples, at least one."""
    return settings(
        max_examples=max(1, round(EXAMPLES * share)),
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def fresh(scenario: Scenario) -> Engine:
    rules, registry = scenario.models()
    return Engine(rules, registry, listened=scenario.listened)


def run(engine: Engine, events: Iterable[Event], until: datetime) -> list[Change]:
    """Feed what arrives by `until`, then move the clock there."""
    changes: list[Change] = []
    for event in events:
        if event.arrived_at <= until:
            changes += engine.observe(event)
    return changes + engine.advance(until)


def told(engine: Engine) -> list[dict[str, Any]]:
    """The engine's verdicts, as the oracle words them."""
    names = "rule step patient encounter trigger trigger_at verdict overdue reason due_at decided_at delay_seconds case"
    return ordered({name: getattr(each, name) for name in names.split()} for each in engine.verdicts())


def ordered(cases: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(cases, key=lambda case: (case["rule"], case["case"], case["trigger_at"]))


def read(scenario: Scenario) -> list[dict[str, Any]]:
    """The oracle's verdicts, at the end."""
    found = oracle.verdicts(
        scenario.events, scenario.rules, scenario.registry, (scenario.until, 0), scenario.listened
    )
    return ordered(
        {name: case[name] for name in case if name not in ("opener", "timers", "stale")} for case in found
    )


ALERT = ["alert", "rule", "state", "level", "severity", "reason", "at", "patient", "encounter"]


def alert_changes(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """The alert changes with their number within the instant, each alert's in order."""
    found = [
        {name: getattr(change, name) for name in ALERT} | {"number": change.sequence[2]}
        for change in changes
        if isinstance(change, AlertChange)
    ]
    return comparable(found)


def comparable(changes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of feeds the contract says neither severity nor patient."""
    found = []
    for change in changes:
        kept = [
            each
            for each in everything
            if isinstance(each, AlertChange) and not (each.patient or "").startswith("other-")
        ]
    agree(alert_changes(kept), alert_changes(changes))


def aside(event: Event) -> Event:
    values = {name: getattr(event, name) for name in event.__struct_fields__}
    return Event(**values | {"id": f"other-{event.id}", "patient": f"other-{event.patient}"})


@often(0.05)
@given(scenarios(), st.data())
def test_other_rules_and_back_give_the_verdicts_of_the_last(scenario: Scenario, data: Any) -> None:
    others = replace(scenario, rules=data.draw(rule_lists()), registry=data.draw(registries()))
    cut = data.draw(st.integers(0, len(scenario.events)))
    show(scenario)
    note(f"other rules {others.rules} before {cut}")
    engine = fresh(scenario)
    for number, event in enumerate(scenario.events):
        if event.arrived_at > scenario.until:
            break
        if number == cut:
            engine.use(*others.models())
        engine.observe(event)
    engine.use(*scenario.models())
    engine.advance(scenario.until)
    agree(told(engine), read(scenario))
