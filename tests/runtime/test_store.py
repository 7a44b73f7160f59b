"""What is written is there when the directory is opened again: each thing as it was, in the order in which it came."""

import msgspec
from storing import START, at, case, fact, kept, notice

from monitor.core.engine import Engine
from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats.fhir import Visit
from monitor.ingest.intake import Position
from monitor.runtime.batch import Batch, Folded
from monitor.runtime.store import Store


def reopened(store):
    store.close()
    return Store.open(store.folder)


def events(packed):
    return msgspec.json.decode(packed, type=list[Event])


def test_a_new_directory_is_empty(store):
    assert store.clock() is None
    assert list(store.events()) == []
    assert store.facts("7001") == b"[]"
    assert store.folded() == []
    assert store.hot() == []


def test_facts_are_there_in_order_of_arrival_when_the_directory_is_opened_again(folder):
    store = Store.open(folder)
    store.write(Batch(clock=at(9), facts=[fact(3), fact(1, "7002"), fact(2)]))
    store.write(Batch(clock=at(10), facts=[fact(0)]))
    store = reopened(store)
    assert [event.id for event in store.events()] == ["m-3", "m-1", "m-2", "m-0"]
    assert list(store.events(["7001"])) == [fact(3), fact(2), fact(0)]
    assert events(store.facts("7001")) == [fact(3), fact(2), fact(0)]
    assert store.clock() == at(10)
    store.close()


def test_the_engine_takes_facts_as_they_are_stored(store):
    store.write(Batch(clock=at(9), facts=[fact(1, to="ed", attributes={"note": 'a ,"arrived_at":" in it'})]))
    engine = Engine([], Registry())
    engine.load("7001", store.facts("7001"))
    assert events(engine.dump("7001")) == list(store.events())


def test_an_equal_copy_is_kept_once_and_one_that_differs_beside_it(store):
    store.write(Batch(clock=at(1), facts=[fact(1)]))
    store.write(Batch(clock=at(5), facts=[fact(1, arrived_at=at(5)), fact(1, arrived_at=at(5), to="icu")]))
    assert list(store.events()) == [fact(1), fact(1, arrived_at=at(5), to="icu")]
    assert [event.to for event in store.events(["7001"])] == [None, "icu"]


def test_copies_under_two_patients_are_two_facts(store):
    store.write(Batch(clock=at(1), facts=[fact(1), fact(1, "7002")]))
    assert [event.patient for event in store.events()] == ["7001", "7002"]


def test_a_patient_is_hot_until_folded_and_again_from_the_next_fact_on(store):
    store.write(Batch(clock=at(1), facts=[fact(1), fact(1, "7002"), fact(1, "7003")]))
    assert store.hot() == ["7001", "7002", "7003"]
    store.write(Batch(clock=at(2), folded=[Folded("7001", at(60), 1, False), Folded("7002", None, 0, True)]))
    assert store.folded() == [Folded("7001", at(60), 1, False), Folded("7002", None, 0, True)]
    assert store.hot() == ["7003"]
    store.write(Batch(clock=at(3), facts=[fact(3)], hot=["7002"]))
    assert store.folded() == []
    assert store.hot() == ["7001", "7002", "7003"]


def test_what_is_folded_and_heard_of_in_one_batch_is_hot(store):
    store.write(Batch(clock=at(1), facts=[fact(1)], folded=[Folded("7001", None, 0, True)]))
    assert store.hot() == ["7001"]


def test_small_facts_positions_visits_and_sources_are_as_they_were_last_told(folder):
    store = Store.open(folder)
    visit = Visit(source="epr", key="Encounter/1", recorded_at=at(1), events=[fact(1)])
    later = Visit(source="epr", key="Encounter/1", recorded_at=at(2), events=[])
    store.remember("rules", "a")
    store.remember("rules", "b")
    store.write(
        Batch(clock=at(1), visits=[visit], positions=[Position("file:x", "10")], heard={"PAS": at(1)})
    )
    assert store.visit("epr", "Encounter/1") == visit
    store.write(
        Batch(clock=at(2), visits=[later], positions=[Position("file:x", "20")], heard={"PAS": at(2)})
    )
    store = reopened(store)
    assert store.recall("rules") == "b"
    assert store.recall("nothing") is None
    assert store.position("file:x") == "20"
    assert store.position("file:y") is None
    assert store.visit("epr", "Encounter/1") == later
    assert store.visit("epr", "Encounter/2") is None
    assert store.heard() == {"PAS": [(at(1), at(2))]}
    store.close()


def test_an_alert_is_known_in_its_latest_state_and_an_older_one_changes_nothing(store):
    fires, resolves = notice("a", 5), notice("a", 9, state="resolved", reason="late")
    store.write(Batch(clock=at(5), notices=[fires]))
    store.write(Batch(clock=at(9), notices=[resolves]))
    store.write(Batch(clock=at(9), notices=[fires]))
    assert list(store.alerts_known()) == [resolves]


def test_a_later_generation_of_the_rules_is_newer_whatever_its_instants(store):
    store.write(Batch(clock=at(9), notices=[notice("a", 9)]))
    under_new_rules = notice("a", 5, sequence=(1, at(5), 0), state="resolved", reason="withdrawn")
    store.write(Batch(clock=at(9), notices=[under_new_rules]))
    assert list(store.alerts_known()) == [under_new_rules]


def test_the_same_change_told_again_stands_as_it_was_told_last(store):
    store.write(Batch(clock=at(9), notices=[notice("a", 9)]))
    store.write(Batch(clock=at(9), notices=[notice("a", 9, place="icu")]))
    assert list(store.alerts_known()) == [notice("a", 9, place="icu")]


def test_under_new_rules_nothing_is_folded_any_more(store):
    store.write(Batch(clock=at(1), facts=[fact(1)]))
    store.write(Batch(clock=at(2), folded=[Folded("7001", at(60), 1, False)]))
    store.begin_generation({"rules": "b", "generation": "2"})
    assert store.folded() == []
    assert store.hot() == ["7001"]
    assert (store.recall("rules"), store.recall("generation")) == ("b", "2")


def test_who_was_ever_to_be_told_of_an_alert_is_known(store):
    told = [("mail", "ward", notice("a")), ("mail", "ward", notice("a", 3)), ("page", "doctor", notice("b"))]
    store.write(Batch(clock=START, deliveries=told))
    assert store.receivers_of("a") == [("mail", "ward")]
    assert store.receivers_of("b") == [("page", "doctor")]
    assert store.receivers_of("c") == []


def test_a_pseudonym_stays_and_is_another_in_another_directory(store, tmp_path):
    before = store.pseudonym("7001")
    store.write(Batch(clock=at(1), facts=[fact(1)]))
    assert store.pseudonym("7001") == before
    assert len(before) == 10
    assert before.isalnum()
    assert before == before.lower()
    assert store.pseudonym("7002") != before
    other = Store.open(tmp_path / "other")
    assert other.pseudonym("7001") != before
    other.close()


def test_verdicts_and_rejects_may_be_part_of_a_batch(store):
    store.write(Batch(clock=at(1), facts=[fact(1)], verdicts=[case(1)], rejects=[kept(1)]))
    store.write(Batch(clock=at(2), verdicts=[case(1, verdict="met")], gone=[case(1).case]))
    assert store.clock() == at(2)


def test_only_the_owner_can_read_a_data_directory(store):
    store.write(Batch(clock=at(1), facts=[fact(1)]))
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in store.folder.iterdir()} == {0o600}
    assert len(list(store.folder.iterdir())) >= 3


def test_a_store_may_be_closed_twice(store):
    store.close()
    store.close()
    Store.open(store.folder).close()


def test_every_commit_is_synced_to_the_disk(store):
    assert store._all("PRAGMA journal_mode") == [("wal",)]
    assert store._all("PRAGMA synchronous") == [(2,)]
