"""`handoff worker` on a real Kafka: whatever befalls workers, they tell what one pass over the same events tells."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
from kafka_compared import agrees, at_the_end, until_agrees
from kafka_site import PARTITIONS, Site, events, wait_until

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats.envelope import Heard, encode, partition_of
from monitor.runtime import working
from monitor.runtime.clock import LiveClock
from monitor.runtime.live import Loaded
from monitor.runtime.rocks import DiskTable
from monitor.runtime.table import Table, catch_up
from monitor.settings import Settings

pytestmark = [
    pytest.mark.acceptance,
    # kafka-python leaves the sockets of failed connections to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <(socket|ssl):ResourceWarning"),
]


@pytest.fixture
def site(broker, tmp_path):
    with Site(broker, tmp_path) as found:
        yield found


def test_a_worker_tells_what_one_pass_tells_and_of_silence_when_nothing_comes(site):
    site.start({})
    [worker] = site.workers
    site.tell(events(500, patients=100))
    site.send(0, [b"{poison", encode(Heard("A"))])
    until_agrees(site)
    site.tell([Event(id="last", type="x", patient="lonely", occurred_at=datetime.now(UTC))])
    wait_until(
        lambda: {told[-1][1].state for told in of_patient(site, "lonely")} == {"firing"}, 30, "an alert"
    )
    assert worker.metric("partitions ") == PARTITIONS
    agrees(site)
    assert [each.value for each in site.topic("rejects")] == [b"{poison"]


def of_patient(site, patient):
    return [told for told in site.notices().values() if told[-1][1].patient == patient]


def test_a_worker_that_is_killed_leaves_nothing_undone(site):
    site.start({})
    site.tell(events(300, patients=60))
    site.tell(events(300, patients=60))
    site.kill(site.workers[0])
    site.tell(events(100, patients=60))
    site.join()
    site.until_ready()
    agrees(site)


def test_of_two_workers_one_takes_over_when_the_other_is_killed(site):
    site.start({}, {})
    first, second = site.workers
    wait_until(lambda: 0 < first.metric("partitions ") < PARTITIONS, 60, "a share for each")
    for _ in range(5):
        site.tell(events(200, patients=50))
    site.kill(first)
    site.tell(events(200, patients=50))
    wait_until(lambda: second.metric("partitions ") == PARTITIONS, 60, "taking over")
    agrees(site)


def test_patients_are_merged_across_partitions(site):
    keys = sorted((f"m{n}" for n in range(20)), key=lambda key: partition_of(key.encode(), PARTITIONS))
    first, last = keys[0], keys[-1]
    site.start({})
    now = datetime.now(UTC)
    site.tell(
        [Event(id=f"x{n}", type="x", patient=key, occurred_at=now) for n, key in enumerate((first, last))]
    )
    at = now + timedelta(milliseconds=1)
    site.tell([Event(id="m", type="merge", patient=last, occurred_at=at, attributes={"into": first})])
    site.tell(
        [
            Event(id=f"y{n}", type="y", patient=key, occurred_at=datetime.now(UTC))
            for n, key in enumerate((first, last))
        ]
    )
    now = until_agrees(site)
    site.end()
    at_the_end(site, now)  # while facts are on their way an alert may be told that is taken back
    assert {each.patient for each in site.verdicts().values()} == {first}


def test_what_the_stream_passes_over_is_read_beside_it_and_time_goes_on(site, monkeypatch):
    site.start()
    site.tell(events(200, kinds=("x",)))  # the last is due in a second

    class Forgetful(working.Stream):
        is_forgetful = True

        async def _hand_on(self, event):
            if not self.is_forgetful:
                await super()._hand_on(event)

    async def live():
        settings = Settings(rules=["rules.yaml"], data=str(site.folder / "data"))
        loaded = Loaded(site.rule_set(), Registry(), "digest")
        worker = working.Working(settings, site.cluster, loaded, b"secret", LiveClock())
        worker.start()
        try:
            await asyncio.to_thread(until_agrees, site)
            Forgetful.is_forgetful = False
            await asyncio.to_thread(site.tell, events(200))
            await asyncio.to_thread(agrees, site)
        finally:
            await worker.stop()
        return worker.metrics.exposition("")[0].decode()

    monkeypatch.chdir(site.folder)
    monkeypatch.setattr(working, "Stream", Forgetful)
    [gaps] = re.findall(r"^handoff_offset_gaps_total (.+)$", asyncio.run(live()), re.MULTILINE)
    assert float(gaps) >= PARTITIONS


def test_a_worker_whose_journeys_are_on_disk_goes_on_from_there_after_it_was_killed(site):
    kept = {"settings": site.settings("rocksdb.yaml", store="rocksdb"), "data": str(site.folder / "kept")}
    site.start(kept)
    site.tell(events(300, patients=60))
    until_agrees(site)
    site.tell(events(300, patients=60))
    site.kill(site.workers[0])
    on_disk = journeys_on_disk(site.folder / "kept")
    assert len(on_disk) >= 60
    assert set(on_disk.values()) <= {each.value for each in site.topic("journeys")}
    site.tell(events(100, patients=60))
    site.join(**kept)
    until_agrees(site)
    site.end()
    # what another worker has done meanwhile is known, too
    site.join(settings="rocksdb.yaml", data=str(site.folder / "other"))
    site.until_ready()
    site.tell(events(200, patients=60))
    until_agrees(site)
    site.end()
    site.join(**kept)
    site.until_ready()
    site.tell(events(100, patients=60))
    agrees(site)
    assert journeys_on_disk(site.folder / "kept") == journeys_in(site)


def journeys_on_disk(data):
    found = {}
    for number in range(PARTITIONS):
        table = DiskTable(data / "journeys" / str(number), lambda: datetime.now(UTC))
        found |= {(number, key): value for key, value in table.cells.items()}
        assert table.next > 0
        table.close()
    return found


def journeys_in(site):
    """What the changelog says last of each cell."""
    found = {}
    for number in range(PARTITIONS):
        table = Table()
        catch_up(site.cluster, {number: table}, lambda: True)
        found |= {(number, key): value for key, value in table.cells.items()}
    return found
