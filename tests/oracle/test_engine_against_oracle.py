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
from strategies import GRID, START, Scenario, in_arrival_order, registries, rule_lists, scenarios

from monitor.core.change import AlertChange, CaseVerdict, Change, VerdictChange
from monitor.core.engine import Engine
from monitor.core.event import Event
from monitor.formats.canonical import encode

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
    return worded(engine.verdicts())


def worded(cases: Iterable[CaseVerdict]) -> list[dict[str, Any]]:
    names = "rule step patient encounter trigger trigger_at verdict overdue reason due_at decided_at delay_seconds case"
    return ordered({name: getattr(each, name) for name in names.split()} for each in cases)


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
        kept = {name: change[name] for name in [*ALERT, "number"]}
        if kept["rule"] == "feed":
            kept |= {"severity": None, "patient": None, "encounter": None}
        found.append(kept)
    return sorted(found, key=lambda each: (each["at"], each["alert"], each["number"]))


def history(scenario: Scenario) -> list[dict[str, Any]]:
    return comparable(
        oracle.alert_history(
            scenario.events, scenario.rules, scenario.registry, scenario.until, scenario.listened
        )
    )


def agree(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Equal lists; when they differ, only what differs is shown."""
    unexpected = [each for each in found if each not in expected]
    missing = [each for each in expected if each not in found]
    assert (unexpected, missing) == ([], [])
    assert found == expected


def show(scenario: Scenario) -> None:
    for event in scenario.events:
        note(encode(event).decode())
    for rule in scenario.rules:
        note(str(rule))
    note(f"until {scenario.until}, listened {scenario.listened}, sources {scenario.registry['sources']}")


@often(0.2)
@given(scenarios())
def test_final_verdicts_are_those_of_the_oracle(scenario: Scenario) -> None:
    show(scenario)
    engine = fresh(scenario)
    run(engine, scenario.events, scenario.until)
    agree(told(engine), read(scenario))


@often(0.3)
@given(scenarios())
def test_alert_history_is_that_of_the_oracle(scenario: Scenario) -> None:
    show(scenario)
    agree(alert_changes(run(fresh(scenario), scenario.events, scenario.until)), history(scenario))


@often(0.1)
@given(scenarios(rules=1))
def test_stays_are_those_of_the_oracle(scenario: Scenario) -> None:
    show(scenario)
    engine = fresh(scenario)
    run(engine, scenario.events, scenario.until)
    names = ["patient", "encounter", "place", "kind", "entered_at", "left_at"]
    found = [
        {name: getattr(stay, name) for name in names} | {"from": stay.from_, "to": stay.to}
        for stay in engine.stays()
    ]
    expected = oracle.stays(scenario.events, (scenario.until, 0), scenario.registry)
    agree(sorted(found, key=str), sorted(expected, key=str))


def at_once(events: Iterable[Event], *, order: list[Event]) -> list[Event]:
    """The events with the arrivals of a list, in its order."""
    arrivals = sorted(event.arrived_at for event in order)
    return [arriving(event, at) for event, at in zip(events, arrivals, strict=True)]


def arriving(event: Event, at: datetime) -> Event:
    values = {name: getattr(event, name) for name in event.__struct_fields__}
    return Event(**values | {"arrived_at": at})


@often(0.1)
@given(scenarios(), st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_verdicts_in_the_end(scenario: Scenario, shuffler: Any) -> None:
    own = [each for each in scenario.events if each.type != "heartbeat"]
    last = max(max(event.arrived_at, event.occurred_at) for event in own)
    scenario = replace(scenario, events=own, until=last + 6 * GRID)  # all has arrived, and lies in the past
    show(scenario)
    one, other = fresh(scenario), fresh(scenario)
    run(one, scenario.events, scenario.until)
    shuffled = list(scenario.events)
    shuffler.shuffle(shuffled)
    run(other, at_once(shuffled, order=scenario.events), scenario.until)
    agree(told(one), told(other))


@often(0.1)
@given(scenarios(), st.randoms(use_true_random=False))
def test_a_history_that_is_only_recalled_has_the_same_verdicts(scenario: Scenario, shuffler: Any) -> None:
    show(scenario)
    lived, recalled = fresh(scenario), fresh(scenario)
    run(lived, scenario.events, scenario.until)
    known = [event for event in scenario.events if event.arrived_at <= scenario.until]
    if not scenario.listened:  # what was heard when, the engine must be told in order
        shuffler.shuffle(known)
    agree(worded(recalled.recall(known, scenario.until)), told(lived))
    stays = fresh(scenario).recall_stays(known, scenario.until)
    assert sorted(stays, key=str) == sorted(lived.stays(), key=str)


@often(0.05)
@given(scenarios(), st.data())
def test_a_duplicate_changes_nothing(scenario: Scenario, data: Any) -> None:
    scenario = replace(scenario, events=[each for each in scenario.events if each.type != "heartbeat"])
    twice = data.draw(st.sampled_from(scenario.events))
    again = arriving(twice, twice.arrived_at + data.draw(st.integers(0, 12)) * GRID)
    show(scenario)
    note(f"again {encode(again).decode()}")
    one, other = fresh(scenario), fresh(scenario)
    changes = run(one, scenario.events, scenario.until)
    repeated = sorted([*scenario.events, again], key=lambda event: event.arrived_at)
    agree(alert_changes(run(other, repeated, scenario.until)), alert_changes(changes))
    agree(told(other), told(one))


@often(0.1)
@given(scenarios(), st.data())
def test_dump_and_load_at_any_point_changes_nothing(scenario: Scenario, data: Any) -> None:
    scenario = replace(scenario, events=[each for each in scenario.events if each.type != "heartbeat"])
    cut = data.draw(st.integers(0, len(scenario.events)))
    show(scenario)
    note(f"cut before {cut}")
    whole, before, after = fresh(scenario), fresh(scenario), fresh(scenario)
    known = [event for event in scenario.events[:cut] if event.arrived_at <= scenario.until]
    for event in known:
        whole.observe(event)
        before.observe(event)
    if known:  # the clock stands where the last arrival left it
        whole.advance(known[-1].arrived_at)
        before.advance(known[-1].arrived_at)
    for patient in sorted({event.patient for event in known}):
        after.load(patient, before.dump(patient))
    if known:
        after.advance(known[-1].arrived_at)
    agree(told(after), told(whole))
    rest = scenario.events[cut:]
    agree(alert_changes(run(after, rest, scenario.until)), alert_changes(run(whole, rest, scenario.until)))
    agree(told(after), told(whole))


@often(0.1)
@given(scenarios(), st.data())
def test_journeys_that_are_folded_while_they_are_quiet_tell_the_same(scenario: Scenario, data: Any) -> None:
    if data.draw(st.booleans()):  # a feed that may fall silent keeps most of them from being folded
        scenario = replace(scenario, events=[each for each in scenario.events if each.type != "heartbeat"])
    quiet = data.draw(st.sampled_from([0, 0, 1, 6])) * GRID
    skipped = data.draw(st.sets(st.integers(0, len(scenario.events)), max_size=4))
    show(scenario)
    note(f"fold what is quiet for {quiet} before each event but {sorted(skipped)}")
    plain, folding = fresh(scenario), fresh(scenario)
    changes: list[Change] = []
    for number, event in enumerate(scenario.events):
        if event.arrived_at > scenario.until:
            break
        if number not in skipped:
            if event.arrived_at - GRID / 2 > folding.now[0]:
                changes += folding.advance(event.arrived_at - GRID / 2)
            folding.fold(event.arrived_at - quiet)
        changes += folding.observe(event)
    folding.fold(scenario.until)
    changes += folding.advance(scenario.until)
    agree(alert_changes(changes), alert_changes(run(plain, scenario.events, scenario.until)))
    folding.fold(scenario.until)
    agree(told(folding), told(plain))
    assert sorted(folding.stays(), key=str) == sorted(plain.stays(), key=str)


@often(0.1)
@given(scenarios(), st.booleans())
def test_changes_of_verdicts_add_up_to_the_verdicts(scenario: Scenario, folds: bool) -> None:
    show(scenario)
    engine = fresh(scenario)
    changes: list[Change] = []
    for event in scenario.events:
        if event.arrived_at > scenario.until:
            break
        changes += engine.observe(event)
        if folds:
            engine.fold(engine.now[0])
    changes += engine.advance(scenario.until)
    said: dict[str, str | None] = {}
    for change in changes:
        if isinstance(change, VerdictChange):
            assert said.get(change.case) == change.before
            said[change.case] = change.after
    stands = {each.case: "overdue" if each.overdue else each.verdict for each in engine.verdicts()}
    assert {case: word for case, word in said.items() if word is not None} == stands


@often(0.05)
@given(scenarios(), st.data())
def test_one_big_advance_equals_many_small_ones(scenario: Scenario, data: Any) -> None:
    show(scenario)
    ticks = [START + tick * GRID for tick in data.draw(st.lists(st.integers(-3, 80), max_size=12))]
    big, small = fresh(scenario), fresh(scenario)
    changes: list[Change] = []
    for event in scenario.events:
        if event.arrived_at > scenario.until:
            break
        for tick in sorted(ticks):
            if tick <= event.arrived_at:
                changes += small.advance(tick)
        ticks = [tick for tick in ticks if tick > event.arrived_at]
        changes += small.observe(event)
    for tick in sorted(ticks):
        if tick <= scenario.until:
            changes += small.advance(tick)
    changes += small.advance(scenario.until)
    agree(alert_changes(changes), alert_changes(run(big, scenario.events, scenario.until)))
    agree(told(small), told(big))


@often(0.05)
@given(scenarios(most=7), scenarios(most=7))
def test_other_patients_never_change_a_verdict(scenario: Scenario, others: Scenario) -> None:
    """Others: with names of their own, and merged among themselves only."""
    moved = [aside(event) for event in others.events if event.type not in ("heartbeat", "merge")]
    own = [event for event in scenario.events if event.type != "heartbeat"]
    alone = replace(scenario, events=own)
    show(alone)
    one, other = fresh(alone), fresh(alone)
    changes = run(one, own, scenario.until)
    everything = run(other, in_arrival_order([*own, *moved]), scenario.until)
    agree([each for each in told(other) if not each["patient"].startswith("other-")], told(one))
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
    # an `update` is kept only while a rule can match it, so it may be gone when such a rule comes back
    scenario = replace(scenario, events=[each for each in scenario.events if each.type != "update"])
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
