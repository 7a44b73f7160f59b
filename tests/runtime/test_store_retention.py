"""What is over and long quiet is forgotten, with all that is about it; nothing else is."""

import pytest
from storing import START, at, case, fact, kept, notice

from monitor.formats.fhir import Visit
from monitor.runtime.batch import Batch, Folded
from monitor.runtime.database import FILE
from monitor.runtime.deliveries import Deliveries
from monitor.runtime.ledger import Ledger
from monitor.runtime.reader import Reader
from monitor.runtime.store import Store

LATER = at(1_000)


def over(*patients):
    return [Folded(patient, None, 0, True) for patient in patients]


def write(store, **parts):
    store.write(Batch(clock=START, **parts))


def test_a_journey_that_is_over_and_quiet_is_forgotten_with_all_that_is_about_it(folder):
    store = Store.open(folder)
    visit = Visit(source="epr", key="1", recorded_at=START, events=[fact(1)])
    resolved = notice("a", state="resolved", reason="late")
    write(
        store,
        facts=[fact(1), fact(1, "7002")],
        verdicts=[case(1), case(2, "7002")],
        visits=[visit],
        notices=[resolved, notice("b", patient="7002")],
        deliveries=[("mail", "ward", resolved)],
    )
    ledger, outbox, reader = Ledger(folder), Deliveries(folder), Reader(folder)
    ledger.acknowledge("a", "sister", "seen", START)
    ledger.audit(START, "sister", "clinician", "read", store.pseudonym("7001"))
    outbox.delivered([1])
    write(store, folded=over("7001", "7002"))
    pseudonym = store.pseudonym("7001")

    assert store.forget(LATER) == ["7001"]
    assert store.forget(LATER) == []
    assert [event.patient for event in store.events()] == ["7002"]
    assert store.visit("epr", "1") is None
    assert [each.verdict.patient for each in reader.verdicts()] == ["7002"]
    assert reader.alert("a") is None
    assert reader.alert("b") is not None
    assert store.receivers_of("a") == []
    assert reader.patient_of(pseudonym) is None
    assert [line.what for line in reader.audited()] == [pseudonym]
    secret = store.recall("pseudonym-secret")  # at random, and so it may hold any number
    for each in (ledger, outbox, reader, store):
        each.close()
    assert b"7001" not in (folder / FILE).read_bytes().replace(secret.encode(), b"")


@pytest.mark.parametrize(
    ("folded", "why"),
    [
        ([], "in memory"),
        ([Folded("7001", None, 0, False)], "not over"),
        ([Folded("7001", at(2_000), 1, True)], "something is due"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_journey_is_kept_while_anything_can_happen_in_it(store, folded, why):
    write(store, facts=[fact(1)])
    write(store, folded=folded)
    assert store.forget(LATER) == []
    assert store.facts("7001") != b"[]"


def test_a_journey_of_which_something_was_heard_since_is_kept(store):
    write(store, facts=[fact(1), fact(1, "7002"), fact(2), fact(2, "7002", arrived_at=LATER)])
    write(store, folded=over("7001", "7002"))
    assert store.forget(LATER) == ["7001"]


def test_a_journey_whose_alert_fires_or_has_yet_to_be_told_is_kept(store):
    write(store, facts=[fact(1), fact(1, "7002"), fact(1, "7003")], folded=[])
    told = notice("b", patient="7002", state="resolved", reason="late")
    write(
        store,
        notices=[notice("a"), told],
        deliveries=[("mail", "ward", told)],
        folded=over("7001", "7002", "7003"),
    )
    assert store.forget(LATER) == ["7003"]


def test_patients_whom_merges_link_are_forgotten_together_or_not_at_all(store):
    merge = fact(2, "TMP1", type="merge", attributes={"into": "7001"})
    write(store, facts=[fact(1), fact(1, "TMP1"), merge])
    write(store, folded=over("TMP1"))
    assert store.forget(LATER) == []
    write(store, folded=over("TMP1", "7001"))
    assert sorted(store.forget(LATER)) == ["7001", "TMP1"]
    assert store.links() == {}


def test_patients_whom_merges_link_are_kept_while_any_of_them_is_heard_of(store):
    merge = fact(2, "TMP1", type="merge", attributes={"into": "7001"})
    write(store, facts=[fact(1), merge, fact(3, arrived_at=LATER)])
    write(store, folded=over("TMP1", "7001"))
    assert store.forget(LATER) == []
    assert len(store.forget(at(1_001))) == 2


def test_a_key_that_only_a_merge_names_keeps_nobody(store):
    write(store, facts=[fact(2, "TMP1", type="merge", attributes={"into": "7001"})])
    write(store, folded=over("TMP1"))
    assert sorted(store.forget(LATER)) == ["7001", "TMP1"]


def test_much_is_forgotten_in_small_steps(store):
    patients = [str(number) for number in range(25)]
    write(store, facts=[fact(number, patient) for number, patient in enumerate(patients)])
    write(store, folded=over(*patients))
    steps = []
    while step := store.forget(LATER, limit=10):
        steps.append(step)
    assert [len(step) for step in steps] == [10, 10, 5]
    assert sorted(patient for step in steps for patient in step) == sorted(patients)


def test_a_patient_who_was_forgotten_and_comes_back_is_there_again(store):
    write(store, facts=[fact(1)])
    before = store.pseudonym("7001")
    write(store, folded=over("7001"))
    store.forget(LATER)
    write(store, facts=[fact(3, "7009"), fact(2)])
    assert [event.id for event in store.events(["7001"])] == ["m-2"]
    assert [event.id for event in store.events(["7009"])] == ["m-3"]
    assert store.pseudonym("7001") == before


def test_old_rejects_go_and_younger_ones_stay(store, folder):
    write(store, rejects=[kept(1), kept(2), kept(2_000)])
    store.forget(LATER)
    reader = Reader(folder)
    assert [each.id for each in reader.rejects()] == [3]
    reader.close()


def test_of_alerts_about_no_patient_the_last_delivery_to_each_receiver_stays(store, folder):
    about_a_feed = [notice("feed", number, patient="", rule="feed") for number in range(3)]
    write(store, notices=about_a_feed, deliveries=[("mail", "ward", each) for each in about_a_feed])
    outbox = Deliveries(folder)
    outbox.delivered([1])
    outbox.delivered([2])
    store.forget(LATER)
    assert [each.id for each in outbox.due("mail", 10)] == [3]
    assert store.receivers_of("feed") == [("mail", "ward")]
    outbox.delivered([3])
    store.forget(LATER)
    assert store.receivers_of("feed") == [("mail", "ward")]
    outbox.close()


def test_of_what_was_heard_of_a_source_long_ago_the_last_run_stays(store):
    for second in (0, 10, 500, 900):
        write(store, heard={"PAS": at(second)})
    assert store.heard() == {"PAS": [(at(0), at(10)), (at(500), at(500)), (at(900), at(900))]}
    store.forget(at(600))
    assert store.heard() == {"PAS": [(at(900), at(900))]}
    store.forget(at(2_000))
    assert store.heard() == {"PAS": [(at(900), at(900))]}
