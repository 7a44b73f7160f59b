"""What goes wrong around the live service loses nothing, tells nothing twice, and does not stop the rest."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from living import Service, read_all

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.core.rule import RuleFile
from monitor.formats.reject import Reject
from monitor.ingest.intake import Message
from monitor.runtime.clock import LiveClock
from monitor.runtime.database import StoreError
from monitor.runtime.ledger import Ledger
from monitor.runtime.live import Loaded
from monitor.runtime.reader import Reader
from monitor.runtime.service import Service as WholeService
from monitor.settings import Settings

START = datetime(2026, 3, 2, 10, tzinfo=UTC)


@pytest.fixture
def serve(tmp_path):
    """Begins a service with some rules and a registry; its plug is pulled at the end."""
    services = []

    def begin(rules, registry=Registry()):  # noqa: B008 - nobody changes it
        services.append(Service(tmp_path / "data", rules, registry, START))
        return services[-1]

    yield begin
    for service in services:
        service.pull_the_plug()


def rule(**fields):
    return RuleFile.model_validate(
        {"rules": [{"id": "r", "summary": "s", "severity": "warning", **fields}]}
    ).rules[0]


def event(id_, kind, patient="p", at=START, **fields):
    return Event(id=id_, type=kind, patient=patient, occurred_at=at, **fields)


ARRIVES = {"when": {"type": "depart"}, "expect": {"type": "arrive"}, "within": "30m"}


def test_hours_in_which_a_feed_was_heard_all_the_time_are_no_silence_after_a_restart(serve):
    registry = Registry.model_validate({"sources": {"PAS": {"silent_after": "15m"}}})
    service = serve([rule(**ARRIVES)], registry)
    service.take(event("1", "depart", source="PAS"))
    for number in range(200):
        service.now += timedelta(seconds=20)
        service.take(event(str(number), "update", "q", service.now, source="PAS"))
    service.settle()
    before = service.live._engine.stands("p")
    service.pull_the_plug()
    service.start()
    service.settle()
    assert service.live._engine.stands("p") == before
    assert [each.at for each in service.notices()] == [START + timedelta(minutes=30)]


# -- journeys that cannot be read --------------------------------------------------------------------------


def damage(service, patient):
    """Make the facts of a patient unreadable; returns what puts them right."""
    run = service.store._connection.execute
    of_patient = "WHERE patient = (SELECT number FROM patients WHERE patient = ?)"
    whole = run(f"SELECT body, number FROM facts {of_patient}", (patient,)).fetchall()
    run(f"UPDATE facts SET body = X'7B' {of_patient}", (patient,))
    return lambda: service.store._connection.executemany("UPDATE facts SET body = ? WHERE number = ?", whole)


def read_again(service, digest):
    service.loaded = service.loaded._replace(digest=digest)
    service.live.use(service.loaded)
    read_all(service.live)
    service.settle()


def test_a_journey_that_cannot_be_read_stays_as_it_was_told_until_it_can(serve):
    service = serve([rule(**ARRIVES)])
    service.take(event("1", "depart", "sound"), event("2", "depart", "damaged"))
    service.wait(hours=1)
    verdicts, told = service.verdicts(), service.told()
    assert len(told) == 2
    repair = damage(service, "damaged")
    read_again(service, "second")
    assert [what for what, _ in service.watcher.failures] == ["journey"]
    assert (service.verdicts(), service.told()) == (verdicts, told)
    service.take(event("3", "arrive", "sound"), event("4", "arrive", "damaged"))
    service.settle()
    assert [each.patient for each in service.notices()[2:]] == ["sound"]
    repair()
    read_again(service, "third")
    assert [(each.patient, each.state) for each in service.notices()[2:]] == [
        ("sound", "resolved"),
        ("damaged", "resolved"),
    ]
    assert service.verdicts() == service.replayed()[0]


def test_a_quiet_journey_that_cannot_be_read_stops_nobody_when_it_falls_due(serve):
    service = serve([rule(**ARRIVES)])
    service.take(event("1", "depart", "sound"), event("2", "depart", "damaged"))
    service.wait(minutes=10)
    service.settle()
    assert service.live._engine.in_memory == 0
    repair = damage(service, "damaged")
    with pytest.raises(msgspec.DecodeError):
        service.wait(hours=1)
    with pytest.raises(msgspec.DecodeError):
        read_all(service.live)
    read_all(service.live)  # as the lane does, again and again
    service.settle()
    assert [each.patient for each in service.notices()] == ["sound"]
    repair()
    service.pull_the_plug()
    service.start()
    service.settle()
    assert {each.patient for each in service.notices()} == {"sound", "damaged"}
    assert service.verdicts() == service.replayed()[0]


# -- the service as a whole --------------------------------------------------------------------------------


async def until(condition):
    async with asyncio.timeout(60):  # far more than it takes, since other tests run beside
        while not condition():  # noqa: ASYNC110 - of a thread that knows nothing of tests
            await asyncio.sleep(0.01)


def test_a_service_whose_store_fails_at_the_start_is_well_once_it_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr("monitor.runtime.lane._TRY_AGAIN", 0.02)

    async def go():
        loaded = Loaded([rule(**ARRIVES)], Registry(), "first")
        service = WholeService(Settings(data=str(tmp_path / "data"), mllp={"port": 0}), loaded, LiveClock())
        failures = []

        def fail():
            failures.append(1)
            raise StoreError("locked", "another program holds it")

        begin = service._live.begin
        monkeypatch.setattr(service._live, "begin", fail)
        await service.start()
        try:
            await until(lambda: len(failures) > 5)
            assert {what for what, _ in service.problems()} == {"store", "starting"}
            assert service.is_alive()
            monkeypatch.setattr(service._live, "begin", begin)
            await service.until_begun()
            await service.intake.take([Message(origin="http", content=b"", events=[event("1", "depart")])])
            assert service.problems() == []
            assert service._tasks.all_go_on
        finally:
            await service.stop()

    asyncio.run(go())


# -- what is told late, and what is forgotten --------------------------------------------------------------


def test_only_what_fell_due_while_the_service_was_down_is_marked_as_told_late(serve):
    service = serve([rule(**ARRIVES)])
    service.take(event("1", "depart", "p"))
    service.wait(minutes=10)
    service.take(event("2", "depart", "q", service.now))
    service.wait(minutes=25)
    service.pull_the_plug()
    service.now += timedelta(minutes=30)
    service.start()
    service.settle()
    assert [(each.patient, each.after_outage) for each in service.notices()] == [("p", False), ("q", True)]
    service.loaded = Loaded([rule(id="other", never={"type": "depart"})], Registry(), "second")
    service.live.use(service.loaded)
    read_all(service.live)
    service.settle()
    found = [each for each in service.notices() if each.rule == "other"]
    assert [each.after_outage for each in found] == [False, False]


def test_a_journey_is_not_forgotten_while_a_rule_may_still_look_back_at_it(serve):
    service = serve([rule(when={"type": "depart"}, require={"type": "assess"}, within="90d")])
    service.take(event("1", "assess"))
    for _ in range(80):
        service.wait(days=1)
    service.take(event("2", "depart", at=service.now))
    service.settle()
    assert [each[3] for each in service.verdicts()] == ["met"]
    for _ in range(100):
        service.wait(days=1)
    assert service.live.journeys == 0


def test_an_alert_that_new_rules_withdraw_and_fire_at_one_instant_has_two_sequences(serve):
    service = serve([rule(**ARRIVES | {"within": "5m"})])
    service.take(event("1", "depart"))
    service.wait(minutes=6)
    service.now = START + timedelta(minutes=11)
    service.write()
    service.loaded = Loaded([rule(**ARRIVES | {"within": "11m"})], Registry(), "second")
    service.live.use(service.loaded)
    read_all(service.live)
    service.settle()
    told = [(each.state, each.at, each.sequence) for each in service.notices()[1:]]
    assert told == [
        ("resolved", service.now, (1, service.now, -1)),
        ("firing", service.now, (1, service.now, 0)),
    ]


# -- what a decoder breaks on ------------------------------------------------------------------------------


def test_a_reject_on_which_a_decoder_breaks_is_tried_once_and_holds_up_nothing(serve, monkeypatch):
    service = serve([rule(**ARRIVES)])
    reject = Reject("no-patient", "it names none")
    service.live.write([Message(origin="http", content=b"odd", reject=reject)], [])
    service.live.judge()

    def break_down(*_):
        raise RecursionError

    monkeypatch.setattr("monitor.ingest.again.read", break_down)
    ledger = Ledger(service.folder)
    ledger.ask_retry_of(None)
    ledger.close()
    service.wait(seconds=10)
    service.take(event("1", "depart"))
    service.wait(hours=1)
    assert [each.state for each in service.notices()] == ["firing"]
    reader = Reader(service.folder)
    [kept] = reader.rejects()
    reader.close()
    assert (kept.state, kept.reason, kept.attempts) == ("kept", "not-read-again", 1)
