"""Replay against truth: what the monitor finds in the feed of a journey is exactly what was true of it.

The truth is read from the journeys alone and shares no code with the monitor. `HANDOFF_SEEDS=50 pytest FILE` hunts.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from datetime import date
from functools import cache
from pathlib import Path
from random import Random

import pytest
from comparing import difference, events_of, moment, replayed, truth
from wild import LOCATIONS, REGISTRY, journeys, where

from monitor.core.population import reliability
from monitor.core.rule import (
    CaseRule,
    ExclusiveRule,
    ExpectRule,
    ForbidRule,
    NeverRule,
    ReliabilityRule,
    RequireRule,
    StayRule,
)
from monitor.formats.canonical import read
from monitor.rulefile.load import load_registry, load_rules
from monitor.runtime.replay import arrange, replay
from monitor.simulation.clock import DAY, HOUR
from monitor.simulation.hospital import Options
from monitor.simulation.known import finder
from monitor.simulation.log import in_order, json_lines
from monitor.simulation.log import journeys as simulated
from monitor.simulation.registry import owners, registry_text
from monitor.simulation.standards import SHARES, STANDARDS
from monitor.simulation.truth import cases, shares

PROJECT = Path(__file__).parents[2]
SEEDS = int(os.environ.get("HANDOFF_SEEDS", "0"))

MONDAY = 1_767_571_200  # 5 January 2026
EASTER = 1_774_569_600  # Friday, 27 March 2026: the clock changes on Sunday, Good Friday is a week later


@cache
def packs():
    """All rules of all packs."""
    files = [path for path in sorted((PROJECT / "rules").rglob("*.yaml")) if path.name != "microsystems.yaml"]
    found, problems = load_rules([(path.name, path.read_bytes()) for path in files])
    assert [problem for problem in problems if problem.severity == "error"] == []
    return found


@cache
def rules():
    return [rule for rule in packs() if isinstance(rule, CaseRule)]


def test_every_rule_of_the_packs_has_a_truth_and_none_is_without_a_rule():
    assert set(STANDARDS) == {rule.id for rule in rules()}


def test_every_reliability_of_the_packs_has_a_truth():
    goals = {rule.id: rule.reliability for rule in packs() if isinstance(rule, ReliabilityRule)}
    assert set(SHARES) == set(goals)
    for name, share in SHARES.items():
        goal = goals[name]
        assert ([share.of], share.over, share.least) == (goal.of, goal.over.total_seconds(), goal.min)


def test_the_truth_shares_no_code_with_the_monitor():
    script = (
        "import sys, monitor.simulation.truth; print(*(name for name in sys.modules if 'monitor.' in name))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {name.split(".")[1] for name in shown.stdout.split()} == {"simulation"}


# -- the simulated hospital --------------------------------------------------------------------------------

STARTS = [date(2026, 1, 5), date(2026, 3, 23), date(2026, 10, 19), date(2026, 12, 21)]
"""Two of them before the clock changes, one before Easter, one before Christmas."""


def hospital(seed):
    """Small hospitals of all kinds, over some days; every fourth is tidy."""
    chance = Random(f"hospital {seed}")
    shares = [0.0] * 4 if seed % 4 == 3 else [0.08, 0.4, 0.1, 0.3]
    return Options(
        seed,
        start=STARTS[seed % len(STARTS)],
        days=chance.choice([4, 8, 12, 16]),
        hospitals=2 if seed % 5 == 4 else 1,
        wards=chance.choice([1, 1, 2]),
        **dict(zip(("cancels", "disorder", "duplicates", "updates"), shares, strict=True)),
    )


def told(options):
    """What the monitor is given: the registry, and the lines of the log in order of delivery."""
    end = options.end
    known, problems = load_registry("microsystems.yaml", registry_text(options).encode())
    assert known is not None
    assert problems == []
    return known, list(in_order(simulated(options), lambda journey: json_lines(journey, end)))


def events_of_lines(lines):
    return [event for line in lines for event in read(line)]


@pytest.mark.parametrize("seed", range(6 + SEEDS))
def test_a_replay_of_a_simulated_hospital_finds_what_is_true(seed):
    """In order and shuffled; looked back at and lived through with alerts; at the end and at another instant."""
    options = hospital(seed)
    end, where = options.end, finder(owners(options))
    known, lines = told(options)
    people, events = list(simulated(options)), events_of_lines(lines)
    true = truth(people, end, where)
    assert difference(replayed(rules(), known, events, end), true) == []
    assert difference(replayed(rules(), known, events, end, alerts=True), true) == []

    Random(seed).shuffle(events)
    instant = Random(seed).randrange(end - options.days * DAY, end)
    assert difference(replayed(rules(), known, events, end), true) == []
    assert difference(replayed(rules(), known, events, instant), truth(people, instant, where)) == []


def test_a_replay_of_three_weeks_of_a_whole_hospital_finds_what_is_true():
    options = Options(days=21)
    known, lines = told(options)
    true = truth(simulated(options), options.end, finder(owners(options)))
    assert difference(replayed(rules(), known, events_of_lines(lines), options.end), true) == []


@pytest.mark.parametrize("seed", range(2 + SEEDS))
def test_a_replay_of_events_that_arrive_in_any_order_finds_what_is_true(seed):
    options = Options(seed, start=STARTS[seed % len(STARTS)], days=4, wards=1, cancels=0.2, updates=0.2)
    end = options.end
    known, lines = told(options)
    events = events_of_lines(lines)
    arrivals = [event.arrived_at for event in events]
    Random(seed).shuffle(arrivals)
    for event, arrived_at in zip(events, arrivals, strict=True):
        event.arrived_at = arrived_at
    true = truth(simulated(options), end, finder(owners(options)))
    assert difference(replayed(rules(), known, events, end, alerts=True), true) == []


def verdicts_of(rule):
    """All verdicts that a case of a rule can have, an overdue one apart."""
    match rule:
        case ExpectRule():
            return {"met", "late", "missed", "open", "overdue", *(["void"] if rule.unless else [])}
        case StayRule():
            return {"met", "late", "open", "overdue"}
        case ForbidRule() | ExclusiveRule():
            return {"met", "violated", "open"}
        case RequireRule():
            return {"met", "violated"}
        case NeverRule():
            return {"violated"}
    raise AssertionError(rule)


def test_in_the_simulated_hospital_every_verdict_that_a_rule_can_have_occurs():
    """In nine weeks of some hospital; what is open for a short time only is seen just before it was decided."""
    missing = {(rule.id, verdict) for rule in rules() for verdict in verdicts_of(rule)}
    for seed in range(4):
        options = Options(seed, days=63)
        end, where = options.end, finder(owners(options))
        for journey in simulated(options):
            for case in cases(journey, end, where):
                missing.discard((case.rule, word(case)))
                if case.decided_at and missing & {(case.rule, "open"), (case.rule, "overdue")}:
                    before = cases(journey, case.decided_at - 1, where)
                    missing -= {(each.rule, word(each)) for each in before}
            if not missing:
                return
    assert missing == set()


def word(case):
    return "overdue" if case.overdue else case.verdict


# -- journeys without any sense ----------------------------------------------------------------------------


def types_of(pattern):
    """The types of events that a rule names, wherever in it."""
    if isinstance(pattern, dict):
        found = pattern.get("type") or []
        yield from [found] if isinstance(found, str) else found
        pattern = list(pattern.values())
    if isinstance(pattern, list):
        for each in pattern:
            yield from types_of(each)


def wild(seed):
    """Journeys for one of the rules, mostly in its places and at its pace, and an end."""
    chance = Random(f"wild {seed}")
    rule = rules()[seed % len(rules())]
    pattern = rule.model_dump(mode="json")
    types = [*types_of(pattern), "register", "admit", "transfer", "discharge"]
    kinds = set(re.findall(r"kind:([a-z-]+)", str(pattern)))
    places = [*chance.sample(LOCATIONS, 4), *(each for each in LOCATIONS if where(each).kind in kinds)]
    start = chance.choice([MONDAY, EASTER])
    span = max(2 * HOUR, seconds_of(rule) * chance.choice([2, 6, 20]))
    end = start + int(span * chance.choice([0.6, 1, 1.5, 3]))
    return journeys(chance, 12, types, start, span, places), end


def seconds_of(rule):
    """About how long a rule waits."""
    for name in ("within", "at_most", "longer_than"):
        limit = getattr(rule, name, None)
        if limit is not None:
            return limit.days * DAY + getattr(limit, "seconds", 0)
    return 12 * HOUR


@pytest.mark.parametrize("part", range(6))
def test_a_replay_of_senseless_journeys_finds_what_is_true(part):
    for seed in range(part, 3 * len(rules()) + 6 * SEEDS, 6):
        found, end = wild(seed)
        assert difference(replayed(rules(), REGISTRY, events_of(found), end), truth(found, end, where)) == []


def test_the_senseless_journeys_try_every_rule():
    seen = Counter()
    for seed in range(3 * len(rules())):
        found, end = wild(seed)
        seen.update(case.rule for case in truth(found, end, where).elements())
    assert set(STANDARDS) == set(seen)


def test_the_share_of_met_cases_is_what_is_true():
    types = ["register", "admit", "transfer", "discharge"]
    found, end = journeys(Random("share"), 600, types, MONDAY, 5 * DAY), MONDAY + 5 * DAY
    true = shares(list(truth(found, end, where).elements()), end)
    taken = arrange(events_of(found), until=moment(end), now=moment(end))
    cases = replay(rules(), REGISTRY, taken, alerts=False).verdicts
    goals = [rule for rule in packs() if isinstance(rule, ReliabilityRule)]
    assert {rule.id: reliability(rule, cases, moment(end)).share for rule in goals} == true
    assert None not in true.values()
