"""The live service, without its surroundings: it tells what a replay of its record tells, whenever its plug is pulled."""

import sys
import tempfile
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from living import Service, read_all

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.core.rule import RuleFile
from monitor.runtime.live import Loaded

sys.path.insert(0, str(Path(__file__).parents[1] / "oracle"))
from strategies import GRID, START, scenarios
from test_engine_against_oracle import EXAMPLES, show

often = settings(
    max_examples=max(1, EXAMPLES // 24),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
STEPS = ["go on", "go on", "settle", "settle", "fold", "restart", "pull the plug"]


def drive(service, scenario, data):
    """Bring the scenario's events to the service when they arrive; now and then something happens to it before.

    Returns whether the plug was pulled while there was something left to tell.
    """
    was_cut_off = False
    known = [
        each for each in scenario.events if each.arrived_at <= scenario.until and each.type != "heartbeat"
    ]
    for arrived_at, group in groupby(known, key=lambda event: event.arrived_at):
        step = data.draw(st.sampled_from(STEPS))
        note(step)
        if step != "go on":
            service.now = max(service.now, arrived_at - GRID / 2)
            was_cut_off |= befall(service, step)
        service.now = arrived_at
        service.take(*group)
    service.now = scenario.until
    service.settle()
    return was_cut_off


def befall(service, step):
    cut_off = step == "pull the plug" and service.live.has_news()
    if step in ("settle", "fold", "restart"):
        service.settle()
    if step == "fold":
        service.live._fold(timedelta(0), 1_000)
        service.settle()
    if step in ("restart", "pull the plug"):
        service.pull_the_plug()
        service.start()
    return cut_off


@often
@given(scenarios(), st.data())
def test_what_is_told_live_is_what_a_replay_of_the_record_tells(scenario, data):
    show(scenario)
    rules, registry = scenario.models()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "data", rules, registry, START - timedelta(days=2))
        try:
            was_cut_off = drive(service, scenario, data)
            verdicts, alerts = service.replayed()
            told, found = service.told(), service.verdicts()
        finally:
            service.pull_the_plug()
    assert found == verdicts
    if was_cut_off:  # what came and went between two batches need not be told; how each alert stands must be
        told, alerts = (
            last_of_each(told),
            {
                each: how
                for each, how in last_of_each(alerts).items()
                if how[0] == "firing" or each in last_of_each(told)
            },
        )
        assert told == alerts
    else:
        assert told == alerts
    assert service.watcher.failures == []


def last_of_each(changes):
    """How each alert stands in the end."""
    return {alert: (state, level, reason) for _, _, alert, state, level, reason, _ in changes}


@pytest.fixture
def serve(tmp_path):
    """Begins a service with some rules and a registry; its plug is pulled at the end."""
    services = []

    def begin(rules, registry, start):
        services.append(Service(tmp_path / "data", rules, registry, start))
        return services[-1]

    yield begin
    for service in services:
        service.pull_the_plug()


# -- what is long over -------------------------------------------------------------------------------------


def test_journeys_that_are_over_are_forgotten_after_the_horizon(serve):
    rules = [rule(when={"type": "depart"}, expect={"type": "arrive"}, within="30m")]
    service = serve(rules, Registry(), START)
    service.take(event("1", "depart", START), event("2", "arrive", START))
    service.take(
        event("3", "depart", START, patient="a"),
        event("4", "merge", START, patient="a", attributes={"into": "b"}),
    )
    service.take(event("5", "admit", START, patient="inside", to="ward"))
    for _ in range(6):
        service.wait(days=10)
    assert len(service.store.patients()) == 2  # of one an alert has not been delivered yet
    service.deliver()
    service.wait(hours=2)
    assert service.store.patients() == ["inside"]
    assert service.live.journeys == 1


def rule(**fields):
    return RuleFile.model_validate(
        {"rules": [{"id": "r", "summary": "s", "severity": "warning", **fields}]}
    ).rules[0]


def event(id_, kind, at, patient="p", **fields):
    return Event(id=id_, type=kind, patient=patient, occurred_at=at, **fields)


# -- what waits --------------------------------------------------------------------------------------------


def test_verdicts_wait_a_moment_for_messages_and_what_someone_is_told_of_does_not(serve):
    arrives = rule(when={"type": "depart"}, expect={"type": "arrive"}, within="30m")
    service = serve([arrives], Registry(), START)
    assert service.live.seconds_until_due() > 0.5
    service.take(event("1", "depart", START))
    assert service.live.has_news()
    assert 0 < service.live.seconds_until_due() < 0.1
    service.settle()
    service.now += timedelta(hours=1)
    service.live.judge()
    assert service.live.has_news()
    assert service.live.seconds_until_due() == 0


def test_what_was_taken_is_counted_once_whoever_brought_it_has_been_told(serve):
    service = serve([rule(never={"type": "fall"})], Registry(), START)
    counted = []
    service.watcher.took = lambda events, _rejects, _at: counted.extend(each.id for each in events)
    service.write(event("1", "fall", START))
    assert counted == []
    service.write(event("2", "fall", START))
    assert counted == ["1"]
    service.live.judge()
    assert counted == ["1", "2"]


# -- rules that change -------------------------------------------------------------------------------------


def test_new_rules_are_put_over_the_same_facts_and_what_differs_is_told(serve):
    slow = rule(when={"type": "depart"}, expect={"type": "arrive"}, within="4h")
    fast = rule(when={"type": "depart"}, expect={"type": "arrive"}, within="30m")
    service = serve([slow], Registry(), START)
    service.take(event("1", "depart", START))
    service.wait(hours=1)
    assert service.told() == []
    service.loaded = Loaded([fast], Registry(), "second")
    service.live.use(service.loaded)
    read_all(service.live)
    service.settle()
    [(at, _, alert, *how)] = service.told()
    assert (at, how) == (START + timedelta(minutes=30), ["firing", 0, None, "warning"])
    service.loaded = Loaded([], Registry(), "third")
    service.live.use(service.loaded)
    read_all(service.live)
    service.settle()
    assert service.told()[-1][2:6] == (alert, "resolved", 0, "withdrawn")
    assert service.verdicts() == []


def test_an_alert_that_fires_is_told_again_when_new_rules_change_its_severity(serve):
    fall = {"id": "fall", "summary": "fell", "severity": "warning", "never": {"type": "fall"}}
    service = serve([rule(**fall)], Registry(), START)
    service.take(event("1", "fall", START))
    service.settle()
    for digest, changed in (("second", {}), ("third", {"severity": "critical"})):
        service.loaded = Loaded([rule(**fall | changed)], Registry(), digest)
        service.live.use(service.loaded)
        read_all(service.live)
        service.settle()
    first, second = service.notices()
    assert (first.severity, second.severity) == ("warning", "critical")
    assert (first.sequence[0], second.sequence[0]) == (0, 2)
    service.pull_the_plug()
    service.start()
    service.settle()
    assert len(service.notices()) == 2


def test_other_words_of_a_rule_are_shown_with_what_fires_and_call_nobody(serve):
    fall = {"id": "fall", "summary": "fell", "severity": "warning", "never": {"type": "fall"}}
    service = serve([rule(**fall)], Registry(), START)
    service.take(event("1", "fall", START))
    service.settle()
    service.loaded = Loaded([rule(**fall | {"summary": "has fallen"})], Registry(), "second")
    service.live.use(service.loaded)
    read_all(service.live)
    service.settle()
    assert [each.summary for each in service.notices()] == ["fell"]
    [kept] = service.store.alerts_known()
    assert (kept.summary, kept.state) == ("has fallen", "firing")


def test_an_alert_of_a_rule_that_went_while_the_service_was_down_is_withdrawn(serve):
    service = serve([rule(never={"type": "fall"})], Registry(), START)
    service.take(event("1", "fall", START))
    service.settle()
    service.pull_the_plug()
    service.loaded = Loaded([], Registry(), "second")
    service.start()
    service.settle()
    assert [each[3:6] for each in service.told()] == [("firing", 0, None), ("resolved", 0, "withdrawn")]


def test_what_fell_due_while_the_service_was_down_is_told_once_and_marked(serve):
    waits = rule(when={"type": "depart"}, expect={"type": "arrive"}, within="30m")
    service = serve([waits], Registry(), START)
    service.take(event("1", "depart", START))
    service.settle()
    for _ in range(2):
        service.pull_the_plug()
        service.now += timedelta(hours=2)
        service.start()
        service.settle()
    assert [(each.state, each.at, each.after_outage) for each in service.notices()] == [
        ("firing", START + timedelta(minutes=30), True)
    ]


# -- feeds -------------------------------------------------------------------------------------------------


def test_a_silent_feed_is_told_once_also_over_a_restart(serve):
    registry = Registry.model_validate({"sources": {"PAS": {"silent_after": "15m"}}})
    service = serve([], registry, START)
    service.take(event("1", "admit", START, source="PAS"))
    service.wait(minutes=20)
    service.pull_the_plug()
    service.start()
    service.wait(minutes=5)
    service.take(event("2", "update", service.now, source="PAS"))
    service.settle()
    assert [(each[1], each[3], each[5]) for each in service.told()] == [
        ("feed", "firing", None),
        ("feed", "resolved", "heard"),
    ]


def test_what_comes_while_all_is_read_again_is_judged_with_all_else(serve):
    waits = rule(when={"type": "depart"}, expect={"type": "arrive"}, within="30m")
    service = serve([waits], Registry(), START)
    for number in range(3):
        service.take(event(f"d{number}", "depart", START, patient=f"p{number}"))
    service.settle()
    service.loaded = Loaded(
        [rule(when={"type": "depart"}, expect={"type": "arrive"}, within="20m")], Registry(), "second"
    )
    service.live.use(service.loaded)
    steps = service.live.begin()
    next(steps)
    service.now += timedelta(minutes=10)
    service.write(event("a1", "arrive", service.now, patient="p1"))
    service.now += timedelta(minutes=1)
    service.write(event("d9", "depart", service.now, patient="p9"))
    for _ in steps:
        pass
    service.wait(minutes=15)
    assert (service.verdicts(), service.told()) == service.replayed()
    assert sorted(each[3] for each in service.verdicts()) == ["met", "open", "open", "open"]


def test_the_plug_is_pulled_while_all_is_read_again(serve):
    waits = rule(when={"type": "depart"}, expect={"type": "arrive"}, within="30m")
    service = serve([waits], Registry(), START)
    service.take(event("d", "depart", START))
    service.settle()
    service.loaded = Loaded([waits], Registry(), "second")
    service.live.use(service.loaded)
    steps = service.live.begin()
    next(steps)
    service.now += timedelta(minutes=10)
    service.write(event("a", "arrive", service.now))
    service.pull_the_plug()
    service.start()
    service.wait(minutes=50)
    assert [each[3] for each in service.verdicts()] == ["met"]
    assert service.told() == []
