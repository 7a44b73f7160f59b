"""A worker that dies before it has looked at all journeys has told only some of what time brought: the next tells the rest."""

from datetime import timedelta

import pytest
from partitions import Cluster
from strategies import START

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.rulefile.load import load_rules
from monitor.runtime.live import Loaded


def loaded(rule):
    text = f"""
rules:
  - {{id: {rule}, summary: s, severity: critical, when: {{type: x}}, expect: {{type: y}}, within: 2s, give_up: 1h}}
"""
    rules, problems = load_rules([("rules.yaml", text.encode())], None)
    assert problems == []
    return Loaded(rules, Registry(), rule)


def event(id_, type_, patient, seconds):
    at = START + timedelta(seconds=seconds)
    return Event(id=id_, type=type_, patient=patient, occurred_at=at, arrived_at=at)


@pytest.mark.parametrize("deaths", [0, 1, 3])
@pytest.mark.parametrize("rule", ["answered", "answered-anew"])
def test_what_is_overdue_is_told_though_workers_died_between_a_record_and_a_look_at_all_journeys(
    rule, deaths
):
    cluster = Cluster(loaded("answered"), 1, START - timedelta(hours=1))
    for number in range(3):
        cluster.arrive(event(f"x{number}", "x", f"quiet{number}", 0))
        cluster.step(0)
    cluster.use(loaded(rule))
    for number in range(deaths):
        cluster.arrive(event(f"z{number}", "z", "other", 10 + number))
        cluster.step(0)
        cluster.restart(0)
    cluster.end(START + timedelta(seconds=20))
    told = [(each.rule, each.overdue) for each in cluster.verdicts.values() if each is not None]
    assert told == [(rule, True)] * 3
    firing = [each.rule for each in cluster.notices.values() if each.state == "firing"]
    assert firing == [rule] * 3
