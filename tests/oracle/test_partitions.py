"""Many partitions and workers that die tell what one engine tells that takes all events in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st
from partitions import Cluster
from strategies import (
    PATIENTS,
    START,
    Scenario,
    copies,
    events,
    in_arrival_order,
    scenarios,
    without_named_updates,
)
from test_engine_against_oracle import agree, fresh, run, show, told, worded
from test_engine_against_oracle import often as so_often

from monitor.core.event import Event
from monitor.runtime.live import Loaded

LONG_BEFORE = START - timedelta(days=3)
OF = 5
"""So many partitions, that the three patients live in three of them."""


def often(share: float) -> Callable[[Any], Any]:
    """This share of all examples; one that fails is shown as it is, for to shrink it takes minutes."""
    phases = [Phase.explicit, Phase.reuse, Phase.generate]
    return settings(so_often(share), phases=phases, report_multiple_bugs=False)


def cluster_of(scenario: Scenario, **more: Any) -> Cluster:
    rules, registry = replace(scenario, registry=heard(scenario)).models()
    return Cluster(Loaded(rules, registry, "digest"), OF, LONG_BEFORE, **more)


def heard(scenario: Scenario) -> dict[str, Any]:
    """The registry; where no source has heartbeats, none declares when it is silent."""
    lab = scenario.registry["sources"].get("lab", {})
    left = {name: value for name, value in lab.items() if name != "silent_after" or scenario.listened}
    return scenario.registry | {"sources": {"lab": left}}


def one_pass(scenario: Scenario) -> Any:
    engine = fresh(scenario)
    run(engine, scenario.events, scenario.until)
    return engine


def compare(cluster: Cluster, engine: Any, *, may_repeat: bool = False) -> None:
    """Equal verdicts; equal alerts, but that one which is over may be known to one of the two alone.

    `may_repeat`: the last record of an alert may be older than another, for a worker that died when it had sent facts on tells
    once more what it told of them, and another may have told more meanwhile.
    """
    agree(worded(each for each in cluster.verdicts.values() if each is not None), told(engine))
    alerts = {each.alert: each for each in engine.alerts() if each.rule != "feed"}
    notices = {each.alert: each for each in cluster.notices.values() if each.rule != "feed"}
    for alert in alerts.keys() | notices.keys():
        expected, found = alerts.get(alert), notices.get(alert)
        if expected is None or found is None:
            assert "firing" not in [each.state for each in (expected, found) if each is not None]
        else:
            assert (found.state, found.level, found.reason) == (
                expected.state,
                expected.level,
                expected.reason,
            )
    stale = {
        alert: (each, cluster.notices[alert])
        for alert, each in cluster.left.items()
        if each.sequence != cluster.notices[alert].sequence
    }
    assert may_repeat or not stale
    open_cases = [each for each in cluster.verdicts.values() if each is not None and each.verdict == "open"]
    waiting = [each for partition in cluster.live for each in partition.waiting.cases()]
    assert Counter((each.rule, each.due_at if each.overdue else None) for each in open_cases) == Counter(
        waiting
    )
    assert cluster.watcher.failures == []
    assert cluster.rejects == []


@st.composite
def linked_scenarios(draw: Any) -> Scenario:
    """Scenarios in which patients are merged, often."""
    found: list[Event] = []
    for number in range(draw(st.integers(3, 12))):
        if found and draw(st.integers(0, 11)) == 0:
            found.append(draw(copies(draw(st.sampled_from(found)))))
        else:
            found.append(draw(events(number, found, merging=True, patients=PATIENTS)))
    linked = in_arrival_order(without_named_updates(found))
    return replace(draw(scenarios(rules=2)), events=linked)


@often(0.03)
@given(scenarios(rules=2))
def test_partitions_tell_what_one_pass_tells(scenario: Scenario) -> None:
    show(scenario)
    cluster = cluster_of(scenario)
    cluster.run(scenario.events, scenario.until, scenario.listened)
    compare(cluster, one_pass(scenario))


@often(0.03)
@given(linked_scenarios())
def test_patients_whom_merges_link_are_judged_together_wherever_they_were(scenario: Scenario) -> None:
    show(scenario)
    cluster = cluster_of(scenario)
    cluster.run(scenario.events, scenario.until)
    compare(cluster, one_pass(scenario))


@often(0.03)
@given(
    st.one_of(scenarios(rules=2), linked_scenarios()),
    st.randoms(use_true_random=False),
    st.sampled_from([3, 10, 40]),
)
def test_workers_that_die_at_any_step_change_nothing(scenario: Scenario, chance: Any, rarely: int) -> None:
    show(scenario)
    cluster = cluster_of(scenario, dies=lambda: cluster.deaths < 30 and chance.randrange(rarely) == 0)
    cluster.run(scenario.events, scenario.until, scenario.listened)
    note(f"deaths {cluster.deaths}")
    compare(cluster, one_pass(scenario))


@often(0.03)
@given(linked_scenarios(), st.randoms(use_true_random=False))
def test_partitions_that_lag_behind_each_other_come_to_the_same(scenario: Scenario, chance: Any) -> None:
    show(scenario)
    cluster = cluster_of(scenario, dies=lambda: cluster.deaths < 10 and chance.randrange(20) == 0)
    for event in scenario.events:
        if event.arrived_at <= scenario.until:
            cluster.arrive(event)
            while (waiting := cluster.waiting()) and chance.randrange(3):
                cluster.step(chance.choice(waiting), chance.choice([1, 2, 5]))
            if chance.randrange(2):
                cluster.tick()
    cluster.end(scenario.until)
    compare(cluster, one_pass(scenario))


@often(0.02)
@given(scenarios(rules=2), scenarios(rules=2), st.integers(0, 10))
def test_workers_that_begin_with_other_rules_tell_what_these_say(
    scenario: Scenario, other: Scenario, after: int
) -> None:
    # an `update` that no rule names is not kept, so later rules cannot know it (decision 40)
    events = [event for event in scenario.events if event.type not in ("update", "heartbeat")]
    scenario = replace(scenario, events=events, registry=scenario.registry | {"sources": {}})
    before = [event for event in events if event.arrived_at <= scenario.until]
    show(scenario)
    changed = replace(scenario, rules=other.rules)
    cluster = cluster_of(scenario)
    for event in before[:after]:
        cluster.arrive(event)
        cluster.settle()
    rules, registry = changed.models()
    cluster.use(Loaded(rules, registry, "another digest"))
    cluster.run(before[after:], scenario.until)
    compare(cluster, one_pass(changed))


def test_the_patients_of_the_scenarios_live_in_different_partitions() -> None:
    from monitor.formats.envelope import partition_of, patient_key

    assert len({partition_of(patient_key(patient), OF) for patient in set(PATIENTS)}) == 3
