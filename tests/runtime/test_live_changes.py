"""The live service while its rules change, its clock is set, its disk fails and its plug is pulled, in any order.

In the end its verdicts are those of a replay of its record by the last rules, and whoever was told of an alert knows how it stands.
"""

import sys
import tempfile
from copy import copy
from datetime import timedelta
from itertools import groupby, pairwise
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from living import Service, read_all

from monitor.formats.canonical import encode
from monitor.formats.reject import Reject
from monitor.ingest.intake import Message
from monitor.runtime.database import StoreError
from monitor.runtime.ledger import Ledger
from monitor.runtime.live import Loaded

sys.path.insert(0, str(Path(__file__).parents[1] / "oracle"))
from strategies import GRID, START, Scenario, registries, rule_lists, scenarios
from test_engine_against_oracle import EXAMPLES, show

often = settings(
    max_examples=max(1, EXAMPLES // 40),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
STEPS = [
    *("go on", "go on", "settle", "settle", "fold"),
    *("restart", "pull the plug", "pull the plug after a write", "begin again"),
    *("new rules", "new rules", "set the clock", "fail to write", "send again", "retry"),
]


class Ordeal:
    """What befalls a service, one step after the other."""

    def __init__(self, service, data):
        self.service, self.data = service, data
        self.sent = []
        self.changes = 0

    def befall(self, step):
        note(step)
        getattr(self, step.replace(" ", "_"))()

    def go_on(self): ...

    def settle(self):
        self.service.settle()

    def fold(self):
        self.service.settle()
        self.service.live._fold(timedelta(0), 1_000)
        if self.data.draw(st.booleans()):
            self.service.settle()

    def restart(self):
        self.service.settle()
        self.pull_the_plug()

    def pull_the_plug(self):
        self.service.pull_the_plug()
        self.service.start()

    def pull_the_plug_after_a_write(self):
        if self.sent:
            self.service.write(copy(self.data.draw(st.sampled_from(self.sent))))
        self.pull_the_plug()

    def begin_again(self):
        read_all(self.service.live)

    def new_rules(self):
        registry = self.data.draw(registries())
        rules, registry = Scenario([], self.data.draw(rule_lists(3)), registry, START).models()
        note((rules, registry.sources))
        self.changes += 1
        self.service.loaded = Loaded(rules, registry, str(self.changes))
        if self.data.draw(st.booleans()):
            self.service.live.use(self.service.loaded)
            read_all(self.service.live)
        else:
            self.pull_the_plug()

    def set_the_clock(self):
        self.service.wrong_by = self.data.draw(st.sampled_from([-6, -1, 0, 0, 1, 6])) * GRID
        note(self.service.wrong_by)

    def fail_to_write(self):
        store, write = self.service.store, self.service.store.write

        def fail(batch):
            raise StoreError("full", "the disk is full")

        store.write = fail
        try:
            self.service.take(*map(copy, self.sent[-1:]))
        except StoreError:
            pass
        finally:
            store.write = write

    def send_again(self):
        if self.sent:
            self.service.take(copy(self.data.draw(st.sampled_from(self.sent))))

    def retry(self):
        ledger = Ledger(self.service.folder)
        ledger.ask_retry_of(None)
        ledger.close()
        self.service.now += timedelta(seconds=3)
        self.service.settle()

    def take(self, events):
        """Some of them are not understood, for now."""
        events = [copy(event) for event in events]
        self.sent += events
        rejected = [event for event in events if self.data.draw(st.integers(0, 7)) == 0]
        odd = Reject("odd", "odd")
        messages = [
            Message(origin="http", content=encode(event), reject=odd)
            if event in rejected
            else Message(origin="http", content=b"", events=[event])
            for event in events
        ]
        self.service.live.write(messages, [])
        self.service.live.judge()


@often
@given(scenarios(), st.data())
def test_whatever_befalls_it_the_end_is_that_of_a_replay_by_the_last_rules(scenario, data):
    show(scenario)
    rules, registry = scenario.models()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "data", rules, registry, START - timedelta(days=2))
        try:
            ordeal = Ordeal(service, data)
            known = [event for event in scenario.events if event.arrived_at <= scenario.until]
            for arrived_at, group in groupby(known, key=lambda event: event.arrived_at):
                service.now = max(service.now, arrived_at - GRID / 2)
                ordeal.befall(data.draw(st.sampled_from(STEPS)))
                service.now = max(service.now, arrived_at)
                ordeal.take(group)
            service.now = max(service.now, scenario.until)
            ordeal.retry()
            verdicts, alerts = service.replayed()
            found, notices = service.verdicts(), service.notices()
            kept = {each.alert: stand(each) for each in service.store.alerts_known()}
        finally:
            service.pull_the_plug()
    assert found == verdicts
    told = {each.alert: stand(each) for each in notices}
    stands = {alert: how(*rest) for _, _, alert, *rest in alerts}
    for alert, stands_now in stands.items():
        assert told.get(alert, stands_now if stands_now[0] == "resolved" else None) == stands_now, (
            alert,
            notices,
        )
    for alert, last in told.items():
        assert alert in stands or last[0] == "resolved"
        assert kept[alert] == last
    grows(notices)
    assert service.watcher.failures == []


def stand(notice):
    return how(notice.state, notice.level, notice.reason, notice.severity)


def how(state, level, reason, severity):
    """What people are to know of an alert; of one that is over nobody asks how grave it was."""
    return state, level, reason, severity if state == "firing" else None


def grows(notices):
    """Of each alert every state has a later sequence than the one before, and no state is told twice in a row."""
    of = {}
    for each in notices:
        of.setdefault(each.alert, []).append(each)
    for each in of.values():
        for one, next_ in pairwise(each):
            assert one.sequence < next_.sequence, (one, next_)
            assert stand(one) != stand(next_), (one, next_)
