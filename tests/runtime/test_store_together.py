"""Writers, readers and copies at the same time; and any sequence of batches."""

import os
import threading
import time
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storing import START, at, case, fact, kept, notice

from monitor.core.event import Event
from monitor.ingest.intake import Position
from monitor.runtime.backup import backup
from monitor.runtime.batch import Batch, Folded
from monitor.runtime.database import FILE, StoreError
from monitor.runtime.deliveries import Deliveries
from monitor.runtime.ledger import Ledger
from monitor.runtime.reader import Reader
from monitor.runtime.store import Store

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "2400"))
PER_BATCH = 20


def batch(number):
    facts = [
        fact(PER_BATCH * number + each, str(each), attributes={"note": "x" * 500})
        for each in range(PER_BATCH)
    ]
    return Batch(
        clock=at(number), facts=facts, notices=[notice(f"a{number}")], positions=[Position("n", str(number))]
    )


class Writing:
    """A thread that writes batches until it is told to stop, and at least one; half of the time it leaves to others."""

    def __init__(self, store):
        self._store = store
        self.count = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stopping.is_set() or not self.count:
            began = time.monotonic()
            self._store.write(batch(self.count))
            self.count += 1
            self._stopping.wait(time.monotonic() - began)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()

    def wait_for(self, more):
        goal = self.count + more
        while self.count < goal:
            assert self._thread.is_alive()
            self._stopping.wait(0.001)


def test_readers_beside_a_writer_see_whole_batches_in_order(store):
    with closing(Reader(store.folder)) as reader, Writing(store) as writing:
        for _ in range(20):
            writing.wait_for(1)
            written = writing.count
            there = len(reader._all("SELECT number FROM facts"))
            assert there % PER_BATCH == 0
            assert there >= PER_BATCH * written


def test_people_and_sinks_write_beside_the_engine(store):
    store.write(Batch(clock=START, notices=[notice("a")], deliveries=[("mail", "ward", notice("a"))]))
    with (
        closing(Ledger(store.folder)) as ledger,
        closing(Deliveries(store.folder)) as outbox,
        Writing(store) as writing,
    ):
        for number in range(15):
            assert ledger.acknowledge("a", "sister", "seen", at(number))
            ledger.audit(at(number), "sister", "clinician", "read", "alerts")
            outbox.failed([1], "no answer", 0.0)
            writing.wait_for(1)
    with closing(Reader(store.folder)) as reader:
        assert len(reader.alert("a").acknowledged) == 15
        assert len(reader.audited()) == 15
    assert len(list(store.events())) == PER_BATCH * writing.count


@pytest.fixture
def often(monkeypatch):
    """The log of writes is looked at often, and is long soon."""
    monkeypatch.setattr("monitor.runtime.checkpoint._EVERY_SECONDS", 0.01)
    monkeypatch.setattr("monitor.runtime.checkpoint._LONG", 500)


def log_size(store):
    return (store.folder / f"{FILE}-wal").stat().st_size


def salt(store):
    """What tells the log of writes from the same file before it was begun anew."""
    with (store.folder / f"{FILE}-wal").open("rb") as log:
        return log.read(24)[16:]


def test_the_log_of_writes_is_begun_anew_though_someone_always_reads(often, store):
    done, logs = threading.Event(), set()
    with closing(Reader(store.folder)) as reader:

        def read():
            while not done.is_set():
                reader._all("SELECT max(number) FROM facts")
                reader.alerts(limit=1)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            for number in range(2_000):  # most of them on a machine that is very busy
                store.write(batch(number))
                logs.add(salt(store))
                if len(logs) > 3:
                    break
        finally:
            done.set()
            thread.join()
    assert len(logs) > 3


def test_after_a_reader_that_stayed_long_the_log_is_begun_anew_and_no_write_does_the_work(often, store):
    with closing(Reader(store.folder)) as reader:
        reader._connection.execute("BEGIN")
        reader._connection.execute("SELECT 1 FROM facts").fetchall()
        for number in range(100):
            store.write(batch(number))
        grown = log_size(store)
        reader._connection.execute("COMMIT")
    assert grown > 8 << 20
    goal = time.monotonic() + 60
    size, number = 0, 100
    while size != log_size(store):  # a write begins the log anew once all of it has been moved
        assert time.monotonic() < goal
        time.sleep(0.01)
        size, number = log_size(store), number + 1
        store.write(batch(number))
    assert store._all("PRAGMA wal_autocheckpoint") == [(0,)]


def test_nothing_is_left_in_the_log_when_the_store_is_closed(store):
    with closing(Reader(store.folder)) as reader:
        store.write(batch(0))
        store.close()
        assert log_size(store) == 0
        assert len(list(reader.events())) == PER_BATCH


# Copies


def test_a_copy_made_while_the_service_writes_is_whole_and_can_be_used(store, tmp_path):
    with Writing(store) as writing:
        writing.wait_for(5)
        before = writing.count
        size = backup(store.folder, tmp_path / "copy.sqlite")
        after = writing.count
    assert size == (tmp_path / "copy.sqlite").stat().st_size
    assert (tmp_path / "copy.sqlite").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.sqlite", "data"]
    assert (tmp_path / "copy.sqlite").read_bytes()[18:20] == b"\x01\x01"  # no log of writes belongs to it
    restored = tmp_path / "restored"
    restored.mkdir()
    (tmp_path / "copy.sqlite").rename(restored / FILE)
    with closing(Store.open(restored)) as copy:
        events = list(copy.events())
        batches = len(events) // PER_BATCH
        assert before <= batches <= after + 1
        assert events == [event for number in range(batches) for event in batch(number).facts]
        assert copy.position("n") == str(batches - 1)
        assert copy.pseudonym("3") == store.pseudonym("3")


def test_a_copy_never_takes_the_place_of_a_file(store, tmp_path):
    target = tmp_path / "copy.sqlite"
    target.write_bytes(b"precious")
    with pytest.raises(StoreError, match="exists already; name a new file"):
        backup(store.folder, target)
    assert target.read_bytes() == b"precious"


def test_a_copy_that_could_not_be_made_leaves_no_file(store, tmp_path):
    with pytest.raises(StoreError, match=r"cannot read .*nowhere"):
        backup(tmp_path / "nowhere", tmp_path / "copy.sqlite")
    with pytest.raises(StoreError, match=r"cannot write .*copy\.sqlite"):
        backup(store.folder, tmp_path / "nowhere" / "copy.sqlite")
    store.write(batch(0))
    page = store._all("PRAGMA page_size")[0][0]
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray((store.folder / FILE).read_bytes())
    content[page * (len(content) // page // 2) :] = b"\xff" * (
        len(content) - page * (len(content) // page // 2)
    )
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / FILE).write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        backup(damaged, tmp_path / "copy.sqlite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "data"]


# Any sequence of batches

PATIENTS = ("7001", "7002", "ß\x00'\"", "🚑")
texts = st.text(max_size=8)
values = (
    texts | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
)
seconds = st.integers(0, 500)
events = st.builds(
    lambda id_, patient, second, micro, attributes, **rest: Event(
        id=id_ or "-",
        patient=patient,
        occurred_at=at(second).replace(microsecond=micro),
        arrived_at=at(second),
        attributes=attributes,
        **rest,
    ),
    texts,
    st.sampled_from(PATIENTS),
    seconds,
    st.integers(0, 999_999),
    st.dictionaries(texts | st.just("arrived_at"), values, max_size=3),
    type=st.sampled_from(["transfer", "admit", "triage"]),
    source=texts,
    encounter=st.none() | texts,
    precision=st.sampled_from(["second", "minute", "day"]),
)
cases = st.builds(
    lambda number, patient, verdict, rule: case(number, patient, verdict, rule=rule),
    st.integers(0, 5),
    st.sampled_from(PATIENTS),
    st.sampled_from(["open", "met", "late"]),
    st.sampled_from(["a", "b"]),
)
notices = st.builds(
    lambda alert, second, patient, state: notice(alert, second, patient, state=state),
    st.sampled_from("abc"),
    seconds,
    st.sampled_from((*PATIENTS, "")),
    st.sampled_from(["firing", "resolved"]),
)
batches = st.lists(
    st.builds(
        Batch,
        clock=seconds.map(at),
        facts=st.lists(events, max_size=4),
        verdicts=st.lists(cases, max_size=4),
        gone=st.lists(cases.map(lambda each: each.case), max_size=2),
        notices=st.lists(notices, max_size=3),
        folded=st.lists(st.builds(Folded, st.sampled_from(PATIENTS), st.none() | seconds.map(at), st.just(1), st.booleans()), max_size=2),
        hot=st.lists(st.sampled_from(PATIENTS), max_size=2),
        positions=st.lists(st.builds(Position, st.sampled_from("xy"), texts), max_size=2),
    ),
    max_size=6,
)  # fmt: skip


class Model:
    """What a store is to hold, in plain dictionaries."""

    def __init__(self):
        self.clock = None
        self.facts, self.cases, self.alerts, self.positions, self.folded = [], {}, {}, {}, {}

    def write(self, batch):
        self.clock = batch.clock
        for folded in batch.folded:
            self.folded[folded.patient] = folded
        for patient in [*batch.hot, *(event.patient for event in batch.facts)]:
            self.folded.pop(patient, None)
        for event in batch.facts:
            if not any(told(event) == told(other) for other in self.facts):
                self.facts.append(event)
        self.cases |= {each.case: each for each in batch.verdicts}
        for each in batch.gone:
            self.cases.pop(each, None)
        for each in batch.notices:
            if each.alert not in self.alerts or each.sequence >= self.alerts[each.alert].sequence:
                self.alerts[each.alert] = each
        self.positions |= dict(batch.positions)


def told(event):
    """All but the arrival; 0.0 and -0.0 are written differently, and False is not 0."""
    return repr([getattr(event, name) for name in event.__struct_fields__ if name != "arrived_at"])


@settings(max_examples=max(1, EXAMPLES // 100), deadline=None)  # each opens a directory or two
@given(batches)
def test_whatever_is_written_is_read_back_equal_and_in_order(tmp_path_factory, written):
    folder = tmp_path_factory.mktemp("any")
    store, model = Store.open(folder), Model()
    try:
        for number, each in enumerate(written):
            if number % 3 == 2:
                store.close()
                store = Store.open(folder)
            store.write(each)
            model.write(each)
        assert store.clock() == model.clock
        assert list(store.events()) == model.facts
        for patient in PATIENTS:
            assert list(store.events([patient])) == [
                event for event in model.facts if event.patient == patient
            ]
        assert {each.alert: each for each in store.alerts_known()} == model.alerts
        assert {each.patient: each for each in store.folded()} == model.folded
        assert set(store.hot()) == {event.patient for event in model.facts} - set(model.folded)
        assert {name: store.position(name) for name in model.positions} == model.positions
        with closing(Reader(folder)) as reader:
            assert {each.verdict.case: each.verdict for each in reader.verdicts()} == model.cases
            for rule in "ab":
                found = {each.verdict.case for each in reader.verdicts(rule=rule, verdict="open")}
                assert found == {
                    each.case for each in model.cases.values() if (each.rule, each.verdict) == (rule, "open")
                }
    finally:
        store.close()


def test_rejects_of_any_bytes_are_kept_to_the_byte(store):
    content = bytes(range(256)) * 3
    store.write(Batch(clock=START, rejects=[kept(1, content=content), kept(2, content=b"")]))
    with closing(Reader(store.folder)) as reader:
        assert reader.reject(1)[1] == content
        assert reader.reject(2)[1] == b""


def test_text_that_is_no_unicode_stops_nothing(store):
    odd = "a\udc80b"
    store.write(
        Batch(
            clock=START,
            rejects=[kept(1, odd, where=odd, source=odd)],
            positions=[Position(odd, odd)],
            notices=[notice("a")],
        )
    )
    assert store.position(odd) == "a\\udc80b"
    with closing(Ledger(store.folder)) as ledger, closing(Reader(store.folder)) as reader:
        assert ledger.acknowledge("a", odd, odd, START)
        assert not ledger.acknowledge(odd, odd, odd, START)
        ledger.audit(START, odd, "clinician", "read", odd)
        assert ledger.ask_retry_of(odd) == 1
        assert [each.where for each in reader.rejects(reason=odd)] == ["a\\udc80b"]
        assert reader.alert("a").acknowledged[0].who == "a\\udc80b"
        assert reader.alert(odd) is None


def test_a_page_before_any_number_is_answered(store):
    store.write(Batch(clock=START, notices=[notice("a")], verdicts=[case(1)]))
    with closing(Reader(store.folder)) as reader:
        for before, count in ((0, 0), (-5, 0), (1, 0), (2, 1), (10**30, 1)):
            assert len(reader.alerts(before=before)) == count
            assert len(reader.verdicts(before=before)) == count
            assert len(reader.verdicts(rule="ed-four-hours", before=before)) == count
