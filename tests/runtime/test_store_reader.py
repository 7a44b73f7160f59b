"""What the API, gauges and commands are answered, beside the service that writes."""

import pytest
from storing import START, at, case, fact, kept, notice

from monitor.formats.reject import Reject
from monitor.runtime.batch import Batch, Folded
from monitor.runtime.database import StoreError
from monitor.runtime.deliveries import Deliveries
from monitor.runtime.ledger import Ledger
from monitor.runtime.reader import OpenCases, Reader
from monitor.runtime.store import Store


@pytest.fixture
def reader(store):
    reader = Reader(store.folder)
    yield reader
    reader.close()


@pytest.fixture
def ledger(store):
    ledger = Ledger(store.folder)
    yield ledger
    ledger.close()


def alerts(found):
    return [each.notice.alert for each in found]


def triggers(found):
    return [each.verdict.trigger for each in found]


# Alerts


def test_alerts_are_listed_newest_first_page_by_page(store, reader):
    store.write(Batch(clock=START, notices=[notice(f"a{number}", number) for number in range(5)]))
    store.write(Batch(clock=START, notices=[notice("a1", 9, state="resolved", reason="late")]))
    first = reader.alerts(limit=2)
    assert alerts(first) == ["a4", "a3"]
    assert alerts(reader.alerts(before=first[-1].number, limit=2)) == ["a2", "a1"]
    assert alerts(reader.alerts(before=reader.alerts()[-1].number)) == []


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"state": "firing"}, ["d", "b", "a"]),
        ({"state": "resolved"}, ["c"]),
        ({"rule": "icu"}, ["b"]),
        ({"place": "icu", "severity": "critical"}, ["d"]),
        ({"place": "icu", "rule": "icu", "state": "resolved"}, []),
    ],
)
def test_alerts_are_found_by_state_rule_place_and_severity(store, reader, filters, found):
    present = [
        notice("a"),
        notice("b", rule="icu"),
        notice("c", state="resolved"),
        notice("d", place="icu", severity="critical"),
    ]
    store.write(Batch(clock=START, notices=present))
    assert alerts(reader.alerts(**filters)) == found


def test_an_alert_shows_who_acknowledged_it(store, reader, ledger):
    store.write(Batch(clock=START, notices=[notice("a"), notice("b")]))
    assert ledger.acknowledge("a", "ward sister", "bed is being cleaned", at(5))
    assert ledger.acknowledge("a", "registrar", "seen", at(6))
    store.write(Batch(clock=START, notices=[notice("a", 7, state="resolved", reason="late")]))
    assert [(mark.who, mark.reason, mark.at) for mark in reader.alert("a").acknowledged] == [
        ("ward sister", "bed is being cleaned", at(5)),
        ("registrar", "seen", at(6)),
    ]
    assert reader.alert("a").notice.state == "resolved"
    assert reader.alert("b").acknowledged == []
    assert reader.alert("c") is None


def test_what_does_not_exist_cannot_be_acknowledged(reader, ledger):
    assert not ledger.acknowledge("a", "ward sister", "seen", at(5))


# Cases


def test_cases_are_listed_newest_first_and_as_they_were_last_judged(store, reader):
    store.write(Batch(clock=START, verdicts=[case(1), case(2, "7002"), case(3)]))
    store.write(Batch(clock=START, verdicts=[case(1, verdict="met")], gone=[case(3).case]))
    found = reader.verdicts()
    assert [(each.verdict.trigger, each.verdict.verdict) for each in found] == [
        ("m-2", "open"),
        ("m-1", "met"),
    ]
    assert found[1].verdict == case(1, verdict="met")
    assert found[1].pseudonym == store.pseudonym("7001")


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"rule": "b"}, ["m-6", "m-4"]),
        ({"verdict": "open"}, ["m-6", "m-5", "m-1"]),
        ({"verdict": "open", "overdue": False}, ["m-6", "m-1"]),
        ({"overdue": True}, ["m-5"]),
        ({"overdue": False}, ["m-6", "m-4", "m-3", "m-2", "m-1"]),
        ({"verdict": "met"}, ["m-4", "m-2"]),
        ({"verdict": "met", "rule": "a"}, ["m-2"]),
        ({"verdict": "met", "overdue": True}, []),
        ({"rule": "c"}, []),
    ],
)
def test_cases_are_found_by_rule_and_verdict(store, reader, filters, found):
    cases = [
        case(1, rule="a"),
        case(2, rule="a", verdict="met"),
        case(3, rule="a", verdict="late"),
        case(4, rule="b", verdict="met"),
        case(5, rule="a", overdue=True),
        case(6, rule="b"),
    ]
    store.write(Batch(clock=START, verdicts=cases))
    assert triggers(reader.verdicts(**filters)) == found
    paged, before = [], None
    while page := reader.verdicts(**filters, before=before, limit=1):
        before = page[-1].number
        paged += triggers(page)
    assert paged == found


def test_the_cases_of_a_journey_include_those_of_patients_whom_merges_link(store, reader):
    merge = fact(3, "TMP1", type="merge", attributes={"into": "7001"})
    cases = [case(1, "TMP1"), case(2), case(3, "7002"), case(4, verdict="met")]
    store.write(Batch(clock=START, facts=[merge], verdicts=cases))
    for patient in ("TMP1", "7001"):
        assert triggers(reader.verdicts(journey=store.pseudonym(patient))) == ["m-4", "m-2", "m-1"]
    assert triggers(reader.verdicts(journey=store.pseudonym("7001"), verdict="open", limit=1)) == ["m-2"]
    assert triggers(reader.verdicts(journey=store.pseudonym("7002"), rule="other")) == []
    assert reader.verdicts(journey="nobody") == []


def test_cases_that_wait_are_counted_by_rule(store, reader):
    cases = [
        case(1, rule="a"),
        case(2, rule="a", overdue=True),
        case(3, rule="a", overdue=True),
        case(4, rule="b", verdict="met"),
        case(5, rule="c"),
    ]
    store.write(Batch(clock=START, verdicts=cases))
    assert reader.open_cases() == [
        OpenCases("a", 3, 2, at(62)),
        OpenCases("b", 0, 0, None),
        OpenCases("c", 1, 0, None),
    ]


def test_patients_whose_verdicts_come_anew_have_no_others(store, reader):
    store.write(Batch(clock=START, verdicts=[case(1), case(2), case(3, "7002")]))
    store.write(Batch(clock=START, anew=["7001"], verdicts=[case(2, verdict="met")]))
    assert sorted(triggers(reader.verdicts())) == ["m-2", "m-3"]


# Journeys


def test_a_journey_is_found_by_its_pseudonym_and_shows_what_merges_link_in_order_of_arrival(store, reader):
    merge = fact(3, "TMP1", type="merge", attributes={"into": "7001"})
    other = fact(5, "7001", type="merge", attributes={"into": "7009"})
    store.write(Batch(clock=START, facts=[fact(1, "TMP1"), fact(2), merge, fact(4, "7002"), other]))
    for patient in ("TMP1", "7001", "7009"):
        assert [event.id for event in reader.facts_of(store.pseudonym(patient))] == [
            "m-1",
            "m-2",
            "m-3",
            "m-5",
        ]
    assert [event.id for event in reader.facts_of(store.pseudonym("7002"))] == ["m-4"]
    assert reader.patient_of(store.pseudonym("TMP1")) == "TMP1"


def test_a_pseudonym_of_nobody_has_no_journey(reader):
    assert reader.facts_of("aaaaaaaaaa") == []
    assert reader.patient_of("aaaaaaaaaa") is None


def test_all_facts_can_be_read_beside_the_service(store, reader):
    store.write(Batch(clock=START, facts=[fact(number, str(number % 7)) for number in range(2_500)]))
    assert [event.id for event in reader.events()] == [f"m-{number}" for number in range(2_500)]
    assert list(reader.events(["3"])) == list(store.events(["3"])) != []


# Rejects


def test_rejects_are_listed_newest_first_without_their_content(store, reader):
    store.write(Batch(clock=START, rejects=[kept(1), kept(2, "not-hl7", content=b"hello"), kept(3)]))
    assert [(each.id, each.reason) for each in reader.rejects()] == [
        (3, "no-patient"),
        (2, "not-hl7"),
        (1, "no-patient"),
    ]
    assert [each.id for each in reader.rejects(reason="no-patient", before=3)] == [1]
    found, content = reader.reject(2)
    assert content == b"hello"
    assert found == reader.rejects(reason="not-hl7")[0]
    assert (found.state, found.size, found.arrived_at, found.where) == ("kept", 5, at(2), "10.1.1.7")
    assert reader.reject(9) is None


def test_a_reject_that_someone_asks_for_is_tried_again_until_it_is_taken(store, reader, ledger):
    store.write(Batch(clock=START, rejects=[kept(1), kept(2, content=b"two"), kept(3, "not-hl7")]))
    assert store.retries() == []
    assert ledger.ask_retry([2, 9]) == [2]
    assert [(asked.id, asked.content, asked.origin, asked.source) for asked in store.retries()] == [
        (2, b"two", "mllp", "PAS")
    ]
    store.write(Batch(clock=START, retried=[(2, Reject("no-time", "EVN-2 is empty", "EVN", "EVN-2"))]))
    again = reader.reject(2)[0]
    assert (again.state, again.reason, again.field, again.attempts) == ("kept", "no-time", "EVN-2", 1)
    assert ledger.ask_retry_of("no-patient") == 1
    assert ledger.ask_retry_of(None) == 3
    store.write(Batch(clock=START, facts=[fact(1)], retried=[(2, None)]))
    assert [asked.id for asked in store.retries()] == [1, 3]
    assert [each.id for each in reader.rejects(state="taken")] == [2]
    assert ledger.ask_retry([2]) == []


# The audit log


def test_the_audit_log_is_kept_in_order(store, reader, ledger):
    for number in range(3):
        ledger.audit(at(number), "sister", "clinician", "read", f"journey {number}")
    lines = reader.audited(limit=2)
    assert [line.what for line in lines] == ["journey 2", "journey 1"]
    assert reader.audited(before=lines[-1].number)[0].at == at(0)


# Beside the service


def test_a_directory_without_a_store_cannot_be_read(tmp_path):
    with pytest.raises(StoreError, match=r"cannot open .*nowhere.*see whether the directory is there"):
        Reader(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_reader_sees_each_batch_whole_and_holds_nothing_up(store, reader):
    for number in range(20):
        store.write(Batch(clock=at(number), facts=[fact(number), fact(number, "7002")]))
        assert len(list(reader.events())) == 2 * number + 2


def test_a_reader_cannot_write(reader):
    with pytest.raises(StoreError, match="cannot be written"):
        reader._all("DELETE FROM facts")


def test_a_question_that_takes_too_long_is_broken_off(store, reader, monkeypatch):
    monkeypatch.setattr("monitor.runtime.reader._LONGEST_SECONDS", 0.01)
    endless = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(StoreError) as caught:
        reader._all(endless)
    assert caught.value.kind == "slow"
    assert reader.alerts() == []


def test_what_waits_for_each_sink_is_counted(store, reader):
    told = [("mail", "ward", notice("a")), ("mail", "ward", notice("b")), ("page", "doctor", notice("a"))]
    store.write(Batch(clock=at(1), deliveries=told))
    store.write(Batch(clock=at(2), deliveries=told[:1]))
    outbox = Deliveries(store.folder)
    outbox.failed([1], "no answer", 60)
    outbox.delivered([3])
    outbox.close()
    assert [(each.sink, each.count, each.oldest_queued_at, each.why) for each in reader.waiting()] == [
        ("mail", 3, at(1), "no answer")
    ]


def test_a_page_of_anything_is_found_by_an_index_and_not_by_looking_through_all(store, reader):
    """SQLite says how it would find each page; only `SEARCH`, or a walk along row numbers, ends with the page."""
    asked = []
    reader._connection.set_trace_callback(asked.append)
    reader.alerts()
    for name in ("state", "rule", "place", "severity"):
        reader.alerts(**{name: "x"})
    reader.alert("x")
    store.write(
        Batch(clock=START, facts=[fact(1)], verdicts=[case(1)], notices=[notice("a")], rejects=[kept(1)])
    )
    journey = store.pseudonym("7001")
    for filters in ({}, {"rule": "ed-four-hours"}, {"verdict": "open"}, {"journey": journey}):
        reader.verdicts(**filters)
    reader.open_cases()
    reader.facts_of(journey)
    reader.rejects(reason="x")
    reader.reject(1)
    reader.waiting()
    reader.audited()
    reader._connection.set_trace_callback(None)
    for query in {query for query in asked if not query.startswith(("PRAGMA", "--"))}:
        plan = [row[3] for row in reader._connection.execute(f"EXPLAIN QUERY PLAN {query}")]
        scans = [
            step for step in plan if step.startswith("SCAN") and step not in ("SCAN found", "SCAN linked")
        ]
        assert not [step for step in scans if "CONSTANT ROW" not in step and "outbox_waiting" not in step], (
            query
        )
        if "LIMIT" in query:
            assert not [step for step in plan if "TEMP B-TREE" in step], query


def test_a_folded_journey_is_read_like_any_other(store, reader):
    store.write(Batch(clock=START, facts=[fact(1)]))
    store.write(Batch(clock=START, folded=[Folded("7001", None, 0, True)]))
    assert reader.facts_of(store.pseudonym("7001")) == [fact(1)]


def test_a_store_that_was_cut_off_can_be_read(folder):
    store = Store.open(folder)
    store.write(Batch(clock=START, facts=[fact(1)]))
    copy = folder.with_name("copy")
    copy.mkdir()
    for name in ("handoff.sqlite", "handoff.sqlite-wal"):  # as a process that was killed leaves them
        (copy / name).write_bytes((folder / name).read_bytes())
    store.close()
    reader = Reader(copy)
    assert len(list(reader.events())) == 1
    reader.close()


def test_a_sink_can_ask_what_fires_of_all_that_it_was_told(store, reader):
    over = notice("b", 3, state="resolved", reason="late")
    told = [
        ("am", "ward", notice("a")),
        ("am", "doctor", notice("a")),
        ("am", "ward", over),
        ("mail", "x", notice("a")),
    ]
    store.write(Batch(clock=START, notices=[notice("a", 9), over, notice("c")], deliveries=told))
    assert sorted(reader.firing("am")) == [("doctor", notice("a", 9)), ("ward", notice("a", 9))]
    assert reader.firing("log") == []
