"""Replay against truth: what the monitor finds in the feed of a journey is exactly what was true of it.

The truth is read from the journeys alone and shares no code with the monitor. `HANDOFF_SEEDS=500 pytest -n 2 FILE` hunts.
"""

import os
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

import pytest
from comparing import difference, events_of, moment, replayed, truth
from wild import REGISTRY, journeys, where

from monitor.core.population import reliability
from monitor.core.rule import CaseRule, ReliabilityRule
from monitor.rulefile.load import load_rules
from monitor.runtime.replay import arrange, replay
from monitor.simulation.clock import DAY, HOUR
from monitor.simulation.standards import SHARES, STANDARDS
from monitor.simulation.truth import shares

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
    """Journeys for one of the rules, and an end."""
    chance = Random(f"wild {seed}")
    rule = rules()[seed % len(rules())]
    types = [*types_of(rule.model_dump(mode="json")), "register", "admit", "transfer", "discharge"]
    start = chance.choice([MONDAY, EASTER])
    span = chance.choice([4 * HOUR, DAY, 5 * DAY, 40 * DAY])
    end = start + int(span * chance.choice([0.6, 1, 1.5, 3]))
    return journeys(chance, 12, types, start, span), end


@pytest.mark.parametrize("part", range(6))
def test_a_replay_of_senseless_journeys_finds_what_is_true(part):
    for seed in range(part, 6 * (len(rules()) // 6) * 2 + 6 * SEEDS, 6):
        found, end = wild(seed)
        assert difference(replayed(rules(), REGISTRY, events_of(found), end), truth(found, end, where)) == []


def test_the_senseless_journeys_try_every_rule():
    seen = Counter()
    for seed in range(2 * len(rules())):
        found, end = wild(seed)
        seen.update(case.rule for case in truth(found, end, where).elements())
    assert set(STANDARDS) == set(seen)


def test_the_share_of_met_cases_is_what_is_true():
    types = ["register", "admit", "transfer", "discharge"]
    found, end = journeys(Random("share"), 600, types, MONDAY, 5 * DAY), MONDAY + 5 * DAY
    true = shares(truth(found, end, where).elements(), end)
    taken = arrange(events_of(found), until=moment(end), now=moment(end))
    cases = replay(rules(), REGISTRY, taken, alerts=False).verdicts
    goals = [rule for rule in packs() if isinstance(rule, ReliabilityRule)]
    assert {rule.id: reliability(rule, cases, moment(end)).share for rule in goals} == true
    assert None not in true.values()
