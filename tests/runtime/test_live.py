"""The live service, without its surroundings: it tells what a replay of its record tells, whenever its plug is pulled."""

import sys
import tempfile
from datetime import timedelta
from itertools import groupby
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from living import Service

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
