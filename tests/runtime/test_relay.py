"""Records become alerts on disk and deliveries, once; and a notifier that fails or loses a partition keeps nothing of it."""

import sys
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from monitor.runtime.batch import Batch
from monitor.runtime.database import StoreError
from monitor.runtime.deliveries import Deliveries
from monitor.runtime.kept_alerts import KeptAlerts
from monitor.runtime.ledger import Ledger
from monitor.runtime.reader import Reader
from monitor.runtime.relay import Record, Relay
from monitor.runtime.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "notify"))
from notices import FIRING, NOW, later, resolved

OTHER = later(alert="0b9d6a4e-0000-5000-8000-000000000002")


class Watcher:
    def __init__(self):
        self.told, self.odd = [], []

    def alerted(self, told):
        self.told.append(told)

    def unreadable(self, partition, offset):
        self.odd.append((partition, offset))


class World:
    """A relay over a data directory, with the sending side and a reader of it."""

    def __init__(self, folder):
        self.folder = folder
        self.watcher = Watcher()
        self.woken = set()
        self.now = NOW
        self.kept = KeptAlerts(folder)
        self.relay = Relay(
            self.kept,
            ["pager"],
            lambda notice, already: list(already) or [("pager", "default")] * (notice.state == "firing"),
            self.watcher,
            lambda: self.now,
            wake=self.woken.update,
        )
        self.relay.begin()
        self.reader = Reader(folder)
        self.outbox = Deliveries(folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in (self.reader, self.outbox, self.kept):
            each.close()

    def open(self, number=0, end=0, told=None):
        position = self.relay.open(number, end, told)
        self.relay.reached(number, 0)
        return position

    def take(self, *notices, number=0):
        first = self.relay.shares.by_number[number].position
        records = [
            Record(
                offset, b"key", each if each is None or isinstance(each, bytes) else msgspec.json.encode(each)
            )
            for offset, each in enumerate(notices, first)
        ]
        self.relay.take(number, records)
        self.relay.reached(number, first + len(records))

    def deliver(self):
        """Send what is due; what that was."""
        due = self.outbox.due("pager", 100)
        self.outbox.delivered([each.id for each in due])
        self.relay.shares.done(due)
        return [each.notice for each in due]

    def shown(self):
        return {(each.notice.alert, each.notice.state) for each in self.reader.alerts()}


@pytest.fixture
def world(tmp_path):
    with World(tmp_path / "data") as world:
        yield world


def test_changes_are_on_disk_and_due_in_order_and_then_committed(world):
    world.open()
    world.take(FIRING, resolved(), OTHER)
    assert world.woken == {"pager"}
    assert world.shown() == {(FIRING.alert, "resolved"), (OTHER.alert, "firing")}
    assert world.relay.to_commit() == {0: {"pager": 0}}
    assert world.deliver() == [FIRING, OTHER]
    assert world.relay.to_commit() == {0: {"pager": 1}}
    assert world.deliver() == [resolved()]
    world.relay.committed(world.relay.to_commit())
    assert world.relay.to_commit() == {}
    assert len(world.watcher.told) == 3


def test_repeats_and_older_states_change_nothing(world):
    world.open()
    world.take(FIRING, later(level=1))
    world.take(FIRING, later(level=1), FIRING)
    assert world.deliver() + world.deliver() == [FIRING, later(level=1)]
    assert world.deliver() == []
    assert len(world.watcher.told) == 2


def test_what_cannot_be_told_is_counted_and_holds_nothing_up(world):
    world.open()
    naive = msgspec.json.encode(FIRING).replace(b"Z", b"")
    world.take(b"", b"{", b"\xff", b'{"alert": "x"}', naive, FIRING)
    assert world.watcher.odd == [(0, offset) for offset in range(5)]
    assert world.deliver() == [FIRING]
    assert world.relay.to_commit() == {0: {"pager": 6}}


def test_what_was_sent_from_here_before_a_restart_is_not_sent_again(tmp_path):
    with World(tmp_path / "data") as before:
        before.open()
        before.take(FIRING, OTHER, resolved())
        assert before.deliver() == [FIRING, OTHER]
    with World(tmp_path / "data") as after:
        assert after.shown() == set()
        after.open(end=3, told={"pager": 0})
        after.take(FIRING, OTHER, resolved())
        assert after.deliver() == [resolved()]
        assert after.relay.to_commit() == {0: {"pager": 3}}
        assert after.watcher.told == []  # it was counted before


def test_a_partition_that_goes_to_another_takes_its_alerts_and_deliveries_with_it(world):
    world.open(0)
    world.open(1)
    world.take(FIRING, number=0)
    world.take(OTHER, number=1)
    world.relay.close([0])
    assert world.shown() == {(OTHER.alert, "firing")}
    assert world.deliver() == [OTHER]
    assert world.relay.shares.firing("pager") == [("default", OTHER)]


def test_a_partition_that_comes_back_is_gone_on_with_if_nobody_else_had_it(world):
    world.open()
    world.take(FIRING)
    world.relay.committed(world.relay.to_commit())
    world.relay.shares.hold([0])
    [due] = world.outbox.due("pager", 1)
    assert not world.relay.shares.await_all([due])
    assert world.open(end=1, told={"pager": 0}) == 1
    assert world.relay.shares.await_all([due])
    assert world.deliver() == [FIRING]


def test_a_partition_that_another_had_meanwhile_is_read_anew(world):
    world.open()
    world.take(FIRING)
    world.relay.committed(world.relay.to_commit())
    assert world.open(end=1, told={"pager": 1}) is None
    world.take(FIRING)
    assert world.deliver() == []
    assert world.shown() == {(FIRING.alert, "firing")}


def test_after_the_disk_failed_everything_is_read_anew_and_nothing_stands_twice(world, monkeypatch):
    world.open()
    world.take(FIRING)
    with monkeypatch.context() as failing:
        failing.setattr(world.kept, "write", _no_room)
        with pytest.raises(StoreError):
            world.take(OTHER)
    world.relay.begin()
    assert world.relay.partitions() == []
    world.open(end=2, told={"pager": 0})
    world.take(FIRING, OTHER)
    assert world.deliver() == [FIRING, OTHER]
    assert world.deliver() == []


def _no_room(*_):
    raise StoreError("full", "the disk is full")


def test_an_alert_that_fires_again_after_its_end_is_told_again_to_the_same(world):
    world.open()
    world.take(FIRING, resolved(), later(resolved(), state="firing", reason=None))
    told = [world.deliver()[0].state for _ in range(3)]
    assert told == ["firing", "resolved", "firing"]


def test_what_is_long_over_is_forgotten_and_acknowledgments_of_what_fires_are_not(world, tmp_path):
    world.open()
    world.take(FIRING, resolved(), OTHER)
    world.deliver()
    world.deliver()
    ledger = Ledger(tmp_path / "data")
    for alert in (FIRING.alert, OTHER.alert):
        ledger.acknowledge(alert, "A. Lee", "seen", NOW)
    ledger.close()
    world.now += timedelta(days=46)
    world.relay.look_around()
    assert world.shown() == {(OTHER.alert, "firing")}
    assert [each.who for each in world.reader.alert(OTHER.alert).acknowledged] == ["A. Lee"]
    assert world.kept._connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
    world.take(later(OTHER, level=1))
    assert len(world.shown()) == 1


def test_the_data_of_a_live_service_is_not_touched(tmp_path):
    store = Store.open(tmp_path / "data")
    store.write(Batch(clock=NOW, notices=[FIRING]))
    store.close()
    with pytest.raises(StoreError, match="holds the data of `handoff run`"):
        KeptAlerts(tmp_path / "data")
    store = Store.open(tmp_path / "data")
    assert [each.alert for each in store.alerts_known()] == [FIRING.alert]
    store.close()
